"""The log of operations, as the writes of models/writes.py keep it: one item more in a transaction at each end.

Work begins with the write that gives a record an owner, and ends with the write that takes the owner away. Both name
the workflow (rules/workflows.py), so every workflow is logged by its row. A workflow that waits for another one
(``WaitsFor``) is part of that one's operation. The log never refuses a write: its item has no condition, and every
attribute keeps its first value, so a repeated or late write changes nothing.
"""

from __future__ import annotations

import contextvars
import json
import time
import types
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

from pynamodb.expressions.operand import Path, Value
from pynamodb.expressions.update import Action, RemoveAction, SetAction

from chalicelib import context, telemetry
from chalicelib.config import settings
from chalicelib.context_values import bound
from chalicelib.rules import states, workflows
from chalicelib.rules.sentences import for_users
from chalicelib.rules.workflows import WaitsFor, Workflow

if TYPE_CHECKING:
    from chalicelib.models.base import StatefulRecord
    from chalicelib.models.operation import Operation

#: Workflows that are operations of their own.
LEADING = frozenset({WaitsFor.EXECUTION, WaitsFor.MEMBERS})

#: A transaction of DynamoDB has at most this many items; one that is full is committed without its log.
FULL = 100

#: Longest texts of an end, in characters: an error for users, one for administrators, and the scheduler's reasons.
ERROR, CAUSE, WHY = 255, 2000, 8000

#: The error of work that was ended by another request.
INTERRUPTED = 'The operation was interrupted: the status was reset.'

#: Attempts on pools that an end keeps.
TRIED = 10

#: A write of a transaction: its verb, the record, and the actions of an update.
Write = tuple[str, Any, Iterable[Any]]


class Step(NamedTuple):
    """The begin or the end of a workflow's work on a record. ``status``: the final status; None for a begin."""

    record: StatefulRecord
    row: Workflow
    request_id: str
    status: str | None = None
    operation: Mapping[str, Any] = types.MappingProxyType({})


_failure: contextvars.ContextVar[Callable[[], tuple[str, str]] | None] = contextvars.ContextVar('failure', default=None)


def failing(failure: Callable[[], tuple[str, str]] | None) -> AbstractContextManager[None]:
    """Log ends within the block as failed. ``failure`` returns the name and the text of the error."""
    return bound(_failure, failure)


def step_of(write: Write) -> Step | None:
    """Return what a write begins or ends; None for a write that does neither, or for work within other work."""
    verb, record, actions = write
    if not hasattr(type(record), 'in_flight'):
        return None
    if verb == 'save':
        return _step(record, record.operation, record.owner)
    if verb == 'delete':
        return _step(record, record.operation, record.owner, states.REMOVED)
    changes = {name: action for action in actions if (name := _changed(action))}
    owner = changes.get('owner')
    if isinstance(owner, RemoveAction):
        return _step(record, record.operation, record.owner, _final(record, changes.get('status')))
    if owner is not None and 'operation' in changes:
        return _step(record, json.loads(_text(changes['operation'])), _text(owner))
    return None


def entries(writes: Iterable[Write]) -> list[tuple[Operation, list[Action]]]:
    """Return the updates of the log that belong to these writes: one for each request, for its leading step."""
    steps: dict[str, list[Step]] = {}
    for write in writes:
        step = step_of(write)
        if step is not None:
            steps.setdefault(step.request_id, []).append(step)
    return [_entry(found) for found in steps.values()]


def _entry(steps: list[Step]) -> tuple[Operation, list[Action]]:
    """The step that counts: an end, since what begins in the same write only clears up; a group before its members."""
    leading = min(steps, key=lambda step: (step.status is None, step.row.waits_for is not WaitsFor.MEMBERS))
    from chalicelib.models.operation import Operation  # a process that writes no record under way does not need it

    entry = Operation(leading.record.project_id, leading.request_id)
    if leading.status is not None:
        return entry, _ended(leading)
    context.has_begun_work.set(True)
    return entry, _begun(leading)


def _step(
    record: StatefulRecord, operation: dict[str, Any] | None, owner: str | None, status: str | None = None
) -> Step | None:
    row = workflows.WORKFLOWS.get(record.resource, {}).get(str((operation or {}).get('action')))
    if row is None or not owner or row.waits_for not in LEADING:
        return None
    return Step(record, row, owner, status, operation or {})


def _changed(action: Any) -> str | None:
    """The name of the whole attribute that an action sets or removes."""
    if isinstance(action, SetAction | RemoveAction) and isinstance(action.values[0], Path):
        path = action.values[0].path
        return str(path[0]) if len(path) == 1 else None
    return None


def _text(action: Any) -> str:
    return str(action.values[1].values[0]['S'])


def _final(record: StatefulRecord, action: Any) -> str:
    """The final status; an update that does not name it returns to the previous one."""
    if action is not None and isinstance(action.values[1], Value):
        return _text(action)
    return str(record.previous_status)


def _begun(step: Step) -> list[Action]:
    from chalicelib.models import base
    from chalicelib.models.operation import Operation

    record = step.record
    work = {'resource': record.resource, 'project_id': record.project_id, 'id': record.id, 'action': step.row.action}
    facts = {
        'created_at': base.now(),
        'user_id': context.caller_id.get() or record.user_id,
        'action': step.row.action,
        'resource_type': record.resource,
        'resource_id': record.id,
        'resource_name': (record.name or '')[:255] or None,
        'first': work,
        'trace': telemetry.trace_header()[:255] or None,
        'expires': expiry(),
    }
    return [*kept({name: value for name, value in facts.items() if value is not None}), Operation.last.set(work)]


def expiry() -> int:
    """Return when the log forgets what is written now, in seconds since the epoch."""
    return int(time.time()) + settings().operation_days * 86400


def _ended(step: Step) -> list[Action]:
    from chalicelib.models import base

    record, row, final = step.record, step.row, str(step.status)
    failure = _failure.get()
    done = str(record.previous_status) if row.done == states.PREVIOUS else row.done
    # Where success and failure leave the same status, the task that ends the work shows which it was.
    failed = final != done if row.done != row.failed else failure is not None
    if context.caller_id.get():  # a request ends work that is under way only by a reset
        failed, failure = True, lambda: ('Invalid', INTERRUPTED)
    error, cause = failure() if failed and failure is not None else ('', '')
    facts = {
        'at': base.now(),
        'status': final,
        'failed': failed,
        'error': for_users(error, cause)[:ERROR] if error else None,
        'cause': f'{error}: {cause}'[:CAUSE] if error else None,
        'host': getattr(record, 'host', None),
        'tried': list(step.operation.get('attempted', ()))[:TRIED] or None,
        'why': str(step.operation.get('explanation', ''))[:WHY] or None,
    }
    name = 'end_of_group' if row.waits_for is WaitsFor.MEMBERS or record.resource == 'group' else 'end'
    ended = {name: {key: value for key, value in facts.items() if value is not None}}
    return kept({**ended, 'expires': expiry()})


def kept(facts: dict[str, Any]) -> list[Action]:
    """Actions that set attributes which have no value yet."""
    from chalicelib.models.operation import Operation

    named = [(getattr(Operation, name), value) for name, value in facts.items()]
    return [attribute.set(attribute | value) for attribute, value in named]
