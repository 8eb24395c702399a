"""The server over real sockets."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import pytest

from local.http import Request, Response, Server

SEEN: list[Request] = []


def answer(request: Request) -> Response:
    SEEN.append(request)
    if request.path == '/nothing':
        return Response(204, [('Content-Length', '99')], b'null')
    if request.path == '/many':
        return Response(200, [('Vary', 'A'), ('Vary', 'B')], b'ok')
    if request.path == '/object' and request.method == 'HEAD':
        return Response(200, [('content-length', '1234')])
    return Response(200, [('Content-Type', 'text/plain')], request.body or b'hello')


@pytest.fixture
def connection() -> Iterator[http.client.HTTPConnection]:
    SEEN.clear()
    server = Server(0, answer)
    server.start()
    client = http.client.HTTPConnection('127.0.0.1', server.port, timeout=10)
    yield client
    client.close()
    server.stop()


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response, response.read()


def test_a_connection_serves_many_requests(connection: http.client.HTTPConnection) -> None:
    for number in range(3):
        response, body = ask(connection, 'POST', f'/{number}', b'x' * number)
        assert (response.status, body) == (200, b'x' * number or b'hello')
    assert connection.sock is not None


def test_path_and_query_come_as_sent(connection: http.client.HTTPConnection) -> None:
    ask(connection, 'GET', '/a%20b?c=%2F&c=2', X='1')
    assert (SEEN[0].path, SEEN[0].query, SEEN[0].client) == ('/a%20b', 'c=%2F&c=2', '127.0.0.1')
    assert SEEN[0].header('x') == '1'
    assert SEEN[0].header('missing', 'default') == 'default'


def test_no_content_has_neither_body_nor_length(connection: http.client.HTTPConnection) -> None:
    response, body = ask(connection, 'DELETE', '/nothing')
    assert (response.status, body, response.getheader('Content-Length')) == (204, b'', None)
    assert ask(connection, 'GET', '/next')[1] == b'hello'


def test_head_tells_the_length_and_sends_no_body(connection: http.client.HTTPConnection) -> None:
    response, body = ask(connection, 'HEAD', '/')
    assert (response.getheader('Content-Length'), body) == ('5', b'')
    assert ask(connection, 'GET', '/next')[1] == b'hello'


def test_head_tells_the_length_of_what_is_not_read(connection: http.client.HTTPConnection) -> None:
    """S3's HeadObject: its handler knows the length and has no body."""
    response, body = ask(connection, 'HEAD', '/object')
    assert (response.getheader('Content-Length'), body) == ('1234', b'')
    assert ask(connection, 'GET', '/next')[1] == b'hello'


def test_a_header_may_come_twice(connection: http.client.HTTPConnection) -> None:
    response, _ = ask(connection, 'GET', '/many')
    assert response.headers.get_all('Vary') == ['A', 'B']


def test_a_body_may_come_in_chunks(connection: http.client.HTTPConnection) -> None:
    connection.request(
        'PUT', '/', iter([b'one', b'two']), encode_chunked=True, headers={'Transfer-Encoding': 'chunked'}
    )
    assert connection.getresponse().read() == b'onetwo'


def test_a_peer_that_waits_for_100_continue_gets_it(connection: http.client.HTTPConnection) -> None:
    with socket.create_connection(('127.0.0.1', connection.port), timeout=10) as raw:
        raw.sendall(b'PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n')
        assert raw.recv(100).startswith(b'HTTP/1.1 100')
        raw.sendall(b'ok')
        assert raw.recv(1000).endswith(b'ok')


def test_an_unknown_method_is_refused(connection: http.client.HTTPConnection) -> None:
    response, _ = ask(connection, 'BREW', '/')
    assert response.status == 501
    assert SEEN == []
