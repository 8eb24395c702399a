"""Files with holes: their data, copies of them, and tar members of them (PAX sparse format 1.0, as GNU tar has it)."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import tarfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

#: Request of linux/fs.h, and what a file system without shared blocks answers to it.
FICLONE = 0x40049409
NO_CLONE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS)

#: Bytes that are copied at a time.
CHUNK = 4 * 1024 * 1024

#: Bytes that the kernel copies in one call.
PART = 64 * 1024 * 1024

#: Tar's unit.
BLOCK = 512


def extents(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield (offset, bytes) of each range with data, in order."""
    descriptor, size, end = file.fileno(), os.fstat(file.fileno()).st_size, 0
    while end < size:
        try:
            begin = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nothing but a hole follows
                raise
            return
        end = os.lseek(descriptor, begin, os.SEEK_HOLE)
        yield begin, min(end, size) - begin


def data_size(path: Path) -> int:
    """Bytes of a file's ranges with data."""
    with path.open('rb') as file:
        return sum(size for _, size in extents(file))


def copy(source: Path, target: Path, show: Callable[[int], None] = lambda size: None) -> None:
    """Copy a file with its mode and holes to a new one; share its blocks where the file system can.

    ``show`` receives the bytes of data as they are copied; none for blocks that are shared.
    """
    with source.open('rb') as reader, target.open('xb') as writer:
        os.fchmod(writer.fileno(), os.fstat(reader.fileno()).st_mode & 0o777)
        try:
            fcntl.ioctl(writer, FICLONE, reader.fileno())
        except OSError as error:
            if error.errno not in NO_CLONE:
                raise
            _copy_extents(reader, writer, show)


def _copy_extents(reader: BinaryIO, writer: BinaryIO, show: Callable[[int], None]) -> None:
    os.truncate(writer.fileno(), os.fstat(reader.fileno()).st_size)
    for offset, size in extents(reader):
        done = 0
        while done < size:
            copied = os.copy_file_range(
                reader.fileno(), writer.fileno(), min(size - done, PART), offset + done, offset + done
            )
            if copied == 0:
                raise OSError(errno.EIO, 'the file became shorter while it was copied')
            done += copied
            show(copied)


def add(tar: tarfile.TarFile, path: Path, name: str, show: Callable[[int], None]) -> None:
    """Add a file to a tar archive. ``show`` receives the bytes of data as they are read."""
    with path.open('rb') as file:
        found = os.fstat(file.fileno())
        ranges = list(extents(file))
        info = tarfile.TarInfo(name)
        info.mode, info.mtime = found.st_mode & 0o777, found.st_mtime
        if ranges == [(0, found.st_size)] or not found.st_size:
            info.size, table = found.st_size, b''
        else:
            ends = [(found.st_size, 0)]  # GNU tar makes a hole at the end only before such a range
            table = _table([*ranges, *ends])
            info.size = len(table) + sum(size for _, size in ranges)
            info.pax_headers = {
                'GNU.sparse.major': '1',
                'GNU.sparse.minor': '0',
                'GNU.sparse.name': name,
                'GNU.sparse.realsize': str(found.st_size),
            }
        tar.addfile(info, _Reader(table, file, ranges, show))  # type: ignore[arg-type]  # read() is all that it calls


def _table(ranges: list[tuple[int, int]]) -> bytes:
    numbers = [len(ranges), *(number for one in ranges for number in one)]
    text = ''.join(f'{number}\n' for number in numbers).encode()
    return text + b'\0' * (-len(text) % BLOCK)


class _Reader:
    """The table of a file's ranges, then their data, as one stream."""

    def __init__(
        self, table: bytes, file: BinaryIO, ranges: list[tuple[int, int]], show: Callable[[int], None]
    ) -> None:
        self._table, self._file, self._show = io.BytesIO(table), file, show
        self._ranges = deque(ranges)

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes; fewer only at the end, or where the file became shorter."""
        parts = [self._table.read(size)]
        missing = size - len(parts[0])
        while missing and self._ranges:
            offset, length = self._ranges.popleft()
            self._file.seek(offset)
            data = self._file.read(min(length, missing))
            if not data:
                break
            if len(data) < length:
                self._ranges.appendleft((offset + len(data), length - len(data)))
            missing -= len(data)
            parts.append(data)
            self._show(len(data))
        return b''.join(parts)
