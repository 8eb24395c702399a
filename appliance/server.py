"""HTTPS: one thread per connection, signed requests only, small bodies, bounded waits.

A connection without a good signature has a limit of time and of bytes: see admission.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
import time
import traceback
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any

from appliance import routes
from appliance.admission import Admission
from appliance.errors import ApplianceError, Invalid, NoRoute, TooLarge
from appliance.service import Answer, Appliance
from appliance.signing import Verifier

#: Bytes of the largest body: snapshots of a group of volumes. Other requests need some hundred bytes.
MAX_BODY = 192 * 1024

#: Seconds for the next bytes of a request or for the client to take an answer.
TIMEOUT = 10.0

#: Seconds that a connection with a good signature may be idle.
KEEP_ALIVE = 120.0


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext, appliance: Appliance, verifier: Verifier) -> None:
        self.address_family = socket.AF_INET6 if ':' in address[0] else socket.AF_INET
        super().__init__(address, Handler)
        self.tls = tls
        self.appliance = appliance
        self.verifier = verifier
        self.admission: Admission[ssl.SSLSocket] = Admission()

    def server_bind(self) -> None:
        """Skip the base class's look-up of the host name, which waits for a name server."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def get_request(self) -> tuple[ssl.SSLSocket, Any]:
        """The connection's own thread runs the handshake, so a slow client does not delay others."""
        connection, address = super().get_request()
        connection.settimeout(TIMEOUT)
        return self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def process_request(self, request: Any, client_address: Any) -> None:
        hang_up(self.admission.admit(request, client_address[0]))
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.admission.remove(request)

    def service_actions(self) -> None:
        """Called several times a second."""
        hang_up(self.admission.overdue())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore broken connections; print other errors, which are bugs."""
        if not isinstance(sys.exc_info()[1], OSError):
            traceback.print_exc()


def hang_up(connections: list[ssl.SSLSocket]) -> None:
    """Shut down connections, whose threads then close them. The TLS state belongs to those threads."""
    for connection in connections:
        with contextlib.suppress(OSError):  # it is closed already
            socket.socket.shutdown(connection, socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = 'HTTP/1.1'
    server_version = 'cinderless-appliance'
    sys_version = ''
    timeout = TIMEOUT
    disable_nagle_algorithm = True

    def setup(self) -> None:
        self.request.do_handshake()
        super().setup()

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.request.close()

    def do_GET(self) -> None:
        started = time.monotonic()
        try:
            status, document = self._outcome()
        finally:
            self.server.admission.set_idle(self.request)
        self._send(status, document)
        took = (time.monotonic() - started) * 1000
        print(f'{self.command} {self.path[:200]!r} {status} {took:.1f} ms', file=sys.stderr)

    do_PUT = do_GET  # noqa: N815  # the base class calls the method named after the request's
    do_DELETE = do_GET  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what the base class does not recognise as HTTP."""
        self.close_connection = True
        self._send(code, _problem(NoRoute.code, message or 'this is not a request'))

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are logged with their outcome instead."""

    def _outcome(self) -> tuple[int, Answer]:
        try:
            body = self._read_body()
            self.server.verifier.check(self.command, self.path, body, self.headers.get('Authorization'))
            hang_up(self.server.admission.prove(self.request, self.client_address[0]))
            self.connection.settimeout(KEEP_ALIVE)
            return 200, routes.answer(self.server.appliance, self.command, self.path, body)
        except ApplianceError as error:
            return error.status, _problem(error.code, str(error))
        except _Gone:
            raise
        except Exception:
            traceback.print_exc()
            problem = _problem(ApplianceError.code, 'the agent failed: see the logs of the storage host')
            return ApplianceError.status, problem

    def _read_body(self) -> bytes:
        """After a wrong body the connection cannot be used."""
        keep, self.close_connection = self.close_connection, True
        length = self.headers.get('Content-Length', '0')
        if 'Transfer-Encoding' in self.headers or not (length.isascii() and length.isdigit()):
            raise Invalid('send a body with a Content-Length')
        if len(length) > 9 or int(length) > MAX_BODY:
            raise TooLarge(f'the body has {length[:9]} bytes or more: {MAX_BODY} are enough for any request')
        try:
            body = self.rfile.read(int(length))
        except OSError as error:
            raise _Gone from error
        if len(body) != int(length):
            raise _Gone
        self.close_connection = keep
        return body

    def _send(self, status: int, document: Answer) -> None:
        """Send headers and body in one piece: two would wait for each other's acknowledgement."""
        body = json.dumps(document).encode()
        head = [
            f'HTTP/1.1 {status} {HTTPStatus(status).phrase}',
            'Content-Type: application/json',
            f'Content-Length: {len(body)}',
            *(['Connection: close'] if self.close_connection else []),
        ]
        self.wfile.write('\r\n'.join([*head, '', '']).encode() + body)


class _Gone(ConnectionError):
    """The request was incomplete: the client is gone."""


def _problem(code: str, message: str) -> Answer:
    return {'error': {'code': code, 'message': message}}


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise ValueError(
            f'{certificate} and {key} are not a certificate and its key ({error}): '
            'restore them, or remove both and give the drivers the fingerprint of the new one'
        ) from None
    return context
