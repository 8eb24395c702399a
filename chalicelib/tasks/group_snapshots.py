"""The states of create_group_snapshot and delete_group_snapshot.

Payload of every task: action, resource, project_id, id, request_id. The snapshots of a group snapshot belong to its
request, and to no machine of their own.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence

from chalicelib import errors
from chalicelib.drivers.base import Driver, ModelUpdate
from chalicelib.models import Group, GroupSnapshot, Snapshot, base
from chalicelib.operations import group_snapshots, group_types, messages
from chalicelib.rules import group_specs, states, workflows
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, clock, postponing
from chalicelib.tasks.ownership import Payload, failure, ours, owned
from chalicelib.tasks.snapshots import remove_snapshot

logger = logging.getLogger(__name__)

#: Progress of a snapshot that is on its backend, while the others are still to come.
TAKEN = '100%'


def create_group_snapshot(payload: Payload) -> dict[str, bool]:
    """Freeze the group's data, and make all records available in one write; {'done': False} when time ran out.

    In one verb and of one moment if the group's type asks for that (as in Cinder); else one volume after the other.
    """
    group_snapshot = owned(GroupSnapshot, payload)
    taking = _mine(group_snapshot)
    if not taking:
        raise errors.Invalid('The snapshots were all taken out of their group snapshot; delete it.')
    driver = backends.driver(taking[0].find_volume())
    if not _is_consistent(group_snapshot):
        if not _take_in_turn(driver, taking):
            return {'done': False}
    elif driver.capabilities.consistent_group_snapshots:
        _take_at_once(driver, taking)
    else:
        raise errors.NotSupported(
            backend=driver.backend, operation='create_group_snapshot', reason='it takes one snapshot after the other'
        )
    _complete(group_snapshot, _mine(group_snapshot))
    return {'done': True}


def _mine(group_snapshot: GroupSnapshot) -> list[Snapshot]:
    """The snapshots that the group snapshot's request still owns."""
    return [one for one in group_snapshots.snapshots_of(group_snapshot) if one.owner == group_snapshot.owner]


def _is_consistent(group_snapshot: GroupSnapshot) -> bool:
    """Whether all snapshots must be of one moment. Raises GroupTypeNotFound: a type that is gone promises nothing."""
    return group_specs.is_consistent(group_types.read(group_snapshot.group_type_id).group_specs)


def _take_at_once(driver: Driver, taking: Sequence[Snapshot]) -> None:
    if all(snapshot.progress == TAKEN for snapshot in taking):
        return
    updates = driver.create_group_snapshot([backends.snapshot_ref(one, one.find_volume()) for one in taking])
    for snapshot, update in zip(taking, updates, strict=True):
        _note(snapshot, update)


def _take_in_turn(driver: Driver, taking: Sequence[Snapshot]) -> bool:
    """Take what is not taken yet, while there is time; whether all are."""
    for snapshot in taking:
        if snapshot.progress == TAKEN:
            continue
        if not clock.has_time():
            return False
        _note(snapshot, driver.create_snapshot(backends.snapshot_ref(snapshot, snapshot.find_volume())))
    return True


def _note(snapshot: Snapshot, update: ModelUpdate) -> None:
    """Record what the driver says; who has taken the snapshot from us meanwhile may keep it."""
    made = [Snapshot.provider_id.set(update['provider_id'])] if update.get('provider_id') else []
    with contextlib.suppress(*base.moved_on(Snapshot)):
        base.update(snapshot, [Snapshot.progress.set(TAKEN), *made, *base.touched(Snapshot)], ours(snapshot))


def _complete(group_snapshot: GroupSnapshot, taken: Sequence[Snapshot]) -> None:
    transaction = base.Transaction()
    for record in (group_snapshot, *taken):
        actions = base.end_actions(record, workflows.GROUP_SNAPSHOT['create'].done)
        transaction.update(record, actions, ours(record), lambda: base.state_changed(group_snapshot))
    transaction.commit()


def fail_create_group_snapshot(payload: Payload) -> None:
    """Take away what was taken, as far as the backend lets us, and say why; removal gives the quota back."""
    group_snapshot = owned(GroupSnapshot, payload)
    for snapshot in _mine(group_snapshot):
        _undo(snapshot)
        _give_up(snapshot, payload, Action.SNAPSHOT_CREATE, Detail.SNAPSHOT_CREATE_ERROR, states.ERROR)
    _give_up(group_snapshot, payload, Action.GROUP_SNAPSHOT_CREATE, Detail.SNAPSHOT_CREATE_ERROR, states.ERROR)


def _undo(snapshot: Snapshot) -> None:
    """Say first that it is not taken: an execution that starts anew after a crash in here must take it again."""
    with contextlib.suppress(*base.moved_on(Snapshot)):
        base.update(snapshot, [Snapshot.progress.set('0%'), *base.touched(Snapshot)], ours(snapshot))
    volume = snapshot.find_volume()
    try:
        backends.driver(volume).delete_snapshot(backends.snapshot_ref(snapshot, volume))
    except errors.CinderlessError as error:
        logger.warning('snapshot %s may be left until it is deleted: %s', snapshot.id, error.message)


def _give_up(record: Snapshot | GroupSnapshot, payload: Payload, action: Action, detail: Detail, status: str) -> None:
    error, reason = failure(payload)
    messages.create(record, payload['request_id'], action, detail, cause=reason, error=error)
    if isinstance(record, GroupSnapshot):
        base.update(record, base.end_actions(record, status), ours(record))
        return
    with contextlib.suppress(*base.moved_on(Snapshot)):
        base.update(record, base.end_actions(record, status), ours(record))


def delete_group_snapshot(payload: Payload) -> dict[str, bool]:
    """Remove the snapshots while there is time, then the group snapshot; {'done': False} when time ran out."""
    group_snapshot = owned(GroupSnapshot, payload)
    for snapshot in _mine(group_snapshot):
        if not clock.has_time():
            return {'done': False}
        remove_snapshot(snapshot)
    if group_snapshots.snapshots_of(group_snapshot):
        raise errors.SnapshotIsBusy(id=group_snapshot.id, reason='some of its snapshots were taken out of its removal')
    _remove(group_snapshot)
    return {'done': True}


def _remove(group_snapshot: GroupSnapshot) -> None:
    group = Group(group_snapshot.project_id, group_snapshot.group_id)
    transaction = base.Transaction()
    transaction.delete(group_snapshot, ours(group_snapshot), lambda: base.state_changed(group_snapshot))
    actions = [Group.group_snapshot_count.add(-1), *base.touched(Group)]
    transaction.update(group, actions, Group.group_snapshot_count >= 1, lambda: base.state_changed(group_snapshot))
    transaction.commit()


def fail_delete_group_snapshot(payload: Payload) -> None:
    """Say why the group snapshot, and those of its snapshots that are left, are still there.

    A backend that does not answer only postpones their removal.
    """
    group_snapshot = owned(GroupSnapshot, payload)
    action, detail = Action.GROUP_SNAPSHOT_DELETE, Detail.SNAPSHOT_DELETE_ERROR
    if postponing.postpone(group_snapshot, payload, ours(group_snapshot), action, detail):
        return
    for snapshot in _mine(group_snapshot):
        _give_up(snapshot, payload, Action.SNAPSHOT_DELETE, Detail.SNAPSHOT_DELETE_ERROR, states.ERROR_DELETING)
    _give_up(group_snapshot, payload, action, detail, states.ERROR_DELETING)
