"""The queue's consumer: a request starts one execution of its workflow, however often its message arrives."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from chalicelib import telemetry
from chalicelib.tasks import executions

logger = logging.getLogger(__name__)

#: The fields of a message that its log line shows.
LOGGED = ('action', 'resource', 'id')


def run(event: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
    """Start the workflow of each message of a batch; return the failed ones, and only those, to be sent again.

    An invalid message fails until the queue moves it to the dead-letter queue; the reconciler ends the work that it
    was for.
    """
    failed = [record['messageId'] for record in event['Records'] if not _is_started(record)]
    return {'batchItemFailures': [{'itemIdentifier': id} for id in failed]}


def _is_started(record: Mapping[str, Any]) -> bool:
    trace = record.get('attributes', {}).get('AWSTraceHeader')
    with (
        telemetry.resume_trace(trace),
        telemetry.bind_context(function='start_workflow'),
        telemetry.segment('start_workflow'),
    ):
        try:
            message = json.loads(record['body'])
            if _is_event(message):
                logger.warning('an event of a scheduled function is dropped: the next run finds the same work')
                return True
            with telemetry.bind_context(**telemetry.context_from_event(message)):
                execution = executions.start(message)
                logger.info('%s of %s %s started as %s', *(message[key] for key in LOGGED), execution)
        except Exception:  # whatever it is, the other messages of the batch must not come again for it
            logger.exception('message %s was not started', record['messageId'])
            return False
    return True


def _is_event(message: Any) -> bool:
    """Whether a message is not work: a scheduled function's failed event, which the dead-letter queue also receives.

    An operator who moves the dead letters back to the work queue moves these, too.
    """
    return (
        isinstance(message, dict) and 'action' not in message and ('requestContext' in message or 'source' in message)
    )
