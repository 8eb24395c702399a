"""The part of Cinder's schema that is read: its revisions, tables and columns.

Source: cinder/db/migrations and cinder/db/models.py of Cinder 29. The revisions below differ in types and indexes, not
in the columns that are read here; tests build each of them with Cinder's own alembic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: Alembic revision -> the releases of Cinder whose database has it.
REVISIONS: Mapping[str, str] = {
    'daa98075b90d': '2023.1',
    '89aa6f9639f9': '2023.2',
    'b8660621f1b9': 'between 2023.2 and 2024.1',
    '9ab1b092a404': 'between 2023.2 and 2024.1',
    'b7b88f50aab5': 'between 2023.2 and 2024.1',
    '9c74c1c6971f': '2024.1 to 2026.2 (Cinder 24 to 29)',
}

#: Earlier revisions, which are refused by name.
OLDER: Mapping[str, str] = {'921e1a36b076': 'Xena or Yoga', 'c92a3e68beed': 'Zed'}

#: Columns that every row is read with, where the table has them.
COMMON = ('created_at', 'updated_at', 'deleted')

#: A volume's and a snapshot's ``provider_auth`` is never read: it is a secret of Cinder's target.
TABLES: Mapping[str, Sequence[str]] = {
    'attachment_specs': ('id',),
    'backup_metadata': ('id', 'key', 'value', 'backup_id'),
    'backups': (
        *('id', 'user_id', 'project_id', 'volume_id', 'host', 'availability_zone', 'display_name', 'status'),
        *('display_description', 'container', 'parent_id', 'fail_reason', 'service_metadata', 'service', 'size'),
        *('object_count', 'num_dependent_backups', 'snapshot_id', 'data_timestamp', 'encryption_key_id'),
    ),
    'cgsnapshots': ('id', 'consistencygroup_id', 'project_id', 'status'),
    'consistencygroups': ('id', 'project_id', 'name', 'status'),
    'default_volume_types': ('project_id', 'volume_type_id'),
    'encryption': ('encryption_id', 'cipher', 'key_size', 'provider', 'control_location', 'volume_type_id'),
    'group_snapshots': (
        *('id', 'group_id', 'user_id', 'project_id', 'name', 'description', 'status', 'group_type_id'),
    ),
    'group_type_projects': ('id', 'group_type_id', 'project_id'),
    'group_type_specs': ('id', 'key', 'value', 'group_type_id'),
    'group_types': ('id', 'name', 'description', 'is_public'),
    'group_volume_type_mapping': ('id', 'volume_type_id', 'group_id'),
    'groups': (
        *('id', 'user_id', 'project_id', 'host', 'availability_zone', 'name', 'description', 'status'),
        *('group_type_id', 'group_snapshot_id', 'source_group_id', 'replication_status'),
    ),
    'messages': (
        *('id', 'project_id', 'request_id', 'resource_type', 'resource_uuid', 'detail_id', 'action_id', 'expires_at'),
    ),
    'quality_of_service_specs': ('id', 'specs_id', 'key', 'value'),
    'quota_classes': ('id', 'class_name', 'resource', 'hard_limit'),
    'quota_usages': ('id', 'project_id', 'resource', 'in_use', 'reserved'),
    'quotas': ('id', 'project_id', 'resource', 'hard_limit'),
    'services': ('id', 'host', 'binary', 'disabled', 'disabled_reason', 'frozen'),
    'snapshot_metadata': ('id', 'key', 'value', 'snapshot_id'),
    'snapshots': (
        *('id', 'use_quota', 'user_id', 'project_id', 'volume_id', 'cgsnapshot_id', 'group_snapshot_id', 'status'),
        *('progress', 'volume_size', 'display_name', 'display_description', 'encryption_key_id', 'volume_type_id'),
    ),
    'transfers': ('id', 'volume_id', 'display_name', 'salt', 'crypt_hash', 'no_snapshots', 'accepted'),
    'volume_admin_metadata': ('id', 'key', 'value', 'volume_id'),
    'volume_attachment': (
        *('id', 'volume_id', 'instance_uuid', 'attached_host', 'mountpoint', 'attach_time', 'detach_time'),
        *('attach_status', 'attach_mode', 'connection_info', 'connector'),
    ),
    'volume_glance_metadata': ('id', 'volume_id', 'key', 'value'),
    'volume_metadata': ('id', 'key', 'value', 'volume_id'),
    'volume_type_extra_specs': ('id', 'key', 'value', 'volume_type_id'),
    'volume_type_projects': ('id', 'volume_type_id', 'project_id'),
    'volume_types': ('id', 'name', 'description', 'qos_specs_id', 'is_public'),
    'volumes': (
        *('id', '_name_id', 'use_quota', 'user_id', 'project_id', 'snapshot_id', 'host', 'size', 'status'),
        *('availability_zone', 'migration_status', 'scheduled_at', 'launched_at', 'terminated_at', 'display_name'),
        *('display_description', 'volume_type_id', 'source_volid', 'encryption_key_id', 'consistencygroup_id'),
        *('group_id', 'bootable', 'multiattach', 'replication_status', 'shared_targets'),
    ),
    # Read by none: dumps are written in the order of names, so a dump that ends early lacks it.
    'workers': ('id',),
}

#: Primary keys other than ``id``.
KEYS: Mapping[str, str] = {'default_volume_types': 'project_id', 'encryption': 'encryption_id'}


def key_of(table: str) -> str:
    """Return the column by which a table is read in pages."""
    return KEYS.get(table, 'id')


def columns_of(table: str) -> list[str]:
    """Return the columns of a table that are read."""
    return [*TABLES[table], *COMMON]
