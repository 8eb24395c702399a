"""A read-only device, where nothing else enforces it: a backend that cannot, the origin of a copy."""

from __future__ import annotations

from collections.abc import Iterable

from chalicelib.device import DeviceWrapper, Extent
from chalicelib.errors import DeviceError


class ReadOnlyDevice(DeviceWrapper):
    """Implements ``BlockDevice``; every write is refused before it is sent."""

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        raise self._refused()

    def write_many(self, extents: Iterable[Extent]) -> None:
        raise self._refused()

    def zero(self, offset: int, length: int) -> None:
        raise self._refused()

    def flush(self) -> None:
        """Nothing was written."""

    def _refused(self) -> DeviceError:
        return DeviceError(device=repr(self._device), reason='it was opened read-only')
