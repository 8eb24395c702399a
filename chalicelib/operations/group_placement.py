"""Choose the backend of a group: one where all of its types find a pool."""

from __future__ import annotations

import time
from collections.abc import Sequence

from chalicelib.models import Group, GroupType, VolumeType
from chalicelib.operations import group_types, pools, volume_types
from chalicelib.scheduler import filter_scheduler
from chalicelib.scheduler.filter_scheduler import GroupDecision
from chalicelib.scheduler.hosts import extract_host
from chalicelib.scheduler.pools import PoolState
from chalicelib.scheduler.request_spec import RequestSpec


def choose_backend(group: Group) -> str | None:
    """Return the backend that pools which are some seconds old speak for; None when there is none."""
    winner = decide(group, pools.states()).winner
    return extract_host(winner) if winner else None


def decide(group: Group, known: Sequence[PoolState]) -> GroupDecision:
    """Decide which of these pools are of a backend where all of the group's types find one."""
    group_type = group_types.by_id(group.group_type_id)
    return filter_scheduler.schedule_group(
        _spec(group, None, group_type),
        [_spec(group, volume_types.by_id(id), None) for id in group.volume_type_ids],
        list(known),
        pools.config(),
        now=time.time(),
    )


def _spec(group: Group, kind: VolumeType | None, group_type: GroupType | None) -> RequestSpec:
    """What is asked of the scheduler for the group itself, or for any volume of one of its types."""
    return RequestSpec(
        size=0,
        availability_zone=group.availability_zone,
        extra_specs=kind.extra_specs if kind else {},
        group_specs=group_type.group_specs if group_type else None,
        volume_properties={'size': 0, 'project_id': group.project_id, 'user_id': group.user_id},
        operation='create_group',
    )
