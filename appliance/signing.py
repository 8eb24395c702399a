"""Signed requests.

    Authorization: Cinderless-HMAC-SHA256 timestamp=<seconds>, nonce=<hex>, signature=<hex>

The signature is HMAC-SHA256 over method, path with query, SHA-256 of the body, timestamp and nonce, one a line.
A request is served once: its nonce is remembered as long as its timestamp is good, and what was signed before the
agent started is refused, since the nonces of that time are forgotten.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from appliance.errors import BadSignature, BadTime, Replayed

SCHEME = 'Cinderless-HMAC-SHA256'

#: Seconds that the two clocks may differ.
MAX_SKEW = 60

_HEADER = re.compile(SCHEME + r' timestamp=([0-9]{1,12}), nonce=([0-9a-f]{16,64}), signature=([0-9a-f]{64})')


def signature(key: bytes, method: str, path: str, body: bytes, timestamp: int, nonce: str) -> str:
    text = '\n'.join((method, path, hashlib.sha256(body).hexdigest(), str(timestamp), nonce))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class Verifier:
    """Thread-safe. ``clock`` gives seconds since the epoch."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock
        self._started = int(clock())
        self._lock = threading.Lock()
        #: Nonce -> the time until which it could be used again, in order of arrival.
        self._seen: OrderedDict[str, int] = OrderedDict()

    def check(self, method: str, path: str, body: bytes, header: str | None) -> None:
        """Raises BadSignature, BadTime or Replayed. Nothing is remembered of a request with a wrong signature."""
        match = _HEADER.fullmatch(header or '')
        if not match:
            raise BadSignature(f'the request is not signed: send an Authorization header of scheme {SCHEME}')
        timestamp, nonce = int(match[1]), match[2]
        expected = signature(self._key, method, path, body, timestamp, nonce)
        if not hmac.compare_digest(expected, match[3]):
            raise BadSignature("the request's signature is wrong: give the driver this agent's secret")
        self._check_time(timestamp)
        self._check_nonce(nonce, timestamp + MAX_SKEW)

    def _check_time(self, timestamp: int) -> None:
        if abs(self._clock() - timestamp) > MAX_SKEW:
            raise BadTime(f'the request was signed more than {MAX_SKEW} s from now: set the clocks of both ends')
        if timestamp < self._started:
            raise BadTime('the request was signed before this agent started: sign it anew')

    def _check_nonce(self, nonce: str, good_until: int) -> None:
        with self._lock:
            self._forget()
            if nonce in self._seen:
                raise Replayed('this request was served before: sign it anew')
            self._seen[nonce] = good_until

    def _forget(self) -> None:
        """Drop the oldest nonces that are of no use any more; arrival and expiry differ by the skew at most."""
        now = self._clock()
        while self._seen and next(iter(self._seen.values())) < now:
            self._seen.popitem(last=False)
