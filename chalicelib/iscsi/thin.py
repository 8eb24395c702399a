"""Thin provisioning: which blocks hold data, and how to make blocks read as zeroes by freeing them (SBC-3, 4.7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from chalicelib.errors import ProtocolError
from chalicelib.iscsi import scsi
from chalicelib.iscsi.lun import Lun
from chalicelib.iscsi.pdu import Malformed
from chalicelib.iscsi.reconnect import ReconnectingSession
from chalicelib.iscsi.session import Command

#: Longest range of one WRITE SAME or UNMAP, in bytes: bounds the time that a command takes.
DEALLOCATION_SIZE = 256 * 1024**2

Range = tuple[int, int]


def reads_holes_as_zeroes(session: ReconnectingSession) -> bool:
    """Whether the device guarantees that unallocated blocks read as zeroes."""
    return session.lun.capacity.thin and session.lun.capacity.unmapped_is_zero


def deallocate(session: ReconnectingSession, offset: int, length: int) -> bool:
    """Free the range with the device's own commands; return whether it is guaranteed to read as zeroes now.

    WRITE SAME with the UNMAP bit writes the blocks that it cannot free; UNMAP may ignore them (SBC-3, 5.28 and 5.43).
    Offsets and lengths in bytes. Raises DeviceError.
    """
    can, limits = session.lun.provisioning, session.lun.limits
    if can.write_same and _each(session, _write_same, offset, length, limits.write_same):
        return True
    if can.unmap:
        _each(session, _unmap, offset, length, limits.unmap)
    return False


def allocated(session: ReconnectingSession, offset: int, length: int) -> Iterator[Range]:
    """Yield (offset, length) in bytes of what may hold data, neighbours merged; the rest reads as zeroes.

    Uses GET LBA STATUS; without it, or without a guarantee about holes, all may hold data. Raises DeviceError.
    """
    return _merged(_mapped(session, offset, length) if reads_holes_as_zeroes(session) else [(offset, length)])


def chunks(offset: int, length: int, size: int) -> Iterator[Range]:
    """Cut a range at the multiples of ``size``."""
    end = offset + length
    while offset < end:
        following = min(end, offset - offset % size + size)
        yield offset, following - offset
        offset = following


def _each(
    session: ReconnectingSession, command: Callable[[int, int, int], Command], offset: int, length: int, limit: int
) -> bool:
    """Send one command after the other over the range; return False when the device does not implement it."""
    block_size = session.lun.capacity.block_size
    size = _command_size(session.lun, limit)
    return all(
        session.attempt(command(start // block_size, count // block_size, block_size))
        for start, count in chunks(offset, length, size)
    )


def _command_size(lun: Lun, limit: int) -> int:
    """Return the bytes of one command: within the device's limit in blocks (0: none), in units that it can free."""
    block_size, granularity = lun.capacity.block_size, lun.limits.unmap_granularity * lun.capacity.block_size
    size = min(DEALLOCATION_SIZE, limit * block_size) if limit else DEALLOCATION_SIZE
    return size - size % granularity if 0 < granularity <= size else size


def _write_same(block: int, count: int, block_size: int) -> Command:
    return Command(scsi.write_same_unmap(block, count), data=memoryview(bytes(block_size)))


def _unmap(block: int, count: int, block_size: int) -> Command:
    ranges = scsi.unmap_list(block, count)
    return Command(scsi.unmap(len(ranges)), data=memoryview(ranges))


def _mapped(session: ReconnectingSession, offset: int, length: int) -> Iterator[Range]:
    block_size = session.lun.capacity.block_size
    block, end = offset // block_size, (offset + length) // block_size
    while block < end:
        statuses = _statuses(session, block)
        if statuses is None:
            yield block * block_size, (end - block) * block_size
            return
        for count, deallocated in statuses:
            if not deallocated and block < end:
                yield block * block_size, (min(block + count, end) - block) * block_size
            block += count


def _statuses(session: ReconnectingSession, block: int) -> list[tuple[int, bool]] | None:
    answer = bytearray(scsi.LBA_STATUS_SIZE)
    command = Command(scsi.get_lba_status(block), into=memoryview(answer), exact=False)
    if not session.attempt(command):
        return None
    try:
        return list(scsi.lba_statuses(bytes(answer[: command.received]), block))
    except Malformed as error:
        session.close()
        raise ProtocolError(device=session.device, reason=str(error)) from None


def _merged(ranges: Iterable[Range]) -> Iterator[Range]:
    """Join neighbours; skip empty ranges."""
    start = end = 0
    for offset, length in ranges:
        if offset != end and start != end:
            yield start, end - start
        start = offset if offset != end else start
        end = offset + length
    if start != end:
        yield start, end - start
