"""Servers of a Nova (Compute API v2.1): send them events of volumes, read their attachments and hosts."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from chalicelib.clients.http import Service, Tokens

#: Event -> the first microversion of Nova that has it.
EVENTS: Mapping[str, str] = {'volume-extended': '2.51', 'volume-reimaged': '2.93'}

#: The first microversion in which Nova reports the attachment of a server's volume.
ATTACHMENT_ID = '2.89'


class Compute:
    """The port. ``url`` ends in /v2.1. Every call raises ServiceUnavailable when Nova fails or does not answer."""

    def __init__(self, url: str, tokens: Tokens) -> None:
        self._service = Service('The compute service', url, tokens)

    def send_server_event(self, event: str, server_ids: Iterable[str], volume_id: str) -> None:
        """Send servers an event (of EVENTS) about a volume. Nova skips servers that are deleted or stopped.

        Raises ServiceUnavailable when Nova did not accept the event.
        """
        events = [{'name': event, 'server_uuid': id, 'tag': volume_id} for id in server_ids]
        _, body = self._service.call(
            'POST',
            '/os-server-external-events',
            {'events': events},
            headers=_microversion(EVENTS[event]),
            expected=(200, 207, 404),
        )
        if not _is_accepted(body):
            raise self._service.failed(f'did not accept the event {event} of volume {volume_id}')

    def attachment_of(self, server_id: str, volume_id: str) -> str | None:
        """Return the id of the server's attachment of a volume; None when the server does not use the volume."""
        ids = (urllib.parse.quote(id, safe='') for id in (server_id, volume_id))
        path = '/servers/{}/os-volume_attachments/{}'.format(*ids)
        status, body = self._service.call('GET', path, headers=_microversion(ATTACHMENT_ID), expected=(200, 404))
        if status == 404:
            return None
        try:
            return str(body['volumeAttachment']['attachment_id'])
        except (KeyError, TypeError):
            raise self._service.failed('answered what is not a volume attachment') from None

    def host_of(self, server_id: str) -> str | None:
        """Return the compute host that runs a server; None for an unknown server, or when Nova does not report it."""
        path = f'/servers/{urllib.parse.quote(server_id, safe="")}'
        status, body = self._service.call('GET', path, expected=(200, 404))
        server = body.get('server') if status == 200 and isinstance(body, dict) else None
        host = server.get('OS-EXT-SRV-ATTR:host') if isinstance(server, dict) else None
        return str(host) if host else None


def _microversion(version: str) -> dict[str, str]:
    return {'OpenStack-API-Version': f'compute {version}'}


def _is_accepted(body: Any) -> bool:
    """Whether Nova reports a result for each event; 404 for the whole request means that no server exists."""
    if not isinstance(body, dict):
        return False
    events = body.get('events')
    return 'itemNotFound' in body or (
        isinstance(events, list) and all(isinstance(one, dict) and 'code' in one for one in events)
    )
