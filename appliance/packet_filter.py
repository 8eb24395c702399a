"""Packets that a listening socket ignores: a classic BPF program on the socket (Linux's socket filter).

For TCP a dropped packet has not arrived: the client sends its SYN again, at first after a second. An accepted
connection keeps the filter of the time when it began, which passes its own address.
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
from collections.abc import Collection

#: Addresses of one program; an IPv6 address takes nine of 4,096 instructions.
MOST_ADDRESSES = 400

_SO_ATTACH_FILTER = 26
_SO_DETACH_FILTER = 27
_INSTRUCTION = struct.Struct('=HBBI')
#: struct sock_fprog: the number of instructions, and their address.
_PROGRAM = struct.Struct('@HP')

#: BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K.
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_PASS, _DROP = 0xFFFFFFFF, 0

#: SKF_NET_OFF: offsets from here refer to the IP header, whatever part of the packet the socket sees.
_IP_HEADER = 0xFFF00000


def drop_from(listener: socket.socket, addresses: Collection[str]) -> None:
    """Drop packets from these addresses at the socket; an empty list removes the filter. Raises OSError."""
    if not addresses:
        listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        return
    version = 4 if listener.family == socket.AF_INET else 6
    code = program([address for address in addresses if ipaddress.ip_address(address).version == version])
    instructions = ctypes.create_string_buffer(code, len(code))
    count = len(code) // _INSTRUCTION.size
    where = _PROGRAM.pack(count, ctypes.addressof(instructions))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, where)


def program(addresses: Collection[str]) -> bytes:
    """Return instructions that drop packets from these addresses, all IPv4 or all IPv6, and pass others."""
    steps: list[tuple[int, int, int, int]] = []
    for address in addresses:
        packed = ipaddress.ip_address(address).packed
        source = 12 if len(packed) == 4 else 8
        words = struct.unpack(f'!{len(packed) // 4}I', packed)
        for number, word in enumerate(words):
            following = 2 * (len(words) - 1 - number) + 1
            steps.append((_LOAD_WORD, 0, 0, _IP_HEADER + source + 4 * number))
            steps.append((_JUMP_IF_EQUAL, 0, following, word))
        steps.append((_RETURN, 0, 0, _DROP))
    steps.append((_RETURN, 0, 0, _PASS))
    return b''.join(_INSTRUCTION.pack(*step) for step in steps)
