"""Work that a backend or a repository keeps from being done is postponed, and done when they answer again.

The record keeps its transitional status and gets a later deadline; the reconciler starts a new execution then. This
suits work that may be repeated from its beginning: a removal, an extension, a revert. The error statuses otherwise set
need an administrator (Cinder's error_deleting), or claim more than is known.
"""

from __future__ import annotations

import logging
from typing import Any

from chalicelib import errors
from chalicelib.models import base
from chalicelib.operations import messages
from chalicelib.rules.executions import run_name
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks.work import Work, failure

logger = logging.getLogger(__name__)

#: Seconds until the work is started again: the first time, doubled each time, and at most.
FIRST, LONGEST = 60, 900

#: Time after which the work is given up.
PATIENCE_HOURS = 24
PATIENCE = PATIENCE_HOURS * 3600

#: Errors that pass when the other side answers again.
PASSING = (
    errors.BackendUnavailable,
    errors.DeviceUnreachable,
    errors.DeviceTimeout,
    errors.KeyUnavailable,
    errors.RepositoryError,
    errors.ServiceUnavailable,
)

#: Subclasses of these that stay.
LASTING = (errors.ObjectExists, errors.ObjectMissing)

#: How Step Functions names a worker that ran out of time or could not be invoked.
OUT_OF_TIME = ('States.Timeout', 'Sandbox.Timedout')


def is_passing(error: str) -> bool:
    """Return whether the error of this name passes without an administrator."""
    if error.startswith('Lambda.') or error in OUT_OF_TIME:
        return True
    kind = getattr(errors, error, None)
    return isinstance(kind, type) and issubclass(kind, PASSING) and not issubclass(kind, LASTING)


def postpone_or_fail(work: Work[Any], action: Action, detail: Detail) -> None:
    """Postpone the work, or report its failure to users and record it. Raises StateChanged."""
    if not postpone(work, action, detail):
        work.fail(action, detail)


def postpone(work: Work[Any], action: Action, detail: Detail) -> bool:
    """Leave the record to the reconciler and report that to users; False when the failure must be recorded.

    Raises StateChanged.
    """
    record, payload = work.record, work.payload
    operation = record.operation or {}
    since = operation.get('postponed_since') or base.now()
    if not is_passing(failure(payload)[0]) or since < base.after(-PATIENCE):
        return False
    attempt, times = int(operation.get('attempt', 0)), int(operation.get('postponed', 0))
    if payload.get('execution') not in (None, run_name(payload, attempt)):
        return True  # postponed already: this is the second run of the task
    cause = f'The storage does not answer. The service repeats the operation until it does, for {PATIENCE_HOURS} hours.'
    messages.create(record, work.request_id, action, detail, cause=cause)
    later = {**operation, 'attempt': attempt + 1, 'postponed': times + 1, 'postponed_since': since}
    kind, seconds = type(record), min(FIRST * 2**times, LONGEST)
    logger.warning('%s of %s %s is postponed for %d s', payload['action'], record.resource, record.id, seconds)
    work.update([kind.operation.set(later), kind.deadline.set(base.after(seconds))])
    return True
