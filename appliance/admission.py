"""Limits of connections to the agent: those with a good signature, and for a short time some others.

A new connection is always accepted. When there are too many without a good signature, the oldest one of the address
with most of them is closed: an honest client needs a fraction of the time that it has had. Addresses that have sent a
good signature before have no limit of their own, and are closed only when no other connections are left to close.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

#: Connections without a good signature: in total, and of one address that has never sent one.
MOST_PENDING = 128
MOST_PENDING_OF_ONE = 32

#: Connections with a good signature. More are closed, the longest idle first.
MOST_PROVEN = 128

#: Seconds in total for handshake and first request, whatever the client sends.
DEADLINE = 10.0

_MOST_KNOWN = 1024

Connection = TypeVar('Connection', bound=Hashable)


class Admission(Generic[Connection]):
    """Thread-safe. The caller closes the connections that methods return."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        #: Connection -> address and time of arrival, oldest first.
        self._pending: OrderedDict[Connection, tuple[str, float]] = OrderedDict()
        #: Connections with a good signature, the most recently used one last; and those with a request in progress.
        self._proven: OrderedDict[Connection, None] = OrderedDict()
        self._busy: set[Connection] = set()
        self._known: OrderedDict[str, None] = OrderedDict()

    def admit(self, connection: Connection, address: str) -> list[Connection]:
        """Add a new connection; return those to close for it."""
        with self._lock:
            closing = self._too_many_of(address)
            for one in closing:
                del self._pending[one]
            while len(self._pending) >= MOST_PENDING:
                closing.append(self._evict())
            self._pending[connection] = (address, self._clock())
            return closing

    def prove(self, connection: Connection, address: str) -> list[Connection]:
        """Record a good signature; the connection is busy until ``set_idle``. Return those to close."""
        with self._lock:
            self._pending.pop(connection, None)
            self._proven[connection] = None
            self._proven.move_to_end(connection)
            self._busy.add(connection)
            self._known[address] = None
            self._known.move_to_end(address)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
            idle = [one for one in self._proven if one not in self._busy]
            return idle[: max(len(self._proven) - MOST_PROVEN, 0)]

    def set_idle(self, connection: Connection) -> None:
        """Record that the connection's request was answered."""
        with self._lock:
            self._busy.discard(connection)

    def remove(self, connection: Connection) -> None:
        """Forget a closed connection."""
        with self._lock:
            self._pending.pop(connection, None)
            self._proven.pop(connection, None)
            self._busy.discard(connection)

    def overdue(self) -> list[Connection]:
        """Return connections without a good signature whose time has run out."""
        with self._lock:
            latest = self._clock() - DEADLINE
            found = [one for one, (_, since) in self._pending.items() if since <= latest]
            for one in found:
                del self._pending[one]
            return found

    def _too_many_of(self, address: str) -> list[Connection]:
        if address in self._known:
            return []
        ours = [one for one, (whose, _) in self._pending.items() if whose == address]
        return ours[: max(len(ours) + 1 - MOST_PENDING_OF_ONE, 0)]

    def _evict(self) -> Connection:
        """Remove and return the oldest connection of the address with most; strangers' connections first."""
        addresses = [address for address, _ in self._pending.values()]
        strangers = [address for address in addresses if address not in self._known]
        worst = max(strangers or addresses, key=addresses.count)
        found = next(one for one, (address, _) in self._pending.items() if address == worst)
        del self._pending[found]
        return found
