"""Copy one device over another until time runs short."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from chalicelib.device import BlockDevice
from chalicelib.tasks import function_time

#: Bytes between two looks at the clock, and bytes of one read.
WINDOW, CHUNK = 256 * 1024**2, 1024**2


def copy(source: BlockDevice, target: BlockDevice, start: int, *, zeroed: bool) -> dict[str, Any]:
    """Copy from byte ``start`` on; return {'done', 'next'}: what is before ``next`` is durable on the target.

    What the source has not allocated is zeroed, unless the target surely reads as zeroes (``zeroed``). Every call gets
    at least one window further. Raises DeviceError.
    """
    offset = start
    while offset < source.size:
        length = min(WINDOW, source.size - offset)
        _copy_window(source, target, offset, length, zeroed=zeroed)
        offset += length
        if not function_time.has_time():
            break
    target.flush()
    return {'done': offset >= source.size, 'next': offset}


def _copy_window(source: BlockDevice, target: BlockDevice, offset: int, length: int, *, zeroed: bool) -> None:
    allocated = list(_widened(source.allocated(offset, length), target.block_size))
    if not zeroed:
        for start, size in _gaps(allocated, offset, offset + length):
            target.zero(start, size)
    target.write_many(source.read_many(_chunks(allocated)))


def _widened(extents: Iterable[tuple[int, int]], unit: int) -> Iterator[tuple[int, int]]:
    """Extents out to whole blocks of the target, each block once. A window begins and ends with a block."""
    begin = end = 0
    for start, size in extents:
        first, last = start // unit * unit, -(-(start + size) // unit) * unit
        if first > end:
            if end > begin:
                yield begin, end - begin
            begin = first
        end = max(end, last)
    if end > begin:
        yield begin, end - begin


def _gaps(extents: list[tuple[int, int]], offset: int, end: int) -> Iterator[tuple[int, int]]:
    for start, size in [*extents, (end, 0)]:
        if start > offset:
            yield offset, start - offset
        offset = start + size


def _chunks(extents: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for start, size in extents:
        for done in range(0, size, CHUNK):
            yield start + done, min(CHUNK, size - done)
