"""Which connections may take the agent's time: those that showed the secret, and some others for a while.

A new connection is always taken. When there are too many without a good signature, the oldest of the address that has
most of them is closed: an honest client needs a fraction of the time that it has had. Addresses that have shown a good
signature before have no limit of their own, and are spared while others have connections to give up.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

#: Connections without a good signature: in all, and of one address that has shown none.
MOST_PENDING = 128
MOST_PENDING_OF_ONE = 32

#: Connections that have shown a good signature. More are closed, the longest idle first.
MOST_PROVEN = 128

#: Seconds in all for handshake and first request, whatever the client sends meanwhile.
DEADLINE = 10.0

_MOST_KNOWN = 1024

Connection = TypeVar('Connection', bound=Hashable)


class Admission(Generic[Connection]):
    """Thread-safe. Methods that return connections leave it to the caller to close them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        #: Connection -> address and time of arrival, the oldest first.
        self._pending: OrderedDict[Connection, tuple[str, float]] = OrderedDict()
        #: Connections with a good signature, the one that was used last at the end; and those at work.
        self._proven: OrderedDict[Connection, None] = OrderedDict()
        self._busy: set[Connection] = set()
        self._known: OrderedDict[str, None] = OrderedDict()

    def admit(self, connection: Connection, address: str) -> list[Connection]:
        """Take a new connection; return those that make room for it."""
        with self._lock:
            closing = self._too_many_of(address)
            for one in closing:
                del self._pending[one]
            while len(self._pending) >= MOST_PENDING:
                closing.append(self._give_up())
            self._pending[connection] = (address, self._clock())
            return closing

    def prove(self, connection: Connection, address: str) -> list[Connection]:
        """The connection showed a good signature and is at work until ``rest``. Return those that make room."""
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

    def rest(self, connection: Connection) -> None:
        """The connection's request was answered."""
        with self._lock:
            self._busy.discard(connection)

    def leave(self, connection: Connection) -> None:
        """The connection is closed."""
        with self._lock:
            self._pending.pop(connection, None)
            self._proven.pop(connection, None)
            self._busy.discard(connection)

    def overdue(self) -> list[Connection]:
        """Connections whose time without a good signature is over."""
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

    def _give_up(self) -> Connection:
        """Remove and return the oldest connection of the address that has most, one of a stranger if there is one."""
        addresses = [address for address, _ in self._pending.values()]
        strangers = [address for address in addresses if address not in self._known]
        worst = max(strangers or addresses, key=addresses.count)
        found = next(one for one, (address, _) in self._pending.items() if address == worst)
        del self._pending[found]
        return found
