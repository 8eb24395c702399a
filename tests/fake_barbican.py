"""A Barbican on loopback: secrets by project, tokens of the form ``<project>/<role>``, its statuses and no others."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

from tests import http_double


class FakeBarbican:
    """``secrets``: id -> (project, record, payload). A token names the project that it is of; none is a 401."""

    def __init__(self) -> None:
        self.secrets: dict[str, tuple[str, dict[str, Any], bytes]] = {}
        self.faults: list[int] = []
        self.requests: list[str] = []
        self.url = ''

    def answer(self, method: str, path: str, headers: Any, sent: bytes) -> tuple[int, str, bytes]:
        self.requests.append(f'{method} {path}')
        if self.faults and (fault := self.faults.pop(0)):
            return fault, 'application/json', b'{}'
        token = headers.get('X-Auth-Token') or ''
        project = token.partition('/')[0]
        if not project:
            return 401, 'application/json', b''
        if (method, path) == ('POST', '/v1/secrets'):
            return self._create(project, json.loads(sent))
        found = re.fullmatch(r'/v1/secrets/([^/]+)(/payload)?', path)
        if not found or found[1] not in self.secrets:
            return 404, 'application/json', b'{}'
        owner, record, payload = self.secrets[found[1]]
        if owner != project:
            return 403, 'application/json', b'{}'
        if method == 'DELETE':
            del self.secrets[found[1]]
            return 204, '', b''
        if not found[2]:
            return 200, 'application/json', json.dumps(record).encode()
        if headers.get('Accept') != 'application/octet-stream':
            return 406, 'application/json', b'{}'
        return 200, 'application/octet-stream', payload

    def _create(self, project: str, body: dict[str, Any]) -> tuple[int, str, bytes]:
        payload = base64.b64decode(body.pop('payload'), validate=True)
        wanted = {'payload_content_type': 'application/octet-stream', 'payload_content_encoding': 'base64'}
        if any(body.pop(key, None) != value for key, value in wanted.items()) or body['secret_type'] != 'symmetric':
            return 400, 'application/json', b'{}'
        id = str(uuid.uuid4())
        ref = f'{self.url}/v1/secrets/{id}'
        self.secrets[id] = project, {**body, 'secret_ref': ref, 'status': 'ACTIVE'}, payload
        return 201, 'application/json', json.dumps({'secret_ref': ref}).encode()


@contextlib.contextmanager
def serving(barbican: FakeBarbican) -> Iterator[FakeBarbican]:
    with http_double.serving(barbican.answer) as barbican.url:
        yield barbican
