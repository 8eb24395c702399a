"""One TCP connection to a portal. Every call has a deadline, a value of ``time.monotonic()``.

A blocking socket with SO_RCVTIMEO and MSG_WAITALL costs one system call for a whole data segment, which Python's own
socket timeouts (poll, then a partial read, and again) do not; a target that drips bytes gains no time by it.
"""

from __future__ import annotations

import importlib
import itertools
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

from chalicelib.iscsi.pdu import HEADER_SIZE, Malformed, Response

Buffer = bytes | memoryview

#: Bytes of a data segment, at most, that is not received into a command's own buffer (sense data, text).
SEGMENT_LIMIT = 65536

# Linux takes at most 1024 buffers in one sendmsg (IOV_MAX).
_BUFFERS_AT_ONCE = 1024
_TIMEVAL = struct.Struct('ll')
_DIGEST_SIZE = 4


def fast_crc32c() -> Callable[[bytes], int] | None:
    """Return CRC32C in native code, if google-crc32c has it installed, else None: in Python a digest is too slow."""
    try:
        module: Any = importlib.import_module('google_crc32c')
    except ImportError:
        return None
    return module.value if module.implementation == 'c' else None


class Connection:
    """Sends and receives PDUs. Raises OSError when the link is lost, TimeoutError when the deadline has passed."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        self._socket = sock
        self._header = bytearray(HEADER_SIZE)
        self._crc32c: Callable[[bytes], int] | None = None

    @classmethod
    def open(cls, host: str, port: int, deadline: float) -> Connection:
        sock = socket.create_connection((host, port), remaining(deadline))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(sock)

    def use_header_digest(self) -> None:
        """From now on both sides send a CRC32C after each header. Requires that ``fast_crc32c`` returns a function."""
        self._crc32c = fast_crc32c()
        self._header = bytearray(HEADER_SIZE + _DIGEST_SIZE)

    def close(self) -> None:
        self._socket.close()

    def send(self, pdus: Sequence[tuple[bytes, Buffer]], deadline: float) -> None:
        """Send (header, data segment) pairs; data segments are multiples of four bytes, without a copy."""
        buffers = [buffer for header, data in pdus for buffer in (self._digested(header), data)]
        for start in range(0, len(buffers), _BUFFERS_AT_ONCE):
            self._send(buffers[start : start + _BUFFERS_AT_ONCE], deadline)

    def receive_header(self, deadline: float) -> Response:
        """Wait for the next PDU; its data segment must be received next."""
        self._receive(memoryview(self._header), deadline)
        if self._crc32c is not None:
            self._check_digest(self._crc32c)
        return Response.parse(self._header)

    def receive_data_into(self, view: memoryview, deadline: float) -> None:
        """Receive a data segment of exactly ``len(view)`` bytes, and its padding."""
        self._receive(view, deadline)
        pad = -len(view) % 4
        if pad:
            self._receive(memoryview(bytearray(pad)), deadline)

    def receive_data(self, length: int, deadline: float) -> bytes:
        """Receive a data segment of at most SEGMENT_LIMIT bytes. Raises Malformed before it allocates more."""
        if length > SEGMENT_LIMIT:
            raise Malformed(f'data segment of {length} bytes, where at most {SEGMENT_LIMIT} are allowed')
        data = bytearray(length)
        self.receive_data_into(memoryview(data), deadline)
        return bytes(data)

    def _digested(self, header: bytes) -> bytes:
        if self._crc32c is None:
            return header
        return header + self._crc32c(header).to_bytes(_DIGEST_SIZE, 'little')

    def _check_digest(self, crc32c: Callable[[bytes], int]) -> None:
        header, digest = bytes(self._header[:HEADER_SIZE]), self._header[HEADER_SIZE:]
        if crc32c(header) != int.from_bytes(digest, 'little'):
            raise Malformed('header digest does not match')

    def _send(self, buffers: list[Buffer], deadline: float) -> None:
        left = sum(map(len, buffers))
        while True:
            self._arm(socket.SO_SNDTIMEO, deadline)
            try:
                sent = self._socket.sendmsg(buffers)
            except BlockingIOError:
                raise TimeoutError('the target does not accept data') from None
            left -= sent
            if not left:
                return
            buffers = _without(buffers, sent)

    def _receive(self, view: memoryview, deadline: float) -> None:
        while view:
            self._arm(socket.SO_RCVTIMEO, deadline)
            try:
                count = self._socket.recv_into(view, 0, socket.MSG_WAITALL)
            except BlockingIOError:
                raise TimeoutError('the target is silent') from None
            if not count:
                raise ConnectionResetError('the target closed the connection')
            view = view[count:]

    def _arm(self, option: int, deadline: float) -> None:
        microseconds = int(remaining(deadline) * 1_000_000)
        # Zero would mean "no timeout".
        self._socket.setsockopt(
            socket.SOL_SOCKET, option, _TIMEVAL.pack(microseconds // 1_000_000, microseconds % 1_000_000 or 1)
        )


def remaining(deadline: float) -> float:
    """Seconds until the deadline. Raises TimeoutError when it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError('no answer came in time')
    return seconds


def _without(buffers: list[Buffer], sent: int) -> list[Buffer]:
    """Return ``buffers`` after the first ``sent`` bytes."""
    ends = list(itertools.accumulate(map(len, buffers)))
    first = next(index for index, end in enumerate(ends) if end > sent)
    return [memoryview(buffers[first])[sent - ends[first] :], *buffers[first + 1 :]]
