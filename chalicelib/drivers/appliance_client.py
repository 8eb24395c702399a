"""Signed HTTPS requests to an appliance's agent, and the keys derived from the shared secret.

The agent serves a signed request once, so every attempt is signed again. All its requests are idempotent: one without
an answer is sent again, as long as the worker has time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from typing import Any

from chalicelib import bounded_http, time_left
from chalicelib.drivers.connection_info import letters
from chalicelib.drivers.pinning import PinnedClient
from chalicelib.errors import BackendUnavailable

_SCHEME = 'Cinderless-HMAC-SHA256'

#: Seconds: for one attempt (the agent itself waits 15 for an object), and for all of them.
ATTEMPT = 18.0
BUDGET = 24.0

#: Seconds that must be left for another attempt.
_WORTHWHILE = 2.0


class Refused(Exception):
    """The agent refused the request."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Client(PinnedClient):
    """Thread-safe. ``fingerprint`` is the SHA-256 of the agent's certificate in hexadecimal digits."""

    def __init__(self, backend: str, url: str, fingerprint: str, secret: str) -> None:
        super().__init__(backend, 'the agent', url, fingerprint)
        shared = secret.strip().encode()
        self._request_key = _hmac(shared, 'cinderless appliance: requests')
        self._chap_key = _hmac(shared, 'cinderless appliance: CHAP')

    def account(self, object_name: str, export_id: str) -> tuple[str, str]:
        """Return the CHAP user (20 characters) and secret (16) of an export; the agent derives the same."""
        path = f'{object_name}\n{export_id}'
        user = letters(_hmac(self._chap_key, f'user\n{path}'), 20)
        return user, letters(_hmac(self._chap_key, f'secret\n{path}'), 16)

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer. Raises Refused, BackendUnavailable, or BackendMisconfigured for another certificate."""
        data = json.dumps(body).encode() if body else b''
        seconds = time_left.at_most(BUDGET)
        if seconds <= 0:
            raise self.unavailable('the request has no time left')
        deadline = time.monotonic() + seconds
        try:
            return self._attempt(method, path, data, min(ATTEMPT, seconds))
        except BackendUnavailable:
            left = deadline - time.monotonic()
            if left < _WORTHWHILE:
                raise
            return self._attempt(method, path, data, left)

    def _attempt(self, method: str, path: str, body: bytes, seconds: float) -> dict[str, Any]:
        headers = {'Authorization': self._authorization(method, path, body), 'Content-Type': 'application/json'}
        answer = self._exchange(method, path, body, headers, seconds)
        return self._document(answer.status, answer.body)

    def _document(self, status: int, data: bytes) -> dict[str, Any]:
        try:
            document = bounded_http.parsed(data)
            if status == 200 and isinstance(document, dict):
                return document
            problem = document['error']
            refused = Refused(status, str(problem['code']), str(problem['message']))
        except (ValueError, KeyError, TypeError) as error:
            raise self.unavailable(f'{self._address} answered status {status} without JSON of the agent') from error
        raise refused

    def _authorization(self, method: str, path: str, body: bytes) -> str:
        timestamp, nonce = int(time.time()), secrets.token_hex(16)
        text = '\n'.join((method, path, hashlib.sha256(body).hexdigest(), str(timestamp), nonce))
        signature = _hmac(self._request_key, text).hex()
        return f'{_SCHEME} timestamp={timestamp}, nonce={nonce}, signature={signature}'


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
