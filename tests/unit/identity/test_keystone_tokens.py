"""Tokens of an external Keystone: what is remembered, what is refused, and that no answer is never a yes."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.clients import keystone as client_module
from chalicelib.clients.keystone import KeystoneTokens
from chalicelib.context import TokenFacts
from chalicelib.errors import ServiceUnavailable, Unauthorized

from .conftest import Clock
from .fake_keystone import FakeKeystone, Reply, body, serving

NOW = 1795305600.0


@pytest.fixture
def keystone() -> Iterator[FakeKeystone]:
    with serving(FakeKeystone()) as running:
        running.tokens['demo-token'] = body()
        yield running


@pytest.fixture
def tokens(keystone: FakeKeystone, clock: Clock) -> KeystoneTokens:
    return KeystoneTokens(keystone.url, 'cinder', 'top-secret', 'service', clock=clock)


class TestAnswers:
    def test_a_known_token(self, tokens: KeystoneTokens) -> None:
        facts = tokens.validate('demo-token')

        assert facts == TokenFacts('u' * 32, 'p' * 32, frozenset({'member', 'reader'}), 2e9, 'default', 'default')

    def test_it_is_asked_for_under_a_service_token(self, keystone: FakeKeystone, tokens: KeystoneTokens) -> None:
        tokens.validate('demo-token')

        [login] = keystone.logins
        domain = {'name': 'Default'}
        claim = {'name': 'cinder', 'password': 'top-secret', 'domain': domain}
        assert login['auth']['identity'] == {'methods': ['password'], 'password': {'user': claim}}
        assert login['auth']['scope'] == {'project': {'name': 'service', 'domain': domain}}
        method, path, headers = keystone.requests[1]
        assert (method, path) == ('GET', '/v3/auth/tokens?nocatalog=1')
        assert headers['x-auth-token'] == 'service-token-1'
        assert headers['x-subject-token'] == 'demo-token'

    def test_an_unknown_token(self, tokens: KeystoneTokens) -> None:
        with pytest.raises(Unauthorized):
            tokens.validate('forged')

    @pytest.mark.parametrize('token', ['', ' ', 'a b', 'a\nX-Admin: 1', 'a\r', 'é', 'a\x00', 'a' * 8193])
    def test_what_cannot_be_a_token_is_not_sent(
        self, keystone: FakeKeystone, tokens: KeystoneTokens, token: str
    ) -> None:
        with pytest.raises(Unauthorized):
            tokens.validate(token)
        assert keystone.requests == []

    @pytest.mark.parametrize('scope', [{}, {'domain': {'id': 'default'}}, {'system': {'all': True}}])
    def test_a_token_without_a_project(
        self, keystone: FakeKeystone, tokens: KeystoneTokens, scope: dict[str, Any]
    ) -> None:
        keystone.tokens['other'] = body(project_id=None, **scope)

        assert tokens.validate('other').project_id is None

    def test_an_unscoped_token_has_no_roles(self, keystone: FakeKeystone, tokens: KeystoneTokens) -> None:
        unscoped = body(project_id=None)
        del unscoped['token']['roles']
        keystone.tokens['unscoped'] = unscoped

        assert tokens.validate('unscoped').roles == frozenset()

    def test_a_token_that_has_run_out_by_our_clock(self, keystone: FakeKeystone, tokens: KeystoneTokens) -> None:
        keystone.tokens['old'] = body(ends=NOW)

        with pytest.raises(Unauthorized):
            tokens.validate('old')

    def test_a_service_may_ask_for_one_that_has_run_out(self, keystone: FakeKeystone, tokens: KeystoneTokens) -> None:
        keystone.tokens['old'] = body(ends=NOW - 60)

        assert tokens.validate('old', allow_expired=True).expires_at == NOW - 60
        assert keystone.requests[-1][1] == '/v3/auth/tokens?nocatalog=1&allow_expired=1'


class TestMemory:
    def test_a_valid_token_is_asked_for_once_in_five_minutes(
        self, keystone: FakeKeystone, tokens: KeystoneTokens, clock: Clock
    ) -> None:
        for _ in range(3):
            tokens.validate('demo-token')
        clock.now += 299
        tokens.validate('demo-token')
        assert keystone.count('GET') == 1

        clock.now += 1
        tokens.validate('demo-token')
        assert keystone.count('GET') == 2

    def test_a_revocation_is_felt_after_five_minutes(
        self, keystone: FakeKeystone, tokens: KeystoneTokens, clock: Clock
    ) -> None:
        tokens.validate('demo-token')
        del keystone.tokens['demo-token']
        clock.now += 300

        with pytest.raises(Unauthorized):
            tokens.validate('demo-token')

    def test_nothing_is_trusted_past_its_end(
        self, keystone: FakeKeystone, tokens: KeystoneTokens, clock: Clock
    ) -> None:
        keystone.tokens['brief'] = body(ends=NOW + 20)
        tokens.validate('brief')
        clock.now += 20

        with pytest.raises(Unauthorized):
            tokens.validate('brief')

    def test_what_ran_out_is_never_remembered_as_valid(self, keystone: FakeKeystone, tokens: KeystoneTokens) -> None:
        keystone.tokens['old'] = body(ends=NOW - 60)
        tokens.validate('old', allow_expired=True)

        with pytest.raises(Unauthorized):
            tokens.validate('old')
        tokens.validate('old', allow_expired=True)
        assert keystone.count('GET') == 3

    def test_an_unknown_token_is_refused_unasked_for_a_while(
        self, keystone: FakeKeystone, tokens: KeystoneTokens, clock: Clock
    ) -> None:
        for _ in range(3):
            with pytest.raises(Unauthorized):
                tokens.validate('late')
        assert keystone.count('GET') == 1

        keystone.tokens['late'] = body()
        clock.now += 30
        assert tokens.validate('late')

    def test_a_failure_is_not_remembered(self, keystone: FakeKeystone, tokens: KeystoneTokens) -> None:
        keystone.override = lambda method: (500, {}, b'')
        with pytest.raises(ServiceUnavailable):
            tokens.validate('demo-token')
        keystone.override = lambda method: 'as usual'

        assert tokens.validate('demo-token')

    def test_it_is_bounded(
        self, keystone: FakeKeystone, tokens: KeystoneTokens, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client_module, 'CACHE_SIZE', 3)
        for number in range(4):
            keystone.tokens[f'token-{number}'] = body()
            tokens.validate(f'token-{number}')
        asked = keystone.count('GET')

        for number in (1, 2, 3):
            tokens.validate(f'token-{number}')
        assert keystone.count('GET') == asked
        tokens.validate('token-0')
        assert keystone.count('GET') == asked + 1

    def test_it_holds_no_token(self, tokens: KeystoneTokens) -> None:
        tokens.validate('demo-token')

        assert 'demo-token' not in repr(list(tokens._cache._entries.items()))
        assert 'service-token' not in repr(tokens._own)

    def test_what_is_remembered_outlives_a_silent_keystone(
        self, keystone: FakeKeystone, tokens: KeystoneTokens
    ) -> None:
        tokens.validate('demo-token')
        keystone.override = lambda method: (503, {}, b'')

        assert tokens.validate('demo-token')


class TestServiceToken:
    def test_it_is_used_until_shortly_before_its_end(
        self, keystone: FakeKeystone, tokens: KeystoneTokens, clock: Clock
    ) -> None:
        keystone.service_ends = NOW + 3600
        for seconds in (0, 301, 3238):
            clock.now = NOW + seconds
            tokens.validate('demo-token')
        assert len(keystone.logins) == 1

        clock.now = NOW + 3540
        tokens.validate('demo-token')
        assert len(keystone.logins) == 2

    def test_it_is_renewed_when_it_was_revoked(self, keystone: FakeKeystone, tokens: KeystoneTokens) -> None:
        with pytest.raises(Unauthorized):
            tokens.validate('forged')
        keystone.service_tokens.clear()

        assert tokens.validate('demo-token')
        assert len(keystone.logins) == 2

    def test_a_keystone_that_refuses_even_a_new_one(self, keystone: FakeKeystone, tokens: KeystoneTokens) -> None:
        keystone.override = lambda method: (401, {}, b'{}') if method == 'GET' else 'as usual'

        with pytest.raises(ServiceUnavailable, match='refuses the service user cinder to validate tokens'):
            tokens.validate('demo-token')
        assert len(keystone.logins) == 2

    def test_a_service_user_without_the_role(self, keystone: FakeKeystone, tokens: KeystoneTokens) -> None:
        keystone.override = lambda method: (403, {}, b'{}') if method == 'GET' else 'as usual'

        with pytest.raises(ServiceUnavailable, match='status 403: it needs the role service'):
            tokens.validate('demo-token')

    @pytest.mark.parametrize('status', [401, 403])
    def test_a_wrong_password_is_the_operators_fault_and_not_the_users(
        self, keystone: FakeKeystone, tokens: KeystoneTokens, status: int
    ) -> None:
        keystone.override = lambda method: (status, {}, b'{}')

        with pytest.raises(ServiceUnavailable, match='check its password and project') as failure:
            tokens.validate('demo-token')
        assert 'top-secret' not in str(failure.value)

    @pytest.mark.parametrize('headers', [{}, {'X-Subject-Token': ''}, {'X-Subject-Token': 'a b'}])
    def test_a_login_without_a_token(
        self, keystone: FakeKeystone, tokens: KeystoneTokens, headers: dict[str, str]
    ) -> None:
        keystone.override = lambda method: (201, headers, json.dumps(body()).encode())

        with pytest.raises(ServiceUnavailable, match='answered without a token'):
            tokens.validate('demo-token')

    def test_many_threads_log_in_once(self, keystone: FakeKeystone, tokens: KeystoneTokens) -> None:
        names = [f'token-{number}' for number in range(16)]
        keystone.tokens |= {name: body(user=name) for name in names}
        users: dict[str, str] = {}
        start = threading.Barrier(len(names))

        def validate(name: str) -> None:
            start.wait()
            users[name] = tokens.validate(name).user_id

        threads = [threading.Thread(target=validate, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert users == {name: name for name in names}
        assert len(keystone.logins) == 1

    def test_many_threads_renew_a_revoked_one_once(self, keystone: FakeKeystone, tokens: KeystoneTokens) -> None:
        old = tokens._service_token(client_module._new_deadline())
        renewed = []
        threads = [
            threading.Thread(
                target=lambda: renewed.append(tokens._service_token(client_module._new_deadline(), refused=old))
            )
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert {own.text for own in renewed} == {'service-token-2'}
        assert len(keystone.logins) == 2


BROKEN: list[dict[str, Any]] = [
    {'user': None},
    {'user': {}},
    {'user': {'id': 7}},
    {'user': {'id': ''}},
    {'project': {}},
    {'project': {'id': None}},
    {'project': 'demo'},
    {'roles': None},
    {'roles': ['admin']},
    {'roles': [{'id': 'admin'}]},
    {'roles': [{'name': ['admin']}]},
    {'expires_at': None},
    {'expires_at': 2e9},
    {'expires_at': 'never'},
]

UNINTELLIGIBLE = [
    *(b'', b'<html>', b'[]', b'"token"', b'{}', b'{"token": null}', b'{"token": []}', b'[' * 100_000, b'\xff'),
    *(json.dumps(body(**changed)).encode() for changed in BROKEN),
]


class TestFailures:
    @pytest.mark.parametrize('content', UNINTELLIGIBLE)
    def test_an_answer_that_is_no_token(self, keystone: FakeKeystone, tokens: KeystoneTokens, content: bytes) -> None:
        keystone.override = lambda method: (200, {}, content) if method == 'GET' else 'as usual'

        with pytest.raises(ServiceUnavailable):
            tokens.validate('demo-token')

    @pytest.mark.parametrize('status', [201, 204, 300, 409, 413, 429, 500, 502, 503, 504])
    @pytest.mark.parametrize('method', ['GET', 'POST'])
    def test_other_statuses(self, keystone: FakeKeystone, tokens: KeystoneTokens, method: str, status: int) -> None:
        content = json.dumps(body()).encode() if (method, status) == ('GET', 201) else b''
        keystone.override = lambda asked: (status, {}, content) if asked == method else 'as usual'

        with pytest.raises(ServiceUnavailable):
            tokens.validate('demo-token')

    def test_a_redirect_is_not_followed(self, keystone: FakeKeystone, tokens: KeystoneTokens) -> None:
        elsewhere = {'Location': keystone.url + '/elsewhere'}
        keystone.override = lambda method: (302, elsewhere, b'')

        with pytest.raises(ServiceUnavailable, match='302'):
            tokens.validate('demo-token')
        assert [path for _, path, _ in keystone.requests] == ['/v3/auth/tokens?nocatalog=1']

    def test_too_long_an_answer(
        self, keystone: FakeKeystone, tokens: KeystoneTokens, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client_module, 'MAX_ANSWER', 1000)
        keystone.tokens['fat'] = body(catalog=['x' * 1000])

        with pytest.raises(ServiceUnavailable, match='more than 1000 bytes'):
            tokens.validate('fat')

    def test_nobody_listens(self, clock: Clock) -> None:
        with socket.socket() as unused:
            unused.bind(('127.0.0.1', 0))
            port = unused.getsockname()[1]
            tokens = KeystoneTokens(f'http://127.0.0.1:{port}/v3', 'cinder', 'top-secret', 'service', clock=clock)

            with pytest.raises(ServiceUnavailable, match='gave no answer') as failure:
                tokens.validate('demo-token')
        assert 'demo-token' not in str(failure.value)
        assert failure.value.__cause__ is None

    def test_a_dead_connection_is_replaced(self, keystone: FakeKeystone, tokens: KeystoneTokens) -> None:
        replies: list[Reply | str] = ['as usual', None, 'as usual']
        keystone.override = lambda method: replies.pop(0)

        assert tokens.validate('demo-token')
        assert keystone.count('GET') == 2

    def test_a_keystone_that_always_hangs_up(self, keystone: FakeKeystone, tokens: KeystoneTokens) -> None:
        keystone.override = lambda method: None

        with pytest.raises(ServiceUnavailable, match='gave no answer'):
            tokens.validate('demo-token')
        assert len(keystone.requests) == 2

    def test_a_silent_keystone(
        self, keystone: FakeKeystone, tokens: KeystoneTokens, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client_module, 'READ_TIMEOUT', 0.1)
        released = threading.Event()
        keystone.override = lambda method: (503, {}, str(released.wait(10)).encode())

        with pytest.raises(ServiceUnavailable, match='ReadTimeoutError'):
            tokens.validate('demo-token')
        released.set()
        assert len(keystone.requests) == 1

    def test_a_keystone_that_drips(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client_module, 'BUDGET', 0.3)
        stop = threading.Event()
        with socket.create_server(('127.0.0.1', 0)) as server:
            dripping = threading.Thread(target=_drip, args=(server, stop))
            dripping.start()
            url = f'http://127.0.0.1:{server.getsockname()[1]}/v3'
            with pytest.raises(ServiceUnavailable, match=r'did not answer in 0\.3 s'):
                KeystoneTokens(url, 'cinder', 'top-secret', 'service', clock=clock).validate('demo-token')
            stop.set()
            dripping.join()


def _drip(server: socket.socket, stop: threading.Event) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b'HTTP/1.1 201 Created\r\nContent-Length: 100000\r\n\r\n')
        while not stop.wait(0.02):
            try:
                connection.sendall(b' ')
            except OSError:
                return
