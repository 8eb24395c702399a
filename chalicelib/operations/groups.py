"""Groups: find, list, change, remove, and end what waits for their volumes. New ones are in ``group_creation``.

A group that is copied or removed with its volumes has no workflow of its own: each volume runs its own workflow, and
the one that ends last ends the group (``settle``). The reconciler completes what a dead process left.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from typing import Any

from pynamodb.expressions.condition import Condition

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Group, Volume, base
from chalicelib.operations import common, keys, messages, quotas, reservations, services, volumes
from chalicelib.operations.group_members import MAX_VOLUMES, full, volumes_of
from chalicelib.rules import states, workflows
from chalicelib.rules.messages import Action, Detail
from chalicelib.scheduler.hosts import in_backend


def get(context: Context, id: str) -> Group:
    """Return the group, of the caller's project or (administrators) of any. Raises GroupNotFound."""
    return common.find(context, Group, id)


def list_(context: Context, query: common.ListQuery) -> tuple[list[Group], bool]:
    """Return one page of groups, newest first unless the query sorts otherwise, and whether more follow."""
    return common.list_records(context, Group, query)


def members(context: Context) -> dict[str, list[str]]:
    """Return {group id: ids of its volumes} over the project's groups; administrators get all projects'."""
    found: dict[str, list[str]] = {}
    for volume in base.every(Volume, None if context.is_admin else context.project_id):
        if volume.group_id is not None:
            found.setdefault(volume.group_id, []).append(volume.id)
    return found


def update(
    context: Context,
    id: str,
    changes: Mapping[str, Any],
    *,
    add: list[str] | None = None,
    remove: list[str] | None = None,
) -> None:
    """Change name and description, let volumes join and leave: all of it or nothing.

    Without volumes every status is allowed, and becomes available, as in Cinder.
    """
    group = get(context, id)
    joining = [_joining(context, group, one) for one in dict.fromkeys(add or [])]
    leaving = [_leaving(context, group, one) for one in dict.fromkeys(remove or [])]
    if both := {one.id for one in joining} & {one.id for one in leaving}:
        raise errors.InvalidVolume(reason=f'Volumes {sorted(both)} cannot both join and leave the group.')
    if (joining or leaving) and group.status != states.AVAILABLE:
        raise errors.InvalidGroup(reason=f'The status of group {id} must be available, but is {group.status}.')
    actions = [common.set_or_remove(getattr(Group, key), value) for key, value in changes.items()]
    growth = len(joining) - len(leaving)
    counted = [Group.volume_count.add(growth)] if growth else []
    condition = _updatable(growth) if joining or leaving else Group.id.exists()
    with base.Transaction() as transaction:
        transaction.update(
            group,
            [*base.end_actions(group, states.AVAILABLE), *actions, *counted],
            condition,
            lambda: _changed(group, growth),
        )
        for volume in joining:
            _add_joining_to(transaction, group, volume)
        for volume in leaving:
            _add_leaving_to(transaction, group, volume)


def _updatable(growth: int) -> Condition:
    condition: Condition = (Group.status == states.AVAILABLE) & (Group.volume_count <= MAX_VOLUMES - max(growth, 0))
    return condition


def _changed(group: Group, growth: int) -> errors.InvalidGroup:
    group = group.reload()
    if group.volume_count + growth > MAX_VOLUMES:
        return full(group)
    return errors.InvalidGroup(reason=f'Group {group.id} is {group.status} by now; try again.')


def _joining(context: Context, group: Group, id: str) -> Volume:
    volume = _member(context, group, id, 'add')
    obstacles = (
        (volume.group_id is not None, f'it is already in group {volume.group_id}'),
        (
            volume.volume_type_id not in group.volume_type_ids,
            f'volume type {volume.volume_type_id} is not supported by the group',
        ),
        (volume.status not in states.JOINING, _invalid_state(volume, states.JOINING)),
        (volume.migration_status not in states.NOT_MIGRATING, 'it is being migrated'),
        (not volume.host or not in_backend(volume.host, str(group.host)), 'it is on another backend'),
    )
    for holds, reason in obstacles:
        if holds:
            raise errors.InvalidVolume(reason=f'Cannot add volume {id} to group {group.id} because {reason}.')
    return volume


def _leaving(context: Context, group: Group, id: str) -> Volume:
    volume = _member(context, group, id, 'remove')
    for holds, reason in (
        (volume.group_id != group.id, 'it is not in the group'),
        (volume.status not in states.LEAVING, _invalid_state(volume, states.LEAVING)),
    ):
        if holds:
            raise errors.InvalidVolume(reason=f'Cannot remove volume {id} from group {group.id} because {reason}.')
    return volume


def _invalid_state(volume: Volume, valid: tuple[str, ...]) -> str:
    return f'volume is in an invalid state: {volume.status}. Valid states are: {valid}'


def _member(context: Context, group: Group, id: str, verb: str) -> Volume:
    with contextlib.suppress(errors.VolumeNotFound):
        volume = volumes.get(context, id)
        if volume.project_id == group.project_id:
            return volume
    reasons = {
        'add': f'to group {group.id} because volume cannot be found',
        'remove': f'from group {group.id} because it is not in the group',
    }
    raise errors.InvalidVolume(reason=f'Cannot {verb} volume {id} {reasons[verb]}.')


def _add_joining_to(transaction: base.Transaction, group: Group, volume: Volume) -> None:
    unmoved = (Volume.host == volume.host) & volumes.is_not_migrating() & reservations.has_type(volume)
    transaction.update(
        volume,
        [Volume.group_id.set(group.id), *base.touched(Volume)],
        Volume.group_id.does_not_exist() & Volume.status.is_in(*sorted(states.JOINING)) & unmoved,
        lambda: errors.InvalidVolume(reason=f'Volume {volume.id} was changed by another request; try again.'),
    )


def _add_leaving_to(transaction: base.Transaction, group: Group, volume: Volume) -> None:
    transaction.update(
        volume,
        [Volume.group_id.remove(), *base.touched(Volume)],
        (Volume.group_id == group.id) & Volume.status.is_in(*sorted(states.LEAVING)),
        lambda: errors.InvalidVolume(reason=f'Volume {volume.id} was changed by another request; try again.'),
    )


def delete(context: Context, id: str, *, delete_volumes: bool) -> None:
    """Accept the removal of a group that has no group snapshots, with its volumes or without any.

    The removal of all its volumes begins in the same transaction: none may be attached, have snapshots, be migrating or
    be read.
    """
    group = get(context, id)
    volumes_ = volumes_of(group)
    if volumes_ and not delete_volumes:
        raise errors.InvalidGroup(
            reason=f'Group {id} still contains volumes. The delete-volumes flag is required to delete it.'
        )
    going = [volume for volume in volumes_ if volume.status != states.DELETING]
    services.refuse_frozen(group.host)
    action = 'delete_with_volumes' if delete_volumes else 'delete'
    with base.Transaction() as transaction:
        _add_removal_to(transaction, context, group, action, len(volumes_))
        for volume in going:
            _add_volume_removal_to(transaction, context, group, volume)
    for volume in going:
        keys.release(volume.encryption_key_id)
        common.send(context, 'delete', volume)
    if not volumes_:
        common.send(context, action, group)


def _add_removal_to(transaction: base.Transaction, context: Context, group: Group, action: str, members: int) -> None:
    row = workflows.GROUP[action]
    operation = common.operation(row, members=members)
    transaction.update(
        group,
        base.begin_actions(Group, row, context.request_id, operation),
        base.is_allowed(Group, row) & (Group.group_snapshot_count == 0) & (Group.volume_count == members),
        lambda: _not_removable(group, row),
    )


def _not_removable(group: Group, row: workflows.Workflow) -> errors.InvalidGroup:
    group = group.reload()
    if group.group_snapshot_count:
        return errors.InvalidGroup(reason=f'Group {group.id} has dependent group snapshots; delete them first.')
    if group.status not in row.allowed:
        return errors.InvalidGroup(
            reason=f'Group status must be {" or ".join(sorted(row.allowed))}, but current status is: {group.status}'
        )
    return errors.InvalidGroup(reason=f'The volumes of group {group.id} are being changed; try again.')


def _add_volume_removal_to(transaction: base.Transaction, context: Context, group: Group, volume: Volume) -> None:
    row = workflows.VOLUME['delete']
    operation = common.operation(row, cascade=False)
    condition = (
        base.is_allowed(Volume, row)
        & (Volume.attach_status != states.ATTACHED)
        & volumes.is_not_migrating()
        & (Volume.group_id == group.id)
        & (Volume.reader_count == 0)
        & (Volume.snapshot_count == 0)
    )
    actions = [
        *base.begin_actions(Volume, row, context.request_id, operation),
        Volume.terminated_at.set(base.now()),
    ]
    transaction.update(volume, actions, condition, lambda: _volume_stays(volume))


def _volume_stays(volume: Volume) -> errors.InvalidVolume:
    return errors.InvalidVolume(
        reason=f'Volume {volume.id} is {volume.status}: it must be available or in error, and must not be attached, '
        'have snapshots, be migrating or be read by a clone or backup, to be deleted with its group.'
    )


def reset_status(context: Context, id: str, status: str) -> None:
    """Set the status for an administrator; an operation in progress cannot change the record any more."""
    group = get(context, id)
    base.update(group, base.end_actions(group, status))


def settle_group_of(volume: Volume) -> None:
    """End what the volume's group waits for, if this volume was the last; called when the volume is done."""
    if volume.group_id is None:
        return
    with contextlib.suppress(errors.GroupNotFound):
        settle(Group.find(volume.project_id, volume.group_id))


def settle(group: Group) -> bool:
    """End what waits for the group's volumes, once all of them are done; whether it is ended."""
    operation = group.operation or {}
    if not operation.get('members'):
        return group.owner is None
    members = volumes_of(group)
    if any(volume.status in states.GROUP_WORK for volume in members):
        return False
    held = (Group.owner == group.owner) & (Group.status == group.status)
    try:
        if operation['action'] == 'create_from_src':
            _settle_creation(group, members, held)
        elif members:
            fail(group, Action.GROUP_DELETE, f'volumes {_ids(members)} could not be deleted', held)
        else:
            remove(group, held)
    except errors.StateChanged:  # the end of another volume, at the same time
        return False
    return True


def _settle_creation(group: Group, members: list[Volume], held: Condition) -> None:
    failed = [volume for volume in members if states.is_error(volume.status)]
    if failed or len(members) < (group.operation or {})['members']:
        fail(group, Action.GROUP_CREATE, f'volumes {_ids(failed)} could not be created', held)
    else:
        base.update(group, base.end_actions(group, workflows.GROUP['create_from_src'].done), held)


def _ids(members: list[Volume]) -> str:
    return ', '.join(volume.id for volume in members)


def fail(group: Group, action: Action, cause: str, held: Condition, error: str = '') -> None:
    """Set a group to ``error`` and write a user message with the cause."""
    messages.create(group, str(group.owner), action, Detail.UNKNOWN_ERROR, cause=cause, error=error)
    base.update(group, base.end_actions(group, states.ERROR), held)


def remove(group: Group, held: Condition) -> None:
    """Delete the record of a group without volumes, and release its quota."""
    quotas.commit(group.project_id, {'groups': -1}, functools.partial(_add_group_removal_to, group, held))


def _add_group_removal_to(group: Group, held: Condition, transaction: base.Transaction) -> None:
    transaction.delete(group, held & (Group.volume_count == 0))
