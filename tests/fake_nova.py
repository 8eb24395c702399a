"""A Nova on loopback: external events and volume attachments strict about the microversions that support them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

from tests import http_double

#: Event -> the first minor version of 2.x whose schema has it.
EVENTS = {'volume-extended': 51, 'volume-reimaged': 93}


class NoTokens:
    """The source of the service token of a cloud without Keystone."""

    def service_token(self, refused: str | None = None) -> str:
        return ''


class FakeNova:
    """``servers``: server -> {volume: attachment}; ``hosts``: server -> the host that runs it.

    ``notified``: (event, server, volume) of all accepted events.
    """

    def __init__(self) -> None:
        self.servers: dict[str, dict[str, str]] = {}
        self.hosts: dict[str, str] = {}
        self.notified: list[tuple[str, str, str]] = []
        self.faults: list[int] = []
        self.requests: list[str] = []
        self.violations: list[str] = []
        self.url = ''

    def answer(self, method: str, path: str, headers: Any, sent: bytes) -> tuple[int, Any]:
        self.requests.append(f'{method} {path}')
        if self.faults and (fault := self.faults.pop(0)):
            return fault, {'computeFault': {'code': fault, 'message': 'unexpected'}}
        service, _, version = (headers.get('OpenStack-API-Version') or 'compute 2.1').partition(' ')
        minor = int(version.partition('.')[2]) if service == 'compute' else 1
        if (method, path) == ('POST', '/v2.1/os-server-external-events'):
            return self._events(minor, json.loads(sent))
        if method == 'GET' and (shown := re.fullmatch(r'/v2.1/servers/([^/]+)', path)):
            return self._server(shown.group(1))
        found = re.fullmatch(r'/v2.1/servers/([^/]+)/os-volume_attachments/([^/]+)', path)
        if found is None or method != 'GET':
            self.violations.append(f'{method} {path}')
            return 404, {}
        return self._attachment(minor, *found.groups())

    def _events(self, minor: int, body: dict[str, Any]) -> tuple[int, Any]:
        for event in body['events']:
            if set(event) != {'name', 'server_uuid', 'tag'} or minor < EVENTS.get(event['name'], 1000):
                self.violations.append(f'{event} at 2.{minor}')
                return 400, {'badRequest': {'code': 400, 'message': 'Invalid input'}}
        known = [event for event in body['events'] if event['server_uuid'] in self.servers]
        if not known:
            return 404, {'itemNotFound': {'code': 404, 'message': 'No instances found for any event'}}
        self.notified += [(event['name'], event['server_uuid'], event['tag']) for event in known]
        answers = [
            {**event, **({'status': 'completed', 'code': 200} if event in known else {'status': 'failed', 'code': 404})}
            for event in body['events']
        ]
        return 200 if len(known) == len(answers) else 207, {'events': answers}

    def _server(self, id: str) -> tuple[int, Any]:
        if id not in self.hosts:
            return 404, {'itemNotFound': {'code': 404, 'message': f'Instance {id} could not be found.'}}
        return 200, {'server': {'id': id, 'OS-EXT-SRV-ATTR:host': self.hosts[id] or None}}

    def _attachment(self, minor: int, server: str, volume: str) -> tuple[int, Any]:
        attachment = self.servers.get(server, {}).get(volume)
        if attachment is None:
            return 404, {'itemNotFound': {'code': 404, 'message': f'Instance {server} is not attached to {volume}'}}
        shown = {'volumeId': volume, 'serverId': server, 'device': '/dev/vdb'}
        return 200, {'volumeAttachment': {**shown, **({'attachment_id': attachment} if minor >= 89 else {})}}


@contextlib.contextmanager
def serving(nova: FakeNova) -> Iterator[FakeNova]:
    def answer(method: str, path: str, headers: Any, sent: bytes) -> tuple[int, str, bytes]:
        status, body = nova.answer(method, path, headers, sent)
        return status, 'application/json', json.dumps(body).encode()

    with http_double.serving(answer) as url:
        nova.url = f'{url}/v2.1'
        yield nova
