"""Synchronous work of the volume worker: one call, within the time that the client's request has left."""

from __future__ import annotations

from typing import Any

from chalicelib import aws, errors, time_left
from chalicelib.config import settings
from chalicelib.models import reading

#: Seconds that a worker needs at least to be of use.
WORTHWHILE = 2.0

#: Seconds between the worker's own deadline and the end of the wait for it: its answer, and clocks that differ.
HAND_OVER = 0.5


def call(task: str, payload: dict[str, Any]) -> Any:
    """Run one task in the volume worker and return its result.

    The worker receives the deadline and repeats what its backend does not answer until then; it is never invoked twice.
    Raises the task's own error, or BackendUnavailable when there is no time left for the call.
    """
    reading.drop()  # the worker may write what was fetched
    moment = time_left.deadline()
    if moment is None:
        return aws.invoke(settings().volume_worker, task, payload)
    seconds = time_left.at_most(time_left.GATEWAY) - time_left.OWN_WORK
    if seconds < WORTHWHILE:
        raise errors.BackendUnavailable(backend=task, reason='the request has no time left for it; repeat the request')
    worker = {**payload, 'deadline': moment - time_left.OWN_WORK - HAND_OVER}
    return aws.invoke(settings().volume_worker, task, worker, seconds=seconds)
