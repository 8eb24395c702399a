"""The states of import_backup: find the data of a record, verify it, and describe it as the record does.

The key of an encrypted volume that is beside the data comes into the key manager with it.
"""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.backup import engine
from chalicelib.drivers.base import GIB
from chalicelib.models import Backup
from chalicelib.operations import backup_reservations, backups
from chalicelib.operations.backup_reservations import Outcome
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backup_data, backup_keys
from chalicelib.tasks.work import BackupWork, Payload


def import_backup(payload: Payload) -> None:
    """Make the backup available. Raises an error if the data does not match the record or cannot be read."""
    work = BackupWork.take(payload, 'import')
    backup = work.record
    if backup.service != backups.SERVICE:
        raise errors.InvalidBackup(
            reason='Import record failed, cannot find backup service to perform the import. '
            f'Request service {backup.service}.'
        )
    record = (backup.operation or {})['record']
    manifest = engine.load_backup(
        backup_data.repository(backup),
        backup_data.key_wrapper(backup),
        record['manifest_key'],
        root_hash=record['root_hash'],
    )
    if manifest.size != int(backup.size) * GIB:
        raise errors.InvalidBackup(
            reason=f'The record states {backup.size} GiB, the repository has {manifest.size / GIB:g} GiB.'
        )
    key, changes = backup_keys.taken_over(backup, record.get('encryption_key_id'), manifest)
    actions = [*_actions(record, manifest), *changes]
    also = key.add_to if key else None
    backup_reservations.end(backup, work.workflow, Outcome(work.workflow.done), actions=actions, also=also)


def _actions(record: dict[str, Any], manifest: engine.Manifest) -> list[Any]:
    return [
        *(getattr(Backup, name).set(value) for name, value in record.items()),
        Backup.object_count.set(manifest.object_count),
        Backup.stored_bytes.set(manifest.stored_bytes),
        *([Backup.parent_id.set(manifest.parent)] if manifest.parent else []),
    ]


def fail_import_backup(payload: Payload) -> None:
    """Record why the import failed."""
    BackupWork.take(payload, 'import').fail(Action.BACKUP_CREATE, Detail.BACKUP_CREATE_DRIVER_ERROR)
