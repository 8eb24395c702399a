"""Clients that do not log in, at a real tgtd. The load is bounded: 6,200 connections, which end with the test."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance import portal_guard
from appliance.daemon import Daemon
from appliance.keys import Account
from appliance.portal_guard import PortalGuard
from appliance.targets import Lun, Targets, Wanted
from appliance.tgt import Mode, Op
from chalicelib import iscsi
from chalicelib.drivers.connection_info import iscsi_target
from local.children import free_port

HOST = 'iqn.2026-01.org.example:host'
IQN = 'iqn.2010-10.org.openstack:volume-1'
ACCOUNT = Account('u' * 20, 's' * 16)
SIZE = 64 * 1024**2
ATTACK = 6200

#: From elsewhere, and from the address of a host that is logged in (other tenants of that host, or an address shared).
SOURCES = ['127.0.0.2', '127.0.0.1']


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    image = tmp_path / 'image'
    image.touch()
    with image.open('r+b') as file:
        file.truncate(SIZE)
    made = Daemon(random.randrange(20000, 32000), [f'127.0.0.1:{free_port()}'])
    lun = Lun(str(image), SIZE, 'a-serial', readonly=False, flags='')
    Targets(made.tgt).serve(IQN, Wanted(lun, {ACCOUNT: HOST}))
    yield made
    made.stop()


@pytest.fixture
def guard(daemon: Daemon) -> Iterator[PortalGuard]:
    made = PortalGuard(daemon.tgt, daemon.portals)
    made.start()
    yield made
    made.stop()


def login(daemon: Daemon) -> iscsi.IscsiDevice:
    data = {**iscsi_target(daemon.portals, IQN, 1), 'auth_method': 'CHAP'}
    data |= {'auth_username': ACCOUNT.user, 'auth_password': ACCOUNT.secret}
    return iscsi.open_device(data, initiator=HOST)


def connect(daemon: Daemon, source: str, *, wait: bool = False) -> socket.socket:
    """Open a silent TCP connection; without ``wait`` it may still be connecting."""
    host, _, port = daemon.portals[0].rpartition(':')
    client = socket.socket()
    client.bind((source, 0))
    client.setblocking(wait)
    with contextlib.suppress(BlockingIOError):
        client.connect((host, int(port)))
    return client


def connections(daemon: Daemon) -> int:
    """Sockets of tgtd, of which some are its own."""
    found = 0
    for link in Path(f'/proc/{daemon.process.pid}/fd').iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found += link.readlink().name.startswith('socket:')
    return found


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


@pytest.mark.parametrize('source', SOURCES)
def test_a_flood_of_connections_leaves_hosts_alone(daemon: Daemon, guard: PortalGuard, source: str) -> None:
    """A session reads, and a host logs in, while thousands of connections come and after all of them are closed."""
    with login(daemon) as device, contextlib.ExitStack() as attack:
        for number in range(ATTACK):
            attack.enter_context(connect(daemon, source))
            if number % 100 == 0:
                device.read(0, 4096)
        login(daemon).close()
        assert eventually(lambda: connections(daemon) < 3 * portal_guard.MOST_OF_ONE)
        attack.close()
        assert device.read(0, 4096) == bytes(4096)
        login(daemon).close()
        assert eventually(lambda: connections(daemon) < 20)


@pytest.mark.parametrize('sent', [b'', b'x' * 40, bytes(48) * 20])
def test_a_connection_that_does_not_log_in_is_closed(
    daemon: Daemon, guard: PortalGuard, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """Silent, in the middle of a header, or answered with a reject each time; a session from its address continues."""
    monkeypatch.setattr(portal_guard, 'DEADLINE', 0.5)
    with login(daemon) as device:
        device.read(0, 4096)
        with connect(daemon, '127.0.0.1', wait=True) as client:
            client.settimeout(20)
            client.sendall(sent)
            with contextlib.suppress(ConnectionResetError):  # there was more to read
                while client.recv(4096):
                    pass
        sessions = daemon.tgt.session_addresses()
        assert sessions == {'127.0.0.1': 1}
        assert device.read(0, 4096) == bytes(4096)
        assert daemon.tgt.session_addresses() == sessions


def test_connections_of_sessions_are_not_counted(
    daemon: Daemon, guard: PortalGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portal_guard, 'DEADLINE', 0.5)
    monkeypatch.setattr(portal_guard, 'MOST_OF_ONE', 4)
    with contextlib.ExitStack() as opened:
        devices = [opened.enter_context(login(daemon)) for _ in range(12)]
        before = daemon.tgt.sessions(daemon.tgt.targets()[0].tid)
        time.sleep(2)
        for device in devices:
            device.read(0, 4096)
        assert daemon.tgt.sessions(daemon.tgt.targets()[0].tid) == before


def test_a_tgtd_that_is_started_again_is_watched(
    daemon: Daemon, guard: PortalGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.process.kill()
    daemon.process.wait()
    daemon.start()
    monkeypatch.setattr(portal_guard, 'DEADLINE', 0.5)
    daemon.tgt.call('add a target', Mode.TARGET, Op.NEW, f'targetname={IQN}', tid=1)
    with connect(daemon, '127.0.0.2', wait=True) as client:
        client.settimeout(20)
        assert client.recv(1) == b''


def discover(daemon: Daemon, initiator: str) -> dict[str, str]:
    """What SendTargets answers a client without an account (RFC 7143, appendix C): the targets and their portals."""
    host, _, port = daemon.portals[0].rpartition(':')
    with socket.create_connection((host, int(port)), timeout=10) as client:
        keys = {'InitiatorName': initiator, 'SessionType': 'Discovery', 'AuthMethod': 'None'}
        login = _exchange(client, 0x43, 0x87, keys, bytes(4))
        assert login[0][36:38] == bytes(2)
        _, text = _exchange(client, 0x04, 0x80, {'SendTargets': 'All'}, b'\xff' * 4)
    names = [pair.partition('=')[2] for pair in text.decode().split('\0') if pair]
    return dict(zip(names[::2], names[1::2], strict=True))


def _exchange(
    client: socket.socket, opcode: int, flags: int, keys: dict[str, str], transfer_tag: bytes
) -> tuple[bytes, bytes]:
    text = b''.join(f'{key}={value}\0'.encode() for key, value in keys.items())
    login = opcode == 0x43
    address = bytes.fromhex('00023d0000010000') if login else bytes(8)
    numbers = bytes.fromhex('000000010000000000000001') if login else bytes.fromhex('00000002ffffffff00000001')
    header = bytes([opcode, flags, 0, 0]) + len(text).to_bytes(4, 'big') + address + numbers
    client.sendall(header + bytes(48 - len(header)) + text + bytes(-len(text) % 4))
    stream = client.makefile('rb')
    answer = stream.read(48)
    length = int.from_bytes(answer[5:8], 'big')
    return answer, stream.read(length + -length % 4)[:length].rstrip(b'\0')


def test_discovery_tells_a_client_only_what_is_exported_to_the_name_that_it_gives(
    daemon: Daemon, tmp_path: Path
) -> None:
    """tgt lists the targets whose access list has the initiator's name: never all, and no other host's."""
    other = 'iqn.2010-10.org.openstack:volume-2'
    lun = Lun(str(tmp_path / 'image'), SIZE, 'another-serial', readonly=True, flags='')
    Targets(daemon.tgt).serve(other, Wanted(lun, {Account('v' * 20, 's' * 16): 'iqn.2026-01.org.example:other'}))
    assert discover(daemon, 'iqn.2026-01.org.example:stranger') == {}
    assert discover(daemon, 'ALL') == {}
    assert discover(daemon, HOST) == {IQN: f'{daemon.portals[0]},1'}
