"""Servers of a Nova (Compute API v2.1): told what happened to a volume, asked which attachment they use."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from chalicelib.clients.http import Service, Tokens

#: Event -> the microversion since which Nova knows it.
EVENTS: Mapping[str, str] = {'volume-extended': '2.51', 'volume-reimaged': '2.93'}

#: Since this microversion Nova says which attachment of a volume a server uses.
ATTACHMENT_ID = '2.89'


class Compute:
    """The port. ``url`` ends in /v2.1. Every call raises ServiceUnavailable when Nova is of no use."""

    def __init__(self, url: str, tokens: Tokens) -> None:
        self._service = Service('The compute service', url, tokens)

    def tell(self, event: str, server_ids: Iterable[str], volume_id: str) -> None:
        """Tell servers of an event (of EVENTS) about a volume. A server that is gone, or runs nowhere, need not know.

        Raises ServiceUnavailable when Nova did not take what it was told.
        """
        events = [{'name': event, 'server_uuid': id, 'tag': volume_id} for id in server_ids]
        _, body = self._service.call(
            'POST',
            '/os-server-external-events',
            {'events': events},
            headers=_at(EVENTS[event]),
            expected=(200, 207, 404),
        )
        if not _is_taken(body):
            raise self._service.failed(f'did not take the event {event} of volume {volume_id}')

    def attachment_of(self, server_id: str, volume_id: str) -> str | None:
        """Return the id of the attachment by which a server uses a volume; None when it does not use it."""
        ids = (urllib.parse.quote(id, safe='') for id in (server_id, volume_id))
        path = '/servers/{}/os-volume_attachments/{}'.format(*ids)
        status, body = self._service.call('GET', path, headers=_at(ATTACHMENT_ID), expected=(200, 404))
        if status == 404:
            return None
        try:
            return str(body['volumeAttachment']['attachment_id'])
        except (KeyError, TypeError):
            raise self._service.failed('answered what is not a volume attachment') from None

    def host_of(self, server_id: str) -> str | None:
        """Return the compute host that runs a server; None when there is no such server, or Nova does not say."""
        path = f'/servers/{urllib.parse.quote(server_id, safe="")}'
        status, body = self._service.call('GET', path, expected=(200, 404))
        server = body.get('server') if status == 200 and isinstance(body, dict) else None
        host = server.get('OS-EXT-SRV-ATTR:host') if isinstance(server, dict) else None
        return str(host) if host else None


def _at(microversion: str) -> dict[str, str]:
    return {'OpenStack-API-Version': f'compute {microversion}'}


def _is_taken(body: Any) -> bool:
    """Whether Nova says of each event what became of it; a 404 of all says that no server is there."""
    if not isinstance(body, dict):
        return False
    events = body.get('events')
    return 'itemNotFound' in body or (
        isinstance(events, list) and all(isinstance(one, dict) and 'code' in one for one in events)
    )
