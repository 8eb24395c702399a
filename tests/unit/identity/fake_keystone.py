"""A Keystone that misbehaves on demand, on loopback."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import json
from collections.abc import Callable, Iterator
from typing import Any

from tests import http_double

#: (status, headers, body); None: hang up without an answer.
Reply = tuple[int, dict[str, str], bytes] | None


def body(user: str = 'u' * 32, project_id: str | None = 'p' * 32, ends: float = 2e9, **changed: Any) -> dict[str, Any]:
    """Return a token's body as Keystone writes it."""
    end = datetime.datetime.fromtimestamp(ends, datetime.UTC)
    token: dict[str, Any] = {
        'user': {'id': user, 'name': 'demo', 'domain': {'id': 'default', 'name': 'Default'}},
        'roles': [{'id': 'r1', 'name': 'member'}, {'id': 'r2', 'name': 'reader'}],
        'expires_at': end.strftime('%Y-%m-%dT%H:%M:%S.%fZ'),
        'methods': ['password'],
    }
    scope = {'project': {'id': project_id, 'name': 'demo', 'domain': {'id': 'default'}}} if project_id else {}
    return {'token': {**token, **scope, **changed}}


class FakeKeystone:
    """Knows ``tokens``; ``override`` may answer in its place. ``requests``: (method, path, headers) of each call."""

    def __init__(self) -> None:
        self.tokens: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.logins: list[dict[str, Any]] = []
        self.override: Callable[[str], Reply | str] = lambda method: 'as usual'
        self.service_tokens: set[str] = set()
        self.service_ends = 2e9
        self.url = ''

    def reply(self, method: str, path: str, headers: dict[str, str], sent: bytes) -> Reply:
        self.requests.append((method, path, headers))
        special = self.override(method)
        if not isinstance(special, str):
            return special
        return self._login(sent) if method == 'POST' else self._validate(headers)

    def count(self, method: str) -> int:
        return sum(asked[0] == method for asked in self.requests)

    def _login(self, sent: bytes) -> Reply:
        self.logins.append(json.loads(sent))
        token = f'service-token-{len(self.logins)}'
        self.service_tokens = {token}
        return 201, {'X-Subject-Token': token}, json.dumps(body(ends=self.service_ends)).encode()

    def _validate(self, headers: dict[str, str]) -> Reply:
        if headers.get('x-auth-token') not in self.service_tokens:
            return 401, {}, b'{}'
        known = self.tokens.get(headers['x-subject-token'])
        return (404, {}, b'{}') if known is None else (200, {}, json.dumps(known).encode())


def _handler(keystone: FakeKeystone) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def handle_one(self) -> None:
            sent = self.rfile.read(int(self.headers.get('Content-Length') or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = keystone.reply(self.command, self.path, headers, sent)
            if reply is None:
                self.close_connection = True
                return
            status, extra, content = reply
            self.send_response(status)
            for name, value in {**extra, 'Content-Length': str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = handle_one  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@contextlib.contextmanager
def serving(keystone: FakeKeystone) -> Iterator[FakeKeystone]:
    with http_double.listening(_handler(keystone)) as url:
        keystone.url = f'{url}/v3'
        yield keystone
