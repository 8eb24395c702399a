"""A LUN as a ``BlockDevice`` (chalicelib/device.py)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from chalicelib.device import Closing, Extent
from chalicelib.errors import InvalidRange
from chalicelib.iscsi import scsi, thin
from chalicelib.iscsi.portals import ConnectionData
from chalicelib.iscsi.reconnect import ReconnectingSession
from chalicelib.iscsi.session import Command
from chalicelib.iscsi.transfers import Buffers, Transfer, finish, pipeline

#: Longest transfer of one command, in bytes; the device may report a lower limit.
TRANSFER_SIZE = 1024**2


def open_device(
    connection_info_data: Mapping[str, Any], *, initiator: str, timeout: float = 30.0, queue_depth: int = 8
) -> IscsiDevice:
    """Open the LUN that os-brick's iSCSI connection data describe (see ``ConnectionData.parse`` for the keys).

    ``initiator`` is the initiator's iSCSI name, ``timeout`` the seconds that one command, or all of the login, may
    take, and ``queue_depth`` the number of commands in flight. Portals are tried in order, now and whenever the session
    is lost. Raises LoginFailed, DeviceUnreachable, DeviceTimeout, ProtocolError, CheckCondition, or DeviceError for bad
    data.
    """
    return IscsiDevice(ReconnectingSession(ConnectionData.parse(connection_info_data), initiator, timeout), queue_depth)


class IscsiDevice(Closing):
    """Implements ``BlockDevice``. Ranges not in whole blocks, or beyond the end, are refused with InvalidRange.

    ``read_many`` reads ahead: it may or may not return what is written to the device meanwhile.
    """

    def __init__(self, session: ReconnectingSession, queue_depth: int) -> None:
        lun = session.lun
        self._session = session
        self._queue_depth = queue_depth
        self.size = lun.size
        self.block_size = lun.capacity.block_size
        self._transfer_size = min(TRANSFER_SIZE, lun.limits.transfer * self.block_size or TRANSFER_SIZE)

    def __repr__(self) -> str:
        return f'<IscsiDevice {self._session.device}, {self.size} bytes>'

    def read(self, offset: int, length: int) -> bytes:
        self._check(offset, length)
        data = bytearray(length)
        finish(self._session, self._reads(offset, memoryview(data)), self._queue_depth)
        return bytes(data)

    def read_many(self, ranges: Iterable[tuple[int, int]]) -> Iterator[Extent]:
        buffers = Buffers()
        reads = (read for offset, length in ranges for read in self._range(offset, length, buffers))
        for read in pipeline(self._session, reads, self._queue_depth):
            if read.extent:
                yield read.extent
                buffers.release(read.extent[1])

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data).cast('B')
        self._check(offset, len(view))
        finish(self._session, self._writes(offset, view), self._queue_depth)

    def write_many(self, extents: Iterable[Extent]) -> None:
        buffers = Buffers()
        writes = (write for offset, data in extents for write in self._extent(offset, data, buffers))
        for write in pipeline(self._session, writes, self._queue_depth):
            if write.extent:
                buffers.release(write.extent[1])

    def zero(self, offset: int, length: int) -> None:
        """Free the range; where the device does not guarantee zeroes for it, zero what is still allocated."""
        self._check(offset, length)
        if thin.reads_holes_as_zeroes(self._session) and thin.deallocate(self._session, offset, length):
            return
        zeroes = memoryview(bytes(min(length, self._transfer_size)))
        for start, size in thin.allocated(self._session, offset, length):
            parts = (self._write(at, zeroes[:count]) for at, count in thin.chunks(start, size, len(zeroes)))
            finish(self._session, parts, self._queue_depth)

    def allocated(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        self._check(offset, length)
        return thin.allocated(self._session, offset, length)

    def flush(self) -> None:
        """A device without SYNCHRONIZE CACHE has no volatile cache."""
        self._session.attempt(Command(scsi.SYNCHRONIZE_CACHE))

    def close(self) -> None:
        self._session.close()

    def _check(self, offset: int, length: int) -> None:
        whole = offset % self.block_size == 0 and length % self.block_size == 0
        if not whole or offset < 0 or length < 0 or offset + length > self.size:
            reason = f'{length} bytes at {offset} are not whole blocks of {self.block_size} bytes within {self.size}'
            raise InvalidRange(device=self._session.device, reason=reason)

    def _range(self, offset: int, length: int, buffers: Buffers) -> Iterator[Transfer]:
        """Yield the reads of one range; the last one carries the range."""
        self._check(offset, length)
        view = buffers.take(length)
        for read in self._reads(offset, view):
            if read.offset + read.length == offset + length:
                read.extent = (offset, view)
            yield read

    def _reads(self, offset: int, view: memoryview) -> Iterator[Transfer]:
        """An empty range is read, too, by a command without data, so that results stay in order."""
        for start in range(0, len(view) or 1, self._transfer_size):
            part = view[start : start + self._transfer_size]
            cdb = scsi.read16(*self._blocks(offset + start, part)) if part else scsi.TEST_UNIT_READY
            yield Transfer(offset + start, len(part), Command(cdb, into=part))

    def _extent(self, offset: int, data: memoryview, buffers: Buffers) -> Iterator[Transfer]:
        """Yield the writes of one extent, from copies unless the data is immutable.

        The caller may reuse its memory when the next extent is requested, while these writes are still in flight.
        """
        view = memoryview(data).cast('B')
        self._check(offset, len(view))
        for write in self._writes(offset, view):
            if not isinstance(view.obj, bytes):
                copy = buffers.take(write.length)
                copy[:] = write.command.data
                write.command.data, write.extent = copy, (write.offset, copy)
            yield write

    def _writes(self, offset: int, view: memoryview) -> Iterator[Transfer]:
        for start in range(0, len(view), self._transfer_size):
            yield self._write(offset + start, view[start : start + self._transfer_size])

    def _write(self, offset: int, data: memoryview) -> Transfer:
        return Transfer(offset, len(data), Command(scsi.write16(*self._blocks(offset, data)), data=data))

    def _blocks(self, offset: int, data: memoryview) -> tuple[int, int]:
        return offset // self.block_size, len(data) // self.block_size
