"""The states of copy_backup: a finished backup's objects, to another bucket or region.

Payload of every task: action, project_id, id (of the copy), request_id; between two calls also ``copied``. The action
``copy_again`` completes an available copy: what is missing there is copied, above all the key of an encrypted volume.
"""

from __future__ import annotations

import functools
from typing import Any

from chalicelib import errors
from chalicelib.backup import engine
from chalicelib.models import Backup
from chalicelib.models.lease import Lease
from chalicelib.operations import progress
from chalicelib.rules import states
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backup_data, backup_keys, function_time
from chalicelib.tasks.backup_data import ProgressReporter
from chalicelib.tasks.backup_removal import LEASE_MARGIN
from chalicelib.tasks.work import BackupWork, Payload

#: Seconds that one shard of 4 GiB may take: none is begun with less left.
SHARD_TIME = 120.0


def copy_backup(payload: Payload) -> dict[str, Any]:
    """Copy shards from the cursor on, until all are there or time runs short. The lineage is not collected meanwhile.

    Two workers of one copy may meet: each looks for every object itself, and puts the missing ones. Raises LeaseLost
    while another worker holds the lease of the lineage.
    """
    work = BackupWork.take(payload, payload['action'])
    copy = work.record
    manifest = _source(copy)
    note = functools.partial(progress.note, copy, work.is_ours, 'range_0')
    lease = Lease.acquire(f'collect:{copy.lineage}', function_time.seconds_left() + LEASE_MARGIN, holder=copy.id)
    try:
        found = _copied(copy, manifest, payload.get('copied'), ProgressReporter(0, 0, note))
    finally:
        lease.release()
    return {'done': found.manifest is not None, 'cursor': found.cursor}


def _copied(copy: Backup, manifest: engine.Manifest, before: Any, reporter: ProgressReporter) -> engine.CopyResult:
    source = _source_record(copy)
    try:
        return engine.copy_backup(
            backup_data.repository(source),
            backup_data.repository(copy),
            manifest,
            backup_data.key_wrapper(source),
            backup_data.key_wrapper_of_copy(copy),
            seconds_left=lambda: function_time.seconds_left() - SHARD_TIME,
            cursor=(before or {}).get('cursor'),
            progress=reporter.of_shard(0),
            limits=backup_data.limits(),
        )
    except errors.BackupCanceled:
        raise errors.InvalidBackup(
            reason='a copy of it was removed there less than two days ago, and is being swept: copy it again later.'
        ) from None


def _source_record(copy: Backup) -> Backup:
    """Raises BackupNotFound when the backup that is copied is gone."""
    facts = copy.operation or {}
    return Backup.find(facts['source_project_id'], facts['source_id'])


def _source(copy: Backup) -> engine.Manifest:
    source = _source_record(copy)
    return engine.load_backup(
        backup_data.repository(source),
        backup_data.key_wrapper(source),
        str(source.manifest_key),
        root_hash=copy.root_hash,
    )


def complete_copy(payload: Payload) -> None:
    """Read the copy's manifest as a restore would, store the key of an encrypted volume, and make it available."""
    work = BackupWork.take(payload, payload['action'])
    manifest = backup_data.manifest_of(work.record)
    counts = [Backup.object_count.set(manifest.object_count), Backup.stored_bytes.set(manifest.stored_bytes)]
    work.end(work.workflow.done, [*counts, *backup_keys.store(work.record, manifest)])


def fail_copy(payload: Payload) -> None:
    """Record why the copy failed; its objects are deleted when its record is removed. An available copy stays so."""
    work = BackupWork.take(payload, payload['action'])
    if work.workflow.failed == states.AVAILABLE:
        work.report(Action.BACKUP_CREATE, Detail.BACKUP_CREATE_DRIVER_ERROR)
        work.end(work.workflow.failed)
    else:
        work.fail(Action.BACKUP_CREATE, Detail.BACKUP_CREATE_DRIVER_ERROR)
