"""The notifications that tasks emit for other systems, with Cinder's event names.

Cinder's managers emit ``<event>.start`` when they begin and ``<event>.end`` when they are done; so do the workflows'
states here. Attach, detach and what the API does alone emit none: their caller would have to wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from chalicelib.rules.states import REMOVED


class Notice(NamedTuple):
    """The events that a task emits for its record: ``start`` before its work, ``end`` after it.

    ``status``: emit ``end`` only if the record has this status then (REMOVED: gone); None: whenever the task succeeds.
    ``action``: emit ``end`` only for this action of a workflow that has several.
    """

    resource: str
    start: str = ''
    end: str = ''
    status: str | None = None
    action: str = ''

    @property
    def needs_before(self) -> bool:
        """Whether the record must be read before the task: for its start event, or since it is gone afterwards."""
        return bool(self.start) or self.status == REMOVED


#: Task -> the events that it emits.
NOTICES: Mapping[str, Notice] = {
    'schedule': Notice('volume', start='volume.create.start'),
    'provision': Notice('volume', end='volume.create.end', status='available'),
    'complete_download': Notice('volume', end='volume.create.end', action='download'),
    'delete_volume': Notice('volume', 'volume.delete.start', 'volume.delete.end', REMOVED),
    'extend_volume': Notice('volume', 'volume.resize.start', 'volume.resize.end'),
    'create_snapshot': Notice('snapshot', 'snapshot.create.start', 'snapshot.create.end'),
    'delete_snapshot': Notice('snapshot', 'snapshot.delete.start', 'snapshot.delete.end', REMOVED),
    'open_backup': Notice('backup', start='backup.create.start'),
    'complete_backup': Notice('backup', end='backup.create.end'),
    'open_restore': Notice('backup', start='backup.restore.start'),
    'complete_restore': Notice('backup', end='backup.restore.end'),
    'delete_manifest': Notice('backup', start='backup.delete.start'),
    'delete_backup': Notice('backup', end='backup.delete.end', status=REMOVED),
}

#: Resource -> the fields of its events: (name in Cinder's payload, the record's attribute). Events contain a new
#: attribute of a record only if it is named here; never add a secret.
FIELDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    'volume': (
        ('volume_id', 'id'),
        ('tenant_id', 'project_id'),
        ('user_id', 'user_id'),
        ('host', 'host'),
        ('availability_zone', 'availability_zone'),
        ('volume_type', 'volume_type_id'),
        ('display_name', 'name'),
        ('size', 'size'),
        ('status', 'status'),
        ('snapshot_id', 'snapshot_id'),
        ('replication_status', 'replication_status'),
        ('created_at', 'created_at'),
        ('launched_at', 'launched_at'),
        ('metadata', 'metadata'),
        ('glance_metadata', 'volume_image_metadata'),
    ),
    'snapshot': (
        ('snapshot_id', 'id'),
        ('tenant_id', 'project_id'),
        ('user_id', 'user_id'),
        ('volume_id', 'volume_id'),
        ('volume_size', 'volume_size'),
        ('display_name', 'name'),
        ('status', 'status'),
        ('created_at', 'created_at'),
        ('metadata', 'metadata'),
    ),
    'backup': (
        ('backup_id', 'id'),
        ('tenant_id', 'project_id'),
        ('user_id', 'user_id'),
        ('availability_zone', 'availability_zone'),
        ('host', 'host'),
        ('volume_id', 'volume_id'),
        ('snapshot_id', 'snapshot_id'),
        ('display_name', 'name'),
        ('size', 'size'),
        ('status', 'status'),
        ('service', 'service'),
        ('object_count', 'object_count'),
        ('fail_reason', 'fail_reason'),
        ('created_at', 'created_at'),
    ),
}

#: Members that users fill, and so the first to go when an event is too long.
FILLED_BY_USERS = ('metadata', 'glance_metadata')
