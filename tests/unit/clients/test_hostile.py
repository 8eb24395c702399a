"""Whatever a server answers, every client of another service gives up in time, in bounds, with its own error.

One suite for all: Glance, Nova, Barbican and Keystone over HTTP, the appliance's agent and ONTAP over pinned TLS.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance import certificate
from chalicelib import bounded_http
from chalicelib.clients import http, keystone
from chalicelib.clients.barbican import Secrets
from chalicelib.clients.glance import Images
from chalicelib.clients.keystone import KeystoneTokens
from chalicelib.clients.nova import Compute
from chalicelib.drivers import appliance_client, ontap_client, pinning
from chalicelib.errors import (
    BackendUnavailable,
    CinderlessError,
    ImageCopyFailure,
    ServiceUnavailable,
)
from tests.hostile_http import FLOOD, Attack, Hostile, Victim, answer

SECRET = 'a-secret-that-no-message-holds'

#: Bytes that a client may take of a flood: its limit, and what is in the buffers of two sockets.
MOST_TAKEN = (1 << 20) + (12 << 20)


class Tokens:
    def service_token(self, refused: str | None = None) -> str:
        return SECRET


@dataclasses.dataclass(frozen=True)
class Client:
    """``call`` gets the server's host and port, and the fingerprint of its certificate."""

    call: Callable[[str, str], Any]
    unavailable: type[CinderlessError] = ServiceUnavailable
    is_secure: bool = False


def ontap(authority: str, pinned: str) -> ontap_client.Client:
    return ontap_client.Client('ontap', f'https://{authority}', pinned, ('vsadmin', SECRET), 'svm1')


CLIENTS = {
    'glance': Client(lambda at, _: Images(f'http://{at}', Tokens()).get('x')),
    'glance members': Client(lambda at, _: Images(f'http://{at}', Tokens()).is_shared_with('x', 'y') or _none()),
    'nova': Client(lambda at, _: Compute(f'http://{at}', Tokens()).attachment_of('x', 'y')),
    'nova event': Client(
        lambda at, _: Compute(f'http://{at}', Tokens()).send_server_event('volume-extended', ['x'], 'y')
    ),
    'barbican': Client(lambda at, _: Secrets(f'http://{at}', Tokens()).get('x')),
    'barbican create': Client(
        lambda at, _: Secrets(f'http://{at}', Tokens()).create(b'k', algorithm='aes', bit_length=8, mode='x')
    ),
    'keystone': Client(lambda at, _: KeystoneTokens(f'http://{at}/v3', 'u', SECRET, 'p').validate('token')),
    'appliance': Client(
        lambda at, pin: appliance_client.Client('b', f'https://{at}', pin, SECRET).request('GET', '/v1/x'),
        BackendUnavailable,
        is_secure=True,
    ),
    'ontap': Client(lambda at, pin: ontap(at, pin).records('/storage/luns'), BackendUnavailable, is_secure=True),
    'ontap change': Client(lambda at, pin: ontap(at, pin).change('/storage/luns/1', {}), BackendUnavailable, True),
    'ontap make': Client(lambda at, pin: ontap(at, pin).make('/storage/luns', {}), BackendUnavailable, True),
}


def _none() -> NoReturn:
    """A "no" is an answer of this call, and looks like an attack: the caller counts it as the error."""
    raise ServiceUnavailable(reason='no')


@pytest.fixture(scope='module')
def identity(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate.ensure(tmp_path_factory.mktemp('identity'))


#: One for each way in which requests are sent.
SENDERS = ('glance', 'nova', 'barbican', 'keystone', 'appliance', 'ontap')


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


@pytest.fixture(params=SENDERS)
def sender(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


def budgets(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Give every client so many seconds, and one attempt."""
    for module, name in (
        *((http, name) for name in ('BUDGET', 'READ_TIMEOUT')),
        *((keystone, name) for name in ('BUDGET', 'READ_TIMEOUT')),
        *((appliance_client, name) for name in ('BUDGET', 'ATTEMPT')),
        *((ontap_client, name) for name in ('BUDGET', 'ATTEMPT')),
    ):
        monkeypatch.setattr(module, name, seconds)
    monkeypatch.setattr(pinning, 'MAX_ANSWER', 1 << 20)


def attacked(client: Client, attack: Attack, identity: tuple[Path, Path], *, raw: bool = False) -> Hostile:
    """Let the client meet the attack: it must raise its own error, without a secret in it."""
    pinned = certificate.fingerprint(identity[0])
    with (
        Hostile(attack, identity if client.is_secure else None, raw=raw) as server,
        pytest.raises(client.unavailable) as failed,
    ):
        client.call(server.authority, pinned)
    assert SECRET not in str(failed.value)
    return server


HEAD = b'HTTP/1.1 200 OK\r\n'
CHUNKED = HEAD + b'Transfer-Encoding: chunked\r\n\r\n'


def after(head: bytes, then: Callable[[Victim], None]) -> Attack:
    def attack(victim: Victim) -> None:
        victim.send(head)
        then(victim)

    return attack


SLOW: dict[str, Attack] = {
    'never answers': Victim.wait,
    'drips the status line': Victim.drip,
    'drips a header': after(HEAD + b'X-Drip: ', Victim.drip),
    'drips headers': after(HEAD, lambda victim: victim.drip(b'a: b\r\n')),
    'sends continue without end': lambda victim: victim.drip(b'HTTP/1.1 100 Continue\r\n\r\n'),
    'drips a body': after(HEAD + b'Content-Length: 1000000\r\n\r\n', Victim.drip),
    'drips a body without a length': after(HEAD + b'\r\n', Victim.drip),
    'drips chunks': after(CHUNKED, lambda victim: victim.drip(b'1\r\na\r\n')),
    'drips trailers': after(CHUNKED + b'0\r\n', lambda victim: victim.drip(b'a: b\r\n')),
    'stops in the body': after(HEAD + b'Content-Length: 1000000\r\n\r\n{', Victim.wait),
}


@pytest.mark.parametrize('attack', SLOW)
def test_slow_answers_end_at_the_deadline(
    sender: Client, attack: str, identity: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets(monkeypatch, 0.3)
    assert not attacked(sender, SLOW[attack], identity).held


PART = b'a' * 65536

ENDLESS: dict[str, Attack] = {
    'a body': after(HEAD + b'\r\n', lambda victim: victim.flood(PART)),
    'a body of a length beyond memory': after(
        HEAD + b'Content-Length: 1000000000000000\r\n\r\n', lambda victim: victim.flood(PART)
    ),
    'chunks': after(CHUNKED, lambda victim: victim.flood(b'10000\r\n' + PART + b'\r\n')),
    'a chunk of a length beyond memory': after(CHUNKED + b'fffffffffffff\r\n', lambda victim: victim.flood(PART)),
    'a header': after(HEAD + b'X-Flood: ', lambda victim: victim.flood(PART)),
    'headers': after(HEAD, lambda victim: victim.flood(b'a: b\r\n' * 10000)),
    'continues': lambda victim: victim.flood(b'HTTP/1.1 100 Continue\r\n\r\n' * 2000),
    'trailers': after(CHUNKED + b'0\r\n', lambda victim: victim.flood(b'a: b\r\n' * 10000)),
    'an array': after(HEAD + b'\r\n[', lambda victim: victim.flood(b'[],' * 20000)),
}


@pytest.mark.parametrize('attack', ENDLESS)
def test_endless_answers_end_at_a_limit(
    sender: Client, attack: str, identity: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets(monkeypatch, 30.0)
    server = attacked(sender, ENDLESS[attack], identity)
    assert not server.held
    assert server.sent <= 2 * MOST_TAKEN < FLOOD  # one repetition where the connection seemed dead


BOMB = gzip.compress(bytes(32 << 20))

WRONG = {
    'compressed': answer(BOMB, 'Content-Encoding: gzip'),
    'compressed in two ways': answer(BOMB, 'Content-Encoding: gzip, br'),
    'nested beyond the stack': answer(b'[' * 200_000),
    'nested objects': answer(b'{"a":' * 100_000 + b'1' + b'}' * 100_000),
    'nested within the stack': answer(b'[' * 500 + b']' * 500),
    'a number of many digits': answer(b'1' * 100_000),
    'no number': answer(b'{"bit_length": Infinity, "algorithm": NaN}'),
    'no JSON': answer(b'<html></html>'),
    'no UTF-8': answer(b'{"a": "\xff\xfe\xfa"}'),
    'half a surrogate': answer(b'{"error": {"code": "x", "message": "\\uD800"}}', status='500 Oops'),
    'the bytes of half a surrogate': answer(b'{"error": {"code": "x", "message": "\xed\xa0\x80"}}', status='500 Oops'),
    'half a surrogate in UTF-16': answer('{"error": {"code": "\\ud800"}}'.encode('utf-16'), status='500 Oops'),
    'a length that is too large': answer(b'{}', 'Content-Length: 100'),
    'a length that is not a number': answer(b'[]', 'Content-Length: ten'),
    'a negative length': answer(b'[]', 'Content-Length: -1'),
    'two lengths': answer(b'[]', 'Content-Length: 2', 'Content-Length: 3'),
    'a bad chunk': answer(b'zz\r\n{}', 'Transfer-Encoding: chunked'),
    'no status': b'HTTP/1.1 OK\r\n\r\n',
    'HTTP/0.9': b'hello\r\n',
    'nothing': b'',
    'a status beyond all': answer(b'{}', status='999 Beyond'),
    'a redirect': answer(b'{}', 'Location: /elsewhere', status='302 Found'),
    'a switch of protocols': answer(b'{}', 'Upgrade: tls', status='101 Switching'),
    'a server that is out of order': answer(b'{}', status='500 Oops'),
}


@pytest.mark.parametrize('content', WRONG)
def test_wrong_answers_are_refused(
    client: Client, content: str, identity: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets(monkeypatch, 1.5)
    server = attacked(client, lambda victim: victim.send(WRONG[content]), identity)
    assert not server.held


@pytest.mark.parametrize('status', [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(
    sender: Client, status: int, identity: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets(monkeypatch, 1.5)
    with Hostile(lambda victim: victim.send(answer(b'{}'))) as elsewhere:
        sent = answer(b'{}', f'Location: http://{elsewhere.authority}/x', status=f'{status} Elsewhere')
        attacked(sender, lambda victim: victim.send(sent), identity)
    assert elsewhere.requests == 0


#: Fields that some client reads.
NAMES = [
    *('records', '_links', 'next', 'href', 'job', 'uuid', 'error', 'code', 'message', 'id', 'status', 'size', 'tags'),
    *('token', 'user', 'project', 'roles', 'expires_at', 'volumeAttachment', 'attachment_id', 'secret_ref'),
    *('algorithm', 'bit_length', 'events', 'server'),
]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.fixture(scope='module')
def echo(identity: tuple[Path, Path]) -> Any:
    """Two servers, plain and secure, that answer with what is in ``sent``."""
    sent: list[bytes] = [b'']
    with (
        Hostile(lambda victim: victim.send(sent[0])) as plain,
        Hostile(lambda victim: victim.send(sent[0]), identity) as secure,
    ):
        yield sent, plain.authority, secure.authority


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=values, status=st.sampled_from([200, 201, 202, 207, 400, 404, 409, 500]))
def test_any_json_is_an_answer_or_an_error_of_ours(
    client: Client, value: Any, status: int, identity: tuple[Path, Path], echo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets(monkeypatch, 1.5)
    sent, plain, secure = echo
    sent[0] = answer(json.dumps(value).encode(), 'Connection: close', status=f'{status} Sent')
    with contextlib.suppress(CinderlessError, appliance_client.Refused, ontap_client.Refused):
        client.call(secure if client.is_secure else plain, certificate.fingerprint(identity[0]))


@pytest.mark.parametrize('name', ['appliance', 'ontap'])
def test_a_tls_handshake_that_drips(name: str, identity: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A record of 16 KiB, byte by byte."""
    budgets(monkeypatch, 0.3)
    hello = after(b'\x16\x03\x03\x40\x00', Victim.drip)
    assert not attacked(CLIENTS[name], hello, identity, raw=True).held


def test_a_list_of_pages_without_end(identity: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    budgets(monkeypatch, 30.0)
    page = answer(json.dumps({'records': [{}], '_links': {'next': {'href': '/api/storage/luns'}}}).encode())
    with Hostile(lambda victim: victim.send(page), identity) as server, pytest.raises(BackendUnavailable, match='end'):
        ontap(server.authority, certificate.fingerprint(identity[0])).records('/storage/luns')
    assert server.requests == ontap_client.MAX_PAGES


class TestStreams:
    """Images take as long as they take, at a pace."""

    def test_a_download_that_drips(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bounded_http, 'PACE_SECONDS', 0.3)
        with (
            Hostile(after(HEAD + b'Content-Length: 1000000\r\n\r\n', Victim.drip)) as server,
            pytest.raises(ServiceUnavailable, match='broke off'),
            Images(f'http://{server.authority}', Tokens()).data('x') as (_, stream),
        ):
            stream.read(1 << 20)
        assert not server.held

    def test_a_download_at_a_pace_has_no_deadline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, 'BUDGET', 0.2)
        monkeypatch.setattr(bounded_http, 'PACE_BYTES', 8)

        def slow(victim: Victim) -> None:
            victim.send(HEAD + b'Content-Length: 120\r\n\r\n')
            for _ in range(10):
                victim.connection.settimeout(0.05)
                with pytest.raises(TimeoutError):
                    victim.connection.recv(1)
                victim.send(b'a' * 12)

        with Hostile(slow) as server, Images(f'http://{server.authority}', Tokens()).data('x') as (_, stream):
            assert stream.read(1 << 20) == b'a' * 120

    def test_a_reader_that_takes_its_time_is_no_drip(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only waiting counts: a volume may be slower than its image."""
        monkeypatch.setattr(bounded_http, 'PACE_SECONDS', 0.2)
        with (
            Hostile(lambda victim: victim.send(answer(b'a' * 4096))) as server,
            Images(f'http://{server.authority}', Tokens()).data('x') as (_, stream),
        ):
            parts = []
            for _ in range(4):
                time.sleep(0.1)
                parts.append(stream.read(1024))
        assert b''.join(parts) == b'a' * 4096

    @pytest.mark.parametrize('status', ['200 OK', '206 Partial Content'])
    def test_compressed_data_is_refused(self, status: str) -> None:
        sent = answer(BOMB, 'Content-Encoding: gzip', status=status)
        with (
            Hostile(lambda victim: victim.send(sent)) as server,
            pytest.raises(ServiceUnavailable, match='compressed'),
            Images(f'http://{server.authority}', Tokens()).data('x') as (_, stream),
        ):
            stream.read(1)

    def test_an_upload_that_is_not_received(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What does not fit into the buffers of two sockets waits for the server, but not without end."""
        monkeypatch.setattr(bounded_http, 'SEND_SECONDS', 0.3)
        sent: list[int] = []

        def body() -> Any:
            for _ in range(256):
                sent.append(1)
                yield bytes(1 << 20)

        def never_reads(victim: Victim) -> None:
            time.sleep(2.0)

        with Hostile(never_reads) as server, pytest.raises(ServiceUnavailable, match='gave no answer'):
            Images(f'http://{server.authority}', Tokens()).upload('x', 256 << 20, body())
        assert len(sent) < 256

    def test_an_upload_whose_answer_drips(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr('chalicelib.clients.glance.STORE_TIMEOUT', 0.3)
        with Hostile(after(HEAD + b'X-Drip: ', Victim.drip)) as server, pytest.raises(ServiceUnavailable):
            Images(f'http://{server.authority}', Tokens()).upload('x', 4, [b'data'])
        assert not server.held

    def test_an_upload_that_is_refused(self) -> None:
        with (
            Hostile(lambda victim: victim.send(answer(b'', status='413 Too Large'))) as server,
            pytest.raises(ImageCopyFailure, match='413'),
        ):
            Images(f'http://{server.authority}', Tokens()).upload('x', 4, [b'data'])
