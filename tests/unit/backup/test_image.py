"""Files as devices, against the same in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.backup.image import FileDevice
from chalicelib.backup.layout import MIB
from chalicelib.errors import DeviceError, InvalidRange
from tests.unit.backup.fakes import MemoryDevice

SIZE = 64 * 512
extents = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 4), st.binary(min_size=1, max_size=4)), max_size=6)


@given(written=extents, zeroed=extents)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_reads_as_it_was_written(tmp_path: Path, written: list[tuple[int, int, bytes]], zeroed: list) -> None:
    model = MemoryDevice(bytes(SIZE))
    path = tmp_path / 'image'
    path.unlink(missing_ok=True)
    with FileDevice(path, SIZE) as device:
        parts = [(at * 512, memoryview((data * 512)[:512] * count)) for at, count, data in written]
        device.write_many(parts)
        model.write_many(parts)
        for at, count, _ in zeroed:
            device.zero(at * 512, count * 512)
            model.zero(at * 512, count * 512)
        device.flush()
        ranges = [(0, 512), (1024, 4096), (512, SIZE - 512)]
        assert [(at, bytes(data)) for at, data in device.read_many(ranges)] == [
            (at, bytes(data)) for at, data in model.read_many(ranges)
        ]
    assert path.read_bytes() == model.data


def test_holes_are_not_allocated(tmp_path: Path) -> None:
    path = tmp_path / 'image'
    with FileDevice(path, 8 * MIB) as device:
        assert list(device.allocated(0, 8 * MIB)) == []
        device.write(2 * MIB, b'x' * MIB)
        device.write(7 * MIB, b'x' * MIB)
        assert list(device.allocated(0, 8 * MIB)) == [(2 * MIB, MIB), (7 * MIB, MIB)]
        assert list(device.allocated(2 * MIB + 512, 512)) == [(2 * MIB + 512, 512)]
        assert list(device.allocated(4 * MIB, MIB)) == []


def test_zeroing_makes_a_hole(tmp_path: Path) -> None:
    with FileDevice(tmp_path / 'image', 8 * MIB) as device:
        device.write(0, b'x' * MIB)
        device.zero(0, 8 * MIB)
        assert list(device.allocated(0, 8 * MIB)) == []
        assert device.read(0, MIB) == bytes(MIB)


def test_size_and_mode(tmp_path: Path) -> None:
    path = tmp_path / 'image'
    FileDevice(path, 4096).close()
    with FileDevice(path, read_only=True) as device:
        assert (device.size, device.block_size) == (4096, 512)
        with pytest.raises(DeviceError, match=str(path)):
            device.write(0, b'x' * 512)
        device.close()
        device.close()


def test_reading_beyond_the_end_fails(tmp_path: Path) -> None:
    with FileDevice(tmp_path / 'image', 1024) as device, pytest.raises(InvalidRange, match='1024 bytes at 512'):
        device.read(512, 1024)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match='No such file'):
        FileDevice(tmp_path / 'none', read_only=True)
