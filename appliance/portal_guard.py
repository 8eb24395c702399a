"""A limit for connections to the portal without a login.

tgtd keeps a connection without a login forever. To close one, it searches all its connections, so closing 6,000 delays
every session for seconds. tgt has no option against that, so the agent watches tgtd's sockets from outside: it shuts
down connections that take too long to log in and those above the limit, and makes the portal ignore an address for
some seconds when that opens too many at once.

tgtd does not report which connection a session has, only its address. So connections are counted by address: those
beyond the address's sessions are not logged in, and of these the ones that received least are closed first.

The data path is unchanged: hosts connect to tgtd directly.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import os
import socket
import stat
import struct
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from appliance import packet_filter
from appliance.errors import ApplianceError
from appliance.kernel import socket_of
from appliance.tgt import Tgt

#: Seconds between two checks of tgtd's sockets.
INTERVAL = 0.2

#: Seconds that a login may take. The service's takes some milliseconds; a discovery session must end in this time, too.
DEADLINE = 15.0

#: Connections without a login: of one address, and of all addresses without a session.
MOST_OF_ONE = 128
MOST_OF_STRANGERS = 512

#: Seconds that the portal ignores an address which opened too many: one without sessions, and one with some.
BLOCK_STRANGER = 10.0
BLOCK_KNOWN = 2.0

#: Connections that wait for tgtd to accept them; it requests 4,096 from the kernel.
BACKLOG = 128

#: Reading all sessions blocks tgtd; the pause after it is so many times as long.
_READING_SHARE = 10

#: Seconds between two log lines about closed connections.
_REPORT = 10.0

#: The kernel's struct tcp_info up to tcpi_bytes_received.
_BYTES_RECEIVED = struct.Struct('@128xQ')
_SO_ACCEPTCONN = 30


class Peer(NamedTuple):
    """A connection at the portal. ``since`` is when it was first seen, on the monotonic clock."""

    descriptor: int
    inode: int
    address: str
    since: float


class Verdict(NamedTuple):
    """``late`` and ``excess`` are numbers of connections to close, by address."""

    late: Counter[str]
    excess: Counter[str]


def judge(peers: Collection[Peer], sessions: Counter[str], known: Counter[str], now: float) -> Verdict:
    """Return how many connections of each address to close.

    ``sessions`` are the current ones, ``known`` the most that each address ever had: a host that lost its sessions may
    open that many at once again.
    """
    current, old = Counter(peer.address for peer in peers), Counter[str]()
    old.update(peer.address for peer in peers if now - peer.since > DEADLINE)
    late = old - sessions
    waiting = current - sessions - late
    excess = waiting - Counter({address: MOST_OF_ONE + known[address] for address in waiting})
    strangers = Counter({address: number for address, number in (waiting - excess).items() if not known[address]})
    return Verdict(late, excess + _above(strangers, MOST_OF_STRANGERS))


def _above(numbers: Counter[str], most: int) -> Counter[str]:
    """Return what to subtract from these numbers, from the largest first, so that they add up to ``most``."""
    largest = [(-number, address) for address, number in numbers.items()]
    heapq.heapify(largest)
    taken = Counter[str]()
    for _ in range(sum(numbers.values()) - most):
        number, address = largest[0]
        heapq.heapreplace(largest, (number + 1, address))
        taken[address] += 1
    return taken


@contextlib.contextmanager
def _unless_closed() -> Iterator[None]:
    """End the block early if tgtd or the client has closed the connection."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.ENOTCONN, errno.ESRCH):
            raise


class PortalGuard:
    def __init__(self, tgt: Tgt, portals: list[str]) -> None:
        self._tgt = tgt
        self._ports = {int(portal.rpartition(':')[2]) for portal in portals}
        self._pid = 0
        #: Descriptor and inode of each socket of tgtd -> its connection, or None if it is not one at a portal.
        self._seen: dict[tuple[int, int], Peer | None] = {}
        self._listeners: list[int] = []
        self._sessions: Counter[str] = Counter()
        #: The most sessions that each address had at a time.
        self._known: Counter[str] = Counter()
        self._next_reading = 0.0
        #: Address -> the time until which the portal ignores it.
        self._blocked: dict[str, float] = {}
        #: Connections that were closed since the last report, by address.
        self._closed: Counter[str] = Counter()
        self._reported_at = -_REPORT
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name='portal guard', daemon=True)

    def start(self) -> None:
        """Start, or log why the portal has no guard."""
        try:
            self._scan()
        except OSError as error:
            print(f'the portal has no limit for connections without a login: {error}', file=sys.stderr)
            return
        if not self._listeners:
            print('the portal has no limit for connections without a login: tgtd is not visible here', file=sys.stderr)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        with contextlib.suppress(OSError):  # a tgtd that ended has no filter
            self._filter([])

    def check(self) -> None:
        """Check tgtd's sockets once, and close connections beyond the limits. Raises OSError or NoAnswer."""
        peers, now = self._scan(), time.monotonic()
        if any(judge(peers, self._sessions, self._known, now)) and now >= self._next_reading:
            self._read_sessions()
            verdict = judge(peers, self._sessions, self._known, now)
            for address, number in (verdict.late + verdict.excess).items():
                self._close([peer for peer in peers if peer.address == address], number)
            self._block(verdict.excess, now)
        else:
            self._block(Counter(), now)
        if self._closed and now - self._reported_at >= _REPORT:
            shown = ', '.join(f'{number} of {address}' for address, number in self._closed.most_common(5))
            print(f'portal: closed connections without a login: {shown}', file=sys.stderr)
            self._closed.clear()
            self._reported_at = now

    def _read_sessions(self) -> None:
        """Closing requires a new reading: a connection may have logged in since the last one."""
        began = time.monotonic()
        self._sessions = self._tgt.session_addresses()
        self._known |= self._sessions
        ended = time.monotonic()
        self._next_reading = ended + _READING_SHARE * (ended - began)

    def _run(self) -> None:
        while not self._stopping.wait(INTERVAL):
            try:
                self.check()
            except ApplianceError:  # tgtd does not answer: the keeper reports that
                continue
            except Exception:  # a bug must not end the thread
                traceback.print_exc()

    # tgtd's sockets

    def _scan(self) -> list[Peer]:
        """Return all connections at the portals, oldest first."""
        if self._pid != self._tgt.life:
            self._pid, self._seen, self._listeners = self._tgt.life, {}, []
            self._blocked.clear()
        found: dict[tuple[int, int], Peer | None] = {}
        for descriptor, inode in self._sockets():
            key = (descriptor, inode)
            found[key] = self._seen[key] if key in self._seen else self._identify(descriptor, inode)
        self._seen = found
        return sorted(filter(None, found.values()), key=lambda peer: peer.since)

    def _sockets(self) -> list[tuple[int, int]]:
        """Return descriptor and inode of each socket; none if tgtd has ended."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for path in Path(f'/proc/{self._pid}/fd').iterdir():
                with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                    status = path.stat()
                    if stat.S_ISSOCK(status.st_mode):
                        found.append((int(path.name), status.st_ino))
        return found

    def _identify(self, descriptor: int, inode: int) -> Peer | None:
        with _unless_closed(), socket_of(self._pid, descriptor) as found:
            if found.family not in (socket.AF_INET, socket.AF_INET6) or found.getsockname()[1] not in self._ports:
                return None
            if found.getsockopt(socket.SOL_SOCKET, _SO_ACCEPTCONN):
                found.listen(BACKLOG)
                self._listeners.append(descriptor)
                return None
            return Peer(descriptor, inode, found.getpeername()[0].partition('%')[0], time.monotonic())
        return None

    def _close(self, peers: list[Peer], number: int) -> None:
        """Shut down this many connections: those that received least, oldest first. tgtd then closes them."""
        for peer in sorted(peers, key=self._received)[:number]:
            with _unless_closed(), socket_of(self._pid, peer.descriptor) as found:
                if os.fstat(found.fileno()).st_ino == peer.inode:
                    found.shutdown(socket.SHUT_RDWR)
        self._closed[peers[0].address] += number

    def _received(self, peer: Peer) -> int:
        with _unless_closed(), socket_of(self._pid, peer.descriptor) as found:
            facts = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED.size)
            return int(_BYTES_RECEIVED.unpack(facts)[0])
        return 0

    def _block(self, excess: Counter[str], now: float) -> None:
        before = set(self._blocked)
        for address in excess:
            self._blocked[address] = now + (BLOCK_KNOWN if self._known[address] else BLOCK_STRANGER)
        self._blocked = {address: until for address, until in self._blocked.items() if until > now}
        if before != set(self._blocked):
            self._filter([*self._blocked][-packet_filter.MOST_ADDRESSES :])

    def _filter(self, addresses: list[str]) -> None:
        for descriptor in self._listeners:
            with socket_of(self._pid, descriptor) as listener:
                packet_filter.drop_from(listener, addresses)
