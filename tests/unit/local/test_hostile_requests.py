"""Whatever a client sends, the local server answers within a limit or hangs up, and keeps serving other clients."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from local import http
from local.http import Request, Response, Server

LIMIT = 1 << 20


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Server]:
    """With a small limit; no request may end in a traceback, and the next one is answered."""
    monkeypatch.setattr(http, 'MAX_BODY', LIMIT)
    running = Server(0, answer)
    running.start()
    yield running
    assert exchange(running, b'GET /next HTTP/1.1\r\nConnection: close\r\n\r\n').startswith(b'HTTP/1.1 200')
    running.stop()
    assert 'Traceback' not in capfd.readouterr().err


def answer(request: Request) -> Response:
    if request.path == '/reflected':
        return Response(302, [('Location', 'http://x/\r\nSet-Cookie: stolen=1')])
    return Response(200, [], str(len(request.body)).encode())


def exchange(server: Server, request: bytes) -> bytes:
    """Send all of it, as far as the server takes it; return all that it answers until it hangs up."""
    with socket.create_connection(('127.0.0.1', server.port), timeout=10) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        return b''.join(iter(lambda: connection.recv(65536), b''))


def post(*headers: bytes, body: bytes = b'') -> bytes:
    return b'\r\n'.join([b'POST / HTTP/1.1', b'Host: x', *headers, b'', body])


CHUNKED = b'Transfer-Encoding: chunked'

REFUSED = {
    'a length that is not a number': (post(b'Content-Length: ten'), 400),
    'a negative length': (post(b'Content-Length: -1'), 400),
    'a length with a sign': (post(b'Content-Length: +1', body=b'x'), 400),
    'a length in other digits': (post('Content-Length: \u0661'.encode(), body=b'x'), 400),
    'a length with a fraction': (post(b'Content-Length: 1.0', body=b'x'), 400),
    'an empty length': (post(b'Content-Length:'), 400),
    'two lengths': (post(b'Content-Length: 1', b'Content-Length: 2', body=b'xy'), 400),
    'a length of many digits': (post(b'Content-Length: ' + b'9' * 5000), 413),
    'a length above the limit': (post(b'Content-Length: %d' % (LIMIT + 1), body=bytes(LIMIT + 1)), 413),
    'length and chunks': (post(b'Content-Length: 1', CHUNKED, body=b'0\r\n\r\n'), 400),
    'another encoding': (post(b'Transfer-Encoding: gzip'), 501),
    'two encodings': (post(b'Transfer-Encoding: gzip, chunked', body=b'0\r\n\r\n'), 501),
    'a chunk that is not a number': (post(CHUNKED, body=b'zz\r\n'), 400),
    'a negative chunk': (post(CHUNKED, body=b'-1\r\n'), 400),
    'a chunk without a size': (post(CHUNKED, body=b'\r\n'), 400),
    'a chunk of many digits': (post(CHUNKED, body=b'f' * 2000 + b'\r\n'), 413),
    'a chunk above the limit': (post(CHUNKED, body=b'%x\r\n' % (LIMIT + 1) + bytes(LIMIT + 1)), 413),
    'chunks above the limit': (post(CHUNKED, body=(b'10000\r\n' + bytes(65536) + b'\r\n') * 18), 413),
    'a chunk that is too long': (post(CHUNKED, body=b'1\r\nxyz\r\n0\r\n\r\n'), 400),
    'a chunk line without end': (post(CHUNKED, body=b'1;' + b'a' * 100_000), 400),
    'trailers without end': (post(CHUNKED, body=b'0\r\n' + b'a: b\r\n' * 1000), 400),
    'a header without end': (b'GET / HTTP/1.1\r\nX: ' + b'a' * 100_000, 431),
    'headers without end': (b'GET / HTTP/1.1\r\n' + b'a: b\r\n' * 1000, 431),
    'a request line without end': (b'GET /' + b'a' * 100_000, 414),
    'no request line': (b'\x16\x03\x01\r\n\r\n', 400),
}


@pytest.mark.parametrize('what', REFUSED)
def test_what_cannot_be_read_is_refused(server: Server, what: str) -> None:
    request, status = REFUSED[what]
    first = exchange(server, request).partition(b'\r\n')[0]
    assert b' %d ' % status in first + b' ' or (status == 400 and b'Error code: 400' in first), first


def test_a_body_at_the_limit_is_received(server: Server) -> None:
    for request in (
        post(b'Connection: close', b'Content-Length: %d' % LIMIT, body=bytes(LIMIT)),
        post(b'Connection: close', CHUNKED, body=b'%x\r\n' % LIMIT + bytes(LIMIT) + b'\r\n0\r\nTrailer: x\r\n\r\n'),
    ):
        assert exchange(server, request).endswith(str(LIMIT).encode())


@pytest.mark.parametrize(
    'request_', [post(b'Content-Length: 10', body=b'x'), post(CHUNKED, body=b'5\r\nx'), post(CHUNKED, body=b'5')]
)
def test_a_client_that_goes_away_within_a_body_is_no_request(server: Server, request_: bytes) -> None:
    with socket.create_connection(('127.0.0.1', server.port), timeout=10) as connection:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        assert not connection.recv(1000).startswith(b'HTTP/1.1 200')


@pytest.mark.parametrize(
    'head',
    [b'', b'GET / HTTP/1.1\r\nX: ', post(b'Content-Length: 1000'), post(CHUNKED, body=b'100\r\n'), post(CHUNKED)],
    ids=['request line', 'header', 'body', 'chunk', 'chunk size'],
)
def test_a_request_that_drips_is_ended(server: Server, head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, 'IDLE', 0.4)
    monkeypatch.setattr(http, 'REQUEST', 0.4)
    with socket.create_connection(('127.0.0.1', server.port), timeout=10) as connection:
        connection.sendall(head)
        assert was_cut_off(connection)


def was_cut_off(connection: socket.socket) -> bool:
    """Drip for at most 5 s."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            connection.sendall(b'1')
        except ConnectionError:
            return True
        time.sleep(0.05)
    return False


def test_a_header_cannot_be_smuggled_into_an_answer(server: Server) -> None:
    answered = exchange(server, b'GET /reflected HTTP/1.1\r\nConnection: close\r\n\r\n')
    assert b'\r\nSet-Cookie' not in answered


def test_a_handler_that_fails_is_a_500(capfd: pytest.CaptureFixture[str]) -> None:
    def fails(_: Request) -> Response:
        raise LookupError('a fault of the handler')

    running = Server(0, fails)
    running.start()
    assert exchange(running, b'GET / HTTP/1.1\r\nConnection: close\r\n\r\n').startswith(b'HTTP/1.1 500')
    running.stop()
    assert 'a fault of the handler' in capfd.readouterr().err
