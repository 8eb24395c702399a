"""The states of import_backup: find the data that a record tells of, verify it, and describe it as the record does."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.backup import engine
from chalicelib.drivers.base import GIB
from chalicelib.models import Backup
from chalicelib.operations import backup_holds, backups, messages
from chalicelib.rules import workflows
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backup_data
from chalicelib.tasks.backups import Payload, owned, reason_of
from chalicelib.tasks.ownership import failure

ROW = workflows.BACKUP['import']


def import_backup(payload: Payload) -> None:
    """Make the backup available. Raises what says that the record does not fit the data, or that nobody may read it."""
    backup = owned(payload, 'import')
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
            reason=f'The record tells of {backup.size} GiB, the repository holds {manifest.size / GIB:g} GiB.'
        )
    backup_holds.end(backup, ROW, ROW.done, actions=_actions(record, manifest))


def _actions(record: dict[str, Any], manifest: engine.Manifest) -> list[Any]:
    return [
        *(getattr(Backup, name).set(value) for name, value in record.items()),
        Backup.object_count.set(manifest.object_count),
        Backup.stored_bytes.set(manifest.stored_bytes),
        *([Backup.parent_id.set(manifest.parent)] if manifest.parent else []),
    ]


def fail_import_backup(payload: Payload) -> None:
    """Say why the record does not serve."""
    backup = owned(payload, 'import')
    error, cause = failure(payload)
    detail = Detail.BACKUP_CREATE_DRIVER_ERROR
    messages.create(backup, payload['request_id'], Action.BACKUP_CREATE, detail, cause=cause, error=error)
    backup_holds.end(backup, ROW, ROW.failed, actions=[Backup.fail_reason.set(reason_of(payload))])
