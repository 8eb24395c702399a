"""Backups."""

from __future__ import annotations

from pynamodb.attributes import BooleanAttribute, JSONAttribute, MapAttribute, NumberAttribute, UnicodeAttribute

from chalicelib import errors
from chalicelib.models import base
from chalicelib.models.reading import Key


class Backup(base.StatefulRecord):
    """A volume's data at one point in time, in the repository. ``size`` in GiB, that of the volume."""

    Meta = base.meta('backups')
    resource = 'backup'
    not_found = errors.BackupNotFound

    volume_id = UnicodeAttribute()
    snapshot_id = UnicodeAttribute(null=True)
    metadata = JSONAttribute(default=dict)
    size = NumberAttribute()
    container = UnicodeAttribute(null=True)
    availability_zone = UnicodeAttribute(null=True)
    host = UnicodeAttribute(null=True)
    service = UnicodeAttribute(null=True)
    object_count = NumberAttribute(default=0)
    fail_reason = UnicodeAttribute(null=True)
    data_timestamp = UnicodeAttribute(null=True)
    parent_id = UnicodeAttribute(null=True)
    num_dependent_backups = NumberAttribute(default=0)
    encryption_key_id = UnicodeAttribute(null=True)
    #: The key is stored beside the data, sealed (backup/volume_keys.py).
    key_stored = BooleanAttribute(null=True)
    #: The import of this record wrote the key to the key manager: the removal of the record deletes it.
    key_imported = BooleanAttribute(null=True)
    #: {'resource', 'project_id', 'id', 'request_id'} of the volume or snapshot whose ``reader_count`` counts this
    #: backup, and of the request that put it in ``backing-up``; removed once nothing temporary is left on the backend.
    reading = JSONAttribute(null=True)
    #: Key of the manifest, the root hash over all data, and the lineage whose packs it may share.
    manifest_key = UnicodeAttribute(null=True)
    root_hash = UnicodeAttribute(null=True)
    lineage = UnicodeAttribute(null=True)
    stored_bytes = NumberAttribute(null=True)
    #: {'bucket', 'region', 'prefix'} of the repository of an imported backup or a copy; without it the project's
    #: own repository.
    location = JSONAttribute(null=True)
    #: The backup of which this is a copy.
    copied_from = UnicodeAttribute(null=True)
    #: S3's storage class of its packs; none: S3's default.
    storage_class = UnicodeAttribute(null=True)
    #: Until then it cannot be deleted (S3 Object Lock); a timestamp as in ``base.now``.
    locked_until = UnicodeAttribute(null=True)
    #: How it was made (rules/backup_methods.py); before the end only where changes are not known.
    method = UnicodeAttribute(null=True)
    #: The schedule that created it.
    schedule_id = UnicodeAttribute(null=True)
    #: The results of the last scrub and the last restore drill (operations/backup_checks.py).
    scrub = JSONAttribute(null=True)
    drill = JSONAttribute(null=True)
    #: Progress of the copy (operations/progress.py).
    progress: MapAttribute[str, int] = MapAttribute(null=True)
    #: The volume being restored to, while status is ``restoring``.
    restore_volume_id = UnicodeAttribute(null=True)

    def related(self) -> list[Key]:
        """What the backup reads, and the volume that it is being restored to."""
        source = self.reading or {}
        keys: list[Key] = []
        if source:
            keys.append((source['resource'].capitalize(), source['project_id'], source['id']))
        if self.restore_volume_id and self.status == 'restoring':
            keys.append(('Volume', self.project_id, self.restore_volume_id))
        return keys
