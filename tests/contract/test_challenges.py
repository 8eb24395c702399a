"""CVE-2024-45751: challenges of a repaired tgtd, and of one that takes them from rand() without a seed."""

from __future__ import annotations

import ctypes
import random
import socket
import threading
from collections.abc import Iterator

import pytest

from appliance import challenges
from appliance.daemon import Daemon
from appliance.errors import Unavailable
from appliance.tgt import Tgt
from local.children import free_port


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon(random.randrange(20000, 32000), [f'127.0.0.1:{free_port()}'])
    yield made
    made.stop()


class OldPortal:
    """Two login exchanges as tgt before 1.0.93 answers them; ``logins`` were made before."""

    def __init__(self, logins: int) -> None:
        self._libc = ctypes.CDLL(None)
        self._libc.srand(1)
        self.given = [self._challenge() for _ in range(logins + 1)][-1]
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.name = '127.0.0.1:{1}'.format(*self._listener.getsockname())
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _challenge(self) -> bytes:
        """tgt's chap_initiator_auth_create_challenge."""
        size = self._libc.rand() % 512 + 512
        return bytes(self._libc.rand() & 0xFF for _ in range(size))

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, self._listener:
            for text in ('AuthMethod=CHAP\0', f'CHAP_A=5\0CHAP_I=1\0CHAP_C=0x{self.given.hex()}\0'):
                header = challenges._receive(connection, 48)
                size = int.from_bytes(header[5:8], 'big')
                challenges._receive(connection, size + -size % 4)
                answer = bytearray(48)
                answer[0], answer[5:8] = 0x23, len(text).to_bytes(3, 'big')
                connection.sendall(bytes(answer) + text.encode() + bytes(-len(text) % 4))

    def end(self) -> None:
        self._thread.join(10)


def test_a_repaired_tgtd_is_taken_and_nothing_is_left(daemon: Daemon) -> None:
    for _ in range(2):
        challenges.check(daemon.tgt, daemon.portals[0])
    assert daemon.tgt.targets() == []


def test_challenges_of_two_tgtds_differ(daemon: Daemon) -> None:
    initiator, given = 'iqn.2026-01.org.example:probe', []
    other = Daemon(random.randrange(20000, 32000), [f'127.0.0.1:{free_port()}'])
    try:
        for one in (daemon, other):
            with challenges._target(one.tgt, initiator):
                given.append(challenges.challenge(one.portals[0], initiator))
    finally:
        other.stop()
    assert given[0] != given[1]
    assert all(len(one) >= 16 for one in given)


@pytest.mark.parametrize('logins', [0, 1, 100])
def test_challenges_that_are_known_beforehand_are_refused(daemon: Daemon, logins: int) -> None:
    """At its first login, and at a tgtd that went on for a while."""
    old = OldPortal(logins)
    with pytest.raises(Unavailable, match=r'CVE-2024-45751.*1\.0\.93.*deb12u1'):
        challenges.check(daemon.tgt, old.name)
    old.end()
    assert daemon.tgt.targets() == []


def test_a_portal_that_does_not_answer_is_unavailable(daemon: Daemon) -> None:
    with pytest.raises(Unavailable, match='does not answer a login'):
        challenges.check(daemon.tgt, f'127.0.0.1:{free_port()}')
    assert daemon.tgt.targets() == []


def test_a_probe_that_a_crash_left_is_removed(daemon: Daemon) -> None:
    def crash(tgt: Tgt) -> None:
        with challenges._target(tgt, 'iqn.2026-01.org.example:probe'):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(challenges, '_remove', lambda tgt: None)
        with pytest.raises(KeyboardInterrupt):
            crash(daemon.tgt)
    assert len(daemon.tgt.targets()) == 1
    challenges.check(daemon.tgt, daemon.portals[0])
    assert daemon.tgt.targets() == []
