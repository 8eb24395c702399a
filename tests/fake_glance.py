"""A Glance on loopback that follows the Image API v2 exactly: statuses, ranges, one upload per image, hashes.

``faults`` answers in its place; ``cut`` ends a download after so many bytes, once each; ``violations`` has the
requests that no client of Glance may send.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import json
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from tests import http_double

#: Fields that Glance sets itself and no request may set.
READ_ONLY = (
    'status', 'checksum', 'os_hash_algo', 'os_hash_value', 'size', 'virtual_size', 'created_at', 'updated_at', 'file',
    'self', 'schema', 'direct_url', 'locations', 'stores',
)  # fmt: skip

DISK_FORMATS = ('ami', 'ari', 'aki', 'vhd', 'vhdx', 'vmdk', 'raw', 'qcow2', 'vdi', 'iso', 'ploop', 'gpt')


@dataclasses.dataclass
class FakeGlance:
    """``images``: id -> record; ``data``: id -> bytes; ``members``: (image, project) -> status."""

    images: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    data: dict[str, bytes] = dataclasses.field(default_factory=dict)
    members: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    #: The only token that is taken; None takes all, and none.
    token: str | None = None
    knows_ranges: bool = True
    faults: list[int] = dataclasses.field(default_factory=list)
    cut: list[int] = dataclasses.field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = dataclasses.field(default_factory=list)
    violations: list[str] = dataclasses.field(default_factory=list)
    around: Callable[[str], contextlib.AbstractContextManager[None]] = lambda _: contextlib.nullcontext()
    url: str = ''

    def add(self, data: bytes | None = None, **facts: Any) -> str:
        """Add an active image with data, changed by ``facts``; return its id."""
        id = str(facts.pop('id', uuid.uuid4()))
        usual = {'name': 'cirros', 'visibility': 'public', 'owner': 'another-project'}
        self.images[id] = _record(id, {'disk_format': 'raw', 'container_format': 'bare', **usual})
        if data is not None:
            self._store(id, data)
        self.images[id].update(facts)
        return id

    def _store(self, id: str, data: bytes) -> None:
        self.data[id] = data
        self.images[id].update(
            status='active',
            size=len(data),
            virtual_size=len(data),
            checksum=hashlib.md5(data, usedforsecurity=False).hexdigest(),
            os_hash_algo='sha512',
            os_hash_value=hashlib.sha512(data).hexdigest(),
        )

    def count(self, method: str, ending: str = '') -> int:
        return sum(sent[0] == method and sent[1].endswith(ending) for sent in self.requests)

    def copy(self) -> FakeGlance:
        return FakeGlance({key: dict(value) for key, value in self.images.items()}, dict(self.data))


def _record(id: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        'id': id,
        'name': None,
        'status': 'queued',
        'visibility': 'shared',
        'protected': False,
        'owner': None,
        'disk_format': None,
        'container_format': None,
        'size': None,
        'virtual_size': None,
        'min_disk': 0,
        'min_ram': 0,
        'checksum': None,
        'os_hash_algo': None,
        'os_hash_value': None,
        'os_hidden': False,
        'tags': [],
        'self': f'/v2/images/{id}',
        'file': f'/v2/images/{id}/file',
        'schema': '/v2/schemas/image',
        'locations': [{'url': 'http://169.254.169.254/latest/meta-data', 'metadata': {}}],
        'direct_url': 'file:///etc/shadow',
        'created_at': '2026-11-22T00:00:00Z',
        'updated_at': '2026-11-22T00:00:00Z',
        **facts,
    }


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    glance: FakeGlance

    def handle_one(self) -> None:
        path = self.path.partition('?')[0]
        self.glance.requests.append((self.command, path, {name.lower(): value for name, value in self.headers.items()}))
        if self.glance.faults and (fault := self.glance.faults.pop(0)):
            self._drain()
            return self._answer(fault)
        if self.glance.token is not None and self.headers.get('X-Auth-Token') != self.glance.token:
            self._drain()
            return self._answer(401)
        for pattern, verbs in ROUTES:
            if found := re.fullmatch(pattern, path):
                return getattr(self, verbs[self.command])(*found.groups()) if self.command in verbs else self._odd(405)
        return self._odd(404)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one  # noqa: N815

    def _odd(self, status: int) -> None:
        self._drain()
        self.glance.violations.append(f'{self.command} {self.path}')
        self._answer(status)

    def _show(self, id: str) -> None:
        self._answer(200, self.glance.images[id]) if id in self.glance.images else self._answer(404)

    def _member(self, id: str, project: str) -> None:
        status = self.glance.members.get((id, project))
        self._answer(200, {'member_id': project, 'image_id': id, 'status': status}) if status else self._answer(404)

    def _create(self) -> None:
        body = json.loads(self._body())
        forbidden = [key for key in body if key in READ_ONLY or key.startswith('os_glance')]
        if forbidden or body.get('disk_format') not in DISK_FORMATS or body.get('container_format') != 'bare':
            self.glance.violations.append(f'POST with {body}')
            return self._answer(403 if forbidden else 400)
        if body['id'] in self.glance.images:
            return self._answer(409)
        self.glance.images[body['id']] = _record(body['id'], body)
        return self._answer(201, self.glance.images[body['id']])

    def _patch(self, id: str) -> None:
        changes = json.loads(self._body())
        if self.headers['Content-Type'] != 'application/openstack-images-v2.1-json-patch':
            return self._answer(415)
        for change in changes:
            self.glance.images[id][change['path'].removeprefix('/')] = change['value']
        return self._answer(200, self.glance.images[id])

    def _delete(self, id: str) -> None:
        image = self.glance.images.get(id)
        if image is None:
            return self._answer(404)
        if image['protected']:
            return self._answer(403)
        del self.glance.images[id]
        self.glance.data.pop(id, None)
        return self._answer(204)

    def _upload(self, id: str) -> None:
        image = self.glance.images.get(id)
        if image is None:
            return self._upload_to_none(id)
        if self.headers['Content-Type'] != 'application/octet-stream':
            return self._odd(415)
        if image['status'] != 'queued':
            self._drain()
            return self._answer(409)
        image['status'] = 'saving'
        data = self._body()
        if len(data) != int(self.headers['Content-Length']):
            image['status'] = 'queued'
            self.close_connection = True
            return None
        self.glance._store(id, data)
        return self._answer(204)

    def _upload_to_none(self, id: str) -> None:
        """One that its client has broken off may be read so late that the client has removed the image since."""
        if len(self._body()) < int(self.headers['Content-Length']):
            self.close_connection = True
            return None
        self.glance.violations.append(f'{self.command} {self.path}')
        return self._answer(404)

    def _download(self, id: str) -> None:
        data = self.glance.data.get(id)
        if data is None:
            return self._answer(204 if id in self.glance.images else 404)
        wanted = re.fullmatch(r'bytes=(\d+)-', self.headers.get('Range', '')) if self.glance.knows_ranges else None
        start = int(wanted[1]) if wanted else 0
        if start >= len(data):
            return self._answer(416)
        part = data[start:]
        self.send_response(206 if wanted else 200)
        self.send_header('Content-Type', 'application/octet-stream')
        self.send_header('Content-Length', str(len(part)))
        if wanted:
            self.send_header('Content-Range', f'bytes {start}-{len(data) - 1}/{len(data)}')
        self.end_headers()
        if self.glance.cut:
            part, self.close_connection = part[: self.glance.cut.pop(0)], True
        with contextlib.suppress(ConnectionError):
            self.wfile.write(part)
        return None

    def _body(self) -> bytes:
        with contextlib.suppress(ConnectionError):
            return self.rfile.read(int(self.headers.get('Content-Length') or 0))
        return b''

    def _drain(self) -> None:
        self._body()

    def _answer(self, status: int, body: Any = None) -> None:
        content = b'' if body is None else json.dumps(body).encode()
        self.send_response(status)
        if status == 302:
            self.send_header('Location', 'http://169.254.169.254/')
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


ROUTES = (
    (r'/v2/images', {'POST': '_create'}),
    (r'/v2/images/([^/]+)', {'GET': '_show', 'PATCH': '_patch', 'DELETE': '_delete'}),
    (r'/v2/images/([^/]+)/members/([^/]+)', {'GET': '_member'}),
    (r'/v2/images/([^/]+)/file', {'GET': '_download', 'PUT': '_upload'}),
)


@contextlib.contextmanager
def serving(glance: FakeGlance) -> Iterator[FakeGlance]:
    with http_double.listening(type('Handler', (_Handler,), {'glance': glance})) as glance.url:
        yield glance
