"""The data of an unmanaged volume is copied here: every crash, two copies at once, and sources that are in use."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.drivers.read_only import ReadOnlyDevice
from chalicelib.models import Pool, Volume, base
from cinderless.errors import Failure
from cinderless.migration import copying, origins, run
from cinderless.migration.report import Outcome
from cinderless.migration.source import open_source
from local.children import bound
from tests.data_backends import Data, Disk, DiskDevice
from tests.migration import databases
from tests.simulation import FAST, Simulation
from tests.small_dynamodb import SmallDynamoDB

pytestmark = pytest.mark.xdist_group('cinder_copying')

#: Bytes of a GiB in these tests.
GIB = 16 << 20


class Killed(BaseException):
    """The process is gone."""


class World:
    """A service to which a Cinder was brought, whose volume ``ceph`` of 1 GiB is unmanaged; and that volume's data."""

    def __init__(self, folder: Path, simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, made = databases.database(folder)
        self.id = made['ceph']
        self.simulation, self.data = simulation, Data(simulation, monkeypatch)
        self.data.zeroed = False
        self.disk = Disk(GIB).fill(seed=5)
        self.execute('UPDATE volumes SET size = 1 WHERE id = ?', self.id)
        self.execute('UPDATE services SET disabled = 0')
        # What is tested here needs no attachments, whose secrets KMS would seal.
        self.execute('UPDATE volumes SET deleted = 1 WHERE id IN (?, ?)', made['attached'], made['left'])
        self.migrate()

    def execute(self, statement: str, *parameters: Any) -> None:
        with sqlite3.connect(self.path) as connection:
            connection.execute(statement, parameters)

    def migrate(self) -> Any:
        with open_source(f'sqlite:///{self.path}') as source:
            return run.migrate(source, databases.HOSTS, apply=True)

    def check_row(self) -> None:
        with open_source(f'sqlite:///{self.path}') as source:
            copying.check_row(source, self.id)

    def copy(self, *, unused: Callable[[], None] | None = None) -> copying.Result:
        origin = ReadOnlyDevice(DiskDevice(self.disk, lambda _: None, writable=False))
        volume = copying.find(self.id)
        copying.check(volume, origin, FAST)
        return copying.copy(volume, origin, FAST, unused or self.check_row, lambda _: None)

    @property
    def record(self) -> Volume:
        return Volume.find_anywhere(self.id)

    @property
    def copied(self) -> Disk:
        return self.data.disks['cinderless@fast'][f'volume-{self.id}']

    def assert_copied(self) -> None:
        volume, pool = self.record, Pool.find(base.GLOBAL, FAST)
        assert (volume.status, volume.host, volume.exports) == ('available', FAST, {})
        assert (int(volume.claimed_gb), int(volume.in_transit_gb)) == (1, 0)
        assert volume.admin_metadata == {copying.COPIED: 'old@ceph#rbd'}
        assert self.copied.same(self.disk)
        assert self.simulation.fast.paths[f'volume-{self.id}'] == set()
        assert self.simulation.fast.violations == []
        placed = [one for one in base.every(Volume, None) if one.host == FAST]
        assert (int(pool.volume_count), int(pool.allocated_gb)) == (len(placed), sum(int(one.size) for one in placed))
        assert int(pool.in_transit_gb) == 0


@pytest.fixture
def world(tables: SmallDynamoDB, simulation: Simulation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    monkeypatch.setattr(copying, 'STEP', 4 << 20)
    for module in ('cinderless.migration.copying', 'tests.data_backends'):
        monkeypatch.setattr(f'{module}.GIB', GIB)
    monkeypatch.setattr(copying, 'CHECKPOINT', 0.0)
    return World(tmp_path, simulation, monkeypatch)


def test_a_copy_is_verified_and_becomes_available(world: World) -> None:
    assert world.record.status == 'maintenance'
    result = world.copy()
    assert result.size == GIB
    world.assert_copied()
    with open_source(f'sqlite:///{world.path}') as source:
        found = run.verify(source, databases.HOSTS).findings
    assert [one for one in found if one.table[0].isupper()] == []
    assert world.migrate().counts['Volume'].keys() == {Outcome.SAME}


def killing(world: World, at: int) -> Callable[[str], contextlib.AbstractContextManager[None]]:
    """Kill the process before, and at the next number after, each call to the backend and each write of a record."""
    calls = [0]

    @contextlib.contextmanager
    def around(name: str) -> Iterator[None]:
        calls[0] += 1
        if calls[0] == at:
            raise Killed(name)
        yield
        calls[0] += 1
        if calls[0] == at:
            raise Killed(name)

    return around


def test_a_copy_may_be_killed_at_any_point(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run is killed one step later than the last one; every one continues from what its forerunners left."""
    update, commit = base.update, base.Transaction.commit
    for at in range(1, 400):
        around = killing(world, at)
        world.simulation.around = around

        def updating(*arguments: Any, around: Any = around) -> None:
            with around('update'):
                update(*arguments)

        def committing(transaction: base.Transaction, around: Any = around) -> None:
            with around('commit'):
                commit(transaction)

        monkeypatch.setattr(base, 'update', updating)
        monkeypatch.setattr(base.Transaction, 'commit', committing)
        try:
            world.copy()
            break
        except Killed:
            assert world.record.status == 'maintenance' or copying.COPIED in world.record.admin_metadata
        if copying.COPIED in world.record.admin_metadata:
            break
    world.simulation.around = lambda _: contextlib.nullcontext()
    assert at > 20
    world.assert_copied()


def test_an_earlier_copy_that_continues_cannot_write(world: World) -> None:
    """The first copy stops before one of its calls; a second one completes, and a user writes; the first continues."""
    entered = [0]
    seen: list[str] = []

    @contextlib.contextmanager
    def around(name: str) -> Iterator[None]:
        entered[0] += 1
        if entered[0] == stop_at and not seen:
            seen.append(name)
            world.copy()
            world.copied.write(0, b'written by a user')
        yield

    for stop_at in (1, 2, 3, 4, 5, 6, 8, 12):
        entered[0] = 0
        seen.clear()
        world.simulation.around = around
        with contextlib.suppress(Failure, errors.CinderlessError):
            world.copy()
        world.simulation.around = lambda _: contextlib.nullcontext()
        assert seen
        assert world.copied.read(0, 17) == b'written by a user', f'{stop_at}: {seen}'
        assert world.record.status == 'available'
        base.update(
            world.record,
            [
                Volume.status.set('maintenance'),
                Volume.admin_metadata.set({copying.SOURCE: 'old@ceph#rbd'}),
                *base.touched(Volume),
            ],
        )


def test_a_difference_is_found_and_copied_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    zero = DiskDevice.zero

    def lazy(device: DiskDevice, offset: int, length: int) -> None:
        if offset:
            zero(device, offset, length)

    for tile in [tile for tile in world.disk.tiles if tile * (64 << 10) < 4 << 20]:
        del world.disk.tiles[tile]
    monkeypatch.setattr(DiskDevice, 'zero', lazy)
    driver_disks = world.data.disks['cinderless@fast']
    driver_disks[f'volume-{world.id}'] = Disk(GIB)
    driver_disks[f'volume-{world.id}'].write(100, b'old')
    with pytest.raises(Failure, match='differs from the origin at byte 100'):
        world.copy()
    assert world.record.status == 'maintenance'
    monkeypatch.setattr(DiskDevice, 'zero', zero)
    world.copy()
    world.assert_copied()


def test_a_volume_that_is_attached_in_cinder_is_refused(world: World) -> None:
    def attach() -> None:
        world.execute(
            'INSERT INTO volume_attachment (id, volume_id, attach_status, deleted) VALUES (?, ?, ?, 0)',
            *('11111111-1111-1111-1111-111111111111', world.id, 'attached'),
        )
        world.check_row()

    with pytest.raises(Failure, match='it has the attachment 11111111'):
        world.copy(unused=attach)
    assert world.record.status == 'maintenance'
    world.execute('DELETE FROM volume_attachment WHERE volume_id = ?', world.id)
    world.execute("UPDATE volumes SET status = 'reserved' WHERE id = ?", world.id)
    with pytest.raises(Failure, match='its status is reserved'):
        world.check_row()
    world.execute("UPDATE volumes SET status = 'available' WHERE id = ?", world.id)
    world.copy()
    world.assert_copied()


def test_another_size_pool_or_volume_is_refused(world: World) -> None:
    device = DiskDevice(Disk(GIB + 512), lambda _: None, writable=False)
    volume = copying.find(world.id)
    with pytest.raises(Failure, match='is it the right one'):
        copying.check(volume, device, FAST)
    device = DiskDevice(world.disk, lambda _: None, writable=False)
    with pytest.raises(Failure, match='no backend here reports the pool'):
        copying.check(volume, device, 'cinderless@fast#other')
    with pytest.raises(Failure, match='bring its record'):
        copying.find('11111111-1111-1111-1111-111111111111')
    other = next(one for one in base.every(Volume, None) if one.status == 'available')
    with pytest.raises(Failure, match='not an unmanaged one'):
        copying.find(other.id)


def test_a_full_backend_releases_its_capacity(world: World) -> None:
    before = dict(Pool.find(base.GLOBAL, FAST).attribute_values)
    world.simulation.fast.fail('create_volume', world.simulation.fast.full(1))
    with pytest.raises(Failure, match='give another pool with --to'):
        world.copy()
    assert (world.record.host, world.record.exports) == (None, {})
    after = Pool.find(base.GLOBAL, FAST)
    assert {name: getattr(after, name) for name in ('allocated_gb', 'volume_count', 'in_transit_gb')} == {
        name: before.get(name, 0) for name in ('allocated_gb', 'volume_count', 'in_transit_gb')
    }
    world.copy()
    world.assert_copied()


def test_a_copied_volume_is_kept_by_a_rollback(world: World) -> None:
    world.copy()
    report = run.rollback(apply=True)
    assert world.id in {one.id for one in report.findings}
    world.assert_copied()


class TestOrigins:
    """Files and devices of this machine."""

    @pytest.fixture
    def raw(self, tmp_path: Path) -> Path:
        path = tmp_path / 'raw'
        path.write_bytes(b'data' * 1024)
        return path

    def test_a_file_is_read_and_never_written(self, raw: Path) -> None:
        with origins.opened(str(raw), None) as device:
            assert device.read(0, 4) == b'data'
            for write in (lambda: device.write(0, b'x' * 512), lambda: device.zero(0, 512)):
                with pytest.raises(errors.DeviceError, match='read-only'):
                    write()
        assert raw.read_bytes() == b'data' * 1024

    def test_a_file_that_is_open_for_writing_is_refused(self, raw: Path) -> None:
        holder = subprocess.Popen(bound(['sleep', '60']), stdout=raw.open('r+b'))
        try:
            with pytest.raises(Failure, match=f'process {holder.pid} has it open'), origins.opened(str(raw), None):
                pass
        finally:
            holder.kill()
            holder.wait()
        with origins.opened(str(raw), None):
            pass

    def test_a_locked_file_is_refused(self, raw: Path) -> None:
        """qemu locks an image that it has opened for reading only, too."""
        code = (
            'import fcntl, sys, time; f = open(sys.argv[1], "rb"); fcntl.lockf(f, fcntl.LOCK_SH); print(1, flush=True)'
        )
        holder = subprocess.Popen(bound(['python3', '-c', f'{code}; time.sleep(60)', str(raw)]), stdout=subprocess.PIPE)
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            with pytest.raises(Failure, match='locked'), origins.opened(str(raw), None):
                pass
        finally:
            holder.kill()
            holder.wait()

    @pytest.mark.parametrize(('head', 'name'), [(b'QFI\xfb', 'qcow2'), (b'KDMV', 'VMDK')])
    def test_an_image_that_is_not_raw_is_refused(self, raw: Path, head: bytes, name: str) -> None:
        raw.write_bytes(head + bytes(1020))
        with pytest.raises(Failure, match=f'is a {name} image'), origins.opened(str(raw), None):
            pass

    @pytest.mark.parametrize('place', ['/no/such/file', '/tmp', '/dev/null', 'iscsi://host', 'iscsi://h:x/iqn/1'])
    def test_a_place_that_is_none_is_refused(self, place: str) -> None:
        with pytest.raises(Failure, match='is not'), origins.opened(place, None):
            pass

    @pytest.mark.parametrize(
        ('url', 'message'),
        [('iscsi://user:secret@h/iqn.x/1', 'a secret in a URL'), ('iscsi://user@h/iqn.x/1', 'set SOURCE_CHAP_SECRET')],
    )
    def test_a_secret_is_not_taken_from_the_command_line(self, url: str, message: str) -> None:
        with pytest.raises(Failure, match=message) as failed, origins.opened(url, None):
            pass
        assert 'secret@' not in str(failed.value)
