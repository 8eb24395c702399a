"""The properties of a LUN, read before it is used: whether it is a disk, its size, and what it supports."""

from __future__ import annotations

import dataclasses

from chalicelib.iscsi import scsi
from chalicelib.iscsi.pdu import Malformed
from chalicelib.iscsi.session import Command, Session


@dataclasses.dataclass(frozen=True, slots=True)
class Lun:
    """A logical unit as it describes itself. ``serial`` is its unit serial number, or ''."""

    capacity: scsi.Capacity
    serial: str
    limits: scsi.BlockLimits
    provisioning: scsi.Provisioning

    @property
    def size(self) -> int:
        """Bytes."""
        return self.capacity.blocks * self.capacity.block_size

    def is_same_unit_as(self, other: Lun) -> bool:
        """Whether this, read after a reconnect, is the unit ``other``: same serial and block size, not smaller."""
        same = self.serial == other.serial and self.capacity.block_size == other.capacity.block_size
        return same and self.capacity.blocks >= other.capacity.blocks


def probe(session: Session, deadline: float) -> Lun:
    """Describe the session's LUN. Raises ScsiError if it is absent, Malformed if it is not a disk, OSError."""
    session.execute(Command(scsi.TEST_UNIT_READY), deadline)
    kind = _query(session, scsi.inquiry(), scsi.INQUIRY_SIZE, deadline)[:1]
    if kind != bytes([scsi.DISK]):
        raise Malformed(f'the LUN is not a disk (INQUIRY returned {kind.hex() or "nothing"})')
    capacity = scsi.Capacity.parse(_query(session, scsi.read_capacity16(), scsi.CAPACITY_SIZE, deadline))
    pages = _pages(session, deadline)
    return Lun(
        capacity=capacity,
        serial=pages.get(scsi.VPD_SERIAL, b'')[4:].decode('ascii', 'replace').strip(' \0'),
        limits=scsi.BlockLimits.parse(pages.get(scsi.VPD_BLOCK_LIMITS, b'')),
        provisioning=scsi.Provisioning.parse(pages.get(scsi.VPD_PROVISIONING, b'')),
    )


def _pages(session: Session, deadline: float) -> dict[int, bytes]:
    """Return the vital product data pages that are used here, as far as the device has them."""
    try:
        listed = _page(session, scsi.VPD_PAGES, deadline)[4:]
    except scsi.ScsiError as error:
        if error.sense is None or not error.sense.is_unsupported:
            raise
        return {}  # a device without vital product data (optional in SPC-2)
    wanted = (scsi.VPD_SERIAL, scsi.VPD_BLOCK_LIMITS, scsi.VPD_PROVISIONING)
    return {page: _page(session, page, deadline) for page in wanted if page in listed}


def _page(session: Session, page: int, deadline: float) -> bytes:
    return scsi.vpd_page(_query(session, scsi.inquiry(page), scsi.INQUIRY_SIZE, deadline), page)


def _query(session: Session, cdb: bytes, size: int, deadline: float) -> bytes:
    answer = bytearray(size)
    command = session.execute(Command(cdb, into=memoryview(answer), exact=False), deadline)
    return bytes(answer[: command.received])
