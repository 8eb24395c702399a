"""The states of restore_backup: from the repository to a volume.

Payload of every task: project_id, id (of the backup), request_id; after the first also ``plan``: it names the volume.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable
from typing import Any

from chalicelib import errors
from chalicelib.backup import engine
from chalicelib.backup.limits import Progress, no_progress
from chalicelib.backup.repository import Repository
from chalicelib.device import BlockDevice, Changes
from chalicelib.drivers.base import GIB, Driver
from chalicelib.models import Backup, Volume, base
from chalicelib.operations import common, keys, progress
from chalicelib.rules import bounds, states, workflows
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, backup_data, backup_sources, function_time, pending_copies
from chalicelib.tasks.create_volume import model_actions
from chalicelib.tasks.work import BackupWork, Payload, VolumeWork

logger = logging.getLogger(__name__)

VOLUME_ROW, BACKUP_ROW = workflows.VOLUME['restore'], workflows.BACKUP['restore']

#: How a volume is named until the restore that it was made for is done (Cinder's, too).
AUTOMATIC_NAME = 'restore_backup_'


def open_restore(payload: Payload) -> dict[str, Any]:
    """Verify the backup as a whole, check that the restore owns its target, and cut the work into ranges."""
    backup = BackupWork.take(payload, 'restore').record
    volume = _target(backup, payload).record
    pending_copies.await_none(volume)
    manifest = backup_data.manifest_of(backup)
    if manifest.size > int(volume.size) * GIB:
        raise errors.InvalidVolume(
            reason=f'volume size {volume.size} is too small to restore backup of size {backup.size}.'
        )
    return {'ranges': backup_data.ranges(manifest.size), 'volume_id': volume.id, 'volume_project_id': volume.project_id}


def _target(backup: Backup, payload: Payload) -> VolumeWork:
    """The work on the volume that is restored to. Raises BackupCanceled."""
    try:
        volume = _named(backup, payload)
    except errors.VolumeNotFound:
        raise errors.BackupCanceled(id=backup.id) from None
    return VolumeWork.beside(volume, VOLUME_ROW, payload)


def _named(backup: Backup | None, payload: Payload) -> Volume:
    """The volume that the plan names, or (no plan yet) the backup's record. Raises VolumeNotFound."""
    plan = payload.get('plan')
    if plan is not None:
        return Volume.find(plan['volume_project_id'], plan['volume_id'])
    if backup is None or backup.restore_volume_id is None:
        raise errors.VolumeNotFound(id='-')
    return Volume.locate(payload['project_id'], backup.restore_volume_id)


def restore_range(payload: Payload) -> dict[str, Any]:
    """Verify and write shards from the cursor on, until the range is done or time runs short."""
    backup = BackupWork.take(payload, 'restore').record
    target = _target(backup, payload)
    volume = target.record
    manifest, store = backup_data.manifest_of(backup), backup_data.repository(backup)
    driver = backends.driver(volume)
    note = functools.partial(progress.note, volume, target.is_ours)
    reporter = backup_data.progress_reporter(payload, manifest.size, note)
    zeroed = not driver.capabilities.opens_volumes or (_is_new(volume) and driver.capabilities.zeroed_volumes)
    with driver.open_restore(backends.volume_ref(volume), target.export_id) as device:
        changes = _changes(driver, backup, target)
        if driver.capabilities.opens_volumes:  # else the volume is as it was until the restore is complete
            _begin_to_write(target)
        work = restorer(device, store, manifest, zeroed, reporter.of_shard, changes)
        return backup_data.shard_by_shard(payload, work)


def _changes(driver: Driver, backup: Backup, target: VolumeWork) -> Changes | None:
    """What differs between the volume that was backed up and the snapshot that the backup was made of, if it is known.

    Copies and imported backups are not made of a snapshot of this volume.
    """
    volume, can = target.record, driver.capabilities
    if not (can.changed_blocks and can.opens_volumes) or volume.id != backup.volume_id or backup.location:
        return None
    ref = backends.volume_ref(volume)
    return driver.changes_of_restore(ref, target.export_id, backup_sources.made_of(backup, ref))


def _is_new(volume: Volume) -> bool:
    return bool(volume.operation_facts().get('new'))


def _begin_to_write(target: VolumeWork) -> None:
    """Record that the volume's data is about to change; that of a new one is not missed. Raises BackupCanceled."""
    if _is_new(target.record):
        return
    try:
        target.mark_writing()
    except base.moved_on(Volume):
        raise errors.BackupCanceled(id=target.payload['id']) from None


def restorer(
    device: BlockDevice,
    store: Repository,
    manifest: engine.Manifest,
    zeroed: bool,
    progress_of: Callable[[int], Progress] = lambda _: no_progress,
    changes: Changes | None = None,
) -> Callable[[int, Any], engine.RestoreResult]:
    """Return the work on one shard: (shard, cursor) -> how far it came. ``zeroed``: of a target, as the engine's."""

    def restore(shard: int, cursor: Any) -> engine.RestoreResult:
        return engine.restore_shard(
            device,
            store,
            manifest,
            shard,
            target_is_zeroed=zeroed,
            changes=changes,
            seconds_left=function_time.seconds_left,
            cursor=cursor,
            progress=progress_of(shard),
            limits=backup_data.limits(),
        )

    return restore


def complete_restore(payload: Payload) -> None:
    """Make what was written the volume's data, close the export; volume and backup are available, together."""
    work = BackupWork.take(payload, 'restore')
    backup = work.record
    target = _target(backup, payload)
    volume = target.record
    manifest = backup_data.manifest_of(backup)
    written = functools.partial(engine.stored_extents, backup_data.repository(backup), manifest)
    _begin_to_write(target)
    update = backends.driver(volume).complete_restore(backends.volume_ref(volume), target.export_id, written)
    lost = functools.partial(errors.BackupCanceled, id=backup.id)
    described = _description(volume, backup, manifest.metadata)
    actions = [common.set_or_remove(getattr(Volume, name), value) for name, value in described.items()]
    with base.Transaction() as transaction:
        if new_key := volume.operation_facts().get('encryption_key_id'):
            actions.append(Volume.encryption_key_id.set(new_key))
            keys.add_removal_to(transaction, volume.project_id, volume.encryption_key_id)
        ended = [*base.end_actions(volume, target.workflow.done), *actions, *model_actions(update)]
        transaction.update(volume, ended, target.is_ours, lost)
        transaction.update(backup, _backup_actions(backup), work.is_ours, lost)


def _backup_actions(backup: Backup) -> list[Any]:
    return [*base.end_actions(backup, BACKUP_ROW.done), Backup.restore_volume_id.remove()]


def _description(volume: Volume, backup: Backup, kept: dict[str, Any]) -> dict[str, Any]:
    """What of the record comes back with the data, as in Cinder: metadata, what is known of the image, and the name of
    a volume that bears an automatic one. In another volume than the backup's, ``src_backup_id`` names the backup.
    """
    of_source = kept['volume']
    origin = {'src_backup_id': backup.id} if volume.id != backup.volume_id else {}
    described: dict[str, Any] = {
        name: bounds.fitting('volume', name, value)
        for name, value in (
            ('metadata', {**origin, **kept['metadata'], **origin}),
            ('volume_image_metadata', kept['image_metadata']),
        )
    }
    if of_source['bootable']:
        described['bootable'] = True
    if of_source['name'] and (volume.name or '').startswith(AUTOMATIC_NAME):
        described |= {'name': of_source['name'], 'description': of_source['description']}
    return described


def close_restore(payload: Payload) -> None:
    """Cancelled: close the export; a volume that the restore still owns is half written: error, as in Cinder."""
    _end_failed(payload, states.ERROR)


def fail_restore(payload: Payload) -> None:
    """The volume's data is not usable: report that; the backup is available again, untouched."""
    _end_failed(payload, VOLUME_ROW.failed)


def _end_failed(payload: Payload, status: str) -> None:
    backup = Backup.find_or_none(payload['project_id'], payload['id'])
    with contextlib.suppress(errors.VolumeNotFound):
        volume = _named(backup, payload)
        target = VolumeWork(volume, VOLUME_ROW, payload)
        _try_cancel(target)
        with contextlib.suppress(errors.BackupCanceled):
            _fail_volume(VolumeWork.beside(volume, VOLUME_ROW, payload), status)
    if backup is not None:
        with contextlib.suppress(*base.moved_on(Backup)):
            base.update(backup, _backup_actions(backup), base.owned_by(Backup, BACKUP_ROW, payload['request_id']))


def _fail_volume(target: VolumeWork, status: str) -> None:
    """A volume made for the restore was never usable: it is in error. One that was not written to is as it was."""
    volume, detail = target.record, Detail.BACKUP_RESTORE_ERROR
    if not _is_new(volume) and not target.has_written:
        detail, status = Detail.BACKUP_NOT_RESTORED, target.workflow.done
    target.report(Action.BACKUP_RESTORE, detail)
    final = states.ERROR if _is_new(volume) else status
    with contextlib.suppress(errors.StateChanged), base.Transaction() as transaction:
        transaction.update(volume, base.end_actions(volume, final), target.is_ours)
        keys.add_removal_to(transaction, volume.project_id, volume.operation_facts().get('encryption_key_id'))


def _try_cancel(target: VolumeWork) -> None:
    """Close the export; only log a driver's error: no host knows the export's secret, and it ends with the volume."""
    volume = target.record
    try:
        backends.driver(volume).cancel_restore(backends.volume_ref(volume), target.export_id)
    except errors.DriverError as error:
        logger.warning('an export of volume %s is left: %s', volume.id, error.message)
