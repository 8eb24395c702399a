"""Generic volume groups and their snapshots."""

from __future__ import annotations

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute

from chalicelib import errors
from chalicelib.models import base


class Group(base.StatefulRecord):
    """Volumes that are snapshotted together. The volumes name their group (``group_id``)."""

    Meta = base.meta('groups')
    resource = 'group'
    not_found = errors.GroupNotFound

    group_type_id = UnicodeAttribute()
    volume_type_ids = JSONAttribute(default=list)
    availability_zone = UnicodeAttribute(null=True)
    #: The backend, ``host@backend``, of all its volumes.
    host = UnicodeAttribute(null=True)
    group_snapshot_id = UnicodeAttribute(null=True)
    source_group_id = UnicodeAttribute(null=True)
    replication_status = UnicodeAttribute(null=True)
    #: Counters, so that one condition checks everything that depends on the group.
    volume_count = NumberAttribute(default=0)
    group_snapshot_count = NumberAttribute(default=0)


class GroupSnapshot(base.StatefulRecord):
    """Snapshots of all volumes of a group. The snapshots name it (``group_snapshot_id``)."""

    Meta = base.meta('group-snapshots')
    resource = 'group_snapshot'
    not_found = errors.GroupSnapshotNotFound

    group_id = UnicodeAttribute()
    group_type_id = UnicodeAttribute()
