"""API Gateway's routing and own answers, read from the OpenAPI body of the template."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from local.http import Response


@dataclasses.dataclass(frozen=True, slots=True)
class Match:
    """``resource`` is the route's pattern as the template writes it; ``parameters`` are decoded."""

    resource: str
    parameters: dict[str, str]


class Routes:
    """The tree of resources. A literal part wins over a variable, and a variable over a greedy one (``{file+}``), which
    takes all parts that are left. Undeclared paths have no route.
    """

    def __init__(self, paths: Mapping[str, Mapping[str, Any]]) -> None:
        self._root: dict[str, Any] = {}
        for pattern, methods in paths.items():
            node = self._root
            for part in _parts(pattern):
                node = node.setdefault(_kind(part), {})
            node['/'] = (pattern, {method.upper() for method in methods})

    def match(self, method: str, path: str) -> Match | None:
        """Find the route of a path that is still percent-encoded, or None. A trailing slash is ignored, as there."""
        parts = _parts(path)
        for pattern, methods in self._leaves(self._root, parts):
            if method in methods or 'X-AMAZON-APIGATEWAY-ANY-METHOD' in methods:
                return Match(pattern, dict(_parameters(pattern, parts)))
        return None

    def _leaves(self, node: dict[str, Any], parts: list[str]) -> Iterator[tuple[str, set[str]]]:
        if not parts:
            if '/' in node:
                yield node['/']
            return
        for name in (parts[0], _VARIABLE):
            if name in node and parts[0]:
                yield from self._leaves(node[name], parts[1:])
        if _GREEDY in node and parts[0]:
            yield node[_GREEDY]['/']


#: Names of the tree's branches for variables; no part of a request's path is one.
_VARIABLE, _GREEDY = '{}', '{+}'


def _kind(part: str) -> str:
    if not part.startswith('{'):
        return part
    return _GREEDY if part.endswith('+}') else _VARIABLE


def _parts(path: str) -> list[str]:
    trimmed = path.removeprefix('/').removesuffix('/')
    return trimmed.split('/') if trimmed else []


def _parameters(pattern: str, parts: list[str]) -> Iterator[tuple[str, str]]:
    for place, (name, part) in enumerate(zip(_parts(pattern), parts, strict=False)):
        if _kind(name) == _GREEDY:
            yield name[1:-2], unquote('/'.join(parts[place:]))
        elif name.startswith('{'):
            yield name[1:-1], unquote(part)


#: API Gateway's answers for types that the template does not define.
_UNTOLD = {
    'MISSING_AUTHENTICATION_TOKEN': (403, 'Missing Authentication Token'),
    'INTEGRATION_FAILURE': (502, 'Internal server error'),
    'INTEGRATION_TIMEOUT': (504, 'Endpoint request timed out'),
    'REQUEST_TOO_LARGE': (413, 'Request Too Long'),
}


class GatewayResponses:
    """The gateway's own answers, without a function: one per type of failure, DEFAULT_4XX and DEFAULT_5XX."""

    def __init__(self, configured: Mapping[str, Mapping[str, Any]]) -> None:
        self._configured = configured

    def answer(self, kind: str) -> Response:
        """Return the answer of a type such as MISSING_AUTHENTICATION_TOKEN."""
        status, message = _UNTOLD[kind]
        configured = self._configured.get(kind) or self._configured.get(f'DEFAULT_{status // 100}XX') or {}
        template = configured.get('responseTemplates', {}).get(
            'application/json', '{"message": $context.error.messageString}'
        )
        body = template.replace('$context.error.messageString', json.dumps(message))
        headers = [('Content-Type', 'application/json'), ('x-amzn-ErrorType', kind), *_headers(configured)]
        return Response(int(configured.get('statusCode', status)), headers, body.encode())


def _headers(configured: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in configured.get('responseParameters', {}).items():
        yield name.removeprefix('gatewayresponse.header.'), value.strip("'")
