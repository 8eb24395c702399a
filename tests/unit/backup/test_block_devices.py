"""Files as devices on real block devices and real, also full, file systems: no double replaces the kernel."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.backup import engine
from chalicelib.backup.files import FileRepository
from chalicelib.backup.image import FileDevice
from chalicelib.backup.keys import read_recovery_key, write_recovery_key
from chalicelib.backup.layout import MIB
from chalicelib.errors import DeviceError, InvalidRange
from cinderless.program import main
from tests.block_devices import file_system, fill, loop_device, make_file_system, mounted
from tests.unit.backup import flows

SIZE = 8 * MIB

#: One block of data, after zeroes and before zeroes.
BLOCK_AT = 3 * MIB
DATA = bytearray(SIZE)
DATA[BLOCK_AT : BLOCK_AT + 4096] = os.urandom(4096)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileRepository:
    """A repository with one backup, ``one``; its recovery key beside it."""
    write_recovery_key(tmp_path / 'key')
    monkeypatch.setattr(flows, 'WRAPPER', read_recovery_key(tmp_path / 'key'))
    repository = FileRepository(tmp_path / 'repository')
    flows.back_up(repository, DATA, 'one')
    return repository


@pytest.fixture(params=[512, 4096], ids=['512-byte sectors', '4096-byte sectors'])
def block_device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A loop device of 8 MiB full of 0xff."""
    with loop_device(image_of(tmp_path, b'\xff' * SIZE), sector_size=request.param) as device:
        yield device


def image_of(folder: Path, data: bytes | bytearray) -> Path:
    image = folder / 'backing.img'
    image.write_bytes(data)
    return image


def restore(folder: Path, target: Path) -> int:
    arguments = ['restore', str(folder / 'repository'), 'one', str(target), '--recovery-key', str(folder / 'key')]
    return main(['backup', *arguments])


def content(device: Path) -> bytes:
    """Bytes of a device; ``read_bytes`` reads block devices to their end, too."""
    assert stat.S_ISBLK(device.stat().st_mode)
    return device.read_bytes()


def test_a_restore_overwrites_all_of_a_block_device(
    repository: FileRepository, block_device: Path, tmp_path: Path
) -> None:
    assert restore(tmp_path, block_device) == 0
    assert content(block_device) == DATA
    os.sync()
    assert (tmp_path / 'backing.img').read_bytes() == DATA


def test_a_restore_zeroes_what_a_larger_block_device_has_beyond_the_backup(
    repository: FileRepository, tmp_path: Path
) -> None:
    with loop_device(image_of(tmp_path, b'\xff' * (SIZE + 3 * MIB))) as device:
        assert restore(tmp_path, device) == 0
        assert content(device) == DATA + bytes(3 * MIB)


def test_a_smaller_block_device_is_left_as_it_was(
    repository: FileRepository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with loop_device(image_of(tmp_path, b'\xff' * (SIZE - MIB))) as device:
        assert restore(tmp_path, device) == 1
        assert content(device) == b'\xff' * (SIZE - MIB)
    assert f'has {SIZE - MIB} bytes, the volume {SIZE}: use a larger device' in capsys.readouterr().err


def test_a_read_only_block_device_is_refused(
    repository: FileRepository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with loop_device(image_of(tmp_path, b'\xff' * SIZE), read_only=True) as device:
        assert restore(tmp_path, device) == 1
        assert content(device) == b'\xff' * SIZE
        with FileDevice(device, read_only=True) as opened:
            assert opened.read(0, 512) == b'\xff' * 512
    assert f'{device} failed: ' in capsys.readouterr().err


def test_a_mounted_block_device_is_refused(
    repository: FileRepository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As mkfs refuses it: the file system on it would be overwritten under those who use it."""
    image = image_of(tmp_path, bytes(SIZE))
    make_file_system('ext4', image)
    with loop_device(image) as device, mounted(device, tmp_path / 'mount') as mount:
        (mount / 'precious').write_text('data')
        assert restore(tmp_path, device) == 1
        assert (mount / 'precious').read_text() == 'data'
    assert 'Device or resource busy' in capsys.readouterr().err


def test_a_block_device_whose_store_is_full_fails_and_is_not_taken_for_restored(
    repository: FileRepository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page cache takes every write; that it could not be stored is what fsync answers."""
    with file_system('tmpfs', tmp_path / 'store', 2 * MIB) as store:
        image = store / 'thin.img'
        with image.open('wb') as file:
            file.truncate(SIZE)
        fill(store)
        with loop_device(image) as device:
            assert restore(tmp_path, device) == 1
            assert f'{device} failed: ' in capsys.readouterr().err


@pytest.mark.parametrize('kind', ['tmpfs', 'ext4', 'xfs'])
def test_a_file_on_a_full_file_system(
    repository: FileRepository, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    with file_system(kind, tmp_path / 'store', 16 * MIB) as store:
        fill(store)
        assert restore(tmp_path, store / 'volume.img') == 1
        assert 'volume.img.partial failed: No space left on device' in capsys.readouterr().err
        assert not list(store.glob('volume.img*'))


@pytest.mark.parametrize('kind', ['tmpfs', 'ext4', 'xfs'])
def test_a_file_on_each_file_system_is_whole_and_sparse(repository: FileRepository, tmp_path: Path, kind: str) -> None:
    with file_system(kind, tmp_path / 'store', 16 * MIB) as store:
        assert restore(tmp_path, store / 'volume.img') == 0
        assert (store / 'volume.img').read_bytes() == DATA
        assert (store / 'volume.img').stat().st_blocks * 512 <= 64 * 1024


@pytest.mark.parametrize('kind', ['tmpfs', 'ext4', 'xfs'])
def test_zeroes_over_data_of_a_file(tmp_path: Path, kind: str) -> None:
    """Whole blocks become holes, the rest of the range is overwritten."""
    with file_system(kind, tmp_path / 'store', 32 * MIB) as store:
        (store / 'volume.img').write_bytes(b'\xff' * SIZE)
        with FileDevice(store / 'volume.img') as device:
            device.zero(512, SIZE - 1024)
            device.flush()
            assert device.read(0, SIZE) == b'\xff' * 512 + bytes(SIZE - 1024) + b'\xff' * 512
        assert (store / 'volume.img').stat().st_blocks * 512 < MIB


def test_zeroes_where_no_hole_can_be_made(tmp_path: Path) -> None:
    """fallocate(2) answers EOPNOTSUPP for a file on ramfs, and for a block device that cannot unmap."""
    with file_system('ramfs', tmp_path / 'store', SIZE) as store:
        image = image_of(store, b'\xff' * SIZE)
        with FileDevice(image) as device:
            device.zero(MIB, 2 * MIB)
            assert device.read(0, 4 * MIB) == b'\xff' * MIB + bytes(2 * MIB) + b'\xff' * MIB
        with loop_device(image) as path, FileDevice(path) as device:
            device.zero(2 * MIB, 3 * MIB)
            assert device.read(0, 6 * MIB) == b'\xff' * MIB + bytes(4 * MIB) + b'\xff' * MIB


@pytest.mark.parametrize(('offset', 'length'), [(0, SIZE), (512, 512), (MIB + 512, MIB), (SIZE - 512, 512)])
def test_zeroes_on_a_block_device(block_device: Path, offset: int, length: int) -> None:
    """Also where a sector of the device is larger than the range."""
    with FileDevice(block_device) as device:
        device.zero(offset, length)
        device.flush()
    expected = bytearray(b'\xff' * SIZE)
    expected[offset : offset + length] = bytes(length)
    assert content(block_device) == expected


def test_a_block_device_is_allocated_in_full(block_device: Path) -> None:
    """Linux answers SEEK_DATA with EINVAL there: nothing is known, so everything may hold data."""
    with FileDevice(block_device) as device:
        assert device.size == SIZE
        assert list(device.allocated(0, SIZE)) == [(0, SIZE)]
        assert list(device.allocated(MIB, 512)) == [(MIB, 512)]


def test_a_block_device_is_backed_up_in_full(repository: FileRepository, block_device: Path) -> None:
    with FileDevice(block_device, read_only=True) as device:
        backup = flows.begin(repository, device.size, 'two')
        for shard in engine.plan(device.size, backup.geometry):
            engine.backup_shard(device, repository, backup, shard.index, limits=flows.LIMITS)
    flows.commit(repository, backup)
    assert flows.restored(repository, 'two') == b'\xff' * SIZE


def test_a_comparison_finds_old_data_on_a_block_device(repository: FileRepository, block_device: Path) -> None:
    """A comparison reads where the same map has data."""
    manifest = flows.load(repository, 'one')
    with FileDevice(block_device, read_only=True) as device:
        damaged = [
            engine.compare_shard(device, repository, manifest, shard.index, limits=flows.LIMITS).damaged
            for shard in engine.plan(manifest.size, manifest.geometry)
        ]
    assert sum(damaged) == SIZE // manifest.geometry.block_size


@pytest.mark.parametrize(('offset', 'length'), [(SIZE, 512), (SIZE - 512, 1024), (-512, 512)])
def test_nothing_is_sent_beyond_the_end(block_device: Path, offset: int, length: int) -> None:
    """A block device answers ENOSPC there, which is not what is wrong; a file would grow."""
    with FileDevice(block_device) as device:
        for call in (
            lambda: device.write(offset, bytes(length)),
            lambda: device.zero(offset, length),
            lambda: device.read(offset, length),
        ):
            with pytest.raises(InvalidRange):
                call()
    assert content(block_device) == b'\xff' * SIZE


def test_a_file_does_not_grow(tmp_path: Path) -> None:
    with FileDevice(tmp_path / 'image', 4096) as device, pytest.raises(InvalidRange):
        device.write(4096, bytes(512))
    assert (tmp_path / 'image').stat().st_size == 4096


def test_a_file_cut_short_while_it_is_open(tmp_path: Path) -> None:
    with FileDevice(tmp_path / 'image', 4096) as device:
        os.truncate(tmp_path / 'image', 1024)
        with pytest.raises(DeviceError, match='ends before byte 2048'):
            device.read(0, 2048)


def test_an_error_other_than_a_hole_is_not_taken_for_one(tmp_path: Path) -> None:
    """A descriptor that is gone (EBADF) once read as "all of the rest is a hole"."""
    device = FileDevice(tmp_path / 'image', 4096)
    device.close()
    with pytest.raises(DeviceError, match='Bad file descriptor'):
        list(device.allocated(0, 4096))


def test_a_file_that_cannot_have_its_size_leaves_no_descriptor(tmp_path: Path) -> None:
    before = len(list(Path('/proc/self/fd').iterdir()))
    with pytest.raises(DeviceError, match='File too large'):
        FileDevice(tmp_path / 'image', 1 << 62)
    assert len(list(Path('/proc/self/fd').iterdir())) == before
