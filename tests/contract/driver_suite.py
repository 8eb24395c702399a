"""What every driver does, whatever its backend: the contract of chalicelib/drivers/base.py as tests.

A driver's test module subclasses ``DriverContract``, and further classes by what the driver can: ``OpenedContract``
(``opens_volumes``), ``AttachedContract`` (``snapshot_attached``), ``RestoreContract``, and ``IscsiContract`` if hosts
reach its volumes over iSCSI. It has a fixture ``backend`` that returns a ``Backend``. Where workers cannot open volumes
(EBS), ``Backend`` is subclassed: ``write``, ``read`` and ``using`` then go as a host goes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import random
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from chalicelib import iscsi
from chalicelib.device import BlockDevice
from chalicelib.drivers.base import GIB, ConnectionInfo, Driver, SnapshotRef, VolumeRef
from chalicelib.errors import (
    BackendFull,
    CheckCondition,
    DeviceError,
    DeviceUnreachable,
    DriverError,
    InvalidConnector,
    LoginFailed,
    ManageExistingInvalidReference,
    ProviderNotFound,
    SnapshotIsBusy,
    VolumeIsBusy,
)

MIB = 1024**2
BLOCK = 4096

#: The path of a restore.
RESTORE = '5e1f0000-0000-4000-8000-00000000e57e'

#: A target may name the reason, or just hang up if there is nothing left to log in to.
REFUSED: tuple[type[DeviceError], ...] = (LoginFailed, DeviceUnreachable)


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
        """A host that has the volume; what it gets can ``read`` and ``write``."""
        with self.driver.open_volume(volume, 'host', 'rw') as device:
            yield device

    @contextlib.contextmanager
    def opened(self, volume: VolumeRef) -> Iterator[BlockDevice]:
        """The volume as a worker reads it."""
        with self.driver.open_volume(volume, 'reader', 'ro') as device:
            yield device
        self.driver.close_volume(volume, 'reader')

    def pass_time(self) -> None:
        """Let a day go by, where the backend bounds what can be done in one."""

    def read_snapshot(self, snapshot: SnapshotRef, offset: int, length: int) -> bytes:
        with self.driver.open_snapshot(snapshot, 'reader') as device:
            data = device.read(offset, length)
        self.driver.close_snapshot(snapshot, 'reader')
        return data

    def clean(self) -> None:
        while self.made:
            self.made.pop()()


class _Cleaned:
    @pytest.fixture(autouse=True)
    def _clean(self, backend: Backend) -> Iterator[None]:
        """Whatever a test made goes; a driver that cannot delete it fails the test."""
        yield
        backend.clean()
        assert backend.driver.list_objects() == []


class DriverContract(_Cleaned):
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
        if not backend.driver.capabilities.manage:
            pytest.skip('the driver does not manage')
        volume = backend.volume(data=b'a' * BLOCK)
        driver = backend.driver
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

    def test_a_snapshot_that_was_let_go_of_can_be_managed_again(self, backend: Backend) -> None:
        if not backend.driver.capabilities.manage_snapshots:
            pytest.skip('the driver does not manage snapshots')
        driver, volume = backend.driver, backend.volume(data=b'a' * BLOCK)
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
        if not backend.driver.capabilities.manage:
            pytest.skip('the driver does not manage')
        for reference in ({'source-name': 'nowhere'}, {}):
            with pytest.raises(ManageExistingInvalidReference):
                backend.driver.manage_existing_get_size(backend.volume_ref(), reference)

    def test_revert_brings_back_the_data_and_keeps_the_size(self, backend: Backend) -> None:
        if not backend.driver.capabilities.revert:
            pytest.skip('the driver does not offer it')
        volume = backend.volume(data=b'a' * BLOCK)
        snapshot = backend.snapshot(volume)
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


class RestoreContract(_Cleaned):
    """A restore: all of a volume's data at once, under the same id."""

    def restore(self, backend: Backend, volume: VolumeRef, *writes: tuple[int, bytes]) -> None:
        """As a restore to what is not known to be empty: what is not written is zeroed."""
        for _ in range(2):  # whoever dies on the way begins anew
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


class OpenedContract(_Cleaned):
    """For drivers with ``capabilities.opens_volumes``: whoever has it open keeps it."""

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


class Counter(threading.Thread):
    """A host that counts: it writes n to the first place, then to the second, and so on, each write answered before the
    next. In a copy of one moment the first places hold n and the others n - 1. The places are in no order on the
    device, so that whoever copies from its beginning to its end meets them out of order, too."""

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
        """Wait until it has begun to count anew."""
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


class AttachedContract(_Cleaned):
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


class IscsiContract(_Cleaned):
    """Paths: who gets in, and who does no more."""

    HERE = 'iqn.2026-01.org.example:here'
    THERE = 'iqn.2026-01.org.example:there'

    def refused(self, backend: Backend) -> tuple[type[DeviceError], ...]:
        """A target that all volumes share lets a known host log in, and shows it no LUN."""
        return REFUSED if backend.driver.capabilities.path_accounts else (*REFUSED, CheckCondition)

    def connect(
        self, backend: Backend, volume: VolumeRef, export_id: str = 'one', initiator: str = HERE
    ) -> ConnectionInfo:
        return backend.driver.initialize_connection(volume, {'initiator': initiator}, export_id)

    def login(self, info: ConnectionInfo, initiator: str = HERE, **other: Any) -> iscsi.IscsiDevice:
        return iscsi.open_device(info['data'] | other, initiator=initiator, timeout=5)

    def test_connection_data_is_what_os_brick_reads(self, backend: Backend) -> None:
        volume = backend.volume()
        info = self.connect(backend, volume)
        data = info['data']
        assert info['driver_volume_type'] == 'iscsi'
        assert data['target_discovered'] is False
        assert data['target_portal'].count(':') == 1
        assert data['volume_id'] == volume.id
        if backend.driver.capabilities.path_accounts:
            assert data['target_lun'] == 1
            assert data['target_iqn'] == f'iqn.2010-10.org.openstack:{volume.name}'
        count = len(data.get('target_portals', [0]))
        assert [len(data.get(name, [0])) for name in ('target_iqns', 'target_luns')] == [count, count]
        assert (data['auth_method'], len(data['auth_username']), len(data['auth_password'])) == ('CHAP', 20, 16)
        assert data['auth_password'].isalnum()

    def test_the_same_path_again_is_the_same_answer(self, backend: Backend) -> None:
        volume = backend.volume()
        first = self.connect(backend, volume)
        with self.login(first) as device:
            assert self.connect(backend, volume) == first
            assert device.read(0, BLOCK) == bytes(BLOCK)

    def test_each_path_or_host_has_a_secret_of_its_own(self, backend: Backend) -> None:
        volume, other = backend.volume(), backend.volume()
        infos = [self.connect(backend, volume), self.connect(backend, volume, 'two', self.THERE)]
        infos.append(self.connect(backend, other))
        count = 3 if backend.driver.capabilities.path_accounts else 2
        assert len({info['data']['auth_password'] for info in infos}) == count
        assert len({info['data']['auth_username'] for info in infos}) == count

    def test_a_connector_without_an_initiator_is_refused(self, backend: Backend) -> None:
        volume = backend.volume()
        with pytest.raises(InvalidConnector, match='initiator'):
            backend.driver.initialize_connection(volume, {'host': 'here'}, 'one')

    @pytest.mark.parametrize('name', ['ALL', 'iqn.2026-01.org.example:a,b', '192.0.2.1', '../x', 'iqn.2026-01.a:b c'])
    def test_what_is_no_iscsi_name_is_refused(self, backend: Backend, name: str) -> None:
        volume = backend.volume()
        with pytest.raises(InvalidConnector):
            self.connect(backend, volume, initiator=name)

    def test_a_foreign_initiator_is_refused(self, backend: Backend) -> None:
        info = self.connect(backend, backend.volume())
        with pytest.raises(LoginFailed):
            self.login(info, self.THERE)

    @pytest.mark.parametrize('other', [{'auth_password': 'x' * 16}, {'auth_method': None}])
    def test_a_wrong_secret_is_refused(self, backend: Backend, other: dict[str, Any]) -> None:
        info = self.connect(backend, backend.volume())
        with pytest.raises(LoginFailed):
            self.login(info, **other)

    @pytest.mark.parametrize('host', [HERE, THERE])
    def test_another_path_s_secret_does_not_open_another_volume(self, backend: Backend, host: str) -> None:
        if host == self.HERE and not backend.driver.capabilities.path_accounts:
            pytest.skip('a host has one account')
        ours = self.connect(backend, backend.volume())
        theirs = self.connect(backend, backend.volume(), initiator=host)
        account = {name: ours['data'][name] for name in ('auth_username', 'auth_password')}
        with pytest.raises(LoginFailed):
            self.login(theirs, host, **account)

    def test_a_read_only_path_cannot_write(self, backend: Backend) -> None:
        volume = backend.volume(data=b'a' * BLOCK)
        info = backend.driver.initialize_connection(volume, {'initiator': self.HERE}, 'one', 'ro')
        assert info['data']['access_mode'] == 'ro'
        if not backend.driver.capabilities.read_only_paths:
            return  # the host keeps to access_mode
        with self.login(info) as device, pytest.raises(DeviceError):
            device.write(0, b'b' * BLOCK)
        assert backend.read(volume, 0, BLOCK) == b'a' * BLOCK

    @pytest.mark.parametrize('hosts', [[HERE, THERE, HERE], [THERE, HERE, HERE]])
    def test_paths_that_come_and_go_leave_the_others_alone(self, backend: Backend, hosts: list[str]) -> None:
        """In every order in which three paths of a volume can go."""
        volume = backend.volume(data=b'a' * BLOCK)
        for order in itertools.permutations(range(len(hosts))):
            paths = {n: self.connect(backend, volume, f'path-{n}', name) for n, name in enumerate(hosts)}
            for gone in order:
                backend.driver.terminate_connection(volume, f'path-{gone}')
                info = paths.pop(gone)
                own = backend.driver.capabilities.path_accounts
                if own or hosts[gone] not in {hosts[kept] for kept in paths}:
                    with pytest.raises(self.refused(backend)):
                        self.login(info, hosts[gone])
                for kept, path in paths.items():
                    self.login(path, hosts[kept]).close()

    @pytest.mark.parametrize('second', [THERE, HERE], ids=['another host', 'the same host'])
    def test_terminate_takes_away_exactly_one_path(self, backend: Backend, second: str) -> None:
        if second == self.HERE and not backend.driver.capabilities.path_accounts:
            pytest.skip('the paths of one host are one to the backend')
        volume = backend.volume(data=b'a' * BLOCK)
        gone, kept = self.connect(backend, volume), self.connect(backend, volume, 'two', second)
        with self.login(gone) as lost, self.login(kept, second) as device:
            for _ in range(2):
                backend.driver.terminate_connection(volume, 'one')
            assert device.read(0, BLOCK) == b'a' * BLOCK
            with pytest.raises(DeviceError):
                lost.read(0, BLOCK)
        with pytest.raises(self.refused(backend)):
            self.login(gone)
        self.login(kept, second).close()

    def test_a_host_keeps_its_volume_until_its_last_path_goes(self, backend: Backend) -> None:
        volume = backend.volume(data=b'a' * BLOCK)
        infos = [self.connect(backend, volume, name) for name in ('one', 'two')]
        backend.driver.terminate_connection(volume, 'one')
        with self.login(infos[1]) as device:
            assert device.read(0, BLOCK) == b'a' * BLOCK
        backend.driver.terminate_connection(volume, 'two')
        for info in infos:
            with pytest.raises(self.refused(backend)):
                self.login(info)

    def test_terminate_without_a_path_takes_all_away(self, backend: Backend) -> None:
        volume = backend.volume()
        here, there = self.connect(backend, volume), self.connect(backend, volume, 'two', self.THERE)
        for _ in range(2):
            backend.driver.terminate_connection(volume, None)
        with pytest.raises(self.refused(backend)):
            self.login(here)
        with pytest.raises(self.refused(backend)):
            self.login(there, self.THERE)

    def test_both_hosts_of_a_shared_volume_see_each_other_s_writes(self, backend: Backend) -> None:
        volume = backend.volume()
        with (
            self.login(self.connect(backend, volume)) as here,
            self.login(self.connect(backend, volume, 'two', self.THERE), self.THERE) as there,
        ):
            here.write(0, b'a' * BLOCK)
            assert there.read(0, BLOCK) == b'a' * BLOCK

    def test_extend_while_attached(self, backend: Backend) -> None:
        """The host goes on writing; no write fails, what was answered is there, and so is the new size."""
        volume = backend.volume()
        info = self.connect(backend, volume)
        with self.login(info) as device:
            host = Counter(device)
            host.start()
            for size in (2, 3, 4):
                host.next_round()
                backend.driver.extend_volume(volume, size)
            host.next_round()
            host.stop()
        with self.login(info) as device:
            assert device.size == 4 * GIB
            Counter.check(device.read)

    def test_delete_takes_unused_paths_along(self, backend: Backend) -> None:
        volume = backend.volume()
        info = self.connect(backend, volume)
        backend.driver.delete_volume(volume)
        with pytest.raises(self.refused(backend)):
            self.login(info)

    def test_a_path_to_nothing_is_refused(self, backend: Backend) -> None:
        with pytest.raises(ProviderNotFound):
            self.connect(backend, backend.volume_ref())
