"""A small threaded HTTP/1.1 server: one function from request to response, keep-alive, exact lengths."""

from __future__ import annotations

import dataclasses
import http
import http.server
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from local.settings import HOST

#: Seconds that an idle connection is kept.
IDLE = 75

#: Requests above this are refused unread: API Gateway takes 10 MB, an S3 part of a backup is far below.
MAX_BODY = 128 * 1024 * 1024


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


class Server:
    """Serves ``handler`` on HOST:port from daemon threads until ``stop``. Port 0 takes a free one."""

    def __init__(self, port: int, handler: Handler) -> None:
        self._server = _Threaded((HOST, port), type('Connection', (_Connection,), {'answer': staticmethod(handler)}))
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
        """A client that went away is no event; anything else is told on stderr."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Connection(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    timeout = IDLE
    #: Set by ``Server``.
    answer: Handler

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: requests are told by the functions' own log."""

    def _serve(self) -> None:
        body = self._body()
        if body is None:
            return self._send(Response(413, []))
        path, _, query = self.path.partition('?')
        headers = [(name, value) for name, value in self.headers.items()]
        request = Request(self.command, path, query, headers, body, str(self.client_address[0]))
        return self._send(self.answer(request))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve  # noqa: N815 - the names http.server asks for

    def _body(self) -> bytes | None:
        if self.headers.get('Transfer-Encoding', '').lower() == 'chunked':
            return b''.join(self._chunks())
        length = int(self.headers.get('Content-Length') or 0)
        if length > MAX_BODY:
            self.close_connection = True
            return None
        return self.rfile.read(length) if length else b''

    def _chunks(self) -> Iterable[bytes]:
        while size := int(self.rfile.readline().split(b';')[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def _send(self, response: Response) -> None:
        """Status line, headers and body in one write: a second small one would wait for the peer's delayed ACK."""
        lines = [f'HTTP/1.1 {response.status} {_reason(response.status)}']
        lines += [f'{name}: {value}' for name, value in response.headers if name.lower() not in _OURS]
        lines.append(f'Date: {self.date_time_string()}')
        has_body = response.status not in (204, 304) and response.status >= 200
        if has_body:
            lines.append(f'Content-Length: {len(response.body)}')
        head = '\r\n'.join(lines).encode('latin-1', 'replace') + b'\r\n\r\n'
        self.wfile.write(head + response.body if has_body and self.command != 'HEAD' else head)


#: Headers that the server writes itself.
_OURS = {'content-length', 'transfer-encoding', 'connection', 'date'}


def _reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ''
