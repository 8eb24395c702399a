"""Backups of Cinder into a repository of this service: each with its parent, so that chains stay incremental."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from chalicelib.backup import engine
from chalicelib.backup.keys import KeyWrapper
from chalicelib.backup.repository import Repository
from cinderless.images import Image
from cinderless.migration.chunks import ChunkedBackup, ChunkedDevice, chain_of
from cinderless.migration.unpacking import Store

#: Reports the bytes of a volume that are done.
Show = Callable[[int], None]


def import_backup(
    store: Store,
    chain: list[ChunkedBackup],
    repository: Repository,
    wrapper: KeyWrapper,
    show: Show = lambda _: None,
) -> engine.Manifest:
    """Bring the last backup of a chain into a repository; its parent must be there. Safe to repeat and to interrupt.

    The lineage is the volume's id, as of a backup that the service makes. Raises IntegrityError before a damaged block
    is stored.
    """
    newest = chain[-1]
    with ChunkedDevice(store, chain) as device:
        parent = newest.parent_id if newest.parent_id else None
        backup = engine.begin_backup(
            repository, wrapper, lineage=newest.volume_id, backup_id=newest.id, size=device.size, parent=parent
        )
        for shard in engine.plan(device.size, backup.geometry):
            _copy(device, repository, backup, shard, show)
    return engine.commit_backup(
        repository, wrapper, backup, created_at=newest.created_at, metadata=_metadata(newest, backup.size)
    )


def _copy(
    device: ChunkedDevice, repository: Repository, backup: engine.Backup, shard: engine.Shard, show: Show
) -> None:
    changes = device.changes if backup.parent else None
    cursor = None
    while True:
        result = engine.backup_shard(device, repository, backup, shard.index, changes=changes, cursor=cursor)
        show(shard.offset + shard.length)
        if result.done:
            return
        cursor = result.cursor


def _metadata(backup: ChunkedBackup, size: int) -> dict[str, Any]:
    return {
        'volume': {'id': backup.volume_id, 'size': size >> 30},
        'imported_from': {'service': 'cinder', 'name': backup.name, 'description': backup.description},
    }


def in_order(id: str, known: Mapping[str, ChunkedBackup], done: Collection[str]) -> Iterator[list[ChunkedBackup]]:
    """Yield the chains of a backup's ancestors and of itself, ancestors first, without those that are ``done``.

    Raises InvalidBackup for a missing ancestor.
    """
    whole = chain_of(known[id], known)
    for length, one in enumerate(whole, 1):
        if one.id not in done:
            yield whole[:length]


def restore(store: Store, chain: list[ChunkedBackup], target: Image, show: Show = lambda _: None) -> int:
    """Write the volume as the last backup of a chain has it; return its size.

    Each block is compared with its sha256 before it is written. Raises IntegrityError, DeviceError.
    """
    with ChunkedDevice(store, chain) as device:
        for offset in range(0, device.size, device.step):
            length = min(device.step, device.size - offset)
            data = device.read(offset, length)
            if not device.is_zero(offset, length):
                target.device.write(offset, data)
            elif not target.zeroed:
                target.device.zero(offset, length)
            show(offset + length)
        target.device.flush()
        return device.size


def verify(store: Store, chain: list[ChunkedBackup], show: Show = lambda _: None) -> int:
    """Read and check every byte of the last backup of a chain; return the size. Raises IntegrityError."""
    with ChunkedDevice(store, chain) as device:
        for offset in range(0, device.size, device.step):
            length = min(device.step, device.size - offset)
            device.read(offset, length)
            show(offset + length)
        return device.size
