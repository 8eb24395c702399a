"""One local cloud: everything that is started, in order, and stopped in the reverse one."""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chalicelib import telemetry
from infra import render
from local import backends, dynamodb, events, functions, ready, stack, stepfunctions
from local.endpoint import Endpoint
from local.functions import Function, Outcome
from local.gateway import Gateway
from local.http import Handler, Server
from local.queues import Poller
from local.settings import REGION, Settings
from local.stack import Stack
from local.storage import SECRET_NAME, Storage

log = logging.getLogger('local')

#: In the state folder: what the functions logged.
LOG = 'log.jsonl'


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[dict[str, Any]]:
    """Boot, yield the content of ready.json, and stop everything whatever happens."""
    with contextlib.ExitStack() as undo:
        with _boot_errors_end_quietly(undo):
            facts = _boot(settings, undo)
        yield facts


@contextlib.contextmanager
def _boot_errors_end_quietly(undo: contextlib.ExitStack) -> Iterator[None]:
    try:
        yield
    except BaseException:
        undo.close()
        raise


def _boot(settings: Settings, undo: contextlib.ExitStack) -> dict[str, Any]:
    undo.callback(_remove_files, settings)
    _remove_files(settings)
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    _keep_log(settings.state_dir / LOG, undo)
    engine = _start_engine(settings, undo)
    storage = Storage(settings)
    undo.callback(storage.stop)
    storage.start()
    folder = render.templates()
    backends.start()
    storage.wait()
    template = json.loads((folder / 'plain.json').read_text())
    deployed = stack.deploy(template, settings.parameters(storage.backends(), _identity()), client)
    client('secretsmanager').create_secret(Name=SECRET_NAME, SecretString=storage.secret)
    if engine is not None:
        _use(engine)
    roles = stack.functions(deployed, client('lambda'))
    functions.set_environment(roles.values())
    _serve(settings, deployed, roles, engine, undo)
    _connect(deployed, roles, undo)
    return _finish(settings, deployed, roles)


def _keep_log(path: Path, undo: contextlib.ExitStack) -> None:
    """What functions log, as they would on AWS: a line of JSON each, in one file."""
    handler = logging.FileHandler(path, mode='w', encoding='utf-8')
    handler.setFormatter(telemetry.JsonFormatter())
    logger = logging.getLogger('chalicelib')
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    undo.callback(handler.close)
    undo.callback(logger.removeHandler, handler)


@functools.cache
def client(service: str) -> Any:
    """One client per service, answered by moto."""
    import boto3

    return boto3.client(service, region_name=REGION)


def _start_engine(settings: Settings, undo: contextlib.ExitStack) -> dynamodb.Engine | None:
    engine = dynamodb.engine(render.ROOT, settings.dynamodb, settings.state_dir / 'dynamodb.log')
    if engine is not None:
        undo.callback(engine.stop)
        engine.start()
    return engine


def _identity() -> dict[str, Any]:
    """The local users, without a signing key: Secrets Manager makes one, as it does on AWS."""
    from chalicelib.identity.local import local_document

    return {key: value for key, value in local_document().items() if key != 'signing_key'}


def _use(engine: dynamodb.Engine) -> None:
    """Move the tables to the engine, and every later client with them."""
    engine.wait()
    backends.pass_by(engine.url)
    dynamodb.copy_tables(client('dynamodb'), dynamodb.client(engine.url))
    dynamodb.redirect(engine.url)


def _serve(
    settings: Settings,
    deployed: Stack,
    roles: Mapping[str, Function],
    engine: dynamodb.Engine | None,
    undo: contextlib.ExitStack,
) -> None:
    """Open the two front doors."""
    _, api = next(deployed.of_type('AWS::ApiGateway::RestApi'))
    _, stage = next(deployed.of_type('AWS::ApiGateway::Stage'))
    invoke = functools.partial(functions.run, roles[ready.API])
    functions.load(roles[ready.API].handler)
    doors: list[tuple[int, Handler]] = [
        (settings.port, Gateway(api['Body'], stage['StageName'], invoke)),
        (settings.aws_port, Endpoint(engine.url if engine else None)),
    ]
    for port, handler in doors:
        server = Server(port, handler)
        undo.callback(server.stop)
        server.start()


def _connect(deployed: Stack, roles: Mapping[str, Function], undo: contextlib.ExitStack) -> None:
    """Start what invokes functions by itself: queues, schedules, and the rule on executions that end."""
    by_name = {function.name: function for function in roles.values()}
    by_arn = {function.arn: function for function in roles.values()}
    for name, mapping in deployed.mappings():
        poller = Poller(mapping, client('sqs'), functools.partial(functions.run, by_name[name]))
        undo.callback(poller.stop)
        backends.on_call(poller.observe)
        poller.start()
    rules = list(_rules(deployed, by_arn))
    clock = events.Clock([rule for rule in rules if rule.schedule])
    undo.callback(clock.stop)
    clock.start()
    bus = events.Bus([rule for rule in rules if rule.pattern])
    stepfunctions.on_end(lambda detail: bus.put(events.execution_ended(detail)))


def _rules(deployed: Stack, by_arn: Mapping[str, Function]) -> Iterator[events.Rule]:
    for name, properties in deployed.of_type('AWS::Events::Rule'):
        targets = [functools.partial(functions.run_detached, by_arn[each['Arn']]) for each in properties['Targets']]
        yield events.Rule(
            arn=deployed.scope.arns[name],
            schedule=properties.get('ScheduleExpression', ''),
            pattern=properties.get('EventPattern', {}),
            targets=targets,
        )


def _finish(settings: Settings, deployed: Stack, roles: Mapping[str, Function]) -> dict[str, Any]:
    """The first report of the pools, which on AWS the schedule brings within minutes; then say that all is up."""
    outcome = functions.run(roles['ReportPools'], events.event('aws.events', 'Scheduled Event', {}, []))
    if outcome.error:
        _explain(outcome)
    facts = ready.document(settings, deployed, roles)
    ready.write_clouds(settings)
    gc.collect()
    gc.freeze()  # what was made until here stays: the collector need not look at it again
    ready.write_ready(settings, facts)
    return facts


def _explain(outcome: Outcome) -> None:
    print(f'No pool reported yet: {outcome.result.get("errorMessage")}', file=sys.stderr)


def _remove_files(settings: Settings) -> None:
    """What this instance wrote; the folder goes when nothing else is in it."""
    for name in ('ready.json', 'clouds.yaml', LOG):
        (settings.state_dir / name).unlink(missing_ok=True)
    if settings.state_dir.is_dir() and not any(settings.state_dir.iterdir()):
        settings.state_dir.rmdir()
