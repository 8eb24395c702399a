"""The differences between two files that share blocks, from the file system's extent maps (FIEMAP).

Two places are equal when both read as zeroes without a block, or both are the same physical block. That is proof only
while both files exist and nothing writes to them, from before the first map is read until after the last one.
"""

from __future__ import annotations

import fcntl
import struct
from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple

from appliance.errors import NotComparable

#: ``ioctl(file, FS_IOC_FIEMAP, map)``: _IOWR('f', 11, struct fiemap) of linux/fs.h.
_FIEMAP = 0xC020660B
_SYNC = 0x1

#: Start, length, flags, mapped, capacity, reserved; then an extent each: logical, physical, length, reserved, flags.
_HEADER = struct.Struct('=QQIIII')
_EXTENT = struct.Struct('=QQQQQI12x')

#: Flags of linux/fiemap.h. Merged and shared do not matter here; with any other flag the position is not reliable.
_LAST, _UNWRITTEN, _MERGED, _SHARED = 0x1, 0x800, 0x1000, 0x2000
_UNDERSTOOD = _LAST | _UNWRITTEN | _MERGED | _SHARED

#: Extents of one call, and bytes of the files that are compared at once.
_ROOM = 4096
_WINDOW = 256 * 1024**2


class Piece(NamedTuple):
    """A part of a file: where it is on the disk, less its offset in the file; None where no block is."""

    start: int
    stop: int
    place: int | None


def pieces(file: int, start: int, stop: int) -> Iterator[Piece]:
    """Yield the parts of an open file from ``start`` to ``stop``, in bytes, without a gap. Raises NotComparable."""
    at = start
    for logical, physical, length, flags in _extents(file, start, stop):
        if flags & ~_UNDERSTOOD:
            raise NotComparable(f'the file system reports an extent with flags {flags:#x}')
        first, last = max(logical, at), min(logical + length, stop)
        if first >= last:
            continue
        if at < first:
            yield Piece(at, first, None)
        yield Piece(first, last, None if flags & _UNWRITTEN else physical - logical)
        at = last
    if at < stop:
        yield Piece(at, stop, None)


def _extents(file: int, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (logical, physical, length, flags), ascending; the first and the last may begin before or end after."""
    while start < stop:
        answer = bytearray(_HEADER.size + _EXTENT.size * _ROOM)
        _HEADER.pack_into(answer, 0, start, stop - start, _SYNC, 0, _ROOM, 0)
        fcntl.ioctl(file, _FIEMAP, answer, True)
        mapped = _HEADER.unpack_from(answer)[3]
        for number in range(mapped):
            logical, physical, length, _, _, flags = _EXTENT.unpack_from(answer, _HEADER.size + number * _EXTENT.size)
            yield logical, physical, length, flags
            start = logical + length
        if not mapped or flags & _LAST:
            return


def exclusive(file: int, size: int) -> int:
    """Return the bytes of an open file whose blocks no other file shares."""
    found = _extents(file, 0, size)
    return sum(length for _, _, length, flags in found if not flags & (_SHARED | _UNWRITTEN))


def differences(new: int, old: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of the parts in which two open files may differ, ascending; some touch the next.

    Raises NotComparable, also when the old file's blocks were moved meanwhile (xfs_fsr): the maps are of two times.
    """
    for first in range(start, stop, _WINDOW):
        last = min(first + _WINDOW, stop)
        before = list(pieces(old, first, last))
        found = list(_unequal(list(pieces(new, first, last)), before))
        if list(pieces(old, first, last)) != before:
            raise NotComparable('blocks were moved during the comparison')
        yield from found


def _unequal(new: list[Piece], old: list[Piece]) -> Iterator[tuple[int, int]]:
    """Both lists cover the same range."""
    one = two = 0
    while one < len(new) and two < len(old):
        first, second = new[one], old[two]
        if first.place != second.place:
            yield max(first.start, second.start), min(first.stop, second.stop)
        one += first.stop <= second.stop
        two += second.stop <= first.stop


def joined(parts: Iterable[tuple[int, int]]) -> Generator[tuple[int, int], None, None]:
    """Join (start, stop) parts that touch; they are ascending."""
    current: tuple[int, int] | None = None
    for start, stop in parts:
        if current and start <= current[1]:
            current = current[0], max(stop, current[1])
            continue
        if current:
            yield current
        current = start, stop
    if current:
        yield current
