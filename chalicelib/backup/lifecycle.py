"""The lifecycle of a backup: begin, copy its shards, commit, delete. Every step may be repeated at any time."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.backup import layout, shards
from chalicelib.backup.crypto import DataKey
from chalicelib.backup.keys import KeyWrapper
from chalicelib.backup.layout import Geometry
from chalicelib.backup.limits import Limits, Pool
from chalicelib.backup.listing import ShardRef
from chalicelib.backup.manifests import Backup, Manifest, load_backup, open_backup
from chalicelib.backup.repository import Repository, exists, put_once
from chalicelib.errors import BackupCanceled, IntegrityError, InvalidBackup, ObjectMissing

#: What a commit needs of a shard: the header of its manifest, and the reference to the shard's listing.
_Look = tuple[shards.Header, ShardRef]


def begin_backup(
    repository: Repository,
    wrapper: KeyWrapper,
    *,
    lineage: str,
    backup_id: str,
    size: int,
    parent: str | None = None,
    geometry: Geometry | None = None,
) -> Backup:
    """Store the intent, which protects from the collector all that this backup may refer to.

    ``size`` in bytes. Without ``parent`` (a backup's id in this lineage) the backup is full and has a data key of
    its own; an incremental has its parent's key and geometry. A repeated call returns what the first one stored.
    Raises InvalidBackup for a parent that is missing or does not fit, BackupCanceled once the backup is deleted.
    """
    running = layout.running_key(layout.check_id(lineage), layout.check_id(backup_id))
    _refuse_deleted(repository, lineage, backup_id)
    if not exists(repository, running):
        if exists(repository, layout.backup_key(lineage, backup_id)):  # finished, and its intent was collected
            return open_backup(repository, wrapper, lineage, backup_id)
        older = _load_parent(repository, wrapper, lineage, parent)
        backup = _incremental(older, backup_id, size) if older else _full(wrapper, lineage, backup_id, size, geometry)
        put_once(repository, layout.running_key(lineage, backup_id), backup.encode())
    backup = open_backup(repository, wrapper, lineage, backup_id)
    if (backup.size, backup.parent) != (size, parent):
        raise InvalidBackup(reason=f'{backup_id} began with {backup.size} bytes and parent {backup.parent}')
    _refuse_deleted(repository, lineage, backup_id)
    _check_parent(repository, lineage, parent)
    return backup


def _full(wrapper: KeyWrapper, lineage: str, backup_id: str, size: int, geometry: Geometry | None) -> Backup:
    geometry = geometry or Geometry()
    layout.check_size(size, geometry)
    plaintext, wrapped = wrapper.generate(lineage)
    return Backup(lineage, backup_id, size, geometry, None, 0, wrapped, DataKey(plaintext, lineage))


def _incremental(older: Manifest, backup_id: str, size: int) -> Backup:
    layout.check_size(size, older.geometry)
    shard_count = len(older.shards)
    return Backup(older.lineage, backup_id, size, older.geometry, older.backup_id, shard_count, older.keys, older.key)


def _load_parent(repository: Repository, wrapper: KeyWrapper, lineage: str, parent: str | None) -> Manifest | None:
    if parent is None:
        return None
    try:
        return load_backup(repository, wrapper, layout.backup_key(lineage, parent))
    except ObjectMissing as error:
        raise _parent_is_gone(parent) from error


def _check_parent(repository: Repository, lineage: str, parent: str | None) -> None:
    """Checked after the intent is stored: from then on the collector keeps the data of an existing parent."""
    if parent is None:
        return
    deleted = exists(repository, layout.deleted_key(lineage, parent))
    if deleted or not exists(repository, layout.backup_key(lineage, parent)):
        raise _parent_is_gone(parent)


def _parent_is_gone(parent: str) -> InvalidBackup:
    return InvalidBackup(reason=f'the parent {parent} no longer exists; create a full backup')


def _refuse_deleted(repository: Repository, lineage: str, backup_id: str) -> None:
    if exists(repository, layout.deleted_key(lineage, backup_id)):
        raise BackupCanceled(id=backup_id)


def commit_backup(
    repository: Repository,
    wrapper: KeyWrapper,
    backup: Backup,
    *,
    created_at: str,
    metadata: Mapping[str, Any],
    limits: Limits | None = None,
) -> Manifest:
    """Write the backup's manifest, once all its shards are done. From then on the backup exists.

    ``metadata`` is any JSON, stored readable and authenticated. A repeated call returns the first one's manifest.
    Raises ObjectMissing for a shard that is not done, BackupCanceled once the backup is deleted.
    """
    key = layout.backup_key(backup.lineage, backup.backup_id)
    if not exists(repository, key):
        looks = _look_at_shards(repository, backup, limits or Limits())
        manifest = _assemble(backup, looks, created_at, metadata)
        _check_running(repository, backup)
        put_once(repository, manifest.object_key, manifest.encode())
    delete_if_tombstoned(repository, backup)
    return load_backup(repository, wrapper, key)


def _assemble(backup: Backup, looks: Sequence[_Look], created_at: str, metadata: Mapping[str, Any]) -> Manifest:
    headers = [header for header, _ in looks]
    return Manifest(
        lineage=backup.lineage,
        backup_id=backup.backup_id,
        size=backup.size,
        geometry=backup.geometry,
        parent=backup.parent,
        keys=backup.keys,
        key=backup.key,
        shards=[ref for _, ref in looks],
        object_count=sum(header.counts.packs for header in headers) + len(headers) + 1,
        stored_bytes=sum(header.counts.stored + header.size for header in headers),
        created_at=created_at,
        metadata=dict(metadata),
    )


def _look_at_shards(repository: Repository, backup: Backup, limits: Limits) -> list[_Look]:
    count = backup.geometry.shard_count(backup.size)
    with Pool(limits.lookups) as pool:
        looks = (functools.partial(_look_at_shard, repository, backup, index) for index in range(count))
        return [future.result() for future in pool.ordered(looks)]


def _look_at_shard(repository: Repository, backup: Backup, index: int) -> _Look:
    object_key = layout.shard_key(backup.lineage, index, backup.backup_id)
    header, references = shards.peek(repository, object_key, backup.key)
    if header.counts.blocks != backup.geometry.blocks(backup.geometry.shard(backup.size, index)):
        raise IntegrityError(key=object_key, reason=f'it lists {header.counts.blocks} blocks')
    own = ShardRef(backup.backup_id, header.mac)
    return header, references if isinstance(references, ShardRef) else own


def _check_running(repository: Repository, backup: Backup) -> None:
    """An intent is collected when its backup is long finished, or together with its tombstone."""
    _refuse_deleted(repository, backup.lineage, backup.backup_id)
    keys = (layout.running_key, layout.backup_key)
    if not any(exists(repository, key(backup.lineage, backup.backup_id)) for key in keys):
        raise BackupCanceled(id=backup.backup_id)


def delete_if_tombstoned(repository: Repository, backup: Backup | Manifest) -> None:
    """Delete what a put stored of a backup whose delete ran between check and put, and so did not find it."""
    try:
        _refuse_deleted(repository, backup.lineage, backup.backup_id)
    except BackupCanceled:
        repository.delete(_commitments(backup.lineage, backup.backup_id))
        raise


def delete_backup(repository: Repository, lineage: str, backup_id: str) -> None:
    """Delete a backup, finished or running; a running one is cancelled. Backups that descend from it stay intact.

    The next ``gc.collect`` deletes the data, unless other backups refer to it.
    """
    layout.check_id(lineage)
    repository.put(layout.deleted_key(lineage, layout.check_id(backup_id)), b'')
    repository.delete(_commitments(lineage, backup_id))


def _commitments(lineage: str, backup_id: str) -> list[str]:
    """Return the keys of what a deletion removes at once: the manifest, and the key of the volume."""
    return [layout.backup_key(lineage, backup_id), layout.volume_key_key(lineage, backup_id)]
