"""Choose the backend of a group: one where all of its types find a pool."""

from __future__ import annotations

import time

from chalicelib.models import Group, GroupType, VolumeType
from chalicelib.operations import group_types, pools, volume_types
from chalicelib.scheduler import filter_scheduler
from chalicelib.scheduler.hosts import extract_host
from chalicelib.scheduler.request_spec import RequestSpec


def choose_backend(group: Group, *, fresh: bool = False) -> tuple[str | None, str]:
    """Return the backend where all of the group's types find a pool, and why there is none if there is none."""
    group_type = group_types.by_id(group.group_type_id)
    decision = filter_scheduler.schedule_group(
        _spec(group, None, group_type),
        [_spec(group, volume_types.by_id(id), None) for id in group.volume_type_ids],
        pools.states(fresh=fresh),
        pools.config(),
        now=time.time(),
    )
    return (extract_host(decision.winner), '') if decision.winner else (None, decision.summary())


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
