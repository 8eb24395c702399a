"""HTTP with limits that hold against a bad server: total time, bytes, no redirects, no compression, shallow JSON.

urllib3's read timeout applies between packets, so a server that sends a byte now and then never times out, and urllib3
accepts a header, chunk or compressed body of any size. Here ``Bounds`` counts each wait for the socket and each byte,
for the head of an answer as well as for its body.
"""

from __future__ import annotations

import contextlib
import contextvars
import http.client
import io
import math
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from chalicelib import strict_json
from chalicelib.context_values import bound

#: Bytes of an answer with a record or a list of them.
MAX_ANSWER = 1 << 20

#: Levels of arrays and objects in an answer: OpenStack and ONTAP use fewer than ten.
MAX_DEPTH = 40

#: The minimal pace of a stream: this many bytes in this many seconds of waiting.
PACE_BYTES, PACE_SECONDS = 64 * 1024, 10.0

#: Seconds that a server may take to receive one part of a streamed body.
SEND_SECONDS = 60.0

_PART = 64 * 1024


class BadAnswer(HTTPError):
    """The answer has more bytes than its limit, or a Content-Encoding, which was not requested."""


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        """Omit headers and body, which may contain a token."""
        return f'Answer({self.status})'


class Bounds:
    """The time and bytes of one operation, over all its requests.

    ``seconds`` is the total time, ``gap`` the longest wait for data, ``limit`` the bytes of one answer with its head.
    """

    def __init__(self, seconds: float, gap: float, limit: float = MAX_ANSWER) -> None:
        self._end = time.monotonic() + seconds
        self._gap = gap
        self._limit = limit
        self._patience: float | None = None
        self._taken = 0
        self._paced = False
        self._waited, self._brought = 0.0, 0

    @classmethod
    def of_upload(cls, patience: float) -> Bounds:
        """Return the bounds of a streamed body, whose answer may take ``patience`` seconds after its last byte."""
        bounds = cls(math.inf, SEND_SECONDS)
        bounds._patience = patience
        return bounds

    def left(self) -> float:
        """Return the seconds left; zero or less when the time is over."""
        return self._end - time.monotonic()

    def wait(self) -> float:
        """Return the seconds that the next wait for the socket may take. Raises TimeoutError when none are left."""
        seconds = min(self._gap, self.left())
        if seconds <= 0:
            raise TimeoutError('the answer exceeds its total time')
        return seconds

    def begin_answer(self) -> None:
        """Restart the byte count, and after a streamed body also the time."""
        self._taken = 0
        if self._patience is not None:
            self._end, self._gap = time.monotonic() + self._patience, self._patience

    def begin_stream(self) -> None:
        """Lift the limits of total time and length, but enforce a pace: the reader decides when to stop."""
        self._end, self._limit, self._paced = math.inf, math.inf, True

    def count(self, size: int, waited: float) -> None:
        """Count received bytes. Raises BadAnswer, or TimeoutError for a stream below its pace."""
        self._taken += size
        if self._taken > self._limit:
            raise BadAnswer(f'the answer has more than {self._limit:.0f} bytes')
        if self._paced:
            self._check_pace(size, waited)

    def _check_pace(self, size: int, waited: float) -> None:
        self._waited, self._brought = self._waited + waited, self._brought + size
        if self._brought >= PACE_BYTES:
            self._waited, self._brought = 0.0, 0
        elif self._waited >= PACE_SECONDS:
            raise TimeoutError(f'only {self._brought} bytes came in {PACE_SECONDS:g} s')


#: The bounds of the request that this thread is sending; its response keeps them.
_current: contextvars.ContextVar[Bounds | None] = contextvars.ContextVar('bounds', default=None)


class BoundedReads(io.RawIOBase):
    """Reads from a socket, within bounds."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, bounds: Bounds) -> None:
        self._raw, self._sock, self.bounds = raw, sock, bounds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self.bounds.wait())
        began = time.monotonic()
        count = self._raw.readinto(buffer) or 0
        self.bounds.count(count, time.monotonic() - began)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        bounds = _current.get()
        if bounds is not None:
            bounds.begin_answer()
            self.fp: Any = io.BufferedReader(BoundedReads(self.fp.detach(), sock, bounds))


class _Connection(HTTPConnection):
    response_class = _Response

    def send(self, data: Any) -> None:
        """Set the timeout: a kept connection still has that of its last read."""
        bounds = _current.get()
        if bounds is not None and self.sock is not None:
            self.sock.settimeout(bounds.wait())
        super().send(data)


class _SecureConnection(_Connection, HTTPSConnection):
    pass


class Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def manager() -> urllib3.PoolManager:
    """Return a pool manager for URLs set by the operator."""
    made = urllib3.PoolManager(maxsize=4)
    made.pool_classes_by_scheme = {'http': Pool, 'https': SecurePool}
    return made


#: Objects that send requests.
Sender = urllib3.PoolManager | urllib3.HTTPConnectionPool


def send(
    sender: Sender,
    method: str,
    url: str,
    *,
    bounds: Bounds,
    connect: float,
    headers: Mapping[str, str],
    body: bytes | str | Iterable[bytes] | None = None,
) -> urllib3.BaseHTTPResponse:
    """Send one request and return the answer with its body unread; close it. ``connect``: seconds for a connection.

    There are no retries and no redirects. Raises urllib3's HTTPError, and so does reading.
    """
    with bound(_current, bounds):
        response = sender.request(
            method,
            url,
            headers=headers,
            body=body,
            timeout=urllib3.Timeout(connect=min(connect, _seconds(bounds)), read=_seconds(bounds)),
            retries=False,  # and no redirects
            preload_content=False,
            decode_content=False,
        )
    if response.headers.get('Content-Encoding', 'identity').lower() != 'identity':
        response.close()
        raise BadAnswer('the answer is compressed, which was not requested')
    return response


def read(response: urllib3.BaseHTTPResponse) -> Answer:
    """Return the whole answer, and its connection to the pool. Reads small parts: a stated length may be wrong."""
    body = bytearray()
    with contextlib.closing(response):
        while part := response.read(_PART):
            body += part
    return Answer(response.status, response.headers, bytes(body))


def fetch(sender: Sender, method: str, url: str, **options: Any) -> Answer:
    """Send one request and return the whole answer. Options and errors as for ``send``."""
    return read(send(sender, method, url, **options))


def parsed(body: bytes) -> Any:
    """Return the JSON of an answer, in UTF-8 (RFC 8259) with or without a byte order mark. Raises ValueError."""
    return strict_json.parse(body.decode('utf-8-sig'), MAX_DEPTH)


def _seconds(bounds: Bounds) -> float:
    try:
        return bounds.wait()
    except TimeoutError as error:
        raise urllib3.exceptions.TimeoutError(str(error)) from None
