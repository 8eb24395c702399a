"""The reconciler: it starts overdue work, restarts it, or marks it failed, so no transitional status stays.

Called every minute, and with each execution that failed, timed out or was aborted. Each call does a bounded amount of
work in bounded time, and what it does may be repeated. A record whose work cannot be continued is looked at less
and less often, and delays no other. A status that waits for a user or a server (``reserved``, ``attaching``,
``detaching``) has no workflow and is left alone, as in Cinder: only the client knows whether it still continues.
"""

from __future__ import annotations

import itertools
import json
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from chalicelib import aws, errors, telemetry
from chalicelib.models import Backup, Group, GroupSnapshot, Snapshot, Volume, base
from chalicelib.rules import states, workflows
from chalicelib.rules.executions import machine_of
from chalicelib.rules.workflows import WaitsFor, Workflow
from chalicelib.tasks import executions

logger = logging.getLogger(__name__)

#: Kinds of record that have work under way.
KINDS: Mapping[str, type[base.StatefulRecord]] = {
    'volume': Volume,
    'snapshot': Snapshot,
    'backup': Backup,
    'group': Group,
    'group_snapshot': GroupSnapshot,
}

#: Seconds after which a call begins no more looks: one may wait for a worker (aws.INVOKE_TIMEOUT), and the function has
#: 55 seconds.
BUDGET = 24

#: Records that one call looks at.
LIMIT = 500

#: A look that did not bring its record on is repeated after 60 s, then twice as late each time, up to an hour; each
#: between half and all of that, so that records that failed together do not come together.
FIRST_PAUSE, LONGEST_PAUSE = 60, 3600

#: Looks in succession without progress (60 + 120 s apart) after which a record is reported to the operator.
STUCK = 3

#: Runs that one request gets, before its work is given up.
ATTEMPTS = 3


def run(event: Mapping[str, Any]) -> None:
    """Look at what is overdue, or at the record of the execution that EventBridge reports."""
    with telemetry.bind_context(function='reconcile'):
        _reconcile(event)


def _reconcile(event: Mapping[str, Any]) -> None:
    detail = event.get('detail') or {}
    if 'executionArn' in detail:
        _look_at_execution(detail)
        return
    timestamp, until, drift = base.now(), time.monotonic() + BUDGET, 0
    for kind, key in itertools.islice(_overdue(timestamp), LIMIT):
        if time.monotonic() > until:
            break
        drift += _look(kind, key.project_id, key.id, timestamp)
    if drift:
        telemetry.count('ReconcilerDrift', drift)


def _overdue(timestamp: str) -> Iterator[tuple[type[base.StatefulRecord], base.StatefulRecord]]:
    """Keys of overdue records, a record of each kind in turn: many of one kind keep no other kind waiting."""
    queues = {kind: base.overdue(kind, timestamp) for kind in KINDS.values()}
    while queues:
        for kind in list(queues):
            try:
                yield kind, next(queues[kind])
            except StopIteration:
                del queues[kind]
            except errors.CinderlessError:  # the other kinds have indexes of their own
                logger.exception('overdue records of %s cannot be listed', kind.resource)
                del queues[kind]


def _look_at_execution(detail: Mapping[str, Any]) -> None:
    """Look at the record that an execution worked for."""
    telemetry.needs_attention('execution failed')
    payload = json.loads(detail.get('input') or '{}')
    kind = KINDS.get(str(payload.get('resource')))
    if kind is None:
        logger.warning('execution %s has no record to look at', detail['executionArn'])
    else:
        _look(kind, payload['project_id'], payload['id'])


def _look(kind: type[base.StatefulRecord], project_id: str, id: str, timestamp: str | None = None) -> bool:
    """Continue one record's work if it is overdue at ``timestamp`` (always without one); return whether it was due.

    The next look is put off before this one begins. So a record whose work cannot be continued, or that takes the whole
    process with it, keeps the others waiting once and not at each call.
    """
    try:
        record = kind.find_or_none(project_id, id)
        if record is None or record.in_flight is None or (timestamp and not base.is_overdue(record, timestamp)):
            return False
        with telemetry.bind_context(request_id=record.owner, resource=record.resource, id=record.id):
            _put_off(record)
            _continue_work(record)
    except base.moved_on(kind):
        logger.info('%s %s has just changed', kind.resource, id)
    except Exception:  # whatever it is, the other records are not to wait for it
        logger.exception('the work on %s %s could not be continued', kind.resource, id)
        _put_off_unread(kind, project_id, id)
    return True


def _put_off(record: base.StatefulRecord) -> None:
    """Note the look, and when the next one comes if this one fails."""
    kind, looks = type(record), int(record.looks or 0) + 1
    if looks >= STUCK:
        telemetry.needs_attention('stuck')
    pause = min(FIRST_PAUSE * 2 ** min(looks - 1, 10), LONGEST_PAUSE)
    later = base.after(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter, no secret
    base.update(
        record, [kind.deadline.set(later), kind.looks.set(looks), *base.touched(kind)], _unchanged_since_read(record)
    )


def _put_off_unread(kind: type[base.StatefulRecord], project_id: str, id: str) -> None:
    """Put off a record that may not even be readable, unless that was done before it was looked at."""
    try:
        later = base.after(LONGEST_PAUSE)
        base.write(kind(project_id, id), [kind.deadline.set(later)], kind.deadline <= base.now())
    except Exception:  # it was put off, it is gone, or it is stored in a form that no answer can be read from
        logger.info('%s %s is not put off once more', kind.resource, id)


def _continue_work(record: base.StatefulRecord) -> None:
    row = workflows.WORKFLOWS[record.resource].get((record.operation or {}).get('action', ''))
    if row is None:
        _leave_alone(record)
    else:
        _FOLLOW[row.waits_for](record, row)


def _leave_alone(record: base.StatefulRecord, _: Workflow | None = None) -> None:
    """Remove the record from those in flight: its status ends without the reconciler."""
    kind = type(record)
    base.update(
        record, [kind.in_flight.remove(), kind.deadline.remove(), kind.looks.remove()], _unchanged_since_read(record)
    )


def _unchanged_since_read(record: base.StatefulRecord) -> Condition:
    """The condition that the record's work has not changed since it was read."""
    kind = type(record)
    condition: Condition = (kind.status == record.status) & (kind.deadline == record.deadline)
    if record.owner is not None:
        condition &= kind.owner == record.owner
    return condition


def _follow_volume(record: base.StatefulRecord, row: Workflow) -> None:
    """What is held for a volume's revert, move or restore ends with that; left behind, it is released.

    A snapshot that was to be removed with its volume is removed by its own execution then.
    """
    operation = record.operation or {}
    volume = Volume.find_or_none(operation['volume_project_id'], operation['volume_id'])
    if volume is not None and volume.in_flight is not None and volume.owner == record.owner:
        _postpone(record, base.START_DEADLINE)
        return
    logger.warning('%s %s: the work that it was held for is over', record.resource, record.id)
    if isinstance(record, Volume):
        _discard(record)
    elif row is workflows.SNAPSHOT['delete_with_volume']:
        _follow_execution(record, row)
    else:
        base.update(record, _actions_of_release(record, row), _unchanged_since_read(record))


def _actions_of_release(record: base.StatefulRecord, row: Workflow) -> list[Action]:
    """Return the actions that end the wait: a backup becomes available without its new volume, a snapshot fails."""
    if isinstance(record, Backup):
        return [*base.end_actions(record, row.done), Backup.restore_volume_id.remove()]
    return base.end_actions(record, row.failed)


def _follow_backup(record: base.StatefulRecord, row: Workflow) -> None:
    """A status that is held for a backup's work ends with it; left behind, it becomes what a failure makes of it."""
    operation = record.operation or {}
    backup = Backup.find_or_none(operation.get('backup_project_id', record.project_id), operation['backup_id'])
    if backup is not None and backup.in_flight is not None:
        _postpone(record, row.deadline)
        return
    failed = states.ERROR if operation.get('new') else row.failed
    logger.warning('%s %s: its backup is done, and has left it in %s', record.resource, record.id, record.status)
    base.update(record, base.end_actions(record, failed), _unchanged_since_read(record))


def _discard(volume: base.StatefulRecord) -> None:
    """Remove a volume that was made for other work."""
    from chalicelib.operations import moves  # most runs find nothing to discard, and need none of what it knows

    if not isinstance(volume, Volume):
        return
    operation = volume.operation_facts()
    if operation.get('action') == 'receive':
        _abandon_move(operation, str(volume.owner))
    else:
        moves.discard(volume)


def _abandon_move(operation: dict[str, Any], request_id: str) -> None:
    """Let a worker end a move that lost its volume: its status there, its exports and its target."""
    ids = {'project_id': operation['volume_project_id'], 'id': operation['volume_id'], 'request_id': request_id}
    payload = {'action': 'migrate', 'resource': Volume.resource, **ids}
    aws.invoke(executions.worker_of(workflows.MACHINES['move_volume']), 'abandon_move', payload)


def _follow_drill(scratch: base.StatefulRecord, _: Workflow) -> None:
    """The scratch volume of a drill ends with it; left behind, it is removed."""
    operation = scratch.operation or {}
    backup = Backup.find_or_none(operation['backup_project_id'], operation['backup_id'])
    if backup is not None and backup.owner == scratch.owner:
        _postpone(scratch, base.START_DEADLINE)
    else:
        _discard(scratch)


def _follow_members(group: base.StatefulRecord, row: Workflow) -> None:
    """End a group whose last volume is done; each volume has its own look. An empty group has an execution."""
    from chalicelib.operations import groups

    if not isinstance(group, Group) or not (group.operation or {}).get('members'):
        _follow_execution(group, row)
    elif not groups.settle(group):
        _postpone(group, row.deadline)


def _follow_execution(record: base.StatefulRecord, row: Workflow) -> None:
    operation = record.operation or {}
    attempt = int(operation.get('attempt', 0))
    message = message_of(record)
    status = executions.status(message, attempt)
    if status == 'RUNNING':
        _postpone(record, row.deadline)
    elif status is None:
        why = 'was postponed' if operation.get('postponed') else 'was never started'
        logger.warning('%s of %s %s %s', message['action'], record.resource, record.id, why)
        if not operation.get('postponed'):
            telemetry.needs_attention('not started')
        executions.start(message, attempt)
        _postpone(record, row.deadline)
    elif attempt + 1 < ATTEMPTS + int(operation.get('postponed', 0)):
        logger.warning('%s of %s %s ended %s', message['action'], record.resource, record.id, status)
        telemetry.count('Retries', why='execution')
        _postpone(record, base.START_DEADLINE, {**operation, 'attempt': attempt + 1})
        executions.start(message, attempt + 1)
    else:
        _give_up(record, message, status)


#: What a running status waits for -> how its record is followed.
_FOLLOW: Mapping[WaitsFor, Callable[[base.StatefulRecord, Workflow], None]] = {
    WaitsFor.EXECUTION: _follow_execution,
    WaitsFor.VOLUME: _follow_volume,
    WaitsFor.BACKUP: _follow_backup,
    WaitsFor.DRILL: _follow_drill,
    WaitsFor.MEMBERS: _follow_members,
    WaitsFor.GROUP_SNAPSHOT: _leave_alone,
    WaitsFor.CLIENT: _leave_alone,
}


def message_of(record: base.StatefulRecord) -> dict[str, str]:
    """Return the message that starts what is under way for the record."""
    return {
        'action': str((record.operation or {})['action']),
        'resource': record.resource,
        'project_id': record.project_id,
        'id': record.id,
        'request_id': str(record.owner),
    }


def _postpone(record: base.StatefulRecord, seconds: int, operation: dict[str, Any] | None = None) -> None:
    kind = type(record)
    actions = [kind.deadline.set(base.after(seconds)), kind.looks.remove(), *base.touched(kind)]
    changed = [] if operation is None else [kind.operation.set(operation)]
    base.update(record, [*actions, *changed], _unchanged_since_read(record))


def _give_up(record: base.StatefulRecord, message: dict[str, str], status: str) -> None:
    """Run the workflow's failure task, as after any failure that an execution catches."""
    machine = machine_of(message)
    reason = f'The operation was interrupted {ATTEMPTS} times (last: {status}) and was given up; request it again.'
    logger.error('%s of %s %s is given up', message['action'], record.resource, record.id)
    aws.invoke(executions.worker_of(machine), machine.failure, {**message, 'error': {'Error': status, 'Cause': reason}})
