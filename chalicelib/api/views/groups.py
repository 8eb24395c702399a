"""The views of groups and their snapshots, and of legacy consistency groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chalicelib.api.view import View, attribute, field

#: The view of the short lists and create.
BRIEF = View(attribute('id'), attribute('name'))

#: The common members of a group in both APIs.
_GROUP = (
    attribute('id'),
    attribute('status'),
    attribute('availability_zone'),
    attribute('created_at'),
    attribute('name'),
    attribute('description'),
)

DETAIL = View(
    *_GROUP,
    attribute('group_type', 'group_type_id'),
    attribute('volume_types', 'volume_type_ids'),
    attribute('group_snapshot_id', since='3.14'),
    attribute('source_group_id', since='3.14'),
    attribute('replication_status', since='3.38'),
    attribute('project_id', since='3.58', policy='group:group_project_attribute'),
)

CONSISTENCY_GROUP = View(*_GROUP, attribute('volume_types', 'volume_type_ids'))


def with_volumes(volumes: Mapping[str, Sequence[str]]) -> View:
    """Return a view of groups with the ids of their volumes, given by group."""
    return DETAIL.and_(field('volumes', lambda group, request: list(volumes.get(group.id, ())), since='3.25'))


CREATED_SNAPSHOT = BRIEF.and_(attribute('group_type_id'))

SNAPSHOT = View(
    attribute('id'),
    attribute('group_id'),
    attribute('group_type_id'),
    attribute('status'),
    attribute('created_at'),
    attribute('name'),
    attribute('description'),
    attribute('project_id', since='3.58', policy='group:group_snapshot_project_attribute'),
)

CGSNAPSHOT = View(
    attribute('id'),
    attribute('consistencygroup_id', 'group_id'),
    attribute('status'),
    attribute('created_at'),
    attribute('name'),
    attribute('description'),
)
