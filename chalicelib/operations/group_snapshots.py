"""Group snapshots: one snapshot of each volume of a group, accepted together and removed together."""

from __future__ import annotations

import collections
import contextlib
import functools
import uuid
from collections.abc import Iterable

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Group, GroupSnapshot, Snapshot, Volume, base, claims
from chalicelib.operations import common, quotas, services, snapshots, volumes
from chalicelib.operations.group_members import volumes_of
from chalicelib.rules import quotas as quota_rules
from chalicelib.rules import states, workflows


def get(context: Context, id: str) -> GroupSnapshot:
    """Return the group snapshot, of the caller's project or (administrators) of any. Raises GroupSnapshotNotFound."""
    return common.find(context, GroupSnapshot, id)


def list_(context: Context, query: common.ListQuery) -> tuple[list[GroupSnapshot], bool]:
    """Return one page of group snapshots, newest first unless the query sorts otherwise, and whether more follow."""
    return common.list_records(context, GroupSnapshot, query)


def snapshots_of(group_snapshot: GroupSnapshot) -> list[Snapshot]:
    """Return the snapshots that it is made of, oldest first."""
    found = [
        snapshot
        for snapshot in base.every(Snapshot, group_snapshot.project_id)
        if snapshot.group_snapshot_id == group_snapshot.id
    ]
    return sorted(found, key=lambda snapshot: (snapshot.created_at, snapshot.id))


@claims.made_once('GroupSnapshot')
def create(context: Context, group_id: str, *, name: str | None, description: str | None) -> GroupSnapshot:
    """Accept a snapshot of every volume of a group: records, quota and counters in one transaction."""
    group = common.find(context, Group, group_id)
    if group.status in states.UNSETTLED:
        raise errors.InvalidGroup(reason=f'Group {group_id} is {group.status}: it must be settled to be snapshotted.')
    members = volumes_of(group)
    if not members:
        raise errors.InvalidGroup(reason=f'Group {group_id} has no volumes: there is nothing to snapshot.')
    for volume in members:
        _check(volume)
    services.refuse_frozen(group.host)
    made = _record(context, group, name, description)
    taken = [snapshots.in_group(context, volume, made) for volume in members]

    def add_writes_to(transaction: base.Transaction) -> None:
        transaction.put(made, GroupSnapshot.id.does_not_exist())
        _add_count_to(transaction, group, len(members))
        for snapshot, volume in zip(taken, members, strict=True):
            _add_snapshot_to(transaction, snapshot, volume)

    quotas.commit(group.project_id, quota(taken), add_writes_to)
    common.send(context, 'create', made)
    return made


def _check(volume: Volume) -> None:
    """Raise InvalidVolume for a volume whose data cannot be frozen."""
    snapshots.check_obstacles(volume)
    if volume.status not in states.FREEZABLE:
        raise errors.InvalidVolume(
            reason=f'Volume {volume.id} status must be {", ".join(states.FREEZABLE)}, '
            f'but current status is: {volume.status}.'
        )


def _record(context: Context, group: Group, name: str | None, description: str | None) -> GroupSnapshot:
    row = workflows.GROUP_SNAPSHOT['create']
    return GroupSnapshot(
        group.project_id,
        str(uuid.uuid4()),
        created_at=base.now(),
        user_id=context.user_id,
        name=name,
        description=description,
        group_id=group.id,
        group_type_id=group.group_type_id,
        status=row.running,
        owner=context.request_id,
        in_flight='1',
        deadline=base.first_deadline(row),
        operation=common.operation(row),
    )


def _add_count_to(transaction: base.Transaction, group: Group, members: int) -> None:
    changed = errors.InvalidGroup(reason=f'Group {group.id} was changed by another request; try again.')
    transaction.update(
        group,
        [Group.group_snapshot_count.add(1), *base.touched(Group)],
        (Group.status == group.status) & (Group.volume_count == members),
        lambda: changed,
    )


def _add_snapshot_to(transaction: base.Transaction, snapshot: Snapshot, volume: Volume) -> None:
    transaction.put(snapshot, Snapshot.id.does_not_exist())
    changed = errors.InvalidVolume(reason=f'Volume {volume.id} was changed by another request; try again.')
    transaction.update(
        volume,
        [Volume.snapshot_count.add(1), *base.touched(Volume)],
        Volume.status.is_in(*states.FREEZABLE)
        & volumes.is_not_migrating()
        & (Volume.size == volume.size)
        & (Volume.group_id == volume.group_id),
        lambda: changed,
    )


def quota(taken: Iterable[Snapshot]) -> dict[str, int]:
    """Return what snapshots count for in the project's quota, those of their types included."""
    deltas: collections.Counter[str] = collections.Counter()
    for snapshot in taken:
        wanted = {'snapshots': 1, 'gigabytes': int(snapshot.volume_size)}
        deltas.update(quota_rules.with_type(wanted, snapshot.volume_type_id))
    return dict(deltas)


def delete(context: Context, id: str) -> None:
    """Accept the removal of a group snapshot with all of its snapshots, none of which may be being read."""
    group_snapshot = get(context, id)
    row = workflows.GROUP_SNAPSHOT['delete']
    with base.Transaction() as transaction:
        transaction.update(
            group_snapshot,
            base.begin_actions(GroupSnapshot, row, context.request_id, common.operation(row)),
            base.is_allowed(GroupSnapshot, row),
            functools.partial(_not_removable, group_snapshot),
        )
        for snapshot in snapshots_of(group_snapshot):
            _add_removal_to(transaction, context, snapshot)
    common.send(context, 'delete', group_snapshot)


def _not_removable(group_snapshot: GroupSnapshot) -> errors.InvalidGroupSnapshot:
    group_snapshot.reload()
    return errors.InvalidGroupSnapshot(
        reason='GroupSnapshot status must be available or error, '
        'and no Group can be currently using it as source for its creation.'
    )


def _add_removal_to(transaction: base.Transaction, context: Context, snapshot: Snapshot) -> None:
    """Mark a snapshot as being removed with its group snapshot: the reconciler need not look at it."""
    row = workflows.SNAPSHOT['delete_in_group']
    actions = [
        Snapshot.status.set(row.running),
        Snapshot.previous_status.set(snapshot.status),
        Snapshot.operation.set(common.operation(row)),
        Snapshot.owner.set(context.request_id),
        *base.touched(Snapshot),
    ]
    condition = base.is_allowed(Snapshot, row) & (Snapshot.reader_count == 0)
    transaction.update(snapshot, actions, condition, lambda: _snapshot_stays(snapshot))


def _snapshot_stays(snapshot: Snapshot) -> errors.InvalidGroupSnapshot:
    return errors.InvalidGroupSnapshot(
        reason=f'Snapshot {snapshot.id} is {snapshot.status} with {snapshot.reader_count} readers: '
        'all snapshots must be settled and unread to be deleted together.'
    )


def reset_status(context: Context, id: str, status: str) -> None:
    """Set the status for an administrator; an operation in progress cannot change the record any more.

    Snapshots that the operation was creating or deleting become ``error``: no other operation would end them.
    """
    group_snapshot = get(context, id)
    owner = group_snapshot.owner
    base.update(group_snapshot, base.end_actions(group_snapshot, status))
    for snapshot in snapshots_of(group_snapshot) if owner else ():
        if snapshot.owner == owner:
            with contextlib.suppress(*base.moved_on(Snapshot)):
                base.update(snapshot, base.end_actions(snapshot, states.ERROR), Snapshot.owner == owner)
