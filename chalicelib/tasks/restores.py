"""The states of restore_backup: from the repository to a volume.

Payload of every task: project_id, id (of the backup), request_id; after the first also ``plan``: it names the volume.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

from chalicelib import errors
from chalicelib.backup import engine
from chalicelib.drivers.base import GIB
from chalicelib.models import Backup, Volume, base
from chalicelib.operations import messages
from chalicelib.rules import states
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, clock
from chalicelib.tasks.backups import limits, owned, ranges, reason_of, repository, wrapper

Payload = dict[str, Any]

ROW = states.VOLUME['restore']


def open_restore(payload: Payload) -> dict[str, Any]:
    """Verify the backup as a whole, see that the target is ours, and cut the work into ranges."""
    backup = owned(payload, 'restore')
    volume = _target(backup, payload['request_id'])
    manifest = _manifest(backup)
    if manifest.size > int(volume.size) * GIB:
        raise errors.InvalidVolume(
            reason=f'volume size {volume.size} is too small to restore backup of size {backup.size}.'
        )
    return {'ranges': ranges(manifest.size), 'volume_id': volume.id, 'volume_project_id': volume.project_id}


def _manifest(backup: Backup) -> engine.Manifest:
    return engine.load_backup(repository(backup), wrapper(), str(backup.manifest_key))


def _target(backup: Backup, request_id: str) -> Volume:
    """The volume being restored to, if this request still holds it. Raises BackupCanceled."""
    volume = backends.find_volume(backup.project_id, str(backup.restore_volume_id))
    if volume.status != ROW.running or volume.owner != request_id:
        raise errors.BackupCanceled(id=backup.id)
    return volume


def restore_range(payload: Payload) -> dict[str, Any]:
    """Verify and write shards from the cursor on, until the range is done or time runs short."""
    backup = owned(payload, 'restore')
    volume = _target(backup, payload['request_id'])
    manifest, store = _manifest(backup), repository(backup)
    driver = backends.driver(volume)
    zeroed = bool(volume.operation.get('new')) and driver.capabilities.zeroed_volumes
    shard, cursor, last = payload['progress']['shard'], payload['progress']['cursor'], payload['last']
    with driver.open_volume(backends.volume_ref(volume), backup.id, 'rw') as device:
        while shard <= last and clock.has_time():
            result = engine.restore_shard(
                device,
                store,
                manifest,
                shard,
                target_is_zeroed=zeroed,
                deadline=clock.seconds_left,
                cursor=cursor,
                limits=limits(),
            )
            cursor = result.cursor
            shard += 1 if result.done else 0
    return {'done': shard > last, 'shard': shard, 'cursor': cursor}


def complete_restore(payload: Payload) -> None:
    """Take the path away; volume and backup are available, together."""
    try:
        backup = owned(payload, 'restore')
        volume = _target(backup, payload['request_id'])
    except errors.BackupCanceled:
        return _close(payload)
    _close(payload)
    transaction = base.Transaction()
    lost = functools.partial(errors.BackupCanceled, id=backup.id)
    ours = base.owned_by(Volume, ROW, payload['request_id'])
    transaction.update(volume, _restored(backup, volume), ours, lost)
    actions = [*base.end_actions(backup, 'available'), Backup.restore_volume_id.remove()]
    transaction.update(backup, actions, base.owned_by(Backup, states.BACKUP['restore'], payload['request_id']), lost)
    transaction.commit()
    return None


def _restored(backup: Backup, volume: Volume) -> list[Any]:
    """The volume is available; one that did not make the backup says where its data came from (src_backup_id)."""
    actions = base.end_actions(volume, ROW.done)
    if volume.id != backup.volume_id:
        actions.append(Volume.metadata.set({**volume.metadata, 'src_backup_id': backup.id}))
    return actions


def close_restore(payload: Payload) -> None:
    """Cancelled: take the path away, and leave the volume unusable if it is still ours; its data is half written."""
    fail_restore(payload)


def fail_restore(payload: Payload) -> None:
    """The volume's data is not usable: say so; the backup is available again, untouched."""
    _close(payload)
    with contextlib.suppress(errors.NotFound, errors.StateChanged):
        _fail_volume(payload)
    with contextlib.suppress(errors.NotFound, errors.StateChanged):
        backup = Backup.find(payload['project_id'], payload['id'])
        ours = base.owned_by(Backup, states.BACKUP['restore'], payload['request_id'])
        actions = [*base.end_actions(backup, 'available'), Backup.restore_volume_id.remove()]
        base.update(backup, [*actions, Backup.fail_reason.set(reason_of(payload))], ours)


def _fail_volume(payload: Payload) -> None:
    volume = _named(payload)
    status = 'error' if volume.operation_facts().get('new') else ROW.failed
    ours = base.owned_by(Volume, ROW, payload['request_id'])
    base.update(volume, base.end_actions(volume, status), ours)
    cause = reason_of(payload)
    messages.create(volume, payload['request_id'], Action.BACKUP_RESTORE, Detail.BACKUP_RESTORE_ERROR, cause=cause)


def _close(payload: Payload) -> None:
    with contextlib.suppress(errors.NotFound):
        volume = _named(payload)
        backends.driver(volume).close_volume(backends.volume_ref(volume), payload['id'])


def _named(payload: Payload) -> Volume:
    plan = payload.get('plan')
    if plan is not None:
        return Volume.find(plan['volume_project_id'], plan['volume_id'])
    backup = Backup.find(payload['project_id'], payload['id'])
    return backends.find_volume(backup.project_id, str(backup.restore_volume_id))
