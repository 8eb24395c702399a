"""Copying a device over another: every byte, whatever was there, and however often time runs short."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib import errors
from chalicelib.tasks import copying, function_time
from tests.data_backends import TILE, Disk, DiskDevice
from tests.simulation import LambdaContext

#: Tiles of a disk; a window of the copy is four of them in here.
TILES = 24

tiles = st.dictionaries(st.integers(0, TILES - 1), st.integers(1, 255).map(lambda byte: bytes([byte]) * TILE))


class Hurried(LambdaContext):
    """A function whose time is over at once."""

    milliseconds = 1


def copied(source: Disk, target: Disk, *, zeroed: bool, context: LambdaContext) -> list[int]:
    """Copy to the end; where each call stopped."""
    stops, start = [], 0
    with function_time.running(context), pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying, 'WINDOW', 4 * TILE)
        patch.setattr(copying, 'CHUNK', TILE // 2)
        while True:
            devices = [
                DiskDevice(source, lambda _: None, writable=False),
                DiskDevice(target, lambda _: None, writable=True),
            ]
            found = copying.copy(devices[0], devices[1], start, zeroed=zeroed)
            stops.append(found['next'])
            if found['done']:
                return stops
            start = found['next']


@settings(max_examples=60, deadline=None)
@given(held=tiles, old=tiles, hurried=st.booleans())
def test_every_byte_over_old_data(held: dict[int, bytes], old: dict[int, bytes], hurried: bool) -> None:
    source, target = Disk(TILES * TILE, dict(held)), Disk(TILES * TILE, dict(old))
    copied(source, target, zeroed=False, context=Hurried() if hurried else LambdaContext())
    assert target.same(Disk(TILES * TILE, held))
    assert source.tiles == held


@given(extents=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), max_size=6))
def test_whole_blocks_of_a_target_that_takes_no_less(extents: list[tuple[int, int]]) -> None:
    """Every byte is covered, each block once, in order, and no block that no extent touches."""
    ordered, end = [], 0
    for start, size in sorted(extents):
        if start >= end:
            ordered.append((start, size))
            end = start + size
    found = list(copying._widened(iter(ordered), 8))
    blocks = [block for start, size in found for block in range(start // 8, (start + size) // 8)]
    assert all(start % 8 == 0 and size % 8 == 0 for start, size in found)
    touched = {byte // 8 for start, size in ordered for byte in range(start, start + size)}
    assert blocks == sorted(touched)


@settings(max_examples=30, deadline=None)
@given(held=tiles)
def test_only_what_is_allocated_to_a_zeroed_target(held: dict[int, bytes]) -> None:
    target = Disk(TILES * TILE)
    copied(Disk(TILES * TILE, dict(held)), target, zeroed=True, context=LambdaContext())
    assert target.tiles == held


def test_a_call_without_time_gets_one_window_further() -> None:
    source = Disk(TILES * TILE)
    assert copied(source, Disk(TILES * TILE), zeroed=True, context=Hurried()) == [
        4 * TILE * turn for turn in range(1, 7)
    ]


def test_a_device_that_fails() -> None:
    def check(action: str) -> None:
        if action == 'flush':
            raise errors.DeviceUnreachable(device='target', reason='the path is not there')

    source = DiskDevice(Disk(TILE), lambda _: None, writable=False)
    with function_time.running(LambdaContext()), pytest.raises(errors.DeviceUnreachable):
        copying.copy(source, DiskDevice(Disk(TILE), check, writable=True), 0, zeroed=True)
