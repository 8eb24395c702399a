"""Backups: accept, list, restore, delete. The workflows backup_volume and restore_backup move the data."""

from __future__ import annotations

import datetime
import functools
import uuid
from typing import Any

from chalicelib import errors
from chalicelib.config import settings
from chalicelib.context import Context
from chalicelib.models import Backup, Snapshot, Volume, base, claims
from chalicelib.operations import (
    backup_reservations,
    common,
    exports,
    keys,
    progress,
    quotas,
    reservations,
    services,
    snapshots,
    volumes,
)
from chalicelib.rules import states, workflows

#: The service that a backup names, spelled as clients know Cinder's, which itself refuses to import what it has not;
#: and the folder of the bucket that stores a backup when the user names none (Cinder's default).
SERVICE = 'cinder.backup.drivers.cinderless.S3BackupDriver'
DEFAULT_CONTAINER = 'volumebackups'

#: S3's classes that a restore can read at once.
STORAGE_CLASSES = ('STANDARD', 'STANDARD_IA', 'ONEZONE_IA', 'INTELLIGENT_TIERING', 'GLACIER_IR')


def get(context: Context, id: str) -> Backup:
    """The backup, of the caller's project or (admins) of any. Raises BackupNotFound."""
    return common.find(context, Backup, id)


def list_(context: Context, query: common.ListQuery) -> tuple[list[Backup], bool]:
    """Return one page of backups, newest first unless the query sorts otherwise, and whether more follow."""
    return common.list_records(context, Backup, query)


@claims.made_once('Backup')
def create(
    context: Context,
    *,
    volume_id: str,
    name: str | None,
    description: str | None,
    container: str | None,
    incremental: bool,
    force: bool,
    snapshot_id: str | None,
    metadata: dict[str, str],
    availability_zone: str | None,
    id: str | None = None,
    schedule_id: str | None = None,
    storage_class: str | None = None,
    locked_until: str | None = None,
) -> Backup:
    """Accept a backup of a volume, or of one of its snapshots: one transaction of record, quota and source status.

    A schedule passes ``id`` and its own id, so that a repeated run creates one backup. ``storage_class``, one of
    STORAGE_CLASSES, applies to the objects that this backup adds. The backup cannot be removed before ``locked_until``
    (ISO 8601, UTC unless it has an offset).
    The volume must be available, or in use with ``force``; a snapshot must be available and the volume's. An
    incremental one builds on the project's newest available backup of the volume (older than the snapshot).
    """
    own = (Snapshot.key(context.project_id, snapshot_id),) if snapshot_id else ()
    with common.reading_with(context, Volume, volume_id, *own, *quotas.keys(context.project_id)):
        volume, snapshot = _source(context, volume_id, snapshot_id, force)
        parent = _parent(context, volume, snapshot) if incremental else None
        backup = _record(
            context,
            (volume, snapshot, parent),
            id=id or str(uuid.uuid4()),
            schedule_id=schedule_id,
            storage_class=storage_class,
            locked_until=_locked_until(locked_until),
            name=name,
            description=description,
            container=parent.container if parent else container or DEFAULT_CONTAINER,
            availability_zone=availability_zone or volume.availability_zone,
            metadata=metadata,
        )
        _own(backup, context, has_service=_has_service(context, availability_zone))
        key = key_for(context, backup, volume)
        add_writes_to = functools.partial(_add_backup_to, context, backup, snapshot or volume, force, key)
        with keys.discarding(key):
            quotas.commit(context.project_id, {'backups': 1, 'backup_gigabytes': int(backup.size)}, add_writes_to)
    common.send(context, 'create', backup, volume)
    return backup


def _locked_until(text: str | None) -> str | None:
    """The end of a lock in the form of records, in whole seconds. Raises InvalidInput for what cannot be had."""
    if text is None:
        return None
    check_lock(1)
    try:
        moment = datetime.datetime.fromisoformat(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        until = aware.astimezone(datetime.UTC).strftime('%Y-%m-%dT%H:%M:%S.000000')
    except (ValueError, OverflowError):
        raise errors.InvalidInput(reason=f'{text!r} is not a timestamp: write it as 2027-01-31T00:00:00Z.') from None
    most = settings().backup_lock_days
    if not base.now() < until <= base.after(most * 86_400):
        raise errors.InvalidInput(reason=f'A lock ends in the future, and within {most} days; {text} does not.')
    return until


def check_lock(days: int) -> None:
    """Raise InvalidInput when backups cannot be locked for so many days here."""
    most = settings().backup_lock_days
    if not most and days:
        raise errors.InvalidInput(reason='Backups cannot be locked here: the bucket has no Object Lock.')
    if days > most:
        raise errors.InvalidInput(reason=f'Backups are locked for {most} days at most here, not for {days}.')


def key_for(context: Context, backup: Backup, source: Volume | Backup) -> keys.NewKey | None:
    """The key of encrypted data, of a volume or a backup to copy: stored again, so that it outlives the source."""
    if source.encryption_key_id is None:
        return None
    key = keys.clone(context, source.project_id, source.encryption_key_id, to=backup.project_id)
    backup.encryption_key_id = key.id
    return key


def _has_service(context: Context, zone: str | None) -> bool:
    """Whether a backup may be made in the requested zone. The service works for every zone with volumes."""
    return zone is None or services.known_zones(context, [zone]) == [zone]


def _record(
    context: Context, origin: tuple[Volume, Snapshot | None, Backup | None], *, id: str, **facts: Any
) -> Backup:
    """Return the record, not written yet. ``origin``: the volume, its snapshot that is read, the parent."""
    volume, snapshot, parent = origin
    now, size = base.now(), int(snapshot.volume_size if snapshot else volume.size)
    return Backup(
        context.project_id,
        id,
        created_at=now,
        user_id=context.user_id,
        volume_id=volume.id,
        snapshot_id=snapshot.id if snapshot else None,
        size=size,
        data_timestamp=snapshot.created_at if snapshot else now,
        parent_id=parent.id if parent else None,
        service=SERVICE,
        lineage=volume.id,
        reading={**reservations.reading_of(snapshot or volume), 'request_id': context.request_id},
        progress=progress.begun(size),
        **facts,
    )


def _own(backup: Backup, context: Context, *, has_service: bool) -> None:
    """Enter ``creating`` on a record that is not written yet. The workflow ends at its first step without a service."""
    row = workflows.BACKUP['create']
    backup.status, backup.owner, backup.in_flight = row.running, context.request_id, '1'
    backup.deadline = base.first_deadline(row)
    backup.operation = common.operation(row, has_service=has_service)


def _source(context: Context, volume_id: str, snapshot_id: str | None, force: bool) -> tuple[Volume, Snapshot | None]:
    """Return the volume to back up, and the snapshot of it that is to be read instead. Raises for one that is busy."""
    volume = volumes.get(context, volume_id)
    snapshot = snapshots.get(context, snapshot_id) if snapshot_id else None
    _check_source(volume, snapshot, force)
    return volume, snapshot


def _check_source(volume: Volume, snapshot: Snapshot | None, force: bool) -> None:
    if snapshot is not None and snapshot.volume_id != volume.id:
        raise errors.InvalidVolume(
            reason=f'Volume {volume.id} does not match with snapshot.volume_id {snapshot.volume_id}.'
        )
    if snapshot is not None and snapshot.status not in workflows.SNAPSHOT['backup'].allowed:
        raise errors.InvalidSnapshot(
            reason=f'Snapshot to be backed up must be available, but the current status is "{snapshot.status}".'
        )
    if snapshot is None and volume.status not in states.READABLE:
        raise errors.InvalidVolume(
            reason=f'Volume to be backed up must be available or in-use, but the current status is "{volume.status}".'
        )
    if snapshot is None and volume.status == states.IN_USE and not force:
        raise errors.InvalidVolume(reason='Backing up an in-use volume must use the force flag.')


def _parent(context: Context, volume: Volume, snapshot: Snapshot | None) -> Backup:
    """The newest available backup that an incremental one can build on; an imported one has another lineage."""
    candidates = [
        backup
        for backup in base.every(Backup, context.project_id)
        if backup.lineage == volume.id and not backup.location
        if backup.status == states.AVAILABLE
        if snapshot is None or (backup.data_timestamp or '') < snapshot.created_at
    ]
    if not candidates:
        raise errors.InvalidBackup(
            reason='No backups available to do an incremental backup; make a full backup of the volume first.'
        )
    return max(candidates, key=lambda backup: (str(backup.data_timestamp), str(backup.created_at)))


def _add_backup_to(
    context: Context,
    backup: Backup,
    source: Volume | Snapshot,
    force: bool,
    key: keys.NewKey | None,
    transaction: base.Transaction,
) -> None:
    """Add the record, its key, and the source's status and readers, to the transaction that takes the quota."""
    if key:
        key.add_to(transaction)
    transaction.put(backup, Backup.id.does_not_exist())
    kind = type(source)
    table = workflows.SNAPSHOT if isinstance(source, Snapshot) else workflows.VOLUME
    row = table['backup_attached' if force and isinstance(source, Volume) else 'backup']
    operation = common.operation(row, backup_id=backup.id, backup_project_id=backup.project_id)
    ended = source.end_of_move() if isinstance(source, Volume) else []
    transaction.update(
        source,
        [*base.begin_actions(kind, row, context.request_id, operation), kind.reader_count.add(1), *ended],
        base.is_allowed(kind, row),
        functools.partial(_source_moved, source),
    )


def _source_moved(source: Volume | Snapshot) -> errors.Invalid:
    kind = errors.InvalidSnapshot if isinstance(source, Snapshot) else errors.InvalidVolume
    return kind(reason=f'{source.resource.capitalize()} {source.id} changed while the request was being served; retry.')


def update(context: Context, id: str, changes: dict[str, Any]) -> Backup:
    """Change name, description or metadata."""
    backup = get(context, id)
    actions = [common.set_or_remove(getattr(Backup, key), value) for key, value in changes.items()]
    base.update(backup, [*actions, *base.touched(Backup)])
    return backup


def delete(context: Context, id: str, *, force: bool = False) -> None:
    """Accept the removal of a backup that is not locked; no other backup needs it to be restored."""
    backup = get(context, id)
    check_unlocked(backup)
    row = workflows.BACKUP['force_delete' if force else 'delete']
    try:
        base.begin(backup, row, context.request_id, common.operation(row))
    except errors.StateChanged:
        raise errors.InvalidBackup(reason='Backup status must be available or error') from None
    if backup_reservations.owns_data(backup):
        keys.release(backup.encryption_key_id)
    common.send(context, 'delete', backup)


def check_unlocked(backup: Backup) -> None:
    """Raise InvalidBackup for a finished backup that is locked still."""
    if backup.manifest_key and backup.locked_until and backup.locked_until > base.now():
        raise errors.InvalidBackup(
            reason=f'Backup {backup.id} is locked until {backup.locked_until[:19]} UTC, and cannot be removed before.'
        )


def restore(context: Context, id: str, *, volume_id: str | None, name: str | None) -> tuple[Backup, Volume]:
    """Accept a restore to a volume that exists, or to one that is made for it; the client does not wait for either."""
    target = () if volume_id is None else (Volume.key(context.project_id, volume_id),)
    with common.reading_with(context, Backup, id, *target):
        backup = get(context, id)
        if claims.is_begun():
            return backup, claims.made(Volume) or volumes.get(context, str(volume_id))
        _check_restorable(backup)
        if volume_id is None:
            return backup, _restore_to_new(context, backup, name)
        volume = volumes.get(context, volume_id)
    _check_target(backup, volume)
    volume = exports.end_all(volume)
    row, key = workflows.VOLUME['restore'], _key_for(context, backup, volume)
    new_key = {'encryption_key_id': key.id} if key else {}
    operation = common.operation(row, backup_id=backup.id, backup_project_id=backup.project_id, **new_key)
    started = Volume.progress.set(progress.begun(int(backup.size)))
    refused = errors.InvalidVolume(reason=f'Volume {volume.id} to be restored to must be available and detached.')
    with keys.discarding(key), base.Transaction() as transaction:
        backup_reservations.add_restore_to(transaction, backup, volume, context.request_id, workflows.BACKUP['restore'])
        if key:
            key.add_to(transaction)
        actions = [*base.begin_actions(Volume, row, context.request_id, operation), started, *volume.end_of_move()]
        transaction.update(volume, actions, base.is_allowed(Volume, row) & exports.are_none(), lambda: refused)
    common.send(context, 'restore', backup, volume)
    return backup, volume


def _check_restorable(backup: Backup) -> None:
    if backup.status != states.AVAILABLE:
        raise errors.InvalidBackup(reason='Backup status must be available')
    if not backup.size:
        raise errors.InvalidBackup(reason='Backup to be restored has invalid size')


def _check_target(backup: Backup, volume: Volume) -> None:
    if volume.status != states.AVAILABLE:
        raise errors.InvalidVolume(reason='Volume to be restored to must be available')
    if (backup.encryption_key_id is None) != (volume.encryption_key_id is None):
        raise errors.InvalidVolume(
            reason='An encrypted backup is restored to an encrypted volume, and another one to a volume that is not: '
            'restore to a volume with the type of the one that was backed up.'
        )
    if backup.size > volume.size:
        raise errors.InvalidVolume(
            reason=f'volume size {volume.size} is too small to restore backup of size {backup.size}.'
        )


def _key_for(context: Context, backup: Backup, volume: Volume) -> keys.NewKey | None:
    """The key that the volume has when the backup's data is on it; None: the one that it has opens that, too."""
    old, new = volume.encryption_key_id, backup.encryption_key_id
    if old is None or new is None or keys.is_same(volume.project_id, old, backup.project_id, new):
        return None
    return keys.clone(context, backup.project_id, new, to=volume.project_id)


def _restore_to_new(context: Context, backup: Backup, name: str | None) -> Volume:
    """Make the volume; its creation hands both over to the restore (tasks/create_volume.py)."""
    return volumes.create(
        context,
        size=int(backup.size),
        name=name or f'restore_backup_{backup.id}',
        description='auto-created_from_restore_from_backup',
        availability_zone=None,
        volume_type=_encrypted_type(backup),
        metadata={},
        snapshot_id=None,
        source_volid=None,
        multiattach=False,
        scheduler_hints={},
        backup_id=backup.id,
    )


def _encrypted_type(backup: Backup) -> str | None:
    """Return the type of the backed-up volume if the backup is encrypted and the volume still exists, else None."""
    if backup.encryption_key_id is None:
        return None
    source = Volume.find_or_none(backup.project_id, backup.volume_id)
    return source.volume_type_id if source else None


def reset_status(context: Context, id: str, status: str) -> None:
    """Set the status for an administrator, available or error, and cancel the operation in progress."""
    backup = get(context, id)
    if status not in states.BACKUP_RESETS:
        raise errors.InvalidInput(reason=f"Backup status must be 'available' or 'error', not {status!r}.")
    base.update(backup, [*base.end_actions(backup, status), Backup.restore_volume_id.remove()])


def repository_prefix(backup: Backup) -> str:
    """The folder of the bucket that holds the backup's chain: the project first, for users name the container."""
    if backup.location:
        return str(backup.location['prefix'])
    return f'{backup.project_id}/{backup.container or DEFAULT_CONTAINER}/'


def location_of(backup: Backup) -> dict[str, str]:
    """Return where the backup's chain is stored: {'bucket', 'region', 'prefix'}."""
    if backup.location:
        return dict(backup.location)
    known = settings()
    return {'bucket': known.backup_bucket, 'region': known.region, 'prefix': repository_prefix(backup)}
