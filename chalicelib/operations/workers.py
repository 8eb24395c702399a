"""Synchronous work of the volume worker: one call, within the time that the client's request has left."""

from __future__ import annotations

from typing import Any

from chalicelib import aws, budget, errors
from chalicelib.config import settings

#: Seconds that a worker needs at least to be of use.
WORTHWHILE = 2.0


def call(task: str, payload: dict[str, Any]) -> Any:
    """Run one task in the volume worker and return its result.

    The worker receives the deadline and repeats what its backend does not answer until then; it is never invoked twice.
    Raises the task's own error, or BackendUnavailable when there is no time left to ask.
    """
    moment = budget.deadline()
    if moment is None:
        return aws.invoke(settings().volume_worker, task, payload)
    if budget.left(WORTHWHILE + budget.OWN_WORK) < WORTHWHILE + budget.OWN_WORK:
        raise errors.BackendUnavailable(backend=task, reason='the request has no time left for it; repeat the request')
    worker = {**payload, 'deadline': moment - budget.OWN_WORK}
    return aws.invoke(settings().volume_worker, task, worker)
