"""The records of imported backups: those that a migration brought in status error become available."""

from __future__ import annotations

from chalicelib import errors
from chalicelib.backup.engine import Manifest
from chalicelib.models import Backup, base
from chalicelib.operations.backups import SERVICE
from chalicelib.rules import states
from cinderless.migration import ledger
from cinderless.migration.items import Item
from cinderless.migration.others import NOT_IMPORTED
from cinderless.migration.transactions import Writes

#: Bytes of a GiB, by which sizes of records are counted.
GIB = 1 << 30


def place_of(url: str, region: str) -> dict[str, str]:
    """Return the ``location`` of backups in ``s3://bucket/prefix``."""
    bucket, _, prefix = url.removeprefix('s3://').partition('/')
    prefix = prefix.strip('/')
    return {'bucket': bucket, 'region': region, 'prefix': f'{prefix}/' if prefix else ''}


def complete(manifest: Manifest, location: dict[str, str]) -> bool:
    """Make the record of an imported backup available; return False for one that no migration brought, or done already.

    The mark of the migration follows, so that a rollback still removes the record. Raises StateChanged when another
    process changes the record at the same time, InvalidBackup for a record of another size.
    """
    try:
        backup = Backup.find_anywhere(manifest.backup_id)
    except errors.BackupNotFound:
        return False
    mark = ledger.marks_of([Item('Backup', backup.project_id, backup.id, {})]).get(('Backup', *_key(backup)))
    if mark is None or backup.status != states.ERROR or backup.fail_reason != NOT_IMPORTED:
        return False
    if manifest.size > int(backup.size) * GIB:
        raise errors.InvalidBackup(reason=f'the record of {backup.id} has {backup.size} GiB, its data more')
    writes = Writes()
    actions = [
        Backup.status.set(states.AVAILABLE),
        Backup.fail_reason.remove(),
        Backup.service.set(SERVICE),
        Backup.manifest_key.set(manifest.object_key),
        Backup.root_hash.set(manifest.root_hash),
        Backup.lineage.set(manifest.lineage),
        Backup.stored_bytes.set(manifest.stored_bytes),
        Backup.object_count.set(manifest.object_count),
        Backup.location.set(location),
        *base.touched(Backup),
    ]
    writes.update(backup, actions, Backup.revision == backup.revision)
    writes.mark(mark._replace(revision=int(backup.revision) + 1), mark)
    writes.commit()
    return True


def _key(backup: Backup) -> tuple[str, str]:
    return backup.project_id, backup.id
