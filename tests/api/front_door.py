"""The API as a client meets it, through the events that API Gateway sends: no server, no sockets."""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
import urllib.parse
from typing import Any

import pytest

from chalicelib.context import TokenFacts
from tests.api.memory import forget

HOST = 'volume.example'


class Tokens:
    """A TokenValidator whose tokens name the role that they grant: ``<role>@<project>``; '' grants nothing."""

    def validate(self, token: str, *, allow_expired: bool = False) -> TokenFacts:
        from chalicelib.context import implied_roles
        from chalicelib.errors import Unauthorized

        role, at, project = token.partition('@')
        if not at:
            raise Unauthorized
        roles = implied_roles([role]) if role else frozenset()
        return TokenFacts(f'user-{role or "none"}', project or None, roles, 4e9)


class Worker:
    """Replaces the function that reaches backends: records its calls and answers as iSCSI would."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def invoke(self, function: str, task: str, payload: dict[str, Any], *, seconds: float = 27) -> Any:
        self.calls.append((task, payload))
        data = {'target_iqn': 'iqn.2026-11.example:t', 'target_portal': '127.0.0.1:3260', 'target_lun': 1}
        if task == 'initialize_connection':
            return {'driver_volume_type': 'iscsi', 'data': {**data, 'access_mode': 'rw'}}
        if task == 'initialize_attachment':
            return {
                'driver_volume_type': 'iscsi', **data, 'access_mode': 'rw', 'attachment_id': payload['attachment_id'],
            }  # fmt: skip
        if task == 'get_manageable':
            of_snapshot = {'source_reference': {'source-name': 'v'}} if payload['resource'] == 'snapshot' else {}
            found = {'reference': {'source-name': 'legacy'}, 'size': 1, 'safe_to_manage': True, **of_snapshot}
            return [{**found, 'reason_not_safe': None, 'cinder_id': None, 'extra_info': None}]
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def fault(self) -> tuple[str, int, str]:
        """Name, code and message of a fault in Cinder's shape."""
        ((name, facts),) = self.body.items()
        assert set(facts) <= {'code', 'message', 'retryAfter'}
        return name, facts['code'], facts['message']


@dataclasses.dataclass(frozen=True, slots=True)
class FrontDoor:
    """The Chalice app with API Gateway's part of the routing before it."""

    app: Any

    @classmethod
    def open(cls, monkeypatch: pytest.MonkeyPatch) -> FrontDoor:
        from chalicelib.api import tokens

        forget()
        monkeypatch.setattr(tokens, 'validator', Tokens)
        from app import app

        return cls(app)

    def caller(self, role: str, project: str) -> Caller:
        return Caller(self, project, {'X-Auth-Token': f'{role}@{project}'})

    def send(self, method: str, path: str, headers: dict[str, str], body: str | bytes | None) -> Answer:
        """Answer one request; a path or method that no route has never reaches the app."""
        path, _, query = path.partition('?')
        found = match(tuple(sorted(self.app.routes)), path)
        if found is None or method not in self.app.routes[found[0]]:
            from chalicelib.api import faults

            return _answer(faults.no_route().to_dict())
        return _answer(self.app(event(method, path, found[0], found[1], query, headers, body), None))


def _answer(answer: dict[str, Any]) -> Answer:
    headers = {name.lower(): value for name, value in answer['headers'].items()}
    return Answer(answer['statusCode'], headers, answer['body'])


@functools.cache
def match(routes: tuple[str, ...], path: str) -> tuple[str, dict[str, str]] | None:
    """The resource of a path, and its variables: fixed parts win over variables, as in API Gateway."""
    parts = path.strip('/').split('/')
    fitting = []
    for route in routes:
        names = route.strip('/').split('/')
        if names[-1].endswith('+}') and parts[: len(names) - 1] == names[:-1] and len(parts) >= len(names):
            return route, {names[-1][1:-2]: '/'.join(parts[len(names) - 1 :])}
        if len(names) == len(parts) and all(n.startswith('{') or n == p for n, p in zip(names, parts, strict=True)):
            fitting.append((sum(name.startswith('{') for name in names), route, names))
    if not fitting:
        return None
    _, route, names = min(fitting)
    return route, {name[1:-1]: part for name, part in zip(names, parts, strict=True) if name.startswith('{')}


def event(
    method: str,
    path: str,
    resource: str,
    variables: dict[str, str],
    query: str,
    headers: dict[str, str],
    body: str | bytes | None,
) -> dict[str, Any]:
    """What API Gateway's Lambda proxy integration sends."""
    many = urllib.parse.parse_qs(query, keep_blank_values=True)
    binary = isinstance(body, bytes)
    return {
        'resource': resource,
        'path': path,
        'httpMethod': method,
        'headers': {'Host': HOST, 'X-Forwarded-Proto': 'https', **headers},
        'multiValueHeaders': {name: [value] for name, value in headers.items()},
        'queryStringParameters': {name: values[-1] for name, values in many.items()} or None,
        'multiValueQueryStringParameters': many or None,
        'pathParameters': variables or None,
        'stageVariables': None,
        'requestContext': {'httpMethod': method, 'resourcePath': resource, 'path': f'/stage{path}', 'stage': 'stage'},
        'body': base64.b64encode(body).decode() if isinstance(body, bytes) else body,
        'isBase64Encoded': binary,
    }


def serve(route: Any, headers: dict[str, str], ids: dict[str, str], body: str | None) -> Answer:
    """Answer one request by one route, without Chalice's table."""
    from chalice.app import Request

    from chalicelib.api import front_door

    request = Request(event(route.method, f'/v3{route.path}', f'/v3{route.path}', ids, '', headers, body))
    return _answer(front_door.with_request(request, lambda _: front_door.serve([route], dict(ids))).to_dict())


@dataclasses.dataclass(frozen=True, slots=True)
class Caller:
    """A client with a token. Its request paths contain no project id unless ``prefix`` adds one."""

    door: FrontDoor
    project: str
    headers: dict[str, str]

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        at: str | None = None,
        headers: dict[str, str | None] | None = None,
        prefix: str = '/v3',
    ) -> Answer:
        """Send JSON (or, given text, that) at the microversion ``at``; a header of None is left out."""
        sent: dict[str, str | None] = {**self.headers}
        if at is not None:
            sent['OpenStack-API-Version'] = f'volume {at}'
        if body is not None:
            sent['Content-Type'] = 'application/json'
        sent |= headers or {}
        text = body if body is None or isinstance(body, str | bytes) else json.dumps(body)
        return self.door.send(
            method, prefix + path, {name: value for name, value in sent.items() if value is not None}, text
        )

    def get(self, path: str, **facts: Any) -> Answer:
        return self.request('GET', path, **facts)

    def post(self, path: str, body: Any, **facts: Any) -> Answer:
        return self.request('POST', path, body, **facts)

    def put(self, path: str, body: Any, **facts: Any) -> Answer:
        return self.request('PUT', path, body, **facts)

    def delete(self, path: str, **facts: Any) -> Answer:
        return self.request('DELETE', path, **facts)

    def act(self, path: str, name: str, body: Any = None, **facts: Any) -> Answer:
        """One action on a resource."""
        return self.request('POST', f'{path}/action', {name: body}, **facts)
