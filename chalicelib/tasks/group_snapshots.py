"""The states of create_group_snapshot and delete_group_snapshot.

Payload of every task: action, resource, project_id, id, request_id. The snapshots of a group snapshot belong to its
request, and have no workflow of their own.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from typing import Any

from chalicelib import errors
from chalicelib.drivers.base import Driver, ModelUpdate
from chalicelib.models import Group, GroupSnapshot, Snapshot, base
from chalicelib.operations import group_snapshots, group_types
from chalicelib.rules import group_specs
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, function_time, postponing
from chalicelib.tasks.snapshots import WHOLE, remove_snapshot, snapshot_actions
from chalicelib.tasks.work import GroupSnapshotWork, Payload, SnapshotWork, Work, workflow_of

logger = logging.getLogger(__name__)


def create_group_snapshot(payload: Payload) -> dict[str, bool]:
    """Freeze the group's data, and make all records available in one write; {'done': False} when time ran out.

    In one call and point-in-time consistent if the group's type requires it (as in Cinder); else one after the other.
    """
    work = GroupSnapshotWork.take(payload)
    taking = _members(work)
    if not taking:
        raise errors.Invalid('The snapshots were all taken out of their group snapshot; delete it.')
    driver = backends.driver(taking[0].record.find_volume())
    if not _is_consistent(work.record):
        if not _take_in_turn(driver, taking):
            return {'done': False}
    elif driver.capabilities.consistent_group_snapshots:
        _take_at_once(driver, taking)
    else:
        raise errors.NotSupported(
            backend=driver.backend, operation='create_group_snapshot', reason='it takes one snapshot after the other'
        )
    _complete(work, _members(work))
    return {'done': True}


def _members(work: GroupSnapshotWork) -> list[SnapshotWork]:
    """The snapshots that the group snapshot's request still owns."""
    found = group_snapshots.snapshots_of(work.record)
    return [SnapshotWork(one, workflow_of(one), work.payload) for one in found if one.owner == work.record.owner]


def _is_consistent(group_snapshot: GroupSnapshot) -> bool:
    """Whether the snapshots must be point-in-time consistent. Raises GroupTypeNotFound for a type that is gone."""
    return group_specs.is_consistent(group_types.read(group_snapshot.group_type_id).group_specs)


def _take_at_once(driver: Driver, taking: Sequence[SnapshotWork]) -> None:
    if all(one.record.progress == WHOLE for one in taking):
        return
    snapshots = [one.record for one in taking]
    updates = driver.create_group_snapshot([backends.snapshot_ref(one, one.find_volume()) for one in snapshots])
    for work, update in zip(taking, updates, strict=True):
        _note(work, update)


def _take_in_turn(driver: Driver, taking: Sequence[SnapshotWork]) -> bool:
    """Take what is not taken yet, while there is time; whether all are."""
    for work in taking:
        snapshot = work.record
        if snapshot.progress == WHOLE:
            continue
        if not function_time.has_time():
            return False
        _note(work, driver.create_snapshot(backends.snapshot_ref(snapshot, snapshot.find_volume())))
    return True


def _note(work: SnapshotWork, update: ModelUpdate) -> None:
    """Record the driver's facts; a snapshot that another request has taken over meanwhile stays as it is."""
    with contextlib.suppress(*base.moved_on(Snapshot)):
        work.update([Snapshot.progress.set(WHOLE), *snapshot_actions(update)])


def _complete(work: GroupSnapshotWork, taken: Sequence[SnapshotWork]) -> None:
    everything: list[Work[Any]] = [work, *taken]
    with base.Transaction() as transaction:
        for one in everything:
            actions = base.end_actions(one.record, one.workflow.done)
            transaction.update(one.record, actions, one.is_ours, lambda: base.state_changed(work.record))


def fail_create_group_snapshot(payload: Payload) -> None:
    """Delete the snapshots as far as the backend allows, and report the reason; the removal releases the quota."""
    work = GroupSnapshotWork.take(payload)
    for one in _members(work):
        _undo(one)
        _fail_member(one, Action.SNAPSHOT_CREATE, Detail.SNAPSHOT_CREATE_ERROR)
    work.fail(Action.GROUP_SNAPSHOT_CREATE, Detail.SNAPSHOT_CREATE_ERROR)


def _undo(work: SnapshotWork) -> None:
    """Record first that it is not taken: an execution that starts again after a crash in here must take it again."""
    with contextlib.suppress(*base.moved_on(Snapshot)):
        work.update([Snapshot.progress.set('0%')])
    snapshot, volume = work.record, work.record.find_volume()
    try:
        backends.driver(volume).delete_snapshot(backends.snapshot_ref(snapshot, volume))
    except errors.CinderlessError as error:
        logger.warning('snapshot %s may be left until it is deleted: %s', snapshot.id, error.message)


def _fail_member(work: SnapshotWork, action: Action, detail: Detail) -> None:
    with contextlib.suppress(*base.moved_on(Snapshot)):
        work.fail(action, detail)


def delete_group_snapshot(payload: Payload) -> dict[str, bool]:
    """Remove the snapshots while there is time, then the group snapshot; {'done': False} when time ran out."""
    work = GroupSnapshotWork.take(payload)
    for one in _members(work):
        if not function_time.has_time():
            return {'done': False}
        remove_snapshot(one)
    if group_snapshots.snapshots_of(work.record):
        raise errors.SnapshotIsBusy(id=work.record.id, reason='some of its snapshots were taken out of its removal')
    _remove(work)
    return {'done': True}


def _remove(work: GroupSnapshotWork) -> None:
    group_snapshot = work.record
    group = Group(group_snapshot.project_id, group_snapshot.group_id)
    with base.Transaction() as transaction:
        transaction.delete(group_snapshot, work.is_ours)
        actions = [Group.group_snapshot_count.add(-1), *base.touched(Group)]
        transaction.update(group, actions, Group.group_snapshot_count >= 1, lambda: base.state_changed(group_snapshot))


def fail_delete_group_snapshot(payload: Payload) -> None:
    """Report why the group snapshot, and those of its snapshots that are left, are still there.

    A backend that does not answer only postpones their removal.
    """
    work = GroupSnapshotWork.take(payload)
    action, detail = Action.GROUP_SNAPSHOT_DELETE, Detail.SNAPSHOT_DELETE_ERROR
    if postponing.postpone(work, action, detail):
        return
    for one in _members(work):
        _fail_member(one, Action.SNAPSHOT_DELETE, Detail.SNAPSHOT_DELETE_ERROR)
    work.fail(action, detail)
