"""From an HTTP request to a proxy event and back."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import pytest

from local.functions import Outcome
from local.gateway import MAX_REQUEST, Gateway
from local.http import Request, Response

BODY = {
    'paths': {'/v3/volumes/{volume_id}': {'get': {}, 'put': {}}},
    'x-amazon-apigateway-binary-media-types': ['application/octet-stream'],
}


class Function:
    """Fake of the API's function: keeps the event, returns ``outcome``."""

    def __init__(self) -> None:
        self.event: dict[str, Any] = {}
        self.outcome = Outcome({'statusCode': 200, 'headers': {}, 'body': '{}'})

    def __call__(self, event: dict[str, Any]) -> Outcome:
        self.event = event
        return self.outcome


@pytest.fixture
def function() -> Function:
    return Function()


def ask(function: Function, **facts: Any) -> Response:
    base: dict[str, Any] = {'method': 'GET', 'path': '/v3/volumes/v', 'query': '', 'headers': [], 'body': b''}
    return Gateway(BODY, 'volume', function)(Request(**{**base, 'client': '127.0.0.1', **facts}))


def test_the_event_says_what_was_asked(function: Function) -> None:
    headers = [('Host', 'h'), ('X-Tag', 'a'), ('X-Tag', 'b')]
    ask(function, path='/v3/volumes/a%20b', query='limit=1&limit=2&empty=', headers=headers)
    event = function.event
    assert event['resource'] == event['requestContext']['resourcePath'] == '/v3/volumes/{volume_id}'
    assert event['path'] == '/v3/volumes/a b'
    assert event['pathParameters'] == {'volume_id': 'a b'}
    assert event['queryStringParameters'] == {'limit': '2', 'empty': ''}
    assert event['multiValueQueryStringParameters'] == {'limit': ['1', '2'], 'empty': ['']}
    assert event['headers'] == {'Host': 'h', 'X-Tag': 'b'}
    assert event['multiValueHeaders']['X-Tag'] == ['a', 'b']
    assert event['requestContext']['identity']['sourceIp'] == '127.0.0.1'
    assert (event['body'], event['isBase64Encoded']) == (None, False)


def test_nothing_is_null_as_api_gateway_sends_it(function: Function) -> None:
    ask(function)
    assert function.event['queryStringParameters'] is None
    assert function.event['multiValueQueryStringParameters'] is None


def test_text_comes_as_text_and_binary_as_base64(function: Function) -> None:
    ask(function, method='PUT', body='{"name": "ü"}'.encode(), headers=[('Content-Type', 'application/json')])
    assert (function.event['body'], function.event['isBase64Encoded']) == ('{"name": "ü"}', False)
    ask(function, method='PUT', body=b'\xff\x00', headers=[('content-type', 'application/octet-stream; x=1')])
    assert (base64.b64decode(function.event['body']), function.event['isBase64Encoded']) == (b'\xff\x00', True)


def test_the_result_becomes_the_response(function: Function) -> None:
    many = {'Vary': ['A', 'B']}
    function.outcome = Outcome(
        {'statusCode': 202, 'headers': {'X': 1, 'Vary': 'A'}, 'multiValueHeaders': many, 'body': 'ü'}
    )
    response = ask(function)
    assert (response.status, response.body) == (202, 'ü'.encode())
    assert response.headers[:3] == [('X', '1'), ('Vary', 'A'), ('Vary', 'B')]


def test_a_binary_result_is_decoded_for_a_client_that_names_the_type_first(function: Function) -> None:
    """API Gateway looks at the first type of Accept alone; a browser's is never the binary one."""
    body = base64.b64encode(b'\x00\x01').decode()
    function.outcome = Outcome({'statusCode': 200, 'body': body, 'isBase64Encoded': True})
    assert ask(function, headers=[('Accept', 'application/octet-stream, */*')]).body == b'\x00\x01'
    for accept in ('*/*', 'image/avif,application/octet-stream', ''):
        assert ask(function, headers=[('Accept', accept)]).body == body.encode(), accept


@pytest.mark.parametrize(
    ('accepted', 'size', 'compressed'),
    [
        ('gzip', 1024, True),
        ('gzip, deflate, br', 1024, True),
        ('gzip;q=0.5, br;q=0.4', 1024, True),
        ('br, gzip;q=0.9', 1024, False),
        ('gzip;q=0', 1024, False),
        ('identity', 1024, False),
        ('', 1024, False),
        ('gzip', 1023, False),
    ],
)
def test_text_is_compressed_from_the_minimum_on(function: Function, accepted: str, size: int, compressed: bool) -> None:
    function.outcome = Outcome({'statusCode': 200, 'headers': {'Content-Type': 'text/css'}, 'body': 'x' * size})
    request = Request('GET', '/v3/volumes/v', '', [('Accept-Encoding', accepted)], b'', '127.0.0.1')
    response = Gateway(BODY, 'volume', function, minimum_compression=1024)(request)
    assert (('Content-Encoding', 'gzip') in response.headers) is compressed
    assert (gzip.decompress(response.body) if compressed else response.body) == b'x' * size
    assert Gateway(BODY, 'volume', function)(request).body == b'x' * size


def test_what_the_function_has_encoded_is_not_compressed_again(function: Function) -> None:
    function.outcome = Outcome({'statusCode': 200, 'headers': {'Content-Encoding': 'br'}, 'body': 'x' * 4096})
    request = Request('GET', '/v3/volumes/v', '', [('Accept-Encoding', 'gzip')], b'', '127.0.0.1')
    assert Gateway(BODY, 'volume', function, minimum_compression=0)(request).body == b'x' * 4096


@pytest.mark.parametrize(
    ('outcome', 'status'),
    [
        (Outcome({'errorMessage': 'x'}, 'Unhandled'), 502),
        (Outcome({'errorMessage': 'x'}, 'Unhandled', timed_out=True), 504),
        (Outcome('no proxy result'), 502),
        (Outcome({'statusCode': '200'}), 502),
    ],
)
def test_a_function_that_fails_is_answered_for(function: Function, outcome: Outcome, status: int) -> None:
    function.outcome = outcome
    assert ask(function).status == status


def test_what_has_no_route_never_reaches_the_function(function: Function) -> None:
    assert ask(function, path='/elsewhere').status == 403
    assert ask(function, method='HEAD').status == 403
    assert function.event == {}


def test_too_large_a_request_never_reaches_the_function(function: Function) -> None:
    assert ask(function, method='PUT', body=bytes(MAX_REQUEST + 1)).status == 413
    assert function.event == {}


def test_functions_read_that_the_client_used_https(function: Function) -> None:
    """As behind API Gateway, whatever the client sends."""
    request = Request('GET', '/v3/volumes/v', '', [('x-forwarded-proto', 'http')], b'', '127.0.0.1')
    Gateway(BODY, 'volume', function, is_secure=True)(request)
    assert function.event['headers'] == {'X-Forwarded-Proto': 'https'}
