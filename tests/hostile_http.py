"""A hostile HTTP server on loopback: each attack is bounded, and records whether the client ended it before that."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

#: The bounds of an attack: seconds that it drips, bytes that it floods.
SECONDS, FLOOD = 8.0, 48 << 20

#: An attack on one connection, after the head of a request was read.
Attack = Callable[['Victim'], None]


@dataclasses.dataclass
class Victim:
    """One connection of a client. ``held`` is set when the client stayed to the bound of the attack."""

    connection: socket.socket
    server: Hostile

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)
        self.server.sent += len(data)

    def drip(self, data: bytes = b'a') -> None:
        """Send a byte now and then, well within any time-out between packets."""
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            self.send(data)
            time.sleep(0.05)
        self.server.held = True

    def flood(self, part: bytes) -> None:
        """Send as fast as the client takes it."""
        for _ in range(FLOOD // len(part)):
            self.send(part)
        self.server.held = True

    def wait(self) -> None:
        """Send nothing until the client hangs up."""
        self.connection.settimeout(SECONDS)
        try:
            while self.connection.recv(65536):
                pass
        except TimeoutError:
            self.server.held = True


class Hostile:
    """``with Hostile(attack) as server``: answers every request with the attack. ``identity``: files for TLS."""

    def __init__(self, attack: Attack, identity: tuple[Path, Path] | None = None, *, raw: bool = False) -> None:
        self._attack, self._identity, self._raw = attack, identity, raw
        self._threads: list[threading.Thread] = []
        self.sent = 0
        self.requests = 0
        self.held = False

    def __enter__(self) -> Hostile:
        self._listener = socket.create_server(('127.0.0.1', 0))
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    @property
    def authority(self) -> str:
        return f'127.0.0.1:{self._listener.getsockname()[1]}'

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._start(lambda connection=connection: self._serve(connection))  # type: ignore[misc]

    def _serve(self, connection: socket.socket) -> None:
        """A client that hangs up has defended itself."""
        with contextlib.suppress(OSError), connection, self._secured(connection) as secured:
            if not self._raw:
                _read_request(secured)
                self.requests += 1
            self._attack(Victim(secured, self))

    def _secured(self, connection: socket.socket) -> socket.socket:
        if self._identity is None or self._raw:
            return connection
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._identity)
        return context.wrap_socket(connection, server_side=True)


def _read_request(connection: socket.socket) -> None:
    """Head and body. Raises ConnectionResetError when the client hangs up."""
    data = b''
    while b'\r\n\r\n' not in data:
        data += connection.recv(65536) or _gone()
    head, _, body = data.partition(b'\r\n\r\n')
    lengths = [int(line.split(b':')[1]) for line in head.lower().split(b'\r\n') if line.startswith(b'content-length')]
    while len(body) < sum(lengths):
        body += connection.recv(65536) or _gone()


def _gone() -> bytes:
    raise ConnectionResetError


def answer(body: bytes, *headers: str, status: str = '200 OK') -> bytes:
    """Return a whole answer, of the right length unless ``headers`` set another."""
    given = any(header.lower().startswith(('content-length', 'transfer-encoding')) for header in headers)
    lines = [f'HTTP/1.1 {status}', *headers, *([] if given else [f'Content-Length: {len(body)}']), '', '']
    return '\r\n'.join(lines).encode() + body
