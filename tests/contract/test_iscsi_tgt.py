"""The initiator against a real target (tgtd), with qemu and libiscsi as the independent second opinion."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chalicelib.errors import (
    CheckCondition,
    DeviceError,
    DeviceUnreachable,
    InvalidRange,
    LoginFailed,
)
from chalicelib.iscsi import IscsiDevice, open_device
from tests.tgt import Account, Target, Tgtd, sparse_image

INITIATOR = 'iqn.2026-01.org.cinderless:test'
OURS = Account('cinder', 'the-right-secret')
THEIRS = Account('target', 'a-secret-of-theirs')

MIB = 1024**2
SIZE = 64 * MIB


@pytest.fixture(scope='module')
def tgtd() -> Iterator[Tgtd]:
    with Tgtd() as daemon:
        yield daemon


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return sparse_image(tmp_path / 'volume.img', SIZE)


@pytest.fixture(params=['tuned', 'untuned'])
def target(request: pytest.FixtureRequest, tgtd: Tgtd, image: Path) -> Iterator[Target]:
    """Tuned, tgt declares keys of its own in the login; untuned, it takes all writes in 8 KiB segments after R2Ts."""
    made = tgtd.add_target(image, tuned=request.param == 'tuned')
    yield made
    tgtd.delete_target(made.tid)


@pytest.fixture
def device(target: Target) -> Iterator[IscsiDevice]:
    with open_device(target.connection_data(), initiator=INITIATOR) as opened:
        yield opened


def noise(length: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(length)


def qemu(*arguments: str | Path) -> str:
    command = [*map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


class TestData:
    def test_what_we_write_qemu_reads(self, device: IscsiDevice, target: Target, tmp_path: Path) -> None:
        first, second = noise(5 * MIB + 512, seed=1), noise(3 * MIB, seed=2)
        device.write(512, first)
        device.write_many([(20 * MIB, memoryview(second)), (SIZE - 512, memoryview(first)[:512])])
        device.flush()
        copy = tmp_path / 'copy.raw'
        qemu('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', target.url, copy)
        expected = bytearray(SIZE)
        expected[512 : 512 + len(first)] = first
        expected[20 * MIB : 23 * MIB] = second
        expected[-512:] = first[:512]
        assert copy.read_bytes() == expected

    def test_what_qemu_writes_we_read(self, target: Target, tmp_path: Path) -> None:
        source = tmp_path / 'source.raw'
        source.write_bytes(noise(SIZE))
        qemu('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', source, target.url)
        ranges = [(offset, MIB) for offset in range(0, SIZE, MIB)]
        with open_device(target.connection_data(), initiator=INITIATOR) as device:
            assert b''.join(bytes(data) for _, data in device.read_many(ranges)) == source.read_bytes()
            assert device.read(4096, 9 * MIB) == source.read_bytes()[4096 : 4096 + 9 * MIB]

    def test_qemu_io_sees_a_pattern_in_place(self, device: IscsiDevice, target: Target) -> None:
        device.write(3 * MIB, bytes([0xA5]) * MIB)
        qemu('qemu-io', '-r', '-f', 'raw', '-c', f'read -P 0xa5 {3 * MIB} {MIB}', target.url)
        with pytest.raises(subprocess.CalledProcessError):
            qemu('qemu-io', '-r', '-f', 'raw', '-c', f'read -P 0xa5 {3 * MIB + 512} {MIB}', target.url)

    def test_libiscsi_agrees_on_the_capacity(self, device: IscsiDevice, target: Target) -> None:
        answer = qemu('iscsi-readcapacity16', target.url)
        assert f'Total size:{device.size}\n' in answer
        assert (device.size, device.block_size) == (SIZE, 512)

    @pytest.mark.parametrize('queue_depth', [1, 3, 32])
    def test_ranges_of_all_sizes_come_in_order(self, target: Target, queue_depth: int) -> None:
        data = noise(SIZE)
        target.image.write_bytes(data)
        chance = random.Random(queue_depth)
        ranges = [(chance.randrange(100_000) * 512, chance.randrange(5000) * 512) for _ in range(40)]
        with open_device(target.connection_data(), initiator=INITIATOR, queue_depth=queue_depth) as device:
            answers = device.read_many(ranges)
            for (offset, length), (at, view) in zip(ranges, answers, strict=True):
                assert at == offset
                assert view == data[offset : offset + length]

    def test_a_copy_reuses_the_memory_of_its_source(self, device: IscsiDevice, target: Target) -> None:
        data = noise(8 * MIB)
        device.write(0, data)
        ranges = [(offset, 256 * 1024) for offset in range(0, len(data), 256 * 1024)]
        device.write_many((offset + 32 * MIB, view) for offset, view in device.read_many(ranges))
        assert device.read(32 * MIB, len(data)) == data

    def test_overlapping_writes_end_in_the_order_given(self, device: IscsiDevice) -> None:
        layers = [memoryview(bytes([number]) * (512 * (20 - number))) for number in range(20)]
        device.write_many((0, layer) for layer in layers)
        assert device.read(0, 512 * 20) == b''.join(bytes([19 - number]) * 512 for number in range(20))

    def test_blocks_of_4096_bytes(self, tgtd: Tgtd, image: Path) -> None:
        target = tgtd.add_target(image, block_size=4096)
        with open_device(target.connection_data(), initiator=INITIATOR) as device:
            assert (device.size, device.block_size) == (SIZE, 4096)
            device.write(4096 * 3, noise(4096 * 300))
            with pytest.raises(InvalidRange, match='512 bytes at 0 are not whole blocks of 4096 bytes'):
                device.write(0, bytes(512))
        assert image.read_bytes()[4096 * 3 : 4096 * 303] == noise(4096 * 300)
        tgtd.delete_target(target.tid)

    def test_header_digests(self, tgtd: Tgtd, image: Path, digested: list[bytes]) -> None:
        target = tgtd.add_target(image, settings={'HeaderDigest': 'CRC32C'})
        with open_device(target.connection_data(), initiator=INITIATOR) as device:
            device.write(512, noise(3 * MIB))
            assert device.read(512, 3 * MIB) == noise(3 * MIB)
        assert {len(header) for header in digested} == {48}
        tgtd.delete_target(target.tid)


class TestThin:
    def test_zero_frees_and_reads_as_zeroes(self, device: IscsiDevice, target: Target) -> None:
        device.write(0, noise(16 * MIB))
        device.flush()
        full = target.image.stat().st_blocks
        device.zero(4 * MIB - 512, 8 * MIB)
        assert (
            device.read(0, 16 * MIB)
            == noise(16 * MIB)[: 4 * MIB - 512] + bytes(8 * MIB) + noise(16 * MIB)[-(4 * MIB + 512) :]
        )
        assert target.image.stat().st_blocks < full

    def test_allocated_is_what_the_file_holds(self, device: IscsiDevice, target: Target) -> None:
        written = [(index * 256 * 1024, 64 * 1024) for index in range(1, 250)]
        device.write_many((offset, memoryview(noise(length))) for offset, length in written)
        assert list(device.allocated(0, SIZE)) == holes_between(target.image)
        assert list(device.allocated(0, SIZE)) == written

    def test_allocated_is_cut_to_the_range_asked_for(self, device: IscsiDevice) -> None:
        device.write(MIB, noise(2 * MIB))
        assert list(device.allocated(2 * MIB - 512, 4 * MIB)) == [(2 * MIB - 512, MIB + 512)]
        assert list(device.allocated(8 * MIB, MIB)) == []
        assert list(device.allocated(0, 0)) == []

    def test_a_thick_device_yields_all_and_is_zeroed_by_writing(self, tgtd: Tgtd, image: Path) -> None:
        target = tgtd.add_target(image, thin=False)
        with open_device(target.connection_data(), initiator=INITIATOR) as device:
            device.write(0, noise(4 * MIB))
            device.zero(512, 3 * MIB)
            assert list(device.allocated(0, SIZE)) == [(0, SIZE)]
            assert device.read(0, 4 * MIB) == noise(512) + bytes(3 * MIB) + noise(4 * MIB)[3 * MIB + 512 :]
        tgtd.delete_target(target.tid)


class TestLogin:
    def test_chap(self, tgtd: Tgtd, image: Path) -> None:
        target = tgtd.add_target(image, account=OURS)
        with open_device(target.connection_data(OURS), initiator=INITIATOR) as device:
            assert device.size == SIZE
        for wrong in (None, Account(OURS.user, 'not-the-secret'), Account('unknown', OURS.password)):
            with pytest.raises(LoginFailed) as caught:
                open_device(target.connection_data(wrong), initiator=INITIATOR)
            assert '0x0201' in caught.value.message
            assert OURS.password not in str(caught.getrepr(style='long', showlocals=False))
        tgtd.delete_target(target.tid)

    def test_mutual_chap(self, tgtd: Tgtd, image: Path) -> None:
        target = tgtd.add_target(image, account=OURS, outgoing=THEIRS)
        right = {'target_auth_username': THEIRS.user, 'target_auth_password': THEIRS.password}
        with open_device(target.connection_data(OURS, **right), initiator=INITIATOR) as device:
            assert device.size == SIZE
        for wrong in ({'target_auth_password': 'not-the-secret'}, {'target_auth_username': 'unknown'}):
            with pytest.raises(LoginFailed, match='wrong name or secret in mutual CHAP'):
                open_device(target.connection_data(OURS, **right | wrong), initiator=INITIATOR)
        tgtd.delete_target(target.tid)

    def test_a_target_that_cannot_prove_itself(self, tgtd: Tgtd, image: Path) -> None:
        target = tgtd.add_target(image, account=OURS)
        data = target.connection_data(OURS, target_auth_username=THEIRS.user, target_auth_password=THEIRS.password)
        with pytest.raises(LoginFailed):
            open_device(data, initiator=INITIATOR)
        tgtd.delete_target(target.tid)

    def test_a_foreign_initiator_is_refused(self, tgtd: Tgtd, image: Path) -> None:
        target = tgtd.add_target(image, initiator_name=INITIATOR)
        open_device(target.connection_data(), initiator=INITIATOR).close()
        with pytest.raises(LoginFailed, match='no such target, or it is hidden from this initiator'):
            open_device(target.connection_data(), initiator=INITIATOR + '-other')
        tgtd.delete_target(target.tid)

    def test_no_such_lun(self, target: Target) -> None:
        with pytest.raises(DeviceError, match=r'LUN 7 failed: .*the LUN does not exist|LUN 7 failed: .*not a disk'):
            open_device(target.connection_data(target_lun=7), initiator=INITIATOR)

    def test_no_such_target(self, target: Target) -> None:
        with pytest.raises(LoginFailed, match='no such target'):
            open_device(target.connection_data(target_iqn='iqn.2010-10.org.openstack:none'), initiator=INITIATOR)

    def test_the_first_portal_that_works_is_taken(self, target: Target) -> None:
        portals = {'target_portals': ['127.0.0.1:1', target.portal], 'target_iqns': [target.iqn] * 2}
        with open_device(target.connection_data(**portals), initiator=INITIATOR) as device:
            assert device.size == SIZE
        with pytest.raises(DeviceUnreachable, match=r'portal 127\.0\.0\.1:1: .*refused'):
            open_device(target.connection_data(target_portal='127.0.0.1:1'), initiator=INITIATOR)

    def test_a_closed_device_leaves_no_session(self, tgtd: Tgtd, target: Target) -> None:
        device = open_device(target.connection_data(), initiator=INITIATOR)
        assert len(tgtd.sessions()[target.tid]) == 1
        device.close()
        device.close()
        assert tgtd.sessions()[target.tid] == []
        with pytest.raises(DeviceError, match='closed'):
            device.read(0, 512)


class TestFailures:
    def test_a_session_lost_while_reading(self, tgtd: Tgtd, target: Target) -> None:
        data = noise(SIZE)
        target.image.write_bytes(data)
        ranges = [(offset, MIB) for offset in range(0, SIZE, MIB)]
        with open_device(target.connection_data(), initiator=INITIATOR) as device:
            for offset, view in device.read_many(ranges):
                if offset in (5 * MIB, 30 * MIB):
                    assert tgtd.drop_sessions(target) == 1
                assert view == data[offset : offset + MIB]

    def test_a_session_lost_while_writing(self, tgtd: Tgtd, target: Target) -> None:
        data = noise(SIZE)

        def extents() -> Iterator[tuple[int, memoryview]]:
            scratch = bytearray(MIB)
            for offset in range(0, SIZE, MIB):
                if offset in (5 * MIB, 30 * MIB):
                    assert tgtd.drop_sessions(target) == 1
                scratch[:] = data[offset : offset + MIB]
                yield offset, memoryview(scratch)

        with open_device(target.connection_data(), initiator=INITIATOR) as device:
            device.write_many(extents())
        assert target.image.read_bytes() == data

    def test_a_session_lost_at_rest(self, tgtd: Tgtd, target: Target, device: IscsiDevice) -> None:
        device.write(0, noise(MIB))
        tgtd.drop_sessions(target)
        device.flush()
        tgtd.drop_sessions(target)
        assert list(device.allocated(0, SIZE)) == [(0, MIB)]

    def test_a_device_extended_under_the_session(self, tgtd: Tgtd, target: Target, device: IscsiDevice) -> None:
        """tgt has no resize: the test creates the LUN again, and the next command receives a unit attention."""
        device.write(0, noise(MIB))
        os.truncate(target.image, 2 * SIZE)
        tgtd.delete_lun(target)
        tgtd.add_lun(target)
        assert device.read(0, MIB) == noise(MIB)
        assert device.size == SIZE
        with open_device(target.connection_data(), initiator=INITIATOR) as again:
            assert again.size == 2 * SIZE

    def test_another_unit_under_the_lun_is_not_written_to(self, tgtd: Tgtd, image: Path, tmp_path: Path) -> None:
        target = tgtd.add_target(image)
        with open_device(target.connection_data(), initiator=INITIATOR) as device:
            tgtd.delete_lun(target)
            other = sparse_image(tmp_path / 'other.img', SIZE)
            tgtd.add_lun(Target(target.tid, target.iqn, target.portal, other), serial='another')
            tgtd.drop_sessions(target)
            with pytest.raises(LoginFailed, match='a different one than before'):
                device.write(0, noise(MIB))
        assert other.read_bytes() == bytes(SIZE)
        tgtd.delete_target(target.tid)

    def test_a_write_protected_device(self, tgtd: Tgtd, image: Path) -> None:
        target = tgtd.add_target(image)
        tgtd.update_lun(target, 'readonly=1')
        with open_device(target.connection_data(), initiator=INITIATOR) as device:
            assert device.read(0, 512) == bytes(512)
            with pytest.raises(CheckCondition, match='DATA PROTECT, 27h/00h: write protected'):
                device.write(0, bytes(MIB))
        tgtd.delete_target(target.tid)

    def test_a_target_that_is_gone(self, image: Path) -> None:
        with Tgtd() as daemon:
            device = open_device(daemon.add_target(image).connection_data(), initiator=INITIATOR, timeout=3)
        with pytest.raises(DeviceUnreachable, match='refused'):
            device.read(0, 512)
        device.close()


def test_sessions_in_parallel_threads(tgtd: Tgtd, image: Path) -> None:
    """Sessions of one initiator name must not end each other (random ISIDs)."""
    target = tgtd.add_target(image)
    together = threading.Barrier(4)
    part = SIZE // 4

    def work(number: int) -> bool:
        with open_device(target.connection_data(), initiator=INITIATOR) as device:
            together.wait(30)
            device.write(number * part, noise(part, seed=number))
            device.flush()
            together.wait(30)
            following = (number + 1) % 4
            return device.read(following * part, part) == noise(part, seed=following)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
    tgtd.delete_target(target.tid)


def holes_between(path: Path) -> list[tuple[int, int]]:
    """(offset, length) of what the file system holds of the file."""
    found, end = [], 0
    with path.open('rb') as file:
        while end < SIZE:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found.append((start, end - start))
    return found


@pytest.fixture
def digested(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the inputs of a double of google-crc32c: the test checks its use; tgtd checks the digests."""
    asked: list[bytes] = []

    def crc32c(data: bytes) -> int:
        asked.append(data)
        crc = 0xFFFFFFFF
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        return crc ^ 0xFFFFFFFF

    module = types.ModuleType('google_crc32c')
    module.__dict__.update(implementation='c', value=crc32c)
    monkeypatch.setitem(sys.modules, 'google_crc32c', module)
    return asked
