"""Zeroing and the allocation map, with every mixture of what a device can do."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.errors import CheckCondition, ProtocolError
from chalicelib.iscsi import thin
from tests.unit.iscsi.conftest import connect
from tests.unit.iscsi.fake_disk import BLOCK, Disk, sense
from tests.unit.iscsi.fake_target import Double, once

SIZE = 1024 * BLOCK
WRITE, WRITE_SAME, UNMAP, LBA_STATUS = 0x8A, 0x93, 0x42, 0x9E


def full(**features: Any) -> Disk:
    return Disk(data=bytearray(b'\xff' * SIZE), mapped=bytearray(b'\1' * 1024), **features)


class TestZero:
    @pytest.mark.parametrize(
        ('disk', 'commands'),
        [
            (full(), {WRITE_SAME}),
            (full(unmap=False), {WRITE_SAME}),
            (full(write_same=False), {UNMAP, LBA_STATUS}),
            (full(write_same=False, granularity=8), {UNMAP, LBA_STATUS, WRITE}),
            (full(write_same=False, lba_status=False), {UNMAP, LBA_STATUS, WRITE}),
            (full(write_same=False, unmap=False), {LBA_STATUS, WRITE}),
            (full(thin=False), {WRITE}),
            (full(reads_zeroes=False), {WRITE}),
            (full(vital_data=False), {LBA_STATUS, WRITE}),
        ],
    )
    def test_it_takes_the_best_the_device_can_do(self, disk: Disk, commands: set[int]) -> None:
        """UNMAP alone proves nothing: here it ignores what is not a whole granule."""
        with Double(disk) as target, connect(target) as device:
            target.seen.clear()
            device.zero(3 * BLOCK, 100 * BLOCK)
            assert set(target.seen) == commands
            assert device.read(0, SIZE) == b'\xff' * 3 * BLOCK + bytes(100 * BLOCK) + b'\xff' * (SIZE - 103 * BLOCK)
        assert target.violations == []

    def test_holes_need_no_writing(self) -> None:
        disk = Disk(write_same=False, unmap=False)
        disk.data[512:1024], disk.mapped[1] = b'\xff' * 512, 1
        with Double(disk) as target, connect(target) as device:
            target.seen.clear()
            device.zero(0, SIZE)
            assert target.seen.count(WRITE) == 1
        assert not any(disk.data)

    def test_a_device_that_promises_write_same_and_refuses_it(self, double: Double) -> None:
        double.disk.data[:], double.disk.mapped[:] = b'\xff' * SIZE, b'\1' * 1024
        double.outcomes.append(sense(5, 0x2000))
        with connect(double) as device:
            device.zero(0, 1024)
        assert double.disk.data == bytes(1024) + b'\xff' * (SIZE - 1024)
        assert [operation for operation in double.seen if operation in (WRITE_SAME, UNMAP)] == [WRITE_SAME, UNMAP]

    def test_other_errors_are_not_taken_for_a_refusal(self, double: Double) -> None:
        double.outcomes.append(sense(7, 0x2707))
        with connect(double) as device, pytest.raises(CheckCondition, match='the thin pool of the device is full'):
            device.zero(0, 1024)

    def test_limits_of_the_device(self) -> None:
        """At most 60 blocks a command, in granules of 8: up to 56, 112 and 120, so that no granule is cut."""
        with Double(full(most_write_same=60, granularity=8)) as target, connect(target) as device:
            device.zero(0, 120 * BLOCK)
        assert target.seen.count(WRITE_SAME) == 3


class TestAllocated:
    def test_neighbours_are_one(self, double: Double) -> None:
        """The double gives three descriptors an answer: neither its cuts nor the client's show."""
        for block in (1, 2, 3, 10, 11, 500, 700, 1023):
            double.disk.mapped[block] = 1
        with connect(double) as device:
            assert blocks(device.allocated(0, SIZE)) == [(1, 3), (10, 2), (500, 1), (700, 1), (1023, 1)]
            assert blocks(device.allocated(2 * BLOCK, 9 * BLOCK)) == [(2, 2), (10, 1)]
            assert blocks(device.allocated(600 * BLOCK, 50 * BLOCK)) == []

    @pytest.mark.parametrize('features', [{'thin': False}, {'reads_zeroes': False}, {'lba_status': False}])
    def test_without_a_map_all_may_hold_data(self, features: dict[str, Any]) -> None:
        with Double(Disk(**features)) as target, connect(target) as device:
            assert list(device.allocated(BLOCK, 5 * BLOCK)) == [(BLOCK, 5 * BLOCK)]
            assert list(device.allocated(BLOCK, 0)) == []

    @pytest.mark.parametrize(
        'change',
        [
            lambda answer: answer[:16] + bytes(4) + answer[20:],  # a range of no blocks
            lambda answer: answer[:8] + (3).to_bytes(8, 'big') + answer[16:],  # begins after it
            lambda answer: bytes(len(answer)),
        ],
    )
    def test_a_map_that_leads_nowhere_is_refused(self, double: Double, change: Callable[[bytes], bytes]) -> None:
        device = connect(double)
        double.tamper = once(0x25, lambda pdu: [pdu[:48] + change(pdu[48:])])
        with pytest.raises(ProtocolError, match='GET LBA STATUS'):
            list(device.allocated(2 * BLOCK, BLOCK))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3))))
def test_ranges_that_touch_are_one(steps: list[tuple[int, int]]) -> None:
    """``steps``: (gap before a range, its length)."""
    ranges, end = [], 0
    for gap, length in steps:
        ranges.append((end + gap, length))
        end += gap + length
    joined = list(thin._merged(iter(ranges)))
    assert {place for offset, length in joined for place in range(offset, offset + length)} == {
        place for offset, length in ranges for place in range(offset, offset + length)
    }
    assert all(length for _, length in joined)
    assert all(first + length < second for (first, length), (second, _) in itertools.pairwise(joined))


def blocks(ranges: Any) -> list[tuple[int, int]]:
    return [(offset // BLOCK, length // BLOCK) for offset, length in ranges]


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**5), st.integers(100, 10**5))
def test_chunks_are_cut_at_multiples(offset: int, length: int, size: int) -> None:
    parts = list(thin.chunks(offset, length, size))
    assert sum(count for _, count in parts) == length
    assert all(0 < count <= size for _, count in parts)
    assert all(start % size == 0 for start, _ in parts[1:])
    assert all(start + count == following for (start, count), (following, _) in itertools.pairwise(parts))
