"""The states of backup_volume: from a volume's data to the repository.

Payload of every task: project_id, id (of the backup), request_id; after the first also ``plan``, which names the
volume, so that cleaning up needs no backup record.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from typing import Any

from chalicelib import errors
from chalicelib.backup import engine
from chalicelib.device import Changes
from chalicelib.drivers.base import GIB
from chalicelib.models import Backup, Volume, base
from chalicelib.operations import backup_reservations, messages, progress
from chalicelib.operations.backup_reservations import Outcome
from chalicelib.rules import backup_methods as methods
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backup_data, backup_keys, backup_sources, function_time
from chalicelib.tasks.work import BackupWork, Payload, fail_reason, failure

logger = logging.getLogger(__name__)


def open_backup(payload: Payload) -> dict[str, Any]:
    """Freeze the source, store the intent, restore the volume's status, and cut the work into ranges.

    A delete stores its tombstone before it looks for a temporary snapshot, and this task looks for a tombstone after it
    has made one: so the later of the two removes the snapshot.
    """
    backup = BackupWork.take(payload).record
    source = backup_sources.of(backup)
    _check_service(backup)
    source.freeze()
    try:
        _begin(backup)
    except errors.BackupCanceled:
        source.clean()
        raise
    if source.temporary:
        backup_reservations.restore_source_status(backup, source.record)
    return {'ranges': backup_data.ranges(int(backup.size) * GIB), **source.plan}


def _check_service(backup: Backup) -> None:
    """Raise ServiceNotFound for a zone that does not exist, in the words and at the step of Cinder's scheduler."""
    if not (backup.operation or {}).get('has_service', True):
        raise errors.ServiceNotFound('Service not found for creating backup.')


def _begin(backup: Backup) -> None:
    engine.begin_backup(
        backup_data.repository(backup),
        backup_data.key_wrapper(backup),
        lineage=str(backup.lineage),
        backup_id=backup.id,
        size=int(backup.size) * GIB,
        parent=backup.parent_id,
    )


def copy_range(payload: Payload) -> dict[str, Any]:
    """Copy shards from the cursor on, until the range is done or time runs short."""
    work = BackupWork.take(payload)
    backup = work.record
    store = backup_data.repository(backup)
    opened = engine.open_backup(store, backup_data.key_wrapper(backup), str(backup.lineage), backup.id)
    note = functools.partial(progress.note, backup, work.is_ours)
    reporter = backup_data.progress_reporter(payload, opened.size, note)
    source = backup_sources.of(backup)
    try:
        opened_source = source.open()
    except errors.NotReady:
        return dict(payload['progress'])  # the workflow calls again
    changes = _listed_changes(work, source)
    with opened_source as device:

        def copy(shard: int, cursor: Any) -> engine.ShardResult:
            done = engine.backup_shard(
                device,
                store,
                opened,
                shard,
                changes=changes,
                seconds_left=function_time.seconds_left,
                cursor=cursor,
                progress=reporter.of_shard(shard),
                limits=backup_data.limits(),
            )
            if done.done and backup.locked_until:
                engine.lock_shard(store, opened, shard, limits=backup_data.limits())
            return done

        return backup_data.shard_by_shard(payload, copy)


def _listed_changes(work: BackupWork, source: backup_sources.Source) -> Changes | None:
    """What differs from the parent; the record has it when that is not known, and all is read and compared."""
    backup = work.record
    if backup.parent_id is None or not source.driver.capabilities.changed_blocks:
        return None

    def missed() -> None:
        with contextlib.suppress(*base.moved_on(Backup)):
            base.update(backup, [Backup.method.set(methods.COMPARED)], work.is_ours)

    return backup_sources.Listed(backup_sources.changes(backup, source), missed)


def _method(backup: Backup, source: backup_sources.Source) -> str:
    if backup.parent_id is None:
        return methods.FULL
    return backup.method or (methods.CHANGED_BLOCKS if source.driver.capabilities.changed_blocks else methods.COMPARED)


def complete_backup(payload: Payload) -> None:
    """Write the manifest: the commit. Then remove what was temporary, and make the record available."""
    work = BackupWork.take(payload)
    backup = work.record
    source = backup_sources.of(backup)
    manifest = _commit(backup, source.volume)
    key = backup_keys.store(backup, manifest)
    source.retire()
    actions = [
        *key,
        Backup.object_count.set(manifest.object_count),
        Backup.stored_bytes.set(manifest.stored_bytes),
        Backup.manifest_key.set(manifest.object_key),
        Backup.root_hash.set(manifest.root_hash),
        Backup.method.set(_method(backup, source)),
    ]
    work.end(Outcome(work.workflow.done, dependents=1, source=source.record), actions)


def _commit(backup: Backup, volume: Volume) -> engine.Manifest:
    store = backup_data.repository(backup)
    opened = engine.open_backup(store, backup_data.key_wrapper(backup), str(backup.lineage), backup.id)
    created_at = str(backup.created_at)
    return engine.commit_backup(
        store,
        backup_data.key_wrapper(backup),
        opened,
        created_at=created_at,
        metadata=_metadata(backup, volume),
        limits=backup_data.limits(),
    )


def _metadata(backup: Backup, volume: Volume) -> dict[str, Any]:
    """What of the volume is kept with its data (Cinder's volume-base-metadata and its companions)."""
    return {
        'volume': {
            'id': volume.id,
            'name': volume.name,
            'description': volume.description,
            'size': int(backup.size),
            'volume_type_id': volume.volume_type_id,
            'availability_zone': volume.availability_zone,
            'bootable': volume.bootable,
        },
        'metadata': volume.metadata,
        'image_metadata': volume.volume_image_metadata,
    }


def close_backup(payload: Payload) -> None:
    """Cancelled: remove what was temporary; the record belongs to the request that cancelled, or is gone."""
    with contextlib.suppress(errors.BackupNotFound):
        backup = Backup.find(payload['project_id'], payload['id'])
        backup_sources.clean(backup)
        backup_reservations.release_source(backup)
    if 'plan' in payload:
        with contextlib.suppress(errors.VolumeNotFound, errors.SnapshotNotFound):
            backup_sources.planned(payload['id'], payload['plan']).clean()


def fail_backup(payload: Payload) -> None:
    """Remove what was temporary, restore the source's status, and give the reason on the record and in a message.

    When the backend refuses the cleanup, the source stays held: deleting the backup tries again.
    """
    try:
        work = BackupWork.take(payload)
    except errors.BackupCanceled:
        return close_backup(payload)
    backup = work.record
    cleaned = _try_clean(work)
    backup_reservations.restore_source_status(backup, backup_reservations.source_of(backup))
    work.report(Action.BACKUP_CREATE, _detail(payload))
    _bury(backup, payload)
    reason = Backup.fail_reason.set(fail_reason(payload))
    work.end(Outcome(work.workflow.failed, keeps_source=not cleaned), [reason])
    return None


def _bury(backup: Backup, payload: Payload) -> None:
    """Write the tombstone, before the status that ends the work: nothing would write it after that.

    When the reconciler gives up the work, the status is set without it; deleting the backup then writes the tombstone.
    """
    try:
        engine.delete_backup(backup_data.repository(backup), str(backup.lineage), backup.id)
    except errors.RepositoryError as error:
        if 'execution' in payload:
            raise
        logger.warning('the repository does not take the tombstone of backup %s: %s', backup.id, error.message)


def _try_clean(work: BackupWork) -> bool:
    backup = work.record
    try:
        backup_sources.clean(backup)
    except errors.DriverError as error:
        logger.warning('backup %s left something temporary: %s', backup.id, error.message)
        hint = 'Delete the backup to try again.'
        messages.create(backup, work.request_id, Action.BACKUP_CREATE, Detail.BACKUP_CREATE_CLEANUP_ERROR, cause=hint)
        return False
    return True


def _detail(payload: Payload) -> Detail:
    """Return which side failed: the volume's (its backend, its export), or the repository."""
    kind = getattr(errors, failure(payload)[0], errors.BackupError)
    if issubclass(kind, errors.DriverError | errors.DeviceError):
        return Detail.BACKUP_CREATE_DEVICE_ERROR
    return Detail.BACKUP_CREATE_DRIVER_ERROR
