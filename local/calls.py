"""One AWS call as it arrives, from the SDK in this process or over HTTP."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

#: ``Credential=<key>/<date>/<region>/<service>/aws4_request`` of a signed request.
_SCOPE = re.compile(r'Credential=[^/]+/\d+/([^/]+)/([^/]+)/aws4_request')

#: (status, headers, body) as moto gives it.
Answer = tuple[int, Mapping[str, Any], str | bytes]


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """``service`` is the signing name; ``operation`` comes from X-Amz-Target and is '' for REST protocols."""

    service: str
    operation: str
    method: str
    path: str
    headers: Mapping[str, Any]
    body: bytes
    #: The query string, as sent.
    query: str = ''
    #: The host that was called, without its port.
    host: str = ''

    @classmethod
    def of(cls, request: Any) -> Call:
        """Read a botocore or an HTTP request (method, url, headers, body)."""
        headers = {str(name).lower(): text(value) for name, value in request.headers.items()}
        return cls(
            service=service_of(headers),
            operation=headers.get('x-amz-target', '').rpartition('.')[2],
            method=request.method,
            path=unquote(urlsplit(request.url).path),
            headers=headers,
            body=_bytes(request.body),
            query=urlsplit(request.url).query,
            host=urlsplit(request.url).hostname or '',
        )

    def json(self) -> dict[str, Any]:
        """The parameters of a JSON protocol's call; {} for a body that holds none."""
        try:
            parameters = json.loads(self.body or b'{}')
        except (ValueError, RecursionError):
            return {}
        return parameters if isinstance(parameters, dict) else {}


def service_of(headers: Mapping[str, str]) -> str:
    """The signing name of a request, or '' where it is not signed. Header names in lower case."""
    found = _SCOPE.search(headers.get('authorization', ''))
    return found[2] if found else ''


def text(value: Any) -> str:
    return value.decode('latin-1') if isinstance(value, bytes) else str(value)


def _bytes(body: Any) -> bytes:
    if body is None:
        return b''
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes | bytearray):
        return bytes(body)
    start = body.tell() if hasattr(body, 'tell') else 0  # the SDK sends S3's objects as files, or wrapped in chunks
    content: bytes = body.read()
    body.seek(start)
    return content


def json_error(status: int, code: str, message: str) -> Answer:
    """An error in the form of the JSON protocols."""
    body = json.dumps({'__type': code, 'message': message, 'Message': message})
    return status, {'Content-Type': 'application/x-amz-json-1.0', 'x-amzn-errortype': code}, body


def xml_error(status: int, code: str, message: str) -> Answer:
    """An error in the form of S3."""
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return status, {'Content-Type': 'application/xml'}, body
