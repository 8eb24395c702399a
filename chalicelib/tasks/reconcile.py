"""Nothing stays in a transitional status: what is overdue is started, started anew, or brought to its failure.

Called every minute, and with each execution that failed, timed out or was aborted. Each call does a bounded amount of
work, and what it does may be repeated. A status that waits for a user or a server (``reserved``, ``attaching``,
``detaching``) has no machine and is left alone, as in Cinder: only they know whether they are still at it.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Mapping
from typing import Any

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from chalicelib import aws, errors, telemetry
from chalicelib.models import Backup, Group, GroupSnapshot, Snapshot, Volume, base
from chalicelib.rules import states
from chalicelib.tasks import workflows

logger = logging.getLogger(__name__)

#: Kinds of record that have work under way.
KINDS: Mapping[str, type[base.StatefulRecord]] = {
    'volume': Volume,
    'snapshot': Snapshot,
    'backup': Backup,
    'group': Group,
    'group_snapshot': GroupSnapshot,
}

#: Records of each kind that one call looks at.
LIMIT = 50

#: Runs that one request gets, before its work is given up.
ATTEMPTS = 3


def run(event: Mapping[str, Any]) -> None:
    """Look at what is overdue, or at the record of the execution that EventBridge tells of."""
    with telemetry.about(function='reconcile'):
        _reconcile(event)


def _reconcile(event: Mapping[str, Any]) -> None:
    detail = event.get('detail') or {}
    if 'executionArn' in detail:
        _look(_record_of(detail))
        return
    moment, drift = base.now(), 0
    for kind in KINDS.values():
        for record in itertools.islice(base.overdue(kind, moment), LIMIT):
            _look(record)
            drift += 1
    if drift:
        telemetry.count('ReconcilerDrift', drift)


def _record_of(detail: Mapping[str, Any]) -> base.StatefulRecord | None:
    """The record that an execution worked for; None when it is gone."""
    payload = json.loads(detail.get('input') or '{}')
    kind = KINDS.get(str(payload.get('resource')))
    if kind is None:
        logger.warning('execution %s has no record to look at', detail['executionArn'])
        return None
    return kind.find_or_none(payload['project_id'], payload['id'])


def _look(record: base.StatefulRecord | None) -> None:
    """Bring one record on; what goes wrong with it must not keep the others waiting."""
    if record is None or record.in_flight is None:
        return
    try:
        with telemetry.about(request_id=record.owner, resource=record.resource, id=record.id):
            _bring_on(record)
    except base.moved_on(type(record)):
        logger.info('%s %s has just moved on by itself', record.resource, record.id)
    except Exception:  # tried again by the next call, since the record stays overdue
        logger.exception('%s %s could not be brought on', record.resource, record.id)


def _bring_on(record: base.StatefulRecord) -> None:
    operation = record.operation or {}
    row = workflows.ROWS[record.resource].get(operation.get('action', ''))
    if isinstance(record, Group) and row is not None and operation.get('members'):
        _follow_members(record, row)
    elif 'volume_id' in operation:
        _follow_volume(record, row)
    elif isinstance(record, Volume) and operation.get('action') == 'receive':
        _follow_drill(record)
    elif row is None or not row.machine:
        _leave_alone(record)
    elif 'backup_id' in operation:
        _follow_backup(record, row)
    else:
        _follow_execution(record, row)


def _leave_alone(record: base.StatefulRecord) -> None:
    """A status without a machine ends when its user says so: look at it no more."""
    kind = type(record)
    base.update(record, [kind.in_flight.remove(), kind.deadline.remove()], _unmoved(record))


def _unmoved(record: base.StatefulRecord) -> Condition:
    """The condition that nobody has touched the record's work since it was read."""
    kind = type(record)
    condition: Condition = (kind.status == record.status) & (kind.deadline == record.deadline)
    if record.owner is not None:
        condition &= kind.owner == record.owner
    return condition


def _follow_volume(record: base.StatefulRecord, row: states.Transition | None) -> None:
    """What is held for a volume's revert, move or restore ends with that; left behind, it is let go of."""
    operation = record.operation or {}
    try:
        volume = Volume.find(operation['volume_project_id'], operation['volume_id'])
    except errors.VolumeNotFound:
        volume = None
    if volume is not None and volume.in_flight is not None and volume.owner == record.owner:
        _postpone(record, base.START_DEADLINE)
        return
    logger.warning('%s %s: the work that it was held for is over', record.resource, record.id)
    if isinstance(record, Volume):
        _discard(record)
    elif row is not None:
        base.update(record, _let_go(record, row), _unmoved(record))


def _let_go(record: base.StatefulRecord, row: states.Transition) -> list[Action]:
    """A backup whose new volume will not come is as good as before; a snapshot may have lost its volume midway."""
    if isinstance(record, Backup):
        return [*base.end_actions(record, row.done), Backup.restore_volume_id.remove()]
    return base.end_actions(record, row.failed)


def _follow_backup(record: base.StatefulRecord, row: states.Transition) -> None:
    """A status that is held for a backup's work ends with it; left behind, it becomes what a failure makes of it."""
    operation = record.operation or {}
    try:
        backup = Backup.find(operation.get('backup_project_id', record.project_id), operation['backup_id'])
    except errors.BackupNotFound:
        backup = None
    if backup is not None and backup.in_flight is not None:
        _postpone(record, row.deadline)
        return
    failed = 'error' if operation.get('new') else row.failed
    logger.warning('%s %s: its backup is done, and has left it in %s', record.resource, record.id, record.status)
    base.update(record, base.end_actions(record, failed), _unmoved(record))


def _discard(volume: Volume) -> None:
    """Remove a volume that nobody asked for."""
    from chalicelib.operations import moves  # most runs find nothing to discard, and need none of what it knows

    moves.discard(volume)


def _follow_drill(scratch: Volume) -> None:
    """The scratch volume of a drill goes with it; left behind, it is removed."""
    operation = scratch.operation_facts()
    try:
        backup = Backup.find(operation['backup_project_id'], operation['backup_id'])
    except errors.BackupNotFound:
        backup = None
    if backup is not None and backup.owner == scratch.owner:
        _postpone(scratch, base.START_DEADLINE)
    else:
        _discard(scratch)


def _follow_members(group: Group, row: states.Transition) -> None:
    """A group ends when the last of its volumes does; each of those is followed by itself."""
    from chalicelib.operations import groups

    if not groups.settle(group):
        _postpone(group, row.deadline)


def _follow_execution(record: base.StatefulRecord, row: states.Transition) -> None:
    operation = record.operation or {}
    attempt = int(operation.get('attempt', 0))
    message = message_of(record)
    status = workflows.status(message, attempt)
    if status == 'RUNNING':
        _postpone(record, row.deadline)
    elif status is None:
        why = 'was postponed' if operation.get('postponed') else 'was never started'
        logger.warning('%s of %s %s %s', message['action'], record.resource, record.id, why)
        workflows.start(message, attempt)
        _postpone(record, row.deadline)
    elif attempt + 1 < ATTEMPTS + int(operation.get('postponed', 0)):
        logger.warning('%s of %s %s ended %s', message['action'], record.resource, record.id, status)
        telemetry.count('Retries', why='execution')
        _postpone(record, base.START_DEADLINE, {**operation, 'attempt': attempt + 1})
        workflows.start(message, attempt + 1)
    else:
        _give_up(record, row, message, status)


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
    actions = [kind.deadline.set(base.after(seconds)), *base.touched(kind)]
    changed = [] if operation is None else [kind.operation.set(operation)]
    base.update(record, [*actions, *changed], _unmoved(record))


def _give_up(record: base.StatefulRecord, row: states.Transition, message: dict[str, str], status: str) -> None:
    """Have the machine's last state bring the record to its failure, with all that belongs to that."""
    failure = workflows.FAILURES[row.machine]
    reason = f'The operation was interrupted {ATTEMPTS} times (last: {status}) and was given up; ask for it again.'
    logger.error('%s of %s %s is given up', message['action'], record.resource, record.id)
    aws.invoke(failure.function, failure.task, {**message, 'error': {'Error': status, 'Cause': reason}})
