"""A small threaded HTTP/1.1 server: one function from request to response, keep-alive, exact lengths."""

from __future__ import annotations

import contextlib
import dataclasses
import http
import http.server
import io
import math
import re
import socket
import socketserver
import ssl
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from chalicelib.bounded_http import BadAnswer, BoundedReads, Bounds
from local.settings import HOST

#: Seconds that an idle connection is kept, and that a request may take to arrive.
IDLE = 75
REQUEST = 60

#: Seconds between two parts of a TLS handshake.
HANDSHAKE = 10

#: Requests above this are refused: API Gateway takes 10 MB, an S3 part of a backup is far below.
MAX_BODY = 128 * 1024 * 1024

#: Bytes of a line between chunks, and lines after the last.
MAX_LINE, MAX_TRAILERS = 4096, 100

#: Seconds and bytes of a refused body that are still received, so that the client reads the refusal.
LINGER, MAX_LINGER = 2.0, 256 * 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """``path`` and ``query`` are as sent, still percent-encoded; header names keep their case."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    client: str

    def header(self, name: str, default: str = '') -> str:
        """The last value of a header; names are compared without case."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return found[-1] if found else default


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: list[tuple[str, str]]
    body: bytes = b''


Handler = Callable[[Request], Response]


class Unreadable(Exception):
    """The request cannot be read; nothing after it on the connection can be, either."""

    def __init__(self, status: http.HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


class Server:
    """Serves ``handler`` on host:port from daemon threads until ``stop``, over TLS with ``tls``. Port 0: a free one."""

    def __init__(self, port: int, handler: Handler, host: str = HOST, tls: ssl.SSLContext | None = None) -> None:
        connection = type('Connection', (_Connection,), {'answer': staticmethod(handler), 'tls': tls})
        server = type('Server', (_Threaded,), {'address_family': socket.AF_INET6}) if ':' in host else _Threaded
        self._server = server((host, port), connection)
        self.port = int(self._server.server_address[1])

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name=f'http-{self.port}', daemon=True).start()

    def stop(self) -> None:
        """Stop listening; connections end with the process."""
        self._server.shutdown()
        self._server.server_close()


class _Threaded(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that disconnected, or speaks no TLS; report any other error on stderr."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError | ssl.SSLError):
            super().handle_error(request, client_address)


class _Connection(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    timeout = IDLE
    #: Set by ``Server``.
    answer: Handler
    tls: ssl.SSLContext | None

    def setup(self) -> None:
        if self.tls is not None:  # in the connection's own thread: a slow client delays no other
            self.request.settimeout(HANDSHAKE)
            self.request = self.tls.wrap_socket(self.request, server_side=True)
        super().setup()
        self._reads = BoundedReads(self.rfile.detach(), self.connection, _idle())
        self.rfile = io.BufferedReader(self._reads)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the functions' own log reports requests."""

    def handle_one_request(self) -> None:
        self._reads.bounds = _idle()
        super().handle_one_request()

    def parse_request(self) -> bool:
        """The rest of a request has its own time, however long the connection was idle before."""
        self._reads.bounds = Bounds(REQUEST, IDLE, math.inf)
        return super().parse_request()

    def _serve(self) -> None:
        try:
            body = self._body()
        except Unreadable as refused:
            self.close_connection = True
            self._send(Response(refused.status, []))
            return self._linger()
        self.connection.settimeout(IDLE)
        return self._send(self._answered(body))

    def _answered(self, body: bytes) -> Response:
        path, _, query = self.path.partition('?')
        headers = [(name, value) for name, value in self.headers.items()]
        request = Request(self.command, path, query, headers, body, str(self.client_address[0]))
        try:
            return self.answer(request)
        except ConnectionError:  # of a fault that a test injects: the answer is lost
            raise
        except Exception:
            traceback.print_exc()
            return Response(500, [])

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve  # noqa: N815 - the names that http.server calls

    def _body(self) -> bytes:
        """Return the body. Raises Unreadable, and ConnectionError when the client disconnects before the body's end."""
        encodings = self.headers.get_all('Transfer-Encoding', [])
        lengths = {length.strip() for length in self.headers.get_all('Content-Length', [])}
        if encodings:
            if lengths:
                raise Unreadable(http.HTTPStatus.BAD_REQUEST)
            if [encoding.strip().lower() for encoding in encodings] != ['chunked']:
                raise Unreadable(http.HTTPStatus.NOT_IMPLEMENTED)
            return self._chunks()
        if len(lengths) > 1 or not all(re.fullmatch('[0-9]+', length) for length in lengths):
            raise Unreadable(http.HTTPStatus.BAD_REQUEST)
        return self._exactly(_size(lengths.pop(), 10)) if lengths else b''

    def _chunks(self) -> bytes:
        body = bytearray()
        while size := self._chunk_size():
            if len(body) + size > MAX_BODY:
                raise Unreadable(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            body += self._exactly(size)
            if self._line().strip():
                raise Unreadable(http.HTTPStatus.BAD_REQUEST)
        for _ in range(MAX_TRAILERS):
            if not self._line().strip():
                return bytes(body)
        raise Unreadable(http.HTTPStatus.BAD_REQUEST)

    def _chunk_size(self) -> int:
        size = self._line().split(b';')[0].strip()
        if not re.fullmatch(b'[0-9a-fA-F]+', size):
            raise Unreadable(http.HTTPStatus.BAD_REQUEST)
        return _size(size.decode(), 16)

    def _line(self) -> bytes:
        line = self.rfile.readline(MAX_LINE)
        if not line:
            raise ConnectionResetError('the client went away within a body')
        if not line.endswith(b'\n'):
            raise Unreadable(http.HTTPStatus.BAD_REQUEST)
        return line

    def _exactly(self, length: int) -> bytes:
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError('the client went away within a body')
        return body

    def _linger(self) -> None:
        """Receive the rest of the request: closing earlier would reset the connection and lose the answer."""
        self._reads.bounds = Bounds(LINGER, LINGER, MAX_LINGER)
        with contextlib.suppress(TimeoutError, ConnectionError, BadAnswer):
            self.connection.shutdown(socket.SHUT_WR)
            while self.rfile.read1(65536):
                pass

    def _send(self, response: Response) -> None:
        """Status line, headers and body in one write: a second small one would wait for the peer's delayed ACK."""
        lines = [f'HTTP/1.1 {response.status} {_reason(response.status)}']
        lines += [
            f'{name}: {value.translate(_ONE_LINE)}' for name, value in response.headers if name.lower() not in _OURS
        ]
        lines.append(f'Date: {self.date_time_string()}')
        has_body = response.status not in (204, 304) and response.status >= 200
        if has_body:
            lines.append(f'Content-Length: {self._length(response)}')
        head = '\r\n'.join(lines).encode('latin-1', 'replace') + b'\r\n\r\n'
        self.wfile.write(head + response.body if has_body and self.command != 'HEAD' else head)

    def _length(self, response: Response) -> int:
        """Return the body's length in bytes; for HEAD the Content-Length of the handler, if it has one."""
        declared = next((value for name, value in response.headers if name.lower() == 'content-length'), '')
        return int(declared) if self.command == 'HEAD' and declared.isdecimal() else len(response.body)


def _idle() -> Bounds:
    return Bounds(IDLE, IDLE, math.inf)


def _size(digits: str, base: int) -> int:
    """Raises Unreadable for more than MAX_BODY; so many digits are never converted."""
    short = digits.lstrip('0') or '0'
    if len(short) > 12 or int(short, base) > MAX_BODY:
        raise Unreadable(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return int(short, base)


#: Headers that the server writes itself.
_OURS = {'content-length', 'transfer-encoding', 'connection', 'date'}

#: A value with a client's input must not begin another header.
_ONE_LINE = {13: ' ', 10: ' '}


def _reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ''
