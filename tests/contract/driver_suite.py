"""Contract of every driver on any backend: chalicelib/drivers/base.py as tests.

A driver's test module subclasses ``DriverContract``, and further classes by what the driver can: ``OpenedContract``
(``opens_volumes``), ``AttachedContract`` (``snapshot_attached``), ``RestoreContract``, and ``IscsiContract`` if hosts
reach its volumes over iSCSI. It has a fixture ``backend`` that returns a ``Backend``. Where workers cannot open volumes
(EBS), a subclass of ``Backend`` does ``write``, ``read`` and ``using`` as a host does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from chalicelib.device import BlockDevice
from chalicelib.drivers.base import GIB, Driver, SnapshotRef, VolumeRef
from chalicelib.errors import (
    BackendFull,
    DeviceError,
    DriverError,
    ManageExistingInvalidReference,
    NotSupported,
    ProviderNotFound,
    SnapshotIsBusy,
    VolumeIsBusy,
)

MIB = 1024**2
BLOCK = 4096

#: The path of a restore.
RESTORE = '5e1f0000-0000-4000-8000-00000000e57e'


@dataclasses.dataclass
class Backend:
    """A driver with a backend behind it. ``host`` names a pool, and ``other_host`` another one of the same backend.

    ``too_large`` is a size in GiB that never fits.
    """

    driver: Driver
    host: str
    other_host: str
    too_large: int
    made: list[Callable[[], None]] = dataclasses.field(default_factory=list)

    def volume_ref(self, size: int = 1, host: str = '') -> VolumeRef:
        volume = VolumeRef(id=str(uuid.uuid4()), size=size, project_id='p', host=host or self.host)
        self.made.append(lambda: self.driver.delete_volume(volume))
        self.made.append(lambda: self.driver.terminate_connection(volume, None))
        return volume

    def snapshot_ref(self, volume: VolumeRef) -> SnapshotRef:
        snapshot = SnapshotRef(id=str(uuid.uuid4()), size=volume.size, volume=volume)
        self.made.append(lambda: self.driver.delete_snapshot(snapshot))
        return snapshot

    def volume(self, size: int = 1, data: bytes = b'') -> VolumeRef:
        volume = self.volume_ref(size)
        self.driver.create_volume(volume)
        if data:
            self.write(volume, 0, data)
        return volume

    def snapshot(self, volume: VolumeRef) -> SnapshotRef:
        snapshot = self.snapshot_ref(volume)
        self.driver.create_snapshot(snapshot)
        return snapshot

    def write(self, volume: VolumeRef, offset: int, data: bytes) -> None:
        with self.driver.open_volume(volume, 'writer', 'rw') as device:
            device.write(offset, data)
            device.flush()
        self.driver.close_volume(volume, 'writer')

    def read(self, volume: VolumeRef, offset: int, length: int) -> bytes:
        with self.driver.open_volume(volume, 'reader', 'ro') as device:
            data = device.read(offset, length)
        self.driver.close_volume(volume, 'reader')
        return data

    @contextlib.contextmanager
    def using(self, volume: VolumeRef) -> Iterator[Any]:
        """Yield a device with ``read`` and ``write``, as a host with the volume has it."""
        with self.driver.open_volume(volume, 'host', 'rw') as device:
            yield device

    @contextlib.contextmanager
    def opened(self, volume: VolumeRef) -> Iterator[BlockDevice]:
        """The volume as a worker reads it."""
        with self.driver.open_volume(volume, 'reader', 'ro') as device:
            yield device
        self.driver.close_volume(volume, 'reader')

    def pass_time(self) -> None:
        """Let a day pass, for backends with limits per day."""

    def read_snapshot(self, snapshot: SnapshotRef, offset: int, length: int) -> bytes:
        with self.driver.open_snapshot(snapshot, 'reader') as device:
            data = device.read(offset, length)
        self.driver.close_snapshot(snapshot, 'reader')
        return data

    def clean(self) -> None:
        while self.made:
            self.made.pop()()


class Cleaned:
    @pytest.fixture(autouse=True)
    def _clean(self, backend: Backend) -> Iterator[None]:
        """Delete all objects of a test; a driver that cannot delete them fails the test."""
        yield
        backend.clean()
        assert backend.driver.list_objects() == []


class DriverContract(Cleaned):
    def test_a_new_volume_reads_as_zeroes(self, backend: Backend) -> None:
        volume = backend.volume()
        with backend.opened(volume) as device:
            assert device.size == GIB
            assert list(device.allocated(0, GIB)) == []
            assert device.read(GIB - BLOCK, BLOCK) == bytes(BLOCK)

    def test_create_twice_is_one_volume_and_keeps_its_data(self, backend: Backend) -> None:
        volume = backend.volume(data=b'a' * BLOCK)
        backend.driver.create_volume(volume)
        assert backend.read(volume, 0, BLOCK) == b'a' * BLOCK
        assert backend.driver.list_objects() == [volume.name]

    def test_the_inventory_says_who_made_what(self, backend: Backend) -> None:
        volume = backend.volume()
        snapshot = backend.snapshot(volume)
        clone = backend.volume_ref(2)
        backend.made.append(lambda: backend.driver.delete_volume(clone))
        backend.driver.create_volume_from_snapshot(clone, snapshot)
        found = {one.name: one for one in backend.driver.inventory()}
        assert {name: one.size // GIB for name, one in found.items()} == {
            volume.name: 1, snapshot.name: 1, clone.name: 2,
        }  # fmt: skip
        assert {one.deployment for one in found.values()} == {'cinderless'}
        assert found[volume.name].pool == volume.pool

    def test_create_refuses_a_name_taken_at_another_size(self, backend: Backend) -> None:
        volume = backend.volume()
        with pytest.raises(DriverError, match='exists'):
            backend.driver.create_volume(dataclasses.replace(volume, size=2))

    def test_what_never_fits_is_refused_and_leaves_nothing(self, backend: Backend) -> None:
        with pytest.raises(BackendFull):
            backend.driver.create_volume(backend.volume_ref(backend.too_large))
        volume = backend.volume()
        with pytest.raises(BackendFull):
            backend.driver.extend_volume(volume, backend.too_large)
        assert backend.driver.list_objects() == [volume.name]

    def test_delete_twice(self, backend: Backend) -> None:
        volume = backend.volume()
        snapshot = backend.snapshot(volume)
        for _ in range(2):
            backend.driver.delete_snapshot(snapshot)
            backend.driver.delete_volume(volume)
        assert backend.driver.list_objects() == []

    def test_a_volume_made_again_under_its_name_is_empty(self, backend: Backend) -> None:
        volume = backend.volume(data=b'a' * BLOCK)
        backend.driver.delete_volume(volume)
        backend.driver.create_volume(volume)
        assert backend.read(volume, 0, BLOCK) == bytes(BLOCK)

    def test_data_survives_extend(self, backend: Backend) -> None:
        volume = backend.volume(data=b'a' * BLOCK)
        for size in (2, 2, 1):
            backend.driver.extend_volume(volume, size)
        assert backend.driver.get_volume_size(volume) == 2
        with backend.opened(volume) as device:
            assert device.size == 2 * GIB
            assert device.read(0, BLOCK) == b'a' * BLOCK
            assert device.read(2 * GIB - BLOCK, BLOCK) == bytes(BLOCK)
        backend.write(volume, 2 * GIB - BLOCK, b'z' * BLOCK)
        assert backend.read(volume, 2 * GIB - BLOCK, BLOCK) == b'z' * BLOCK

    def test_extend_needs_the_volume(self, backend: Backend) -> None:
        with pytest.raises(ProviderNotFound):
            backend.driver.extend_volume(backend.volume_ref(), 2)

    def test_a_snapshot_is_frozen(self, backend: Backend) -> None:
        volume = backend.volume(data=b'a' * BLOCK)
        snapshot = backend.snapshot(volume)
        backend.write(volume, 0, b'b' * BLOCK)
        backend.driver.create_snapshot(snapshot)
        assert backend.read_snapshot(snapshot, 0, BLOCK) == b'a' * BLOCK
        assert backend.read(volume, 0, BLOCK) == b'b' * BLOCK

    def test_a_snapshot_cannot_be_written(self, backend: Backend) -> None:
        snapshot = backend.snapshot(backend.volume(data=b'a' * BLOCK))
        with backend.driver.open_snapshot(snapshot, 'reader') as device, pytest.raises(DeviceError):
            device.write(0, b'b' * BLOCK)
        assert backend.read_snapshot(snapshot, 0, BLOCK) == b'a' * BLOCK

    def test_a_snapshot_outlives_its_volume(self, backend: Backend) -> None:
        volume = backend.volume(data=b'a' * BLOCK)
        snapshot = backend.snapshot(volume)
        backend.driver.delete_volume(volume)
        assert backend.read_snapshot(snapshot, 0, BLOCK) == b'a' * BLOCK

    def test_a_snapshot_of_nothing_is_refused(self, backend: Backend) -> None:
        with pytest.raises(ProviderNotFound):
            backend.driver.create_snapshot(backend.snapshot_ref(backend.volume_ref()))

    @pytest.mark.parametrize('size', [1, 2])
    def test_a_volume_from_a_snapshot_is_independent(self, backend: Backend, size: int) -> None:
        source = backend.volume(data=b'a' * BLOCK)
        snapshot = backend.snapshot(source)
        backend.write(source, 0, b'b' * BLOCK)
        volume = backend.volume_ref(size)
        for _ in range(2):
            backend.driver.create_volume_from_snapshot(volume, snapshot)
        backend.write(volume, BLOCK, b'c' * BLOCK)
        assert backend.read(volume, 0, 3 * BLOCK) == b'a' * BLOCK + b'c' * BLOCK + bytes(BLOCK)
        assert backend.read_snapshot(snapshot, 0, 2 * BLOCK) == b'a' * BLOCK + bytes(BLOCK)
        assert backend.read(volume, size * GIB - BLOCK, BLOCK) == bytes(BLOCK)

    def test_a_clone_is_independent(self, backend: Backend) -> None:
        source = backend.volume(data=b'a' * BLOCK)
        clone = backend.volume_ref(2, backend.other_host)
        for _ in range(2):
            backend.driver.create_cloned_volume(clone, source)
        backend.write(source, 0, b'b' * BLOCK)
        backend.write(clone, BLOCK, b'c' * BLOCK)
        backend.driver.delete_volume(source)
        assert backend.read(clone, 0, 2 * BLOCK) == b'a' * BLOCK + b'c' * BLOCK

    def test_a_volume_of_nothing_is_refused_and_leaves_nothing(self, backend: Backend) -> None:
        gone = backend.volume_ref()
        with pytest.raises(ProviderNotFound):
            backend.driver.create_volume_from_snapshot(backend.volume_ref(), backend.snapshot_ref(gone))
        with pytest.raises(ProviderNotFound):
            backend.driver.create_cloned_volume(backend.volume_ref(), gone)
        assert backend.driver.list_objects() == []

    def test_a_volume_that_was_let_go_of_can_be_managed_again(self, backend: Backend) -> None:
        driver, volume = backend.driver, backend.volume(data=b'a' * BLOCK)
        if not driver.capabilities.manage:
            with pytest.raises(NotSupported):
                driver.get_manageable_volumes(volume.pool)
            return
        for _ in range(2):
            driver.unmanage(volume)
        assert driver.list_objects() == []
        [found] = driver.get_manageable_volumes(volume.pool)
        assert (found.size, found.reason_not_safe) == (1, None)
        again = backend.volume_ref()
        assert driver.manage_existing_get_size(again, found.reference) == 1
        for _ in range(2):
            driver.manage_existing(again, found.reference)
        assert driver.list_objects() == [again.name]
        assert backend.read(again, 0, BLOCK) == b'a' * BLOCK

    def test_an_unmanaged_volume_is_found_by_its_former_name(self, backend: Backend) -> None:
        """Cinder keeps the name of an unmanaged volume, and clients manage it by that name again (gophercloud)."""
        driver, volume = backend.driver, backend.volume(data=b'a' * BLOCK)
        again, former = backend.volume_ref(), {'source-name': volume.name}
        if not driver.capabilities.manage:
            with pytest.raises(NotSupported):
                driver.manage_existing_get_size(again, former)
            return
        driver.unmanage(volume)
        [found] = driver.get_manageable_volumes(volume.pool)
        if 'source-name' not in found.reference:  # EBS identifies an object by its id only
            with pytest.raises(ManageExistingInvalidReference):
                driver.manage_existing_get_size(again, former)
            return
        assert driver.manage_existing_get_size(again, former) == 1
        for _ in range(2):
            driver.manage_existing(again, former)
        assert driver.list_objects() == [again.name]
        assert backend.read(again, 0, BLOCK) == b'a' * BLOCK

    def test_a_snapshot_that_was_let_go_of_can_be_managed_again(self, backend: Backend) -> None:
        driver, volume = backend.driver, backend.volume(data=b'a' * BLOCK)
        if not driver.capabilities.manage_snapshots:
            with pytest.raises(NotSupported):
                driver.get_manageable_snapshots(volume.pool)
            return
        snapshot = backend.snapshot(volume)
        for _ in range(2):
            driver.unmanage_snapshot(snapshot)
        assert driver.list_objects() == [volume.name]
        [found] = driver.get_manageable_snapshots(volume.pool)
        assert found.source_reference == {'source-name': volume.name}
        again = backend.snapshot_ref(volume)
        assert driver.manage_existing_snapshot_get_size(again, found.reference) == 1
        for _ in range(2):
            driver.manage_existing_snapshot(again, found.reference)
        assert backend.read_snapshot(again, 0, BLOCK) == b'a' * BLOCK

    def test_what_is_not_there_cannot_be_managed(self, backend: Backend) -> None:
        refusal = ManageExistingInvalidReference if backend.driver.capabilities.manage else NotSupported
        for reference in ({'source-name': 'nowhere'}, {}):
            with pytest.raises(refusal):
                backend.driver.manage_existing_get_size(backend.volume_ref(), reference)

    def test_revert_brings_back_the_data_and_keeps_the_size(self, backend: Backend) -> None:
        volume = backend.volume(data=b'a' * BLOCK)
        snapshot = backend.snapshot(volume)
        if not backend.driver.capabilities.revert:
            with pytest.raises(NotSupported):
                backend.driver.revert_to_snapshot(volume, snapshot)
            return
        backend.write(volume, 0, b'b' * BLOCK)
        backend.driver.extend_volume(volume, 2)
        for _ in range(2):
            backend.driver.revert_to_snapshot(volume, snapshot)
        with backend.opened(volume) as device:
            assert (device.size, device.read(0, BLOCK)) == (2 * GIB, b'a' * BLOCK)
        assert backend.read_snapshot(snapshot, 0, BLOCK) == b'a' * BLOCK

    def test_several_workers_open_one_path(self, backend: Backend) -> None:
        volume = backend.volume(data=b'a' * BLOCK)
        opened = [backend.driver.open_volume(volume, 'backup', 'ro') for _ in range(3)]
        assert [device.read(0, BLOCK) for device in opened] == [b'a' * BLOCK] * 3
        for device in opened:
            device.close()
        for _ in range(2):
            backend.driver.close_volume(volume, 'backup')

    def test_a_volume_in_use_is_not_deleted(self, backend: Backend) -> None:
        volume = backend.volume(data=b'a' * BLOCK)
        with backend.using(volume) as device:
            with pytest.raises(VolumeIsBusy):
                backend.driver.delete_volume(volume)
            assert device.read(0, BLOCK) == b'a' * BLOCK

    def test_the_report_has_what_the_scheduler_needs(self, backend: Backend) -> None:
        report = backend.driver.get_volume_stats()
        pools = {pool['pool_name']: pool for pool in report['pools']}
        assert {'volume_backend_name', 'vendor_name', 'driver_version', 'storage_protocol'} <= set(report)
        backend.volume(2)
        after = {pool['pool_name']: pool for pool in backend.driver.get_volume_stats()['pools']}
        pool = backend.host.partition('#')[2]
        assert after[pool]['provisioned_capacity_gb'] - pools[pool]['provisioned_capacity_gb'] == 2
        assert 0 < after[pool]['free_capacity_gb'] <= after[pool]['total_capacity_gb']


class RestoreContract(Cleaned):
    """A restore: all of a volume's data at once, under the same id."""

    def restore(self, backend: Backend, volume: VolumeRef, *writes: tuple[int, bytes]) -> None:
        """Restore to a volume that may have data: the driver zeroes unwritten ranges."""
        for _ in range(2):  # a worker that died starts again from the beginning
            with backend.driver.open_restore(volume, RESTORE) as device:
                device.write_many((offset, memoryview(data)) for offset, data in writes)
                for offset, length in list(device.allocated(GIB // 2, GIB // 4)):
                    device.zero(offset, length)
                device.flush()

    def test_it_replaces_the_data(self, backend: Backend) -> None:
        volume = backend.volume(data=b'old!' * BLOCK)
        backend.write(volume, GIB // 2, b'x' * BLOCK)
        data = b'new!' * (512 * 1024 // 4)
        self.restore(backend, volume, (0, data), (GIB - len(data), data))
        written = [(0, len(data)), (GIB - len(data), len(data))]
        for _ in range(2):
            update = backend.driver.complete_restore(volume, RESTORE, lambda: written)
        volume = dataclasses.replace(volume, **update)
        assert backend.read(volume, 0, len(data)) == data
        assert backend.read(volume, GIB // 2, BLOCK) == bytes(BLOCK)
        assert backend.read(volume, GIB - BLOCK, BLOCK) == data[:BLOCK]
        assert backend.driver.list_objects() == [volume.name]

    def test_a_cancelled_one_leaves_no_path(self, backend: Backend) -> None:
        volume = backend.volume(data=b'a' * BLOCK)
        self.restore(backend, volume, (512 * 1024, b'b' * 512 * 1024))
        for _ in range(2):
            backend.driver.cancel_restore(volume, RESTORE)
        assert backend.read(volume, 0, BLOCK) == b'a' * BLOCK
        backend.driver.delete_volume(volume)


class OpenedContract(Cleaned):
    """For drivers with ``capabilities.opens_volumes``: an open volume or snapshot stays usable."""

    def test_a_snapshot_in_use_is_not_deleted(self, backend: Backend) -> None:
        snapshot = backend.snapshot(backend.volume(data=b'a' * BLOCK))
        with backend.driver.open_snapshot(snapshot, 'worker') as device:
            with pytest.raises(SnapshotIsBusy):
                backend.driver.delete_snapshot(snapshot)
            assert device.read(0, BLOCK) == b'a' * BLOCK

    def test_what_a_worker_writes_another_reads(self, backend: Backend) -> None:
        volume = backend.volume()
        with backend.driver.open_volume(volume, 'worker', 'rw') as device:
            device.write(GIB - BLOCK, b'a' * BLOCK)
            device.flush()
            with backend.opened(volume) as other:
                assert other.read(GIB - BLOCK, BLOCK) == b'a' * BLOCK


class ChangesContract(Cleaned):
    """For drivers with ``capabilities.changed_blocks`` that keep snapshots, which are not in ``list_objects``."""

    def kept(self, backend: Backend) -> list[str]:
        return [one.name for one in backend.driver.inventory() if one.kept is not None]

    def changes(self, backend: Backend, new: SnapshotRef, old: SnapshotRef) -> set[int]:
        """The blocks that are listed; all lie within the snapshot."""
        listed = backend.driver.changes_since(new, old)
        found = listed(0, new.size * GIB) if listed else None
        assert found is not None
        parts = list(found)
        assert parts == sorted(parts)
        return {offset // BLOCK + n for offset, length in parts for n in range(-(-length // BLOCK))}

    def test_what_was_written_is_listed(self, backend: Backend) -> None:
        volume = backend.volume(data=b'a' * 16 * BLOCK)
        first = backend.snapshot(volume)
        for place in (3 * BLOCK, GIB // 2, GIB - BLOCK):
            backend.write(volume, place, b'b' * BLOCK)
        second = backend.snapshot(volume)
        assert {3, GIB // 2 // BLOCK, GIB // BLOCK - 1} <= self.changes(backend, second, first)
        assert len(self.changes(backend, second, first)) < 3 * 512 * 1024 // BLOCK + 1
        backend.driver.extend_volume(volume, 2)
        third = dataclasses.replace(backend.snapshot(volume), size=2)
        assert self.changes(backend, third, first) >= set(range(GIB // BLOCK, 2 * GIB // BLOCK))

    def test_a_discard_and_a_revert(self, backend: Backend) -> None:
        volume = backend.volume(data=b'a' * 16 * BLOCK)
        first = backend.snapshot(volume)
        with backend.driver.open_volume(volume, 'writer', 'rw') as device:
            device.zero(4 * BLOCK, 2 * BLOCK)
            device.flush()
        backend.driver.close_volume(volume, 'writer')
        second = backend.snapshot(volume)
        assert {4, 5} <= self.changes(backend, second, first)
        backend.driver.revert_to_snapshot(volume, first)
        assert {4, 5} <= self.changes(backend, backend.snapshot(volume), second)

    def test_one_that_is_missing_or_of_another_volume(self, backend: Backend) -> None:
        volume = backend.volume()
        snapshot = backend.snapshot(volume)
        for older in (backend.snapshot_ref(volume), backend.snapshot(backend.volume())):
            listed = backend.driver.changes_since(snapshot, older)
            assert listed is None or listed(0, GIB) is None

    def test_the_last_one_of_a_volume_is_kept(self, backend: Backend) -> None:
        volume = backend.volume(data=b'a' * BLOCK)
        first, second, users = (backend.snapshot(volume) for _ in range(3))
        for one in (first, first, second, second):
            backend.driver.retire_snapshot(one)
        assert self.kept(backend) == [second.name]
        assert sorted(backend.driver.list_objects()) == sorted([volume.name, users.name])
        assert [one.reference for one in backend.driver.get_manageable_snapshots(volume.pool)] == [
            {'source-name': users.name}
        ]
        [found] = [one.kept for one in backend.driver.inventory() if one.kept]
        assert found.volume == volume.name
        backend.driver.delete_snapshot(second)
        assert self.kept(backend) == []

    @pytest.mark.parametrize('leave', ['delete_volume', 'unmanage'])
    def test_it_goes_with_its_volume(self, backend: Backend, leave: str) -> None:
        volume = backend.volume(data=b'a' * BLOCK)
        kept = backend.snapshot(volume)
        backend.driver.retire_snapshot(kept)
        for _ in range(2):
            getattr(backend.driver, leave)(volume)
        assert self.kept(backend) == []
        backend.driver.retire_snapshot(kept)
        assert backend.driver.inventory() == []
        if leave == 'unmanage':
            [found] = backend.driver.get_manageable_volumes(volume.pool)
            backend.driver.manage_existing(volume, found.reference)

    def test_a_backups_own_snapshot_counts_while_it_is_kept(self, backend: Backend) -> None:
        volume = backend.volume(data=b'a' * BLOCK)
        older, newer = (backend.snapshot(volume) for _ in range(2))
        own = dataclasses.replace(older, kept=True)
        listed = backend.driver.changes_since(newer, own)
        assert listed is None or listed(0, GIB) is None
        backend.driver.retire_snapshot(older)
        assert self.changes(backend, newer, own) == set()

    def test_a_restore_lists_what_differs_from_a_snapshot(self, backend: Backend) -> None:
        volume = backend.volume(data=b'a' * 16 * BLOCK)
        older = backend.snapshot(volume)
        backend.write(volume, 3 * BLOCK, b'b' * BLOCK)
        for _ in range(2):  # two workers, of which the second begins after the first has written
            with backend.driver.open_restore(volume, RESTORE) as device:
                listed = backend.driver.changes_of_restore(volume, RESTORE, older)
                found = listed(0, GIB) if listed else None
                assert found is not None
                assert any(offset <= 3 * BLOCK < offset + length for offset, length in found)
                assert sum(length for _, length in found) <= 512 * 1024
                device.write(8 * BLOCK, b'c' * BLOCK)
                device.flush()
        assert len(self.kept(backend)) == 1
        for _ in range(2):
            backend.driver.complete_restore(volume, RESTORE, list)
        assert self.kept(backend) == []
        assert backend.driver.changes_of_restore(volume, RESTORE, backend.snapshot_ref(volume)) is None
        backend.driver.changes_of_restore(volume, RESTORE, older)
        for _ in range(2):
            backend.driver.cancel_restore(volume, RESTORE)
        assert self.kept(backend) == []

    def test_a_kept_one_takes_nothing_from_the_volume(self, backend: Backend) -> None:
        """Reverts, clones, extensions and restarts of backups go on beside it."""
        volume = backend.volume(data=b'a' * BLOCK)
        users, kept = backend.snapshot(volume), backend.snapshot(volume)
        backend.driver.retire_snapshot(kept)
        backend.write(volume, 0, b'b' * BLOCK)
        backend.driver.revert_to_snapshot(volume, users)
        backend.driver.extend_volume(volume, 2)
        clone = backend.volume_ref(2)
        backend.driver.create_cloned_volume(clone, volume)
        assert backend.read(clone, 0, BLOCK) == b'a' * BLOCK
        assert self.kept(backend) == [kept.name]


class Counter(threading.Thread):
    """A host that counts: it writes n to the first place, then to the second, and so on, each write answered before the
    next. In a point-in-time consistent copy the first places hold n and the others n - 1. The places are in no order on
    the device, so that a copy from its beginning to its end reads them out of order, too."""

    PLACES = tuple(random.Random(1).sample(range(0, GIB, MIB), 200))

    def __init__(self, device: Any, places: Sequence[int] = PLACES) -> None:
        super().__init__()
        self._device = device
        self._places = places
        self._stop_now = threading.Event()
        self._round = threading.Condition()
        self._number = 0
        self.error: DeviceError | None = None

    def run(self) -> None:
        try:
            while not self._stop_now.is_set():
                with self._round:
                    self._number += 1
                    self._round.notify_all()
                for place in self._places:
                    self._device.write(place, self._number.to_bytes(8, 'big') * (BLOCK // 8))
        except DeviceError as error:
            self.error = error

    def next_round(self) -> None:
        """Wait until it has started the next round."""
        with self._round:
            number = self._number
            assert self._round.wait_for(lambda: self._number > number, 20), self.error

    def stop(self) -> None:
        self._stop_now.set()
        self.join()
        assert self.error is None

    @classmethod
    def check(cls, read: Callable[[int, int], bytes], places: Sequence[int] = PLACES) -> None:
        values = [int.from_bytes(read(place, BLOCK)[:8], 'big') for place in places]
        assert values == sorted(values, reverse=True)
        assert values[0] - values[-1] <= 1
        assert values[0] > 0


class AttachedContract(Cleaned):
    """For drivers with ``capabilities.snapshot_attached`` and ``clone``."""

    places = Counter.PLACES

    def test_a_copy_of_an_attached_volume_is_of_one_moment(self, backend: Backend) -> None:
        volume, snapshots, clones = backend.volume(), [], []
        with backend.using(volume) as device:
            host = Counter(device, self.places)
            host.start()
            for _ in range(5):
                host.next_round()
                snapshots.append(backend.snapshot(volume))
                clones.append(backend.volume_ref())
                backend.driver.create_cloned_volume(clones[-1], volume)
            host.stop()
        for snapshot in snapshots:
            with backend.driver.open_snapshot(snapshot, 'reader') as device:
                Counter.check(device.read, self.places)
        for clone in clones:
            with backend.opened(clone) as device:
                Counter.check(device.read, self.places)
