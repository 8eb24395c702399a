"""Backends with data: the strict fake driver with real bytes behind it, and a repository in memory.

A disk is sparse, so a volume of many GiB uses memory only for written data. A device reads and writes only while its
export exists, as with a target.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import pytest

from chalicelib import errors
from chalicelib.backup import engine
from chalicelib.backup.keys import RecoveryKeyWrapper
from chalicelib.device import BlockDevice, Changes, Extent
from chalicelib.drivers.base import GIB, ModelUpdate, SnapshotRef, VolumeRef
from chalicelib.models import Backup
from chalicelib.operations import backup_copies as copies
from chalicelib.operations import backups as operations
from tests.fake_driver import OURS, Backend, FakeBackends, FakeDriver, Object
from tests.simulation import Simulation
from tests.unit.backup.fakes import MemoryRepository, Wrapped

#: Bytes that a disk keeps, or does not, as one.
TILE = 64 * 1024

WRAPPER = RecoveryKeyWrapper.from_private(b'k' * 32)

#: No threads, so that calls come in one order.
LIMITS = engine.Limits(uploads=0, downloads=0, lookups=0)


@dataclasses.dataclass
class Disk:
    """Bytes by tile; a tile that is not there reads as zeroes. ``size`` in bytes."""

    size: int
    tiles: dict[int, bytes] = dataclasses.field(default_factory=dict)

    def copy(self, size: int) -> Disk:
        return Disk(size, dict(self.tiles))

    def read(self, offset: int, length: int) -> bytes:
        data = b''.join(
            self.tiles.get(tile, bytes(TILE)) for tile in range(offset // TILE, -(-(offset + length) // TILE))
        )
        return data[offset % TILE :][:length]

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        while view:
            tile, start = divmod(offset, TILE)
            part = bytes(view[: TILE - start])
            old = self.tiles.get(tile, bytes(TILE))
            self.tiles[tile] = old[:start] + part + old[start + len(part) :]
            offset, view = offset + len(part), view[len(part) :]

    def same(self, other: Disk) -> bool:
        """Whether both read the same, over the longer one's size."""
        tiles = self.tiles.keys() | other.tiles.keys()
        return all(self.tiles.get(tile, bytes(TILE)) == other.tiles.get(tile, bytes(TILE)) for tile in tiles)

    def changes(self, older: Disk, offset: int, length: int) -> list[tuple[int, int]]:
        """The tiles that differ from an older disk's, and all beyond its end."""
        end = max(offset, min(offset + length, older.size))
        places = (
            place
            for place in range(offset, end, TILE)
            if self.tiles.get(place // TILE) != older.tiles.get(place // TILE)
        )
        beyond = [(end, offset + length - end)] if end < offset + length else []
        return [*((place, TILE) for place in places), *beyond]

    def fill(self, seed: int, count: int = 6) -> Disk:
        """Write ``count`` random stretches of up to 3 tiles, anywhere, one over each shard's border."""
        draw = random.Random(seed)
        places = [draw.randrange(0, self.size // TILE - 4) * TILE for _ in range(count)]
        borders = [place - TILE for place in range(4 * GIB, self.size, 4 * GIB)]
        for place in [*places, *borders, self.size - 2 * TILE]:
            self.write(place, draw.randbytes(draw.randint(1, 2) * TILE))
        return self


class DiskDevice(BlockDevice):
    """A path to a disk. ``check`` raises when the path is not there any more."""

    block_size = 512

    def __init__(self, disk: Disk, check: Callable[[str], None], *, writable: bool) -> None:
        self.disk, self._check, self._writable = disk, check, writable

    @property
    def size(self) -> int:
        return self.disk.size

    def read(self, offset: int, length: int) -> bytes:
        self._check('read')
        return self.disk.read(offset, length)

    def read_many(self, ranges: Iterable[tuple[int, int]]) -> Iterator[Extent]:
        for offset, length in ranges:
            yield offset, memoryview(self.read(offset, length))

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self._check('write')
        assert self._writable, 'a path for reading was written to'
        assert offset + len(data) <= self.size
        self.disk.write(offset, data)

    def write_many(self, extents: Iterable[Extent]) -> None:
        for offset, data in extents:
            self.write(offset, data)

    def zero(self, offset: int, length: int) -> None:
        self._check('zero')
        assert self._writable, 'a path for reading was written to'
        for tile in [tile for tile in self.disk.tiles if offset <= tile * TILE < offset + length]:
            del self.disk.tiles[tile]

    def allocated(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        self._check('allocated')
        for tile in sorted(tile for tile in self.disk.tiles if offset <= tile * TILE < offset + length):
            yield tile * TILE, TILE

    def flush(self) -> None:
        self._check('flush')

    def close(self) -> None:
        """A session has no state."""

    def __enter__(self) -> DiskDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class DiskDriver(FakeDriver):
    """The contract's verbs, with data. ``zeroed``: a new volume reads as zeroes; else it has old data."""

    def __init__(self, backend: Backend, disks: dict[str, Disk], *, zeroed: bool) -> None:
        super().__init__(backend)
        self.disks = disks
        self.capabilities = dataclasses.replace(self.capabilities, zeroed_volumes=zeroed)

    def create_volume(self, volume: VolumeRef) -> ModelUpdate:
        update = super().create_volume(volume)
        if volume.name not in self.disks:
            disk = self.disks[volume.name] = Disk(volume.size * GIB)
            if not self.capabilities.zeroed_volumes:
                disk.fill(seed=13)
        return update

    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef) -> ModelUpdate:
        update = super().create_volume_from_snapshot(volume, snapshot)
        self.disks.setdefault(volume.name, self.disks[snapshot.name].copy(volume.size * GIB))
        return update

    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef) -> ModelUpdate:
        update = super().create_cloned_volume(volume, source)
        self.disks.setdefault(volume.name, self.disks[source.name].copy(volume.size * GIB))
        return update

    def delete_volume(self, volume: VolumeRef) -> None:
        super().delete_volume(volume)
        self.disks.pop(volume.name, None)

    def extend_volume(self, volume: VolumeRef, new_size: int) -> None:
        super().extend_volume(volume, new_size)
        self.disks[volume.name].size = new_size * GIB

    def create_snapshot(self, snapshot: SnapshotRef) -> ModelUpdate:
        update = super().create_snapshot(snapshot)
        source = self.disks[snapshot.volume.name]
        self.disks.setdefault(snapshot.name, source.copy(source.size))
        return update

    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef) -> ModelUpdate:
        update = super().revert_to_snapshot(volume, snapshot)
        self.disks[volume.name] = self.disks[snapshot.name].copy(volume.size * GIB)
        return update

    def changes_since(self, snapshot: SnapshotRef, older: SnapshotRef) -> Changes | None:
        def changes(offset: int, length: int) -> list[tuple[int, int]] | None:
            with self._verb('changes_since', snapshot.name):
                new, old = self.disks.get(snapshot.name), self.disks.get(older.name)
                known = older.name in self.store.kept or not older.kept
                return new.changes(old, offset, length) if new and old and known else None

        return changes

    def changes_of_restore(self, volume: VolumeRef, export_id: str, older: SnapshotRef) -> Changes | None:
        with self._verb('changes_of_restore', volume.name) as store:
            if older.name not in store.objects:
                return None
            frozen = SnapshotRef(export_id, volume.size, volume)
            source = self._require(store, volume.name)
            store.objects.setdefault(frozen.name, Object(source.pool, volume.size, volume.name, OURS))
            store.kept[frozen.name] = volume.name
            self.disks.setdefault(frozen.name, self.disks[volume.name].copy(volume.size * GIB))
        return self.changes_since(frozen, older)

    def complete_restore(
        self, volume: VolumeRef, export_id: str, written: Callable[[], Iterable[tuple[int, int]]]
    ) -> ModelUpdate:
        self.cancel_restore(volume, export_id)
        return {}

    def cancel_restore(self, volume: VolumeRef, export_id: str) -> None:
        super().cancel_restore(volume, export_id)
        if self.store.keeps:
            self.delete_snapshot(SnapshotRef(export_id, volume.size, volume))

    def _drop_kept(self, store: Backend, volume: VolumeRef, spared: str = '') -> None:
        super()._drop_kept(store, volume, spared)
        for name in [name for name in self.disks if name not in store.objects and name.startswith('snapshot-')]:
            del self.disks[name]

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        if self.store.paths.get(snapshot.name):
            raise errors.SnapshotIsBusy(id=snapshot.id, reason='it has a path')
        super().delete_snapshot(snapshot)
        self.disks.pop(snapshot.name, None)
        self.store.paths.pop(snapshot.name, None)

    def manage_existing(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> ModelUpdate:
        found = self._name_of(self.disks, existing_ref)  # a lost answer leaves the disk under its old name
        update = super().manage_existing(volume, existing_ref)
        self._rename(found, volume.name)
        return update

    def unmanage(self, volume: VolumeRef) -> None:
        super().unmanage(volume)
        self._rename(volume.name, f'unmanaged-{volume.name}')

    def manage_existing_snapshot(self, snapshot: SnapshotRef, existing_ref: Mapping[str, str]) -> ModelUpdate:
        found = self._name_of(self.disks, existing_ref)
        update = super().manage_existing_snapshot(snapshot, existing_ref)
        self._rename(found, snapshot.name)
        return update

    def unmanage_snapshot(self, snapshot: SnapshotRef) -> None:
        super().unmanage_snapshot(snapshot)
        self._rename(snapshot.name, f'unmanaged-{snapshot.name}')

    def _rename(self, old: str, new: str) -> None:
        if old in self.disks:
            self.disks[new] = self.disks.pop(old)

    def open_volume(self, volume: VolumeRef, export_id: str, mode: Literal['rw', 'ro']) -> BlockDevice:
        return self._open('open_volume', volume.name, export_id, writable=mode == 'rw')

    def close_volume(self, volume: VolumeRef, export_id: str) -> None:
        self._close('close_volume', volume.name, export_id)

    def open_snapshot(self, snapshot: SnapshotRef, export_id: str) -> BlockDevice:
        return self._open('open_snapshot', snapshot.name, export_id, writable=False)

    def close_snapshot(self, snapshot: SnapshotRef, export_id: str) -> None:
        self._close('close_snapshot', snapshot.name, export_id)

    def _open(self, verb: str, name: str, export_id: str, *, writable: bool) -> BlockDevice:
        with self._verb(verb, name) as store:
            self._require(store, name)
            store.paths[name].add(export_id)

        def check(action: str) -> None:
            with self._verb(action, name):
                if export_id not in self.store.paths.get(name, ()):
                    raise errors.DeviceUnreachable(device=name, reason='the path is not there')

        return DiskDevice(self.disks[name], check, writable=writable)

    def _close(self, verb: str, name: str, export_id: str) -> None:
        with self._verb(verb, name) as store:
            store.paths[name] = store.paths[name] - {export_id}


class DiskBackends(FakeBackends):
    def __init__(self, backends: dict[str, Backend], data: Data) -> None:
        super().__init__(backends)
        self._data = data

    def driver(self, host: str) -> DiskDriver:
        backend = self.backend(host)
        return DiskDriver(backend, self._data.disks[backend.host], zeroed=self._data.zeroed)


def _name(record: Any) -> str:
    return f'{record.resource}-{getattr(record, "name_id", None) or record.id}'


class Data:
    """Disks by backend and name, repositories by prefix; ``zeroed``: new volumes on all backends read as zeroes.

    ``keeps``: the backends keep the snapshot of each volume's last backup.
    """

    def __init__(self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch, *, keeps: bool = False) -> None:
        from chalicelib.tasks import backends, backup_data

        self.simulation = simulation
        self.disks: dict[str, dict[str, Disk]] = {host: {} for host in simulation.backends}
        self.zeroed = True
        for backend in simulation.backends.values():
            backend.keeps = keeps
        self.repositories: dict[str, MemoryRepository] = {}
        monkeypatch.setattr(backends, 'configured', lambda: DiskBackends(simulation.backends, self))
        monkeypatch.setattr(backup_data, 'repository', self._repository)
        monkeypatch.setattr(backup_data, 'limits', lambda: LIMITS)
        for name in ('key_wrapper', 'key_wrapper_of_copy'):
            monkeypatch.setattr(backup_data, name, lambda _: WRAPPER)
        monkeypatch.setattr(copies, 'targets', lambda: {'dr': copies.Target('elsewhere', 'eu-west-1', 'key', 'dr/')})

    def _repository(self, backup: Backup) -> Any:
        found = self.repositories.setdefault(operations.repository_prefix(backup), MemoryRepository())

        def around(method: str, call: Callable[[], Any]) -> Any:
            with self.simulation.around(f's3 {method}'):
                return call()

        return Wrapped(found, around)

    def of(self, record: Any) -> Disk:
        """The disk behind a volume's or snapshot's record."""
        host = str(record.reload().host)
        return self.disks[host.partition('#')[0]][_name(record.reload())]

    def objects(self) -> list[str]:
        """Keys of all that is stored, whatever the prefix."""
        return sorted(key for repository in self.repositories.values() for key in repository.objects)

    def paths(self) -> list[tuple[str, str]]:
        """(object, export id) of every path on any backend."""
        return [
            (name, export)
            for backend in self.simulation.backends.values()
            for name, exports in backend.paths.items()
            for export in exports
        ]
