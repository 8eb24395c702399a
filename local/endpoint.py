"""The endpoint for the AWS CLI and SDKs of other processes: the same moto, the same guard, over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest, HeadersDict
from botocore.compat import HTTPHeaders
from botocore.httpsession import URLLib3Session

from local import backends
from local.calls import service_of, text
from local.http import Request, Response
from local.settings import REGION

#: Services whose host carries no region.
_GLOBAL = {'iam': 'iam.amazonaws.com', 'sts': f'sts.{REGION}.amazonaws.com'}

#: The answer to an unsigned or unknown request.
_UNSIGNED = b'{"message": "Sign the request: the service is read from its signature."}'


class Endpoint:
    """Callable as an HTTP handler. ``dynamodb_url`` is the engine's, or None where moto keeps the tables."""

    def __init__(self, dynamodb_url: str | None) -> None:
        self._dynamodb_url = dynamodb_url
        self._wire = URLLib3Session()

    def __call__(self, request: Request) -> Response:
        service = service_of({name.lower(): value for name, value in request.headers})
        if service == 'dynamodb' and self._dynamodb_url:
            return self._forward(request, self._dynamodb_url)
        if not service:
            return Response(403, [('Content-Type', 'application/json')], _UNSIGNED)
        return _answer(prepared(request, service))

    def _forward(self, request: Request, url: str) -> Response:
        """Hand DynamoDB's calls to the engine as they are; signatures are not checked there."""
        headers = HeadersDict((name, value) for name, value in request.headers if name.lower() not in _HOP_BY_HOP)
        answer = self._wire.send(AWSPreparedRequest(request.method, url + request.path, headers, request.body, False))
        kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP]
        return Response(answer.status_code, kept, answer.content)


_HOP_BY_HOP = {'host', 'connection', 'content-length', 'transfer-encoding', 'keep-alive', 'expect', 'server'}


def prepared(request: Request, service: str) -> AWSPreparedRequest:
    """The request as the SDK would have sent it to AWS: the service's own host, the same path and query."""
    host = _GLOBAL.get(service, f'{service}.{REGION}.amazonaws.com')
    query = f'?{request.query}' if request.query else ''
    headers = HTTPHeaders()
    for name, value in request.headers:
        headers[name] = host if name.lower() == 'host' else value
    return AWSPreparedRequest(request.method, f'https://{host}{request.path}{query}', headers, request.body, False)


def _answer(request: AWSPreparedRequest) -> Response:
    answer = backends.process(request)
    if answer is None:
        return Response(501, [], f'{urlsplit(request.url).netloc} is not part of the local cloud'.encode())
    status, headers, body = answer
    return Response(status, [(str(name), text(value)) for name, value in headers.items()], _bytes(body))


def _bytes(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else bytes(body or b'')
