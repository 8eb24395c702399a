"""A volume of an appliance, opened for writing: a write that fails because the pool is full says so.

tgt answers any write that the file system refuses with "medium error, unrecovered read error", a full file system
included. So after such an error the agent is asked whether the pool can take any more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

from chalicelib.device import BlockDevice, DeviceWrapper, Extent
from chalicelib.errors import CheckCondition, DeviceFull, DriverError


class PoolDevice(DeviceWrapper):
    """Implements ``BlockDevice`` over another one. ``is_full`` asks the backend; its errors are not raised."""

    def __init__(self, device: BlockDevice, is_full: Callable[[], bool]) -> None:
        super().__init__(device)
        self._is_full = is_full

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
