"""SCSI for disks (SBC-3, SPC-4): commands, the devices' answers, and which of those allow a retry."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from chalicelib.iscsi.pdu import Malformed

GOOD, CHECK_CONDITION, BUSY, RESERVATION_CONFLICT, TASK_SET_FULL, TASK_ABORTED = 0x00, 0x02, 0x08, 0x18, 0x28, 0x40
NOT_READY, ILLEGAL_REQUEST, UNIT_ATTENTION, ABORTED_COMMAND = 0x02, 0x05, 0x06, 0x0B

#: Codes of ILLEGAL REQUEST for a command that the device does not implement: invalid operation code, invalid field in
#: the CDB, invalid field in the parameter list. Others of that key (no such LUN, block out of range) are failures.
UNSUPPORTED = frozenset({0x2000, 0x2400, 0x2600})

TEST_UNIT_READY = bytes(16)
SYNCHRONIZE_CACHE = bytes([0x91]) + bytes(15)  # SYNCHRONIZE CACHE(16) of all blocks

CAPACITY_SIZE = 32
INQUIRY_SIZE = 255

#: GET LBA STATUS: 1,024 descriptors an answer (tgt gives at most 64).
LBA_STATUS_SIZE = 8 + 16 * 1024

VPD_PAGES, VPD_SERIAL, VPD_BLOCK_LIMITS, VPD_PROVISIONING = 0x00, 0x80, 0xB0, 0xB2
DISK = 0x00

#: Times a command is sent again when the device is busy or reports a change.
MOST_REPEATS = 8
_PAUSE = 0.1

_TRANSFER = struct.Struct('>BBQIBB')
_UNMAP_LIST = struct.Struct('>HH4xQI4x')
_LBA_STATUS = struct.Struct('>QIB3x')
_CAPACITY = struct.Struct('>QIBBH16x')
_BLOCK_LIMITS = struct.Struct('>BBHIIIIIIIQ')

STATUS_NAMES: Mapping[int, str] = {
    CHECK_CONDITION: 'CHECK CONDITION without sense data',
    BUSY: 'BUSY',
    RESERVATION_CONFLICT: 'RESERVATION CONFLICT: another initiator has reserved the device',
    TASK_SET_FULL: 'TASK SET FULL',
    TASK_ABORTED: 'TASK ABORTED by another initiator',
}

SENSE_KEYS = (
    *('NO SENSE', 'RECOVERED ERROR', 'NOT READY', 'MEDIUM ERROR', 'HARDWARE ERROR', 'ILLEGAL REQUEST'),
    *('UNIT ATTENTION', 'DATA PROTECT', 'BLANK CHECK', 'VENDOR SPECIFIC', 'COPY ABORTED', 'ABORTED COMMAND'),
    *('RESERVED', 'VOLUME OVERFLOW', 'MISCOMPARE', 'COMPLETED'),
)

#: Additional sense code and qualifier -> text, for codes that an operator is likely to meet.
SENSE_CODES: Mapping[int, str] = {
    0x0401: 'becoming ready',
    0x0C00: 'write error',
    0x1100: 'unrecovered read error',
    0x2000: 'the device does not support the command',
    0x2100: 'block address out of range',
    0x2400: 'invalid field in the command',
    0x2500: 'the LUN does not exist',
    0x2700: 'write protected',
    0x2707: 'the thin pool of the device is full',
    0x2900: 'power on or reset',
    0x2A09: 'capacity has changed',
    0x3F0E: 'the list of LUNs has changed',
    0x4400: 'internal failure of the device',
}


class ScsiError(Exception):
    """The device ended a command with an error that a retry would not fix."""

    def __init__(self, status: int, sense: Sense | None) -> None:
        self.sense = sense
        super().__init__(str(sense) if sense else STATUS_NAMES.get(status, f'SCSI status {status:#04x}'))


class Sense(NamedTuple):
    """The reason for CHECK CONDITION; ``code`` is the additional sense code and its qualifier."""

    key: int
    code: int

    @classmethod
    def parse(cls, data: bytes) -> Sense | None:
        """Fixed or descriptor format (SPC-4, 4.5); None for sense data that is missing or truncated."""
        kind = data[0] & 0x7F if data else 0
        if kind in (0x72, 0x73) and len(data) >= 4:
            return cls(data[1] & 0x0F, int.from_bytes(data[2:4]))
        if kind in (0x70, 0x71) and len(data) >= 14:
            return cls(data[2] & 0x0F, int.from_bytes(data[12:14]))
        return None

    @property
    def is_unsupported(self) -> bool:
        """Whether the device does not implement the command, or this form of it."""
        return self.key == ILLEGAL_REQUEST and self.code in UNSUPPORTED

    def __str__(self) -> str:
        words = SENSE_CODES.get(self.code, 'see the SCSI list of additional sense codes')
        return f'{SENSE_KEYS[self.key]}, {self.code >> 8:02X}h/{self.code & 0xFF:02X}h: {words}'


def repeat_after(status: int, sense_data: bytes, repeats: int) -> float | None:
    """Return the seconds to wait before the command is sent again, None for success. Raises ScsiError when it is final.

    ``repeats`` is how often it has been sent again.
    """
    if status == GOOD:
        return None
    sense = Sense.parse(sense_data) if status == CHECK_CONDITION else None
    if repeats >= MOST_REPEATS:
        raise ScsiError(status, sense)
    if status in (BUSY, TASK_SET_FULL) or sense == (NOT_READY, 0x0401):
        return _PAUSE * 2 ** (repeats / 2)
    if sense is not None and sense.key in (UNIT_ATTENTION, ABORTED_COMMAND):
        return 0.0
    raise ScsiError(status, sense)


def read16(block: int, count: int) -> bytes:
    return _TRANSFER.pack(0x88, 0, block, count, 0, 0)


def write16(block: int, count: int) -> bytes:
    return _TRANSFER.pack(0x8A, 0, block, count, 0, 0)


def write_same_unmap(block: int, count: int) -> bytes:
    """WRITE SAME(16) with the UNMAP bit: the device writes the block that is sent, or frees blocks where possible."""
    return _TRANSFER.pack(0x93, 0x08, block, count, 0, 0)


def unmap(parameter_list_length: int) -> bytes:
    return struct.pack('>B6xHx6x', 0x42, parameter_list_length)


def unmap_list(block: int, count: int) -> bytes:
    """The parameter list of an UNMAP of one range."""
    return _UNMAP_LIST.pack(_UNMAP_LIST.size - 2, _UNMAP_LIST.size - 8, block, count)


def get_lba_status(block: int) -> bytes:
    return _TRANSFER.pack(0x9E, 0x12, block, LBA_STATUS_SIZE, 0, 0)


def read_capacity16() -> bytes:
    return _TRANSFER.pack(0x9E, 0x10, 0, CAPACITY_SIZE, 0, 0)


def inquiry(page: int | None = None) -> bytes:
    """Standard INQUIRY data, or a page of vital product data."""
    return struct.pack('>BBBHx10x', 0x12, page is not None, page or 0, INQUIRY_SIZE)


class Capacity(NamedTuple):
    """READ CAPACITY(16). ``thin`` is LBPME; ``unmapped_is_zero`` is LBPRZ: unallocated blocks read as zeroes."""

    blocks: int
    block_size: int
    thin: bool
    unmapped_is_zero: bool

    @classmethod
    def parse(cls, data: bytes) -> Capacity:
        if len(data) < CAPACITY_SIZE:
            raise Malformed(f'READ CAPACITY(16) gave {len(data)} bytes instead of {CAPACITY_SIZE}')
        last, block_size, _, _, provisioning = _CAPACITY.unpack_from(data)
        if block_size < 512 or block_size > 65536 or block_size & (block_size - 1):
            raise Malformed(f'the device reports blocks of {block_size} bytes')
        return cls(last + 1, block_size, bool(provisioning & 0x8000), bool(provisioning & 0x4000))


class BlockLimits(NamedTuple):
    """VPD page B0h, in blocks; 0: the device reports no limit."""

    transfer: int = 0
    unmap: int = 0
    unmap_granularity: int = 0
    write_same: int = 0

    @classmethod
    def parse(cls, page: bytes) -> BlockLimits:
        """A short page has no limits beyond its end (SBC-2 devices return 12 bytes)."""
        fields = _BLOCK_LIMITS.unpack(page[4 : 4 + _BLOCK_LIMITS.size].ljust(_BLOCK_LIMITS.size, b'\0'))
        return cls(transfer=fields[3], unmap=fields[6], unmap_granularity=fields[8], write_same=fields[10])


class Provisioning(NamedTuple):
    """VPD page B2h: which commands free blocks."""

    unmap: bool = False
    write_same: bool = False

    @classmethod
    def parse(cls, page: bytes) -> Provisioning:
        flags = page[5] if len(page) > 5 else 0
        return cls(unmap=bool(flags & 0x80), write_same=bool(flags & 0x40))


def vpd_page(data: bytes, page: int) -> bytes:
    """Return the page, cut to its stated length. Raises Malformed for a different page."""
    if len(data) < 4 or data[1] != page:
        raise Malformed(f'INQUIRY did not return the requested VPD page {page:02X}h')
    return data[: 4 + int.from_bytes(data[2:4])]


def lba_statuses(data: bytes, block: int) -> Iterator[tuple[int, bool]]:
    """Yield (number of blocks, deallocated) from GET LBA STATUS at ``block``.

    Raises Malformed unless the descriptors are in order, without gaps, and at least one.
    """
    end = min(len(data), 4 + int.from_bytes(data[:4])) if len(data) >= 8 else 0
    if end < 8 + _LBA_STATUS.size:
        raise Malformed('GET LBA STATUS gave no descriptor')
    for position in range(8, end - _LBA_STATUS.size + 1, _LBA_STATUS.size):
        first, count, status = _LBA_STATUS.unpack_from(data, position)
        if first > block or first + count <= block:
            raise Malformed(f'GET LBA STATUS gave blocks {first} to {first + count} where {block} was expected')
        yield first + count - block, status & 0x0F == 1
        block = first + count
