"""A device that is not to be written, on a backend that cannot forbid it by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType

from chalicelib.device import BlockDevice, Extent
from chalicelib.errors import DeviceError


class ReadOnlyDevice:
    """Implements ``BlockDevice``; every write is refused before it is sent."""

    def __init__(self, device: BlockDevice) -> None:
        self._device = device
        self.size = device.size
        self.block_size = device.block_size

    def __enter__(self) -> ReadOnlyDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, offset: int, length: int) -> bytes:
        return self._device.read(offset, length)

    def read_many(self, ranges: Iterable[tuple[int, int]]) -> Iterator[Extent]:
        return self._device.read_many(ranges)

    def allocated(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        return self._device.allocated(offset, length)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        raise self._refused()

    def write_many(self, extents: Iterable[Extent]) -> None:
        raise self._refused()

    def zero(self, offset: int, length: int) -> None:
        raise self._refused()

    def flush(self) -> None:
        """Nothing was written."""

    def close(self) -> None:
        self._device.close()

    def _refused(self) -> DeviceError:
        return DeviceError(device=repr(self._device), reason='it was opened for reading only')
