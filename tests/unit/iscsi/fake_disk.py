"""The disk behind the test double of a target: SCSI commands on plain memory."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

BLOCK = 512

#: (SCSI status, sense data)
Outcome = tuple[int, bytes]
GOOD: Outcome = (0, b'')


def sense(key: int, code: int) -> Outcome:
    return 2, bytes([0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, *code.to_bytes(2, 'big'), 0, 0, 0, 0])


@dataclass
class Disk:
    """What several targets may share. ``mapped`` holds for each block whether it is allocated."""

    blocks: int = 1024
    serial: str = 'double-1'
    thin: bool = True
    reads_zeroes: bool = True
    write_same: bool = True
    unmap: bool = True
    lba_status: bool = True
    most_transfer: int = 0
    most_write_same: int = 0
    most_unmap: int = 0
    granularity: int = 0
    vital_data: bool = True
    kind: int = 0
    data: bytearray = field(default_factory=bytearray, repr=False)
    mapped: bytearray = field(default_factory=bytearray, repr=False)

    def __post_init__(self) -> None:
        self.data = self.data or bytearray(self.blocks * BLOCK)
        self.mapped = self.mapped or bytearray(self.blocks)

    def carry_out(self, cdb: bytes, data: bytes) -> tuple[Outcome, bytes]:
        """What the command ends with, and what it answers."""
        try:
            return GOOD, self._execute(cdb, data)
        except LookupError:
            return sense(5, 0x2000), b''
        except OverflowError:
            return sense(5, 0x2100), b''

    def _execute(self, cdb: bytes, data: bytes) -> bytes:
        """Raises LookupError for what the disk does not know, OverflowError for what is beyond its end."""
        operation = cdb[0]
        block, count = struct.unpack_from('>QI', cdb, 2)
        span = slice(block * BLOCK, (block + count) * BLOCK)
        if operation in (0x00, 0x91):
            return b''
        if operation == 0x12:
            return self._inquiry(cdb[2] if cdb[1] & 1 else None)
        if operation == 0x9E and cdb[1] == 0x10:
            flags = self.thin << 7 | (self.thin and self.reads_zeroes) << 6
            return struct.pack('>QIBBB17x', self.blocks - 1, BLOCK, 0, 0, flags)
        if operation == 0x9E and cdb[1] == 0x12 and self.lba_status:
            return self._lba_status(block)
        if operation in (0x88, 0x8A, 0x93) and (block >= self.blocks or block + count > self.blocks):
            raise OverflowError
        if operation == 0x88:
            return bytes(self.data[span])
        if operation == 0x8A:
            self.data[span] = data
            self.mapped[block : block + count] = b'\1' * count
            return b''
        if operation == 0x93 and self.write_same and (not self.most_write_same or count <= self.most_write_same):
            self._free(block, count)
            return b''
        if operation == 0x42 and self.unmap:
            self._unmap(data)
            return b''
        raise LookupError

    def _free(self, block: int, count: int) -> None:
        self.data[block * BLOCK : (block + count) * BLOCK] = bytes(count * BLOCK)
        self.mapped[block : block + count] = bytes(count)

    def _unmap(self, data: bytes) -> None:
        """Frees whole granules and ignores the rest, as a device may."""
        block, count = struct.unpack_from('>QI', data, 8)
        if self.most_unmap and count > self.most_unmap:
            raise LookupError
        grain = self.granularity or 1
        first, last = -(-block // grain), (block + count) // grain
        if last > first:
            self._free(first * grain, (last - first) * grain)
            if not self.reads_zeroes:
                self.data[first * grain * BLOCK : last * grain * BLOCK] = b'\xee' * ((last - first) * grain * BLOCK)

    def _inquiry(self, page: int | None) -> bytes:
        if page is None:
            return bytes([self.kind, 0, 5, 2, 31]) + bytes(31)
        limits = struct.pack(
            '>BBHIIIIIIIQ',
            0,
            0,
            0,
            self.most_transfer,
            0,
            0,
            self.most_unmap,
            1,
            self.granularity,
            0,
            self.most_write_same,
        )
        pages = {
            0x00: bytes([0x00, 0x80, 0xB0, 0xB2]),
            0x80: self.serial.encode().rjust(12),
            0xB0: limits,
            0xB2: bytes([0, self.unmap << 7 | self.write_same << 6, 2, 0]),
        }
        if not self.vital_data:
            raise LookupError
        body = pages[page]
        return bytes([0, page]) + len(body).to_bytes(2, 'big') + body

    def _lba_status(self, block: int) -> bytes:
        """At most three descriptors an answer."""
        descriptors = b''
        for _ in range(3):
            if block >= self.blocks:
                break
            state = self.mapped[block]
            end = self.mapped.find(1 - state, block)
            end = self.blocks if end < 0 else end
            descriptors += struct.pack('>QIB3x', block, end - block, 1 - state)
            block = end
        return struct.pack('>I4x', 4 + len(descriptors)) + descriptors
