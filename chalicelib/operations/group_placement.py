"""Choose the backend of a group: one where all of its types find a pool."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from chalicelib.models import Group, GroupType, VolumeType
from chalicelib.operations import pools
from chalicelib.scheduler import filter_scheduler
from chalicelib.scheduler.filter_scheduler import GroupDecision
from chalicelib.scheduler.hosts import extract_host
from chalicelib.scheduler.pools import PoolState
from chalicelib.scheduler.request_spec import RequestSpec


def choose_backend(group: Group, group_type: GroupType, types: Iterable[VolumeType]) -> str | None:
    """Return a backend where all of the group's types find a pool; None when there is none.

    Nothing is claimed, so no condition would notice an old pool: all are read.
    """
    winner = decide(group, group_type, list(types), pools.states(fresh=True)).winner
    return extract_host(winner) if winner else None


def decide(
    group: Group, group_type: GroupType, types: Sequence[VolumeType], known: Sequence[PoolState]
) -> GroupDecision:
    """Decide which of these pools are of a backend where all of the group's types find one."""
    return filter_scheduler.schedule_group(
        _spec(group, None, group_type),
        [_spec(group, kind, None) for kind in types],
        list(known),
        pools.config(),
        now=time.time(),
    )


def _spec(group: Group, kind: VolumeType | None, group_type: GroupType | None) -> RequestSpec:
    """Return the scheduler's request for the group itself, or for any volume of one of its types."""
    return RequestSpec(
        size=0,
        availability_zone=group.availability_zone,
        extra_specs=kind.extra_specs if kind else {},
        group_specs=group_type.group_specs if group_type else None,
        volume_properties={'size': 0, 'project_id': group.project_id, 'user_id': group.user_id},
        operation='create_group',
    )
