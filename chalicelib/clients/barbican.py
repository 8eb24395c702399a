"""Secrets of a Barbican (Key Manager API v1): symmetric keys, under the token of the user who owns them."""

from __future__ import annotations

import base64
import dataclasses
import urllib.parse
from typing import Any

from chalicelib import errors
from chalicelib.clients.http import Service, Tokens

#: Bytes of a key, at most: LUKS has none above 64.
MAX_KEY = 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """A key and its description. ``bit_length`` in bits."""

    payload: bytes = dataclasses.field(repr=False)
    algorithm: str
    bit_length: int


class Secrets:
    """The port. ``url`` is Barbican's root, without /v1. Every call raises ServiceUnavailable when it fails."""

    def __init__(self, url: str, tokens: Tokens) -> None:
        self._service = Service('The key manager', url, tokens)

    def create(self, key: bytes, *, algorithm: str, bit_length: int, mode: str) -> str:
        """Store a key and return its id."""
        body = {
            'name': 'cinder key',
            'secret_type': 'symmetric',
            'algorithm': algorithm,
            'bit_length': bit_length,
            'mode': mode,
            'payload': base64.b64encode(key).decode(),
            'payload_content_type': 'application/octet-stream',
            'payload_content_encoding': 'base64',
        }
        _, answer = self._service.call('POST', '/v1/secrets', body, expected=(201,))
        id = str(answer.get('secret_ref') or '').rpartition('/')[2] if isinstance(answer, dict) else ''
        if not id:
            raise self._service.failed('answered without a secret_ref')
        return id

    def get(self, id: str) -> Key:
        """Return a key; raises SecretNotFound."""
        status, description = self._service.call('GET', _path(id), expected=(200, 403, 404))
        if status != 200:
            raise errors.SecretNotFound(id=id)
        return Key(self._payload(id), *self._described(description))

    def _described(self, description: Any) -> tuple[str, int]:
        try:
            return str(description['algorithm'] or 'aes'), int(description['bit_length'] or 0)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise self._service.failed('answered what is not a secret') from None

    def _payload(self, id: str) -> bytes:
        headers = {'Accept': 'application/octet-stream'}
        answer = self._service.fetch('GET', f'{_path(id)}/payload', headers=headers)
        if answer.status in (403, 404):
            raise errors.SecretNotFound(id=id)
        if answer.status != 200 or not 0 < len(answer.body) <= MAX_KEY:
            raise self._service.failed(f'answered with status {answer.status} instead of a key')
        return answer.body

    def delete(self, id: str) -> None:
        """Delete a secret; a missing one is success."""
        self._service.call('DELETE', _path(id), expected=(204, 404))


def _path(id: str) -> str:
    return f'/v1/secrets/{urllib.parse.quote(id, safe="")}'
