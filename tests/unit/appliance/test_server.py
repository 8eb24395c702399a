"""The HTTPS front: who gets an answer, who does not, and what a driver's own client makes of it."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import admission, certificate
from appliance.keys import Keys
from appliance.server import Server, hang_up, tls_context
from appliance.signing import Verifier
from chalicelib.drivers.appliance_client import Client, Refused
from chalicelib.drivers.pinning import fingerprint
from chalicelib.errors import BackendMisconfigured
from tests.unit.appliance.agent_fixture import GIB, SECRET, Rig
from tests.unit.appliance.agent_fixture import VOLUME as KEY

VOLUME = '/v1/pools/fast/volumes/volume-1'


@pytest.fixture(scope='module')
def identity(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate.ensure(tmp_path_factory.mktemp('identity'))


@pytest.fixture
def running(files: Rig, identity: tuple[Path, Path]) -> Iterator[Server]:
    made = Server(('127.0.0.1', 0), tls_context(*identity), files.appliance, Verifier(Keys(SECRET).requests))
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def client(running: Server, identity: tuple[Path, Path], secret: bytes = SECRET) -> Client:
    pinned = fingerprint(identity[0].read_text())
    return Client('b', 'https://127.0.0.1:{1}'.format(*running.server_address), pinned, secret.decode())


def connect(running: Server) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(('127.0.0.1', running.server_address[1]), timeout=10)
    return context.wrap_socket(plain)


def exchange(running: Server, request: bytes) -> bytes:
    """All that is answered until the connection is closed."""
    with connect(running) as sock:
        sock.sendall(request)
        return b''.join(iter(lambda: sock.recv(65536), b''))


def test_driver_and_agent_agree_on_signatures_and_accounts(
    running: Server, identity: tuple[Path, Path], files: Rig
) -> None:
    ours = client(running, identity)
    made = ours.request('PUT', VOLUME, {'size_bytes': GIB})
    assert made == ours.request('GET', VOLUME) == files.appliance.show(KEY)
    assert ours.account('volume-1', 'e1') == tuple(files.account('e1'))


def test_many_requests_share_a_connection(running: Server, identity: tuple[Path, Path]) -> None:
    ours = client(running, identity)
    before = ours._pool.num_connections
    for _ in range(20):
        ours.request('GET', '/v1/health')
    assert ours._pool.num_connections - before == 1


def test_errors_come_with_their_code(running: Server, identity: tuple[Path, Path]) -> None:
    ours = client(running, identity)
    for path, code in ((VOLUME, 'not_found'), ('/v1/pools/none/objects', 'pool'), ('/v1/nothing', 'route')):
        with pytest.raises(Refused) as refused:
            ours.request('GET', path)
        assert (refused.value.status, refused.value.code) == (404, code)


def test_another_secret_is_refused(running: Server, identity: tuple[Path, Path]) -> None:
    with pytest.raises(Refused) as refused:
        client(running, identity, b'x' * 40).request('GET', '/v1/health')
    assert (refused.value.status, refused.value.code) == (401, 'signature')


def test_another_certificate_is_refused(running: Server) -> None:
    impostor = Client('b', 'https://127.0.0.1:{1}'.format(*running.server_address), 'ab' * 32, SECRET.decode())
    with pytest.raises(BackendMisconfigured, match='certificate'):
        impostor.request('GET', '/v1/health')


def test_a_fault_of_ours_is_no_secret_s_end(
    running: Server, identity: tuple[Path, Path], files: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError('a secret')

    monkeypatch.setattr(files.store, 'size', fail)
    with pytest.raises(Refused) as refused:
        client(running, identity).request('GET', VOLUME)
    assert (refused.value.status, refused.value.code) == (500, 'internal')
    assert 'a secret' not in str(refused.value)


@pytest.mark.parametrize(
    ('request_bytes', 'status'),
    [
        (b'GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 401),
        (b'GET /v1/health HTTP/1.1\r\nAuthorization: Basic YTpi\r\nConnection: close\r\n\r\n', 401),
        (b'GET /v1/../../etc/passwd HTTP/1.0\r\n\r\n', 401),
        (b'POST /v1/health HTTP/1.1\r\n\r\n', 501),
        (b'nonsense\r\n\r\n', 400),
        (b'\x16\x03\x01\x02\x00\r\n\r\n', 400),
        (b'GET ' + b'/' * 70000 + b' HTTP/1.1\r\n\r\n', 414),
        (b'GET / HTTP/1.1\r\n' + b'A: b\r\n' * 200 + b'\r\n', 431),
        (b'GET / HTTP/1.1\r\nA: ' + b'b' * 70000 + b'\r\n\r\n', 431),
        (b'PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n', 400),
        (b'PUT / HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n', 400),
        (b'PUT / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n', 400),
        (b'PUT / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n', 413),
        (b'PUT / HTTP/1.1\r\nContent-Length: ' + b'9' * 5000 + b'\r\n\r\n', 413),
        (b'PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400),
    ],
)
def test_strangers_are_turned_away(running: Server, request_bytes: bytes, status: int) -> None:
    head, _, body = exchange(running, request_bytes).partition(b'\r\n\r\n')
    assert head.split()[:2] == [b'HTTP/1.1', str(status).encode()]
    assert set(json.loads(body)['error']) == {'code', 'message'}


def test_a_request_that_breaks_off_leaves_the_agent_well(
    running: Server, identity: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    for part in (b'', b'GET /v1', b'PUT / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc'):
        with connect(running) as sock:
            sock.sendall(part)
    with socket.create_connection(('127.0.0.1', running.server_address[1])) as plain:
        plain.sendall(b'GET / HTTP/1.1\r\n\r\n')
    assert client(running, identity).request('GET', '/v1/health')['status'] == 'ok'
    assert 'Traceback' not in capfd.readouterr().err


def drip(running: Server, seconds: float) -> threading.Thread:
    """Complete a handshake, and then send a byte at a time, each well before a time-out from byte to byte."""

    def send() -> None:
        with contextlib.suppress(OSError), connect(running) as slow:
            for byte in itertools.cycle(b'x'):
                slow.sendall(bytes([byte]))
                time.sleep(seconds)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


def test_a_deadline_is_for_all_bytes(running: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that never begins a handshake, one that never ends a request; both are dropped in the end."""
    monkeypatch.setattr(admission, 'DEADLINE', 1.0)
    with socket.create_connection(('127.0.0.1', running.server_address[1]), timeout=10) as silent:
        dripping = drip(running, 0.05)
        assert silent.recv(100) == b''
    dripping.join(20)
    assert not dripping.is_alive()


def test_slow_strangers_keep_no_client_waiting(running: Server, identity: tuple[Path, Path]) -> None:
    """More than there are places for, from the client's own address; a client that is new and one that is known."""
    strangers = [drip(running, 0.5) for _ in range(admission.MOST_PENDING + 20)]
    assert client(running, identity).request('GET', '/v1/health')['status'] == 'ok'
    strangers += [drip(running, 0.5) for _ in range(admission.MOST_PENDING)]
    for _ in range(3):
        assert client(running, identity).request('GET', '/v1/health')['status'] == 'ok'
    assert len(running.admission._pending) <= admission.MOST_PENDING
    running.shutdown()
    hang_up([*running.admission._pending])


def test_a_client_that_works_is_not_hung_up(running: Server, identity: tuple[Path, Path]) -> None:
    """Connections with a good signature are bounded, too: the one that is idle longest is closed."""
    clients = [client(running, identity) for _ in range(8)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admission, 'MOST_PROVEN', 4)
        for one in clients * 2:
            assert one.request('GET', '/v1/health')['status'] == 'ok'
    assert len(running.admission._proven) <= 5


def test_no_version_before_tls_1_2(identity: tuple[Path, Path]) -> None:
    assert tls_context(*identity).minimum_version >= ssl.TLSVersion.TLSv1_2


class TestCertificate:
    def test_it_is_made_once_and_its_key_is_nobody_else_s(self, tmp_path: Path) -> None:
        path, key = certificate.ensure(tmp_path)
        first = certificate.fingerprint(path)
        assert certificate.ensure(tmp_path) == (path, key)
        assert certificate.fingerprint(path) == first == fingerprint(path.read_text())
        assert key.stat().st_mode & 0o777 == 0o600

    def test_one_that_was_removed_is_made_anew(self, tmp_path: Path) -> None:
        path, _ = certificate.ensure(tmp_path)
        first = certificate.fingerprint(path)
        path.unlink()
        certificate.ensure(tmp_path)
        assert certificate.fingerprint(path) != first


@pytest.mark.parametrize('name', ['certificate.pem', 'key.pem'])
def test_a_damaged_certificate_or_key_is_named(tmp_path: Path, name: str) -> None:
    pair = certificate.ensure(tmp_path)
    (tmp_path / name).write_text('')
    with pytest.raises(ValueError, match=f'{tmp_path}/{name}'):
        tls_context(*pair)
