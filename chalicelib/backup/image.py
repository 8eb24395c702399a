"""A file (or a block special file) as a device: the target of an offline restore."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from types import TracebackType

from chalicelib.backup.layout import MIB, SECTOR
from chalicelib.device import Extent
from chalicelib.errors import DeviceError

_ZEROES = bytes(MIB)


class FileDevice:
    """Opens ``path``; with ``size`` (bytes) the file is created or cut to it. See BlockDevice."""

    def __init__(self, path: str | os.PathLike[str], size: int | None = None, *, read_only: bool = False) -> None:
        self._path = os.fspath(path)
        with self._translated():
            flags = os.O_RDONLY if read_only else os.O_RDWR | (os.O_CREAT if size is not None else 0)
            self._descriptor = os.open(self._path, flags | os.O_CLOEXEC, 0o600)
            if size is not None:
                os.ftruncate(self._descriptor, size)
            self._size = os.lseek(self._descriptor, 0, os.SEEK_END)

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
        """One buffer serves all: the page cache reads ahead by itself."""
        buffer = bytearray()
        for offset, length in ranges:
            if len(buffer) < length:
                buffer = bytearray(length)
            view = memoryview(buffer)[:length]
            self._read_into(view, offset)
            yield offset, view

    def _read_into(self, view: memoryview, offset: int) -> None:
        while view:
            with self._translated():
                count = os.preadv(self._descriptor, [view], offset)
            if not count:
                raise DeviceError(device=self._path, reason=f'it ends before byte {offset + len(view)}')
            view, offset = view[count:], offset + count

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        while view:
            with self._translated():
                count = os.pwrite(self._descriptor, view, offset)
            view, offset = view[count:], offset + count

    def write_many(self, extents: Iterable[Extent]) -> None:
        for offset, data in extents:
            self.write(offset, data)

    def zero(self, offset: int, length: int) -> None:
        """Holes are left alone."""
        for start, size in self.allocated(offset, length):
            for position in range(start, start + size, len(_ZEROES)):
                self.write(position, memoryview(_ZEROES)[: start + size - position])

    def allocated(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        end = offset + length
        while offset < end:
            start = self._seek(offset, os.SEEK_DATA, end)
            offset = self._seek(start, os.SEEK_HOLE, end)
            if start < offset:
                yield start, offset - start

    def _seek(self, offset: int, whence: int, end: int) -> int:
        """Where data or a hole next begins, ``end`` at the latest."""
        try:
            return min(end, os.lseek(self._descriptor, offset, whence))
        except OSError:  # ENXIO: nothing but a hole follows
            return end

    def flush(self) -> None:
        with self._translated():
            os.fsync(self._descriptor)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> FileDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DeviceError(device=self._path, reason=error.strerror or str(error)) from error
