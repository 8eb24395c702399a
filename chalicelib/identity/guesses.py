"""Limits on attempts at passwords and secrets, per user and per address, which cannot be used to lock a user out.

Failures are counted in windows of ``WINDOW`` seconds:

* of a user at one address: ``PER_PAIR``; then this address is refused for this user;
* of an address, for all users that it names: ``PER_ADDRESS``; users who logged in from it before are not refused;
* of a user, from any address: ``PER_USER``; addresses from which the user logged in before are not refused.

A password is checked after its attempt was counted, so parallel requests exceed no limit: an attempt takes one of
``PER_ADDRESS`` and one of ``PER_USER`` in conditional writes, and a success releases them. Of a user at one address
``AT_ONCE`` attempts may be unfinished, since a script may log in for each of its parallel calls: so a window has fewer
than ``PER_PAIR`` + ``AT_ONCE`` guesses at one user from one address.

So an attacker who names a user from elsewhere does not lock that user out. Unknown names count like existing ones: a
refusal does not reveal which users exist. State is bounded: a refused address adds nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from chalicelib.errors import ServiceUnavailable, TooManyGuesses

#: Seconds of a window, and the failures allowed in it.
WINDOW, PER_PAIR, PER_ADDRESS, PER_USER = 300, 5, 30, 100

#: The attempts of a user at one address that may be unfinished, and the seconds after which a client may try again.
AT_ONCE, PAUSE = 30, 2

#: Seconds for which the address of a successful login is stored, and after which it is stored again.
KNOWN, DAY = 30 * 86400, 86400


class GuessStore(Protocol):
    """The port to counters by key. Both methods raise ServiceUnavailable when the store does not answer."""

    def read(self, keys: Sequence[str]) -> list[tuple[int, float]]:
        """Return the number of each counter and when it expires, in seconds since the epoch; (0, 0.0) for none."""

    def add(self, key: str, amount: int, until: float, most: int | None = None) -> bool:
        """Add ``amount`` to a counter, which expires at ``until``, in one atomic step.

        Return False, and change nothing, when the counter has reached ``most``, or, for a negative amount, zero. A
        counter may also refuse below ``most`` when the answer of an earlier step was lost; it never exceeds it.
        """


class InMemoryGuesses:
    """The counters of a single process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._counts: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def read(self, keys: Sequence[str]) -> list[tuple[int, float]]:
        with self._lock:
            return [self._counts.get(key, (0, 0.0)) for key in keys]

    def add(self, key: str, amount: int, until: float, most: int | None = None) -> bool:
        now = self._clock()
        with self._lock:
            self._counts = {name: count for name, count in self._counts.items() if count[1] > now}
            number, _ = self._counts.get(key, (0, 0.0))
            if (most is not None and number >= most) or number + amount < 0:
                return False
            self._counts[key] = number + amount, until
            return True


class Guesses:
    """One attempt of a claimed user at one address at ``now``, in seconds since the epoch."""

    def __init__(self, store: GuessStore, user: str, address: str, now: float) -> None:
        self._store, self._now = store, now
        network, window = _network(address), int(now // WINDOW)
        self._end = (window + 1) * float(WINDOW)
        self._pair, self._attempts = (_key(name, user, network, str(window)) for name in ('pair', 'attempts'))
        self._address, self._user = _key('address', network, str(window)), _key('user', user, str(window))
        self._known, self._known_until = _key('known', user, network), 0.0
        #: The counters that this attempt has taken from, and that a success releases.
        self._taken: list[str] = []

    def begin(self) -> None:
        """Count the attempt. Raises TooManyGuesses when it exceeds a limit."""
        found = self._store.read([self._pair, self._address, self._user, self._known])
        (pair, _), (address, _), (user, _), (_, self._known_until) = found
        if pair >= PER_PAIR or (not self._is_known() and (address >= PER_ADDRESS or user >= PER_USER)):
            raise TooManyGuesses(seconds=self._rest())
        limits = {} if self._is_known() else {self._address: PER_ADDRESS, self._user: PER_USER}
        for key, most in (limits | {self._attempts: AT_ONCE}).items():
            if not self._store.add(key, 1, self._end, most):
                self._release(self._taken)
                raise TooManyGuesses(seconds=PAUSE)
            self._taken.append(key)

    def _is_known(self) -> bool:
        return self._known_until > self._now

    def _rest(self) -> int:
        return max(1, round(self._end - self._now))

    def failed(self) -> None:
        """Count the attempt as a failure."""
        for key in (self._pair, self._address, self._user):
            if key not in self._taken:
                self._store.add(key, 1, self._end)
        self._release([self._attempts])

    def ended(self) -> None:
        """Count neither failure nor success: the secret was right, and the request refused for another reason."""
        self._release(self._taken)

    def succeeded(self) -> None:
        """Release what the attempt took, and store the address for the user, once a day."""
        self._release(self._taken)
        if self._known_until < self._now + KNOWN - DAY:
            with contextlib.suppress(ServiceUnavailable):
                self._store.add(self._known, 1, self._now + KNOWN)

    def _release(self, keys: Sequence[str]) -> None:
        """Release counters. One that the store does not release counts until the end of its window."""
        for key in keys:
            with contextlib.suppress(ServiceUnavailable):
                self._store.add(key, -1, self._end)


def _network(address: str) -> str:
    """Return an IPv4 address, or the /64 of an IPv6 one: a host can use any address of its /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed)
    # A server that listens on :: sees IPv4 clients in this form, all of one /64.
    return str(parsed.ipv4_mapped or ipaddress.IPv6Network((parsed.packed, 64), strict=False))


def _key(*parts: str) -> str:
    return hashlib.sha256('\0'.join(parts).encode(errors='surrogatepass')).hexdigest()
