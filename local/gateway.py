"""API Gateway before the API function: HTTP request -> proxy event -> function -> HTTP response."""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from local import functions
from local.functions import Outcome
from local.http import Request, Response
from local.reserve import begins_work
from local.routes import GatewayResponses, Match, Routes

#: Bytes of a request's body. API Gateway itself takes 10 MB, the function behind it less.
MAX_REQUEST = functions.MAX_REQUEST

Invoke = Callable[[dict[str, Any]], Outcome]


#: In the form of Cinder's faults; the service itself knows no disk.
_FULL = {
    'computeFault': {
        'code': 507,
        'message': 'The disk of the local cloud is full: delete volumes, snapshots or backups, or free space on it.',
    }
}


class Gateway:
    """Callable as an HTTP handler. ``body`` is the OpenAPI document of AWS::ApiGateway::RestApi.

    With ``is_secure`` functions read in X-Forwarded-Proto that the client used HTTPS, as they do behind API Gateway.
    While ``is_low`` a request that begins work is answered with 507.
    """

    def __init__(
        self,
        body: Mapping[str, Any],
        stage: str,
        invoke: Invoke,
        *,
        is_secure: bool = False,
        is_low: Callable[[], bool] = lambda: False,
        minimum_compression: int | None = None,
    ) -> None:
        self._is_low = is_low
        self._is_secure = is_secure
        self._routes = Routes(body['paths'])
        self._responses = GatewayResponses(body.get('x-amazon-apigateway-gateway-responses', {}))
        self._binary = frozenset(body.get('x-amazon-apigateway-binary-media-types', ()))
        self._stage = stage
        self._invoke = invoke
        self._minimum_compression = minimum_compression

    def __call__(self, request: Request) -> Response:
        if len(request.body) > MAX_REQUEST:
            return self._responses.answer('REQUEST_TOO_LARGE')
        match = self._routes.match(request.method, request.path)
        if match is None:
            return self._responses.answer('MISSING_AUTHENTICATION_TOKEN')
        if begins_work(request) and self._is_low():
            return Response(507, [('Content-Type', 'application/json')], json.dumps(_FULL).encode())
        outcome = self._invoke(self._event(request, match))
        if outcome.timed_out:
            return self._responses.answer('INTEGRATION_TIMEOUT')
        if outcome.error or not _is_proxy_result(outcome.result):
            return self._responses.answer('INTEGRATION_FAILURE')
        return self._compressed(_response(outcome.result, self._is_binary(request)), request)

    def _is_binary(self, request: Request) -> bool:
        """Whether base64 is decoded: by the first media type of the Accept header alone (lambda-proxy-binary-media)."""
        first = request.header('Accept').partition(',')[0].partition(';')[0].strip()
        return first in self._binary or '*/*' in self._binary

    def _compressed(self, response: Response, request: Request) -> Response:
        """Compress as API Gateway does: a body of the minimum's size at least, for a client that prefers gzip."""
        least = self._minimum_compression
        if least is None or len(response.body) < least or not _prefers_gzip(request.header('Accept-Encoding')):
            return response
        if any(name.lower() == 'content-encoding' for name, _ in response.headers):
            return response
        headers = [*response.headers, ('Content-Encoding', 'gzip'), ('Vary', 'Accept-Encoding')]
        return Response(response.status, headers, gzip.compress(response.body, 6, mtime=0))

    def _event(self, request: Request, match: Match) -> dict[str, Any]:
        headers, many_headers = _single_and_many(self._headers(request))
        query, many_query = _single_and_many(parse_qsl(request.query, keep_blank_values=True))
        is_binary = request.header('Content-Type').partition(';')[0].strip() in self._binary
        return {
            'resource': match.resource,
            'path': unquote(request.path),
            'httpMethod': request.method,
            'headers': headers,
            'multiValueHeaders': many_headers,
            'queryStringParameters': query,
            'multiValueQueryStringParameters': many_query,
            'pathParameters': match.parameters or None,
            'stageVariables': None,
            'requestContext': self._context(request, match),
            'body': _body(request.body, is_binary),
            'isBase64Encoded': is_binary and bool(request.body),
        }

    def _headers(self, request: Request) -> list[tuple[str, str]]:
        if not self._is_secure:
            return request.headers
        others = [(name, value) for name, value in request.headers if name.lower() != 'x-forwarded-proto']
        return [*others, ('X-Forwarded-Proto', 'https')]

    def _context(self, request: Request, match: Match) -> dict[str, Any]:
        return {
            'resourcePath': match.resource,
            'httpMethod': request.method,
            'path': unquote(request.path),
            'stage': self._stage,
            'protocol': 'HTTP/1.1',
            'domainName': request.header('Host'),
            'requestId': str(uuid.uuid4()),
            'requestTimeEpoch': int(time.time() * 1000),
            'identity': {'sourceIp': request.client, 'userAgent': request.header('User-Agent') or None},
        }


def _single_and_many(pairs: list[tuple[str, str]]) -> tuple[dict[str, str] | None, dict[str, list[str]] | None]:
    """The last value of each name, and all of them; None for none, as API Gateway sends it."""
    many: dict[str, list[str]] = {}
    for name, value in pairs:
        many.setdefault(name, []).append(value)
    return (dict(pairs), many) if pairs else (None, None)


def _body(body: bytes, is_binary: bool) -> str | None:
    if not body:
        return None
    return base64.b64encode(body).decode() if is_binary else body.decode('utf-8', 'replace')


def _is_proxy_result(result: Any) -> bool:
    return isinstance(result, dict) and isinstance(result.get('statusCode'), int)


def _prefers_gzip(accepted: str) -> bool:
    """Whether gzip is among the codings with the highest weight."""
    weights = {}
    for term in accepted.lower().split(','):
        coding, _, weight = term.partition(';')
        text = weight.strip().removeprefix('q=')
        weights[coding.strip()] = float(text) if re.fullmatch(r'[01](\.\d{0,3})?', text) else 1.0
    return weights.get('gzip', 0) > 0 and weights['gzip'] == max(weights.values())


def _response(result: dict[str, Any], decodes: bool) -> Response:
    many: dict[str, list[Any]] = result.get('multiValueHeaders') or {}
    single: dict[str, Any] = result.get('headers') or {}
    headers = [(name, str(value)) for name, value in single.items() if name not in many]
    headers += [(name, str(value)) for name, values in many.items() for value in values]
    text = result.get('body') or ''
    body = base64.b64decode(text) if result.get('isBase64Encoded') and decodes else text.encode()
    if not any(name.lower() == 'content-type' for name, _ in headers) and body:
        headers.append(('Content-Type', 'application/json'))
    return Response(result['statusCode'], headers, body)
