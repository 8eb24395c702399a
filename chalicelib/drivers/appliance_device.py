"""A writable volume of an appliance: a write that fails because the pool is full raises DeviceFull.

tgt answers any write that the file system refuses with "medium error, unrecovered read error", also when the file
system is full. So after such an error the device queries the agent whether the pool is full.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

from chalicelib.device import BlockDevice, DeviceWrapper, Extent
from chalicelib.errors import CheckCondition, DeviceFull, DriverError


class PoolDevice(DeviceWrapper):
    """Implements ``BlockDevice`` over another one. ``is_full`` queries the backend; its errors are not raised."""

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
        """Raises DeviceFull for an error of the device when the pool is full."""
        try:
            yield
        except CheckCondition as error:
            if self._knows_full():
                raise DeviceFull(device=str(self._device)) from error
            raise

    def _knows_full(self) -> bool:
        """Return False if the backend does not answer: then only the device's error is known."""
        try:
            return self._is_full()
        except DriverError:
            return False
