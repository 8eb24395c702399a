"""A volume of an appliance, opened for writing: a write that fails because the pool is full says so.

tgt answers any write that the file system refuses with "medium error, unrecovered read error", a full file system
included. So after such an error the agent is asked whether the pool can take any more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

from chalicelib.device import BlockDevice, Extent
from chalicelib.errors import CheckCondition, DeviceFull, DriverError


class PoolDevice:
    """Implements ``BlockDevice`` over another one. ``is_full`` asks the backend; its errors are not raised."""

    def __init__(self, device: BlockDevice, is_full: Callable[[], bool]) -> None:
        self._device = device
        self._is_full = is_full

    @property
    def size(self) -> int:
        return self._device.size

    @property
    def block_size(self) -> int:
        return self._device.block_size

    def __enter__(self) -> PoolDevice:
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
        with self._writing():
            self._device.write(offset, data)

    def write_many(self, extents: Iterable[Extent]) -> None:
        with self._writing():
            self._device.write_many(extents)

    def zero(self, offset: int, length: int) -> None:
        with self._writing():
            self._device.zero(offset, length)

    def flush(self) -> None:
        with self._writing():
            self._device.flush()

    def close(self) -> None:
        self._device.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Raises DeviceFull for an error of the device that a full pool explains."""
        try:
            yield
        except CheckCondition as error:
            if self._knows_full():
                raise DeviceFull(device=str(self._device)) from error
            raise

    def _knows_full(self) -> bool:
        """False if the backend gives no answer: then the device's error is all that is known."""
        try:
            return self._is_full()
        except DriverError:
            return False
