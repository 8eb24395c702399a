"""Which volumes a group has, and how a new one joins it: shared by groups and by the creation of volumes."""

from __future__ import annotations

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Group, Volume, VolumeType, base
from chalicelib.operations import common
from chalicelib.rules import states
from chalicelib.scheduler.hosts import in_backend

#: What is done to a group is one transaction with two writes for each volume, of a hundred at most.
MAX_VOLUMES = 47


def volumes_of(group: Group) -> list[Volume]:
    """Return the group's volumes, oldest first."""
    found = [volume for volume in base.every(Volume, group.project_id) if volume.group_id == group.id]
    return sorted(found, key=lambda volume: (volume.created_at, volume.id))


def joinable(context: Context, id: str) -> Group:
    """Return the group that a new volume is to join; raises GroupNotFound, InvalidGroup."""
    group = common.find(context, Group, id)
    if group.project_id != context.project_id:
        raise errors.GroupNotFound(id=id)
    if group.status not in states.JOINABLE:
        raise _not_joinable(group)
    if group.host is None:
        raise errors.InvalidGroup(reason=f'Group {id} has no backend yet; try again when it is available.')
    return group


def _not_joinable(group: Group) -> errors.InvalidGroup:
    return errors.InvalidGroup(reason=f'Group {group.id} must be available or creating, but is {group.status}.')


def check_type(group: Group, kind: VolumeType) -> None:
    """Raise InvalidInput for a type that the group does not have."""
    if kind.id not in group.volume_type_ids:
        raise errors.InvalidInput(
            reason=f'Invalid volume_type provided: {kind.id} (requested type must be supported by this group).'
        )


def check_backend(group: Group, host: str | None) -> None:
    """Raise InvalidInput for a volume whose data must be on another backend than the group's."""
    if host is not None and group.host is not None and not in_backend(host, group.host):
        raise errors.InvalidInput(
            reason=f'The source is on another storage backend than the volumes of group {group.id}.'
        )


def add_member_to(transaction: base.Transaction, volume: Volume) -> None:
    """Count a new volume in its group, under the condition that the group accepts volumes and is not full."""
    group = Group(volume.project_id, volume.group_id)
    actions = [Group.volume_count.add(1), *base.touched(Group)]
    condition = Group.status.is_in(*sorted(states.JOINABLE)) & (Group.volume_count < MAX_VOLUMES)
    transaction.update(group, actions, condition, lambda: _refusal(group))


def _refusal(group: Group) -> errors.InvalidGroup:
    group = group.reload()
    if group.status not in states.JOINABLE:
        return _not_joinable(group)
    return full(group)


def full(group: Group) -> errors.InvalidGroup:
    """The error of a group that can take no more volumes."""
    return errors.InvalidGroup(reason=f'Group {group.id} would have more than {MAX_VOLUMES} volumes, the most it can.')
