"""The states of backup_volume and delete_backup: from a volume's data to the repository, and out of it again.

Payload of every task: project_id, id (of the backup), request_id; after the first also ``plan``, which names the
volume, so that cleaning up needs no backup record.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from chalicelib import aws, errors
from chalicelib.backup import engine
from chalicelib.backup.s3 import KmsKeyWrapper, S3Repository
from chalicelib.config import settings
from chalicelib.device import BlockDevice
from chalicelib.drivers.base import GIB, Driver, SnapshotRef
from chalicelib.models import Backup, Snapshot, Volume, base
from chalicelib.models.lease import Lease
from chalicelib.operations import backups, messages, quotas
from chalicelib.rules import states
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, clock
from chalicelib.tasks.ownership import failure

#: Ranges of shards that are copied side by side: an inline Map's own limit.
MAX_RANGES = 40

Payload = dict[str, Any]


def open_backup(payload: Payload) -> dict[str, Any]:
    """Freeze the source, store the intent, give the volume its status back, and cut the work into ranges."""
    backup = owned(payload)
    volume, snapshot = _source(backup)
    driver = backends.driver(volume)
    if snapshot is None:
        driver.create_snapshot(_frozen(payload['id'], volume))
    engine.begin_backup(
        repository(backup),
        wrapper(),
        lineage=str(backup.lineage),
        backup_id=backup.id,
        size=int(backup.size) * GIB,
        parent=backup.parent_id,
    )
    _give_back(volume, states.VOLUME['backup'], payload['request_id'])
    facts = {'volume_id': volume.id, 'volume_project_id': volume.project_id, 'snapshot_id': backup.snapshot_id}
    return {'ranges': ranges(int(backup.size) * GIB), **facts}


def ranges(size: int) -> list[dict[str, int]]:
    """Cut a volume of ``size`` bytes into at most MAX_RANGES ranges of shards: {'first', 'last'}, both included."""
    count = len(engine.plan(size))
    step = -(-count // MAX_RANGES)
    return [{'first': first, 'last': min(first + step, count) - 1} for first in range(0, count, step)]


def copy_range(payload: Payload) -> dict[str, Any]:
    """Copy shards from the cursor on, until the range is done or time runs short."""
    backup = owned(payload)
    volume, snapshot = _source(backup)
    store = repository(backup)
    opened = engine.open_backup(store, wrapper(), str(backup.lineage), backup.id)
    progress, last = payload['progress'], payload['last']
    with _opened(backends.driver(volume), snapshot_ref(volume, snapshot, backup.id), backup.id) as device:
        shard, cursor = progress['shard'], progress['cursor']
        while shard <= last and clock.has_time():
            result = engine.backup_shard(
                device, store, opened, shard, deadline=clock.seconds_left, cursor=cursor, limits=limits()
            )
            cursor = result.cursor
            shard += 1 if result.done else 0
    return {'done': shard > last, 'shard': shard, 'cursor': cursor}


@contextlib.contextmanager
def _opened(driver: Driver, snapshot: SnapshotRef, export_id: str) -> Iterator[BlockDevice]:
    device = driver.open_snapshot(snapshot, export_id)
    try:
        yield device
    finally:
        device.close()


def complete_backup(payload: Payload) -> None:
    """Write the manifest: the commit. Then remove what was temporary, and make the record available."""
    try:
        backup = owned(payload)
    except errors.BackupCanceled:
        return _close(payload)
    store = repository(backup)
    opened = engine.open_backup(store, wrapper(), str(backup.lineage), backup.id)
    volume, _ = _source(backup)
    manifest = engine.commit_backup(
        store, wrapper(), opened, created_at=str(backup.created_at), metadata=_metadata(backup, volume)
    )
    _close(payload)
    _beside_parent(functools.partial(_record, backup, manifest, payload['request_id']))
    return None


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


def _record(backup: Backup, manifest: engine.Manifest, request_id: str) -> None:
    ours = base.owned_by(Backup, states.BACKUP['create'], request_id)
    actions = [
        *base.end_actions(backup, 'available'),
        Backup.object_count.set(manifest.object_count),
        Backup.stored_bytes.set(manifest.stored_bytes),
        Backup.manifest_key.set(manifest.object_key),
        Backup.root_hash.set(manifest.root_hash),
    ]
    transaction = base.Transaction()
    transaction.update(backup, actions, ours, functools.partial(errors.BackupCanceled, id=backup.id))
    _count_dependent(transaction, backup, 1)
    transaction.commit()


def _count_dependent(transaction: base.Transaction, backup: Backup, change: int) -> None:
    """Keep the parent's number of dependents (Cinder's has_dependent_backups); a parent that is gone needs none."""
    if backup.parent_id is None:
        return
    with contextlib.suppress(errors.BackupNotFound):
        parent = Backup.find(backup.project_id, backup.parent_id)
        actions = [Backup.num_dependent_backups.add(change), *base.touched(Backup)]
        gone = functools.partial(errors.BackupNotFound, id=parent.id)
        transaction.update(parent, actions, Backup.id.exists(), gone)


def _beside_parent(write: Callable[[], None]) -> None:
    """Commit a write that also counts on the parent; again without it when it was deleted at this very moment."""
    try:
        write()
    except errors.BackupNotFound:
        write()


def close_backup(payload: Payload) -> None:
    """Cancelled: remove what was temporary; the record belongs to whoever cancelled."""
    _close(payload)


def fail_backup(payload: Payload) -> None:
    """Remove what was temporary, give the source its status back, and say why on the record and in a message."""
    _close(payload)
    with contextlib.suppress(errors.BackupNotFound, errors.StateChanged):
        backup = Backup.find(payload['project_id'], payload['id'])
        reason = reason_of(payload)
        ours = base.owned_by(Backup, states.BACKUP['create'], payload['request_id'])
        base.update(backup, [*base.end_actions(backup, 'error'), Backup.fail_reason.set(reason)], ours)
        messages.create(
            backup, payload['request_id'], Action.BACKUP_CREATE, Detail.BACKUP_CREATE_DRIVER_ERROR, cause=reason
        )
        engine.delete_backup(repository(backup), str(backup.lineage), backup.id)


def reason_of(payload: Payload) -> str:
    """The message of the error that a state machine caught, for users: the task's own words, without its trace."""
    error, message = failure(payload)
    return (message or error)[:255]


def _close(payload: Payload) -> None:
    """Remove paths and the temporary snapshot; give volume and snapshot their status back. May be repeated."""
    with contextlib.suppress(errors.VolumeNotFound, errors.BackupNotFound):
        volume, snapshot = _named(payload)
        driver = backends.driver(volume)
        frozen = snapshot_ref(volume, snapshot, payload['id'])
        driver.close_snapshot(frozen, payload['id'])
        if snapshot is None:
            driver.delete_snapshot(frozen)
        _give_back(volume, states.VOLUME['backup'], payload['request_id'])
        if snapshot is not None:
            _give_back(snapshot, states.SNAPSHOT['backup'], payload['request_id'])


def _give_back(source: Volume | Snapshot, row: states.Transition, request_id: str) -> None:
    """Leave ``backing-up``; a source that is not ours any more stays as it is."""
    with contextlib.suppress(errors.StateChanged, errors.NotFound):
        base.update(source, base.end_actions(source, row.done), base.owned_by(type(source), row, request_id))


def _named(payload: Payload) -> tuple[Volume, Snapshot | None]:
    """Volume and snapshot as the plan names them, or (no plan yet) as the backup's record does."""
    plan = payload.get('plan')
    if plan is None:
        return _source(Backup.find(payload['project_id'], payload['id']))
    volume = Volume.find(plan['volume_project_id'], plan['volume_id'])
    return volume, _snapshot(volume, plan['snapshot_id'])


def _source(backup: Backup) -> tuple[Volume, Snapshot | None]:
    volume = backends.find_volume(backup.project_id, backup.volume_id)
    return volume, _snapshot(volume, backup.snapshot_id)


def _snapshot(volume: Volume, id: str | None) -> Snapshot | None:
    return Snapshot.find(volume.project_id, id) if id else None


def snapshot_ref(volume: Volume, snapshot: Snapshot | None, backup_id: str) -> SnapshotRef:
    """The frozen data that is read: the user's snapshot, or the temporary one that bears the backup's id."""
    return backends.snapshot_ref(snapshot, volume) if snapshot else _frozen(backup_id, volume)


def _frozen(backup_id: str, volume: Volume) -> SnapshotRef:
    return SnapshotRef(backup_id, int(volume.size), backends.volume_ref(volume))


def owned(payload: Payload, action: str = 'create') -> Backup:
    """The backup, if this execution's request still holds it. Raises BackupCanceled."""
    row = states.BACKUP[action]
    try:
        backup = Backup.find(payload['project_id'], payload['id'])
    except errors.BackupNotFound:
        raise errors.BackupCanceled(id=payload['id']) from None
    if backup.status != row.running or backup.owner != payload['request_id']:
        raise errors.BackupCanceled(id=backup.id)
    return backup


def repository(backup: Backup) -> S3Repository:
    """Where the backup's chain lies."""
    return S3Repository(aws.client('s3'), settings().backup_bucket, backups.repository_prefix(backup))


def wrapper() -> KmsKeyWrapper:
    return KmsKeyWrapper(aws.client('kms'), settings().kms_key_id)


def limits() -> engine.Limits:
    return engine.Limits(pack_size=settings().pack_size)


def delete_backup(payload: Payload) -> None:
    """Remove the manifest, then record and quota together, then what nothing refers to any more."""
    try:
        backup = owned(payload, 'delete')
    except errors.BackupCanceled:
        return
    store = repository(backup)
    engine.delete_backup(store, str(backup.lineage), backup.id)
    ours = base.owned_by(Backup, states.BACKUP['delete'], payload['request_id'])
    deltas = {'backups': -1, 'backup_gigabytes': -int(backup.size)}
    _beside_parent(
        functools.partial(quotas.commit, backup.project_id, deltas, functools.partial(_forget, backup, ours))
    )
    sweep(store, str(backup.lineage))


def _forget(backup: Backup, ours: Any, transaction: base.Transaction) -> None:
    transaction.delete(backup, ours, functools.partial(base.state_changed, backup))
    _count_dependent(transaction, backup, -1)


def sweep(store: S3Repository, lineage: str) -> None:
    """Collect what no backup of the lineage needs and is past the grace time; somebody else at it will do."""
    try:
        lease = Lease.acquire(f'collect:{lineage}', clock.seconds_left() + 60)
    except errors.LeaseLost:
        return
    try:
        engine.collect(store, lineage, lease=lease, deadline=clock.seconds_left)
    finally:
        lease.release()


def fail_delete_backup(payload: Payload) -> None:
    """Say why the backup is still there."""
    with contextlib.suppress(errors.BackupNotFound, errors.StateChanged):
        backup = Backup.find(payload['project_id'], payload['id'])
        ours = base.owned_by(Backup, states.BACKUP['delete'], payload['request_id'])
        actions = [*base.end_actions(backup, 'error_deleting'), Backup.fail_reason.set(reason_of(payload))]
        base.update(backup, actions, ours)
        messages.create(
            backup,
            payload['request_id'],
            Action.BACKUP_DELETE,
            Detail.BACKUP_DELETE_DRIVER_ERROR,
            cause=reason_of(payload),
        )
