"""The wire format: the headers of RFC 7143, section 11, and the text keys of section 6.1."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

HEADER_SIZE = 48

#: The tag that means "none": no task (ITT) or nothing to answer (TTT).
NO_TAG = 0xFFFFFFFF

#: Bytes of the text of one negotiation, at most; a target that sends more is broken.
TEXT_LIMIT = 65536


class Malformed(Exception):
    """The target violated the protocol; the session cannot continue."""


class Opcode(IntEnum):
    NOP_OUT = 0x00
    SCSI_COMMAND = 0x01
    LOGIN = 0x03
    DATA_OUT = 0x05
    LOGOUT = 0x06
    NOP_IN = 0x20
    SCSI_RESPONSE = 0x21
    LOGIN_RESPONSE = 0x23
    DATA_IN = 0x25
    LOGOUT_RESPONSE = 0x26
    READY_TO_TRANSFER = 0x31
    ASYNC_MESSAGE = 0x32
    REJECT = 0x3F


#: Opcode bit of a request that does not count in the command window.
IMMEDIATE = 0x40

# Second byte of a header.
FINAL = 0x80  # also "transit" of a login
CONTINUE = 0x40  # login: the text continues in the next PDU
READ = 0x40
WRITE = 0x20
SIMPLE = 0x01  # task attribute: the device may reorder
HAS_STATUS = 0x01  # Data-In: the SCSI status is in this PDU

_RESPONSE = struct.Struct('>BBBBI8sIIIIIIII')
_REQUEST = struct.Struct('>BBHI8sIIII16s')
_DATA_OUT = struct.Struct('>BBHI8sII4xI4xII4x')
_LOGIN = struct.Struct('>BBBBI6sHIHHII16x')


class Response(NamedTuple):
    """A header sent by the target. The opcode defines the last three words (RFC 7143, section 11)."""

    opcode: int
    flags: int
    response: int  # byte 2: iSCSI response, reject reason
    status: int  # byte 3: SCSI status
    data_length: int
    lun: bytes
    tag: int
    transfer_tag: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    sn: int  # DataSN, R2TSN; login: status class and detail in the upper half; async message: event in the top byte
    offset: int
    desired: int  # R2T: desired data transfer length; else the residual count

    @classmethod
    def parse(cls, header: bytes | bytearray) -> Response:
        """Raises Malformed where additional header segments are announced: none is defined for a target."""
        opcode, flags, response, status, lengths, *rest = _RESPONSE.unpack_from(header)
        if lengths >> 24:
            raise Malformed(f'PDU with opcode {opcode & 0x3F:#04x} announces additional header segments')
        return cls(opcode & 0x3F, flags, response, status, lengths, *rest)


def scsi_command(
    flags: int, data_length: int, lun: bytes, tag: int, expected: int, cmd_sn: int, exp_stat_sn: int, cdb: bytes
) -> bytes:
    """A SCSI Command header; ``expected`` is the Expected Data Transfer Length in bytes."""
    return _REQUEST.pack(
        Opcode.SCSI_COMMAND, flags | SIMPLE, 0, data_length, lun, tag, expected, cmd_sn, exp_stat_sn, cdb
    )


def data_out(
    final: bool, data_length: int, lun: bytes, tag: int, transfer_tag: int, exp_stat_sn: int, sn: int, offset: int
) -> bytes:
    flags = FINAL if final else 0
    return _DATA_OUT.pack(Opcode.DATA_OUT, flags, 0, data_length, lun, tag, transfer_tag, exp_stat_sn, sn, offset)


def nop_out(lun: bytes, transfer_tag: int, cmd_sn: int, exp_stat_sn: int) -> bytes:
    """The response to a target's ping; it expects none itself."""
    opcode = Opcode.NOP_OUT | IMMEDIATE
    return _REQUEST.pack(opcode, FINAL, 0, 0, lun, NO_TAG, transfer_tag, cmd_sn, exp_stat_sn, b'')


def logout(tag: int, cmd_sn: int, exp_stat_sn: int) -> bytes:
    """Reason code 0: close the session."""
    return _REQUEST.pack(Opcode.LOGOUT | IMMEDIATE, FINAL, 0, 0, b'', tag, 0, cmd_sn, exp_stat_sn, b'')


def login(flags: int, data_length: int, isid: bytes, tag: int, cmd_sn: int, exp_stat_sn: int) -> bytes:
    """A Login Request of a new session (TSIH 0) on connection 0, protocol version 0."""
    return _LOGIN.pack(Opcode.LOGIN | IMMEDIATE, flags, 0, 0, data_length, isid, 0, tag, 0, 0, cmd_sn, exp_stat_sn)


def padded(text: bytes) -> bytes:
    """``text`` as a data segment: filled up with zeroes to a multiple of four bytes."""
    return text + bytes(-len(text) % 4)


def newer(first: int, second: int) -> bool:
    """Whether serial number ``first`` is after ``second`` (RFC 1982, 32 bits)."""
    return 0 < (first - second) & 0xFFFFFFFF < 0x80000000


def encode_keys(keys: Mapping[str, str]) -> bytes:
    return b''.join(f'{key}={value}\0'.encode() for key, value in keys.items())


def decode_keys(text: bytes) -> dict[str, str]:
    """Raises Malformed for text that is not UTF-8, lacks '=' or repeats a key. Messages do not quote it (secrets)."""
    keys: dict[str, str] = {}
    try:
        pairs = [pair.partition('=') for pair in text.decode().split('\0') if pair]
    except UnicodeDecodeError:
        raise Malformed('login text is not UTF-8') from None
    for key, equals, value in pairs:
        if not equals or key in keys:
            raise Malformed('login text holds a pair without "=" or a key twice')
        keys[key] = value
    return keys
