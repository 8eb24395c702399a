"""Limits on attempts at passwords and secrets, per user and per address, which cannot be used to lock a user out.

Failures are counted for ``WINDOW`` seconds:

* of a user at one address: ``PER_PAIR``; then this address is refused for this user;
* of an address, for all users that it names: ``PER_ADDRESS``; users who logged in from it before are not refused;
* of a user, from any address: ``PER_USER``; addresses from which the user logged in before are not refused.

A failure is counted after its password was checked, so simultaneous requests would all be allowed. Therefore attempts
count as well, before the check: of a user at one address, ``AT_ONCE`` in ``BURST`` seconds may fail or be unfinished.
Successful logins do not count: a script may log in for each of its calls.

So an attacker who names a user from elsewhere does not lock that user out. Unknown names count like existing ones: a
refusal does not reveal which users exist. State is bounded: a refused address adds nothing.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections import defaultdict
from typing import Protocol

from chalicelib.errors import TooManyGuesses

#: Seconds that a failure counts, and the failures allowed in that time.
WINDOW, PER_PAIR, PER_ADDRESS, PER_USER = 300, 5, 30, 100

#: Seconds, the attempts of a user at one address that may fail or be unfinished in that time, and all attempts.
BURST, AT_ONCE, MOST = 2, 30, 1000

#: Seconds for which the address of a successful login is stored.
KNOWN = 30 * 86400


class GuessStore(Protocol):
    """The port to timestamps by key. Both methods raise ServiceUnavailable when the store does not answer."""

    def add(self, key: str, timestamp: float, until: float) -> None:
        """Store ``timestamp`` under ``key``; it may expire after ``until``, in seconds since the epoch."""

    def count(self, key: str, since: float, most: int) -> int:
        """Return how many timestamps after ``since`` are stored under ``key``, at most ``most``."""


class InMemoryGuesses:
    """The timestamps of a single process."""

    def __init__(self) -> None:
        self._timestamps: dict[str, list[float]] = defaultdict(list)

    def add(self, key: str, timestamp: float, until: float) -> None:
        self._timestamps[key].append(timestamp)

    def count(self, key: str, since: float, most: int) -> int:
        return min(most, sum(timestamp > since for timestamp in self._timestamps.get(key, ())))


class Guesses:
    """The failures of one claimed user at one address at ``now``, in seconds since the epoch."""

    def __init__(self, store: GuessStore, user: str, address: str, now: float) -> None:
        self._store, self._now = store, now
        network = _network(address)
        self._user, self._address = _key('user', user), _key('address', network)
        self._pair, self._known = _key('pair', user, network), _key('known', user, network)
        self._attempts, self._successes = _key('attempts', user, network), _key('successes', user, network)

    def check(self) -> None:
        """Raise TooManyGuesses when another attempt exceeds a limit."""
        if self._reached(self._pair, PER_PAIR):
            raise TooManyGuesses(seconds=WINDOW)
        if self._reached(self._address, PER_ADDRESS) or self._reached(self._user, PER_USER):
            known = self._store.count(self._known, self._now - KNOWN, 1)
            if not known:
                raise TooManyGuesses(seconds=WINDOW)
        self._store.add(self._attempts, self._now, self._now + BURST)
        attempts = self._store.count(self._attempts, self._now - BURST, MOST)
        if attempts == MOST or (attempts > AT_ONCE and attempts - self._recent_successes() > AT_ONCE):
            raise TooManyGuesses(seconds=BURST)

    def _recent_successes(self) -> int:
        return self._store.count(self._successes, self._now - BURST, MOST)

    def _reached(self, key: str, most: int) -> bool:
        return self._store.count(key, self._now - WINDOW, most) >= most

    def failed(self) -> None:
        """Count one failure."""
        for key in (self._pair, self._address, self._user):
            self._store.add(key, self._now, self._now + WINDOW)

    def succeeded(self) -> None:
        """Count one success, and store the address for the user, once a day."""
        self._store.add(self._successes, self._now, self._now + BURST)
        if not self._store.count(self._known, self._now - 86400, 1):
            self._store.add(self._known, self._now, self._now + KNOWN)


def _network(address: str) -> str:
    """Return an IPv4 address, or the /64 of an IPv6 one: a host can use any address of its /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network(f'{address}/64', strict=False)) if parsed.version == 6 else address


def _key(*parts: str) -> str:
    return hashlib.sha256('\0'.join(parts).encode(errors='surrogatepass')).hexdigest()
