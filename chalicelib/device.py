"""The interface of the data path: a volume or snapshot opened for reading or writing.

The iSCSI initiator and the EBS driver supply devices; the backup engine consumes them.
Offsets and lengths are bytes, and multiples of ``block_size`` unless noted otherwise.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Protocol, Self

#: An item that ``read_many`` yields and ``write_many`` takes: (offset in bytes, data).
Extent = tuple[int, memoryview]

#: Takes (offset, length); returns the parts that may differ from an older copy of the device as (offset, length),
#: ascending; None when unknown. Everything beyond the older copy's end counts as different.
Changes = Callable[[int, int], Iterable[tuple[int, int]] | None]


class BlockDevice(Protocol):
    """An opened volume. Not thread-safe: each thread opens its own device.

    Every method raises a ``DeviceError``; after one, only ``close`` may be called.
    """

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def block_size(self) -> int:
        """Bytes of one logical block, the unit of offsets and lengths."""

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes."""

    def read_many(self, ranges: Iterable[tuple[int, int]]) -> Iterator[Extent]:
        """Read (offset, length) ranges with several requests in flight; yield them in their order.

        The memoryview of an extent is valid only until the next one is requested.
        """

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of ``data``; it is durable after ``flush``."""

    def write_many(self, extents: Iterable[Extent]) -> None:
        """Write extents with several requests in flight; all are written on return, and durable after ``flush``.

        The caller may reuse a buffer only after the iterator has been advanced to the next extent.
        """

    def zero(self, offset: int, length: int) -> None:
        """Make the range read as zeroes: unmapped where the device guarantees zeroes, else written."""

    def allocated(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """Yield (offset, length) of ranges that may hold data, ascending; all others are guaranteed to read as zeroes.

        A device without an allocation map yields the whole range.
        """

    def flush(self) -> None:
        """Make everything written durable (SYNCHRONIZE CACHE)."""

    def close(self) -> None:
        """End the session; safe to repeat."""

    def __enter__(self) -> BlockDevice: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Closing(abc.ABC):
    """The context manager of every device: it closes the device at the end of the block."""

    @abc.abstractmethod
    def close(self) -> None:
        """End the session."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class DeviceWrapper(Closing):
    """Implements the reading part of ``BlockDevice`` over another device; subclasses implement the writing part."""

    def __init__(self, device: BlockDevice) -> None:
        self._device = device
        self.size = device.size
        self.block_size = device.block_size

    def read(self, offset: int, length: int) -> bytes:
        return self._device.read(offset, length)

    def read_many(self, ranges: Iterable[tuple[int, int]]) -> Iterator[Extent]:
        return self._device.read_many(ranges)

    def allocated(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        return self._device.allocated(offset, length)

    def close(self) -> None:
        self._device.close()
