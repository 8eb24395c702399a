"""Tasks: one function per state of a workflow, and the synchronous tasks that the API waits for.

A state ``CopyRange`` runs the task ``copy_range``. The event is ``{'task': name, 'input': {...}}``; the input carries
ids, never records or secrets. Every task may run twice, late, or concurrently: it first looks whether its request
still owns the record, and its writes are conditions on that.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Mapping
from typing import Any

from chalicelib import errors, telemetry, time_left
from chalicelib.rules.workflows import TASKS
from chalicelib.tasks import function_time

logger = logging.getLogger(__name__)

#: Classes of records that a task fetches with the one that leads to them.
RELATED = ('Volume', 'VolumeType')

#: Beginnings of the names of tasks that end work which did not succeed.
FAILING = ('fail_', 'cancel_', 'abandon_')


def run(event: Mapping[str, Any], context: Any) -> Any:
    """Run one task in this worker; its error is raised under its own class name, which workflows catch."""
    name, payload = event['task'], event['input']
    if name not in TASKS:  # the state is retried: during an update workers may be older than what calls them
        raise errors.ServiceUnavailable(reason=f'this version of the worker has no task {name!r}')
    function = getattr(context, 'function_name', '').rpartition('-')[2] or None
    with (
        telemetry.bind_context(function=function, task=name, **telemetry.context_from_event(payload)),
        telemetry.segment(name),
    ):
        return _run(name, payload, context)


def _run(name: str, payload: Mapping[str, Any], context: Any) -> Any:
    from chalicelib.models import operation_log, reading
    from chalicelib.operations import volume_types
    from chalicelib.tasks import notifications, work  # they know the models, which start_workflow never needs

    began = time.monotonic()
    outcome = 'done'
    try:
        module = importlib.import_module(f'chalicelib.tasks.{TASKS[name]}')
        moment = payload.get('deadline')  # of the client's request, where one waits
        with (
            function_time.running(context),
            time_left.until(moment),
            volume_types.reading_once(),
            reading.together(*reading.of_payload(payload), along=RELATED),
            notifications.emit_start_and_end(name, payload),
            operation_log.failing((lambda: work.failure(payload)) if name.startswith(FAILING) else None),
        ):
            return getattr(module, name)(payload)
    except Exception as error:
        outcome = type(error).__name__
        telemetry.count('TaskErrors', error=outcome)
        raise
    finally:
        seconds = time.monotonic() - began
        if telemetry.context_from_event(payload):  # a backend's report belongs to no operation
            telemetry.count('TaskSeconds', round(seconds, 3), 'Seconds', outcome=outcome)
        logger.info('%s of %s: %s after %.3f s', name, payload.get('id'), outcome, seconds)
