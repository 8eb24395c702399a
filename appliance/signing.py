"""Signed requests.

    Authorization: Cinderless-HMAC-SHA256 timestamp=<seconds>, nonce=<hex>, signature=<hex>

The signature is HMAC-SHA256 over method, path with query, SHA-256 of the body, timestamp and nonce, one a line.
A request is served once: its nonce is stored as long as its timestamp is valid, also across restarts of the agent.
Requests signed before the time that the stored nonces cover are refused.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from pathlib import Path

from appliance.errors import BadSignature, BadTime
from appliance.nonces import Nonces

SCHEME = 'Cinderless-HMAC-SHA256'

#: Seconds that the two clocks may differ.
MAX_SKEW = 60

_HEADER = re.compile(SCHEME + r' timestamp=([0-9]{1,12}), nonce=([0-9a-f]{16,64}), signature=([0-9a-f]{64})')


def signature(key: bytes, method: str, path: str, body: bytes, timestamp: int, nonce: str) -> str:
    text = '\n'.join((method, path, hashlib.sha256(body).hexdigest(), str(timestamp), nonce))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class Verifier:
    """Thread-safe. ``clock`` returns seconds since the epoch, ``memory`` is the file for the next start."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time, memory: Path | None = None) -> None:
        self._key = key
        self._clock = clock
        self._nonces = Nonces(memory, clock)

    def check(self, method: str, path: str, body: bytes, header: str | None) -> None:
        """Raises BadSignature, BadTime, Replayed, Unavailable. A request with a wrong signature is not recorded."""
        match = _HEADER.fullmatch(header or '')
        if not match:
            raise BadSignature(f'the request is not signed: send an Authorization header of scheme {SCHEME}')
        timestamp, nonce = int(match[1]), match[2]
        expected = signature(self._key, method, path, body, timestamp, nonce)
        if not hmac.compare_digest(expected, match[3]):
            raise BadSignature("the request's signature is wrong: configure the driver with this agent's secret")
        self._check_time(timestamp)
        self._nonces.use(nonce, timestamp + MAX_SKEW)

    def _check_time(self, timestamp: int) -> None:
        if abs(self._clock() - timestamp) > MAX_SKEW:
            raise BadTime(f'the request was signed more than {MAX_SKEW} s from now: synchronise the clocks')
        if timestamp < self._nonces.since:
            raise BadTime('the request was signed before this agent started: sign it again')
