"""Cinderless: the Lambda functions. Each passes its event to the package that handles it."""

import os
from typing import Any

from chalice.app import Chalice, SQSEvent

from chalicelib import telemetry

telemetry.start()
app = Chalice(app_name='cinderless')

FUNCTION = os.environ.get('AWS_LAMBDA_FUNCTION_NAME')

if FUNCTION is None or FUNCTION.endswith('-api'):
    # Routes, schemas and views are half of all imports: only this function imports them, and only those that a
    # request needs. So does the local cloud, which sets the second variable. Packaging imports all.
    from chalicelib.api import route_registration, snapstart

    on_demand = FUNCTION is not None or 'ROUTES_ON_DEMAND' in os.environ
    route_registration.register_on_demand(app) if on_demand else route_registration.register_all(app)
    snapstart.register()


@app.on_sqs_message(queue='cinderless-work', batch_size=10, name='start_workflow')
def start_workflow(event: SQSEvent) -> Any:
    from chalicelib.tasks import start

    return start.run(event.to_dict())


@app.lambda_function(name='volume_worker')
def volume_worker(event: dict[str, Any], context: Any) -> Any:
    from chalicelib import tasks

    return tasks.run(event, context)


@app.lambda_function(name='backup_worker')
def backup_worker(event: dict[str, Any], context: Any) -> Any:
    from chalicelib import tasks

    return tasks.run(event, context)


@app.lambda_function(name='reconcile')
def reconcile(event: dict[str, Any], context: Any) -> Any:
    """Invoked each minute, with each execution that failed, and by hand; its schedule is in infra/functions.yaml."""
    from chalicelib.tasks import reconcile

    return reconcile.run(event)


@app.lambda_function(name='report_pools')
def report_pools(event: dict[str, Any], context: Any) -> Any:
    """Invoked every five minutes, and by hand."""
    from chalicelib.tasks import report_pools

    return report_pools.run(event)


@app.lambda_function(name='backup_schedules')
def backup_schedules(event: dict[str, Any], context: Any) -> Any:
    """Invoked every minute, and by hand: runs the backup schedules that are due."""
    from chalicelib.tasks import schedules

    return schedules.run()
