"""Files and block special files as block devices: the target of an offline restore."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterable, Iterator

from chalicelib.backup.layout import MIB, SECTOR
from chalicelib.device import Closing, Extent
from chalicelib.errors import DeviceError, InvalidRange

_ZEROES = bytes(MIB)

#: FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE of linux/falloc.h.
_PUNCH_HOLE = 0x03

#: errno values with which fallocate(2) reports that it cannot make a hole, so zeroes must be written: holes are not
#: supported, the range is not in whole sectors of a block device, or a mount uses its pages.
_NO_HOLE = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBUSY})

#: errno values with which lseek(2) reports that SEEK_DATA and SEEK_HOLE are unsupported. Block devices give EINVAL.
_NO_MAP = frozenset({errno.EINVAL, errno.EOPNOTSUPP})


class FileDevice(Closing):
    """Opens ``path``; with ``size`` (bytes) the file is created or cut to it. See BlockDevice.

    A block special file in use (mounted, or part of another device) is not opened for writing, as mkfs does.
    """

    def __init__(self, path: str | os.PathLike[str], size: int | None = None, *, read_only: bool = False) -> None:
        self._path = os.fspath(path)
        # O_EXCL without O_CREAT claims a block device on Linux; for a file it has no effect.
        flags = os.O_RDONLY if read_only else os.O_RDWR | (os.O_EXCL if size is None else os.O_CREAT)
        with self._translated():
            self._descriptor = os.open(self._path, flags | os.O_CLOEXEC, 0o600)
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            with self._translated():
                if size is not None:
                    os.ftruncate(self._descriptor, size)
                self._size = os.lseek(self._descriptor, 0, os.SEEK_END)
            undo.pop_all()

    @property
    def size(self) -> int:
        return self._size

    @property
    def block_size(self) -> int:
        return SECTOR

    def read(self, offset: int, length: int) -> bytes:
        buffer = bytearray(length)
        self._read_into(memoryview(buffer), offset)
        return bytes(buffer)

    def read_many(self, ranges: Iterable[tuple[int, int]]) -> Iterator[Extent]:
        """One buffer serves all ranges: the page cache reads ahead."""
        buffer = bytearray()
        for offset, length in ranges:
            if len(buffer) < length:
                buffer = bytearray(length)
            view = memoryview(buffer)[:length]
            self._read_into(view, offset)
            yield offset, view

    def _read_into(self, view: memoryview, offset: int) -> None:
        self._check(offset, len(view))
        while view:
            with self._translated():
                count = os.preadv(self._descriptor, [view], offset)
            if not count:
                raise DeviceError(device=self._path, reason=f'it ends before byte {offset + len(view)}')
            view, offset = view[count:], offset + count

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        self._check(offset, len(view))
        while view:
            with self._translated():
                count = os.pwrite(self._descriptor, view, offset)
            view, offset = view[count:], offset + count

    def write_many(self, extents: Iterable[Extent]) -> None:
        for offset, data in extents:
            self.write(offset, data)

    def zero(self, offset: int, length: int) -> None:
        """Make a hole, or write zeroes where that is impossible. A discard would not guarantee zeroes."""
        self._check(offset, length)
        if self._punch_hole(offset, length):
            return
        for start, size in self.allocated(offset, length):
            for position in range(start, start + size, len(_ZEROES)):
                self.write(position, memoryview(_ZEROES)[: start + size - position])

    def _punch_hole(self, offset: int, length: int) -> bool:
        """Return whether the range reads as zeroes now. Linux punches block devices only if they then read so."""
        if not _fallocate(self._descriptor, _PUNCH_HOLE, offset, length):
            return True
        number = ctypes.get_errno()
        if number in _NO_HOLE:
            return False
        raise self._failed(OSError(number, os.strerror(number)))

    def allocated(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        end = offset + length
        while offset < end:
            start = self._seek(offset, os.SEEK_DATA, end)
            offset = self._seek(start, os.SEEK_HOLE, end)
            if start < offset:
                yield start, offset - start

    def _seek(self, offset: int, whence: int, end: int) -> int:
        """Return where data or a hole next begins, at most ``end``. Without support for it, all is data."""
        try:
            return min(end, os.lseek(self._descriptor, offset, whence))
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole follows
                return end
            if error.errno in _NO_MAP:
                return offset if whence == os.SEEK_DATA else end
            raise self._failed(error) from error

    def flush(self) -> None:
        with self._translated():
            os.fsync(self._descriptor)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _check(self, offset: int, length: int) -> None:
        """Refuse access beyond the end: a block device would give ENOSPC, a file would grow."""
        if offset < 0 or offset + length > self._size:
            reason = f'{length} bytes at {offset} are not within its {self._size} bytes'
            raise InvalidRange(device=self._path, reason=reason)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> DeviceError:
        return DeviceError(device=self._path, reason=error.strerror or str(error))


def _fallocate(descriptor: int, mode: int, offset: int, length: int) -> int:
    """Call fallocate(2), which the ``os`` module lacks; -1 and ``ctypes.get_errno()`` report an error."""
    function = ctypes.CDLL(None, use_errno=True).fallocate
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return int(function(descriptor, mode, offset, length))
