"""Passwords cannot be guessed for long, and a user cannot be locked out by who guesses."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chalicelib.errors import ServiceUnavailable, TooManyGuesses
from chalicelib.identity import authentication, guesses
from chalicelib.identity.guesses import (
    AT_ONCE,
    PAUSE,
    PER_ADDRESS,
    PER_PAIR,
    PER_USER,
    WINDOW,
    GuessStore,
    InMemoryGuesses,
)
from chalicelib.identity.handler import IdentityRequest, IdentityResponse, handle
from chalicelib.models.revocation import Guesses as StoredGuesses
from tests.api.memory import cloud_in_memory

from .conftest import Client, Clock, build, document, password_auth

OFFICE, ATTACKER = '192.0.2.7', '198.51.100.9'


@pytest.fixture(scope='module')
def tables() -> Iterator[None]:
    with cloud_in_memory():
        yield


@pytest.fixture(params=[InMemoryGuesses, StoredGuesses])
def client(request: Any, clock: Clock, tables: None) -> Client:
    from tests.api import memory

    memory.empty()
    store = InMemoryGuesses(clock) if request.param is InMemoryGuesses else StoredGuesses()
    return Client(dataclasses.replace(build(clock, document()), guesses=store))


def log_in(client: Client, user: str, password: str, address: str) -> IdentityResponse:
    body = json.dumps({'auth': password_auth(user, password)}).encode()
    return handle(IdentityRequest('POST', '/v3/auth/tokens', body=body, address=address), client.config)


def guess(
    client: Client, times: int, user: str = 'admin', address: Callable[[int], str] = lambda _: ATTACKER
) -> list[int]:
    return [log_in(client, user, f'guess-{number}', address(number)).status for number in range(times)]


def test_an_address_has_few_guesses_at_a_user(client: Client, clock: Clock) -> None:
    assert guess(client, PER_PAIR + 2) == [401] * PER_PAIR + [429] * 2
    refused = log_in(client, 'admin', 'admin-password', ATTACKER)
    assert (refused.status, 0 < int(refused.headers['Retry-After']) <= WINDOW) == (429, True)
    assert json.loads(refused.body)['error']['title'] == 'Too Many Requests'
    assert log_in(client, 'admin', 'admin-password', OFFICE).status == 201
    assert log_in(client, 'cinder', 'cinder-password', ATTACKER).status == 201
    clock.now += WINDOW + 1
    assert log_in(client, 'admin', 'admin-password', ATTACKER).status == 201


def at_once(client: Client, times: int, user: Callable[[int], str], address: Callable[[int], str]) -> list[int]:
    """Guess in so many threads; no password is compared before all attempts were let through or refused."""
    let_through, barrier = authentication.secret.matches, threading.Barrier(times, timeout=20)
    waited = threading.local()

    def arrive() -> None:
        if not getattr(waited, 'done', False):
            waited.done = True
            barrier.wait()

    def compare(stored: Any, password: str) -> bool:
        arrive()
        return let_through(stored, password)

    def attempt(number: int) -> int:
        waited.done = False
        status = log_in(client, user(number), 'wrong', address(number)).status
        arrive()
        return status

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(times) as pool:
        patch.setattr(authentication.secret, 'matches', compare)
        return sorted(pool.map(attempt, range(times)))


@pytest.mark.parametrize(
    ('most', 'user', 'address'),
    [
        (AT_ONCE, lambda _: 'admin', lambda _: ATTACKER),
        (PER_ADDRESS, lambda number: f'user-{number}', lambda _: ATTACKER),
        (PER_USER, lambda _: 'admin', lambda number: f'203.0.113.{number}'),
    ],
    ids=['pair', 'address', 'user'],
)
def test_guesses_in_parallel_exceed_no_limit(
    client: Client, clock: Clock, most: int, user: Callable[[int], str], address: Callable[[int], str]
) -> None:
    statuses = at_once(client, most + 9, user, address)
    assert statuses == [401] * most + [429] * 9
    clock.now += WINDOW
    assert log_in(client, 'admin', 'admin-password', address(0)).status == 201


def test_an_attempt_that_never_ends_counts_for_its_window(
    client: Client, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a function that was killed."""
    with monkeypatch.context() as patch:
        patch.setattr(guesses.Guesses, 'failed', lambda self: None)
        assert guess(client, AT_ONCE + 2) == [401] * AT_ONCE + [429] * 2
    clock.now += WINDOW
    assert log_in(client, 'admin', 'admin-password', ATTACKER).status == 201


def test_a_refused_attempt_gives_back_what_it_took(client: Client, clock: Clock) -> None:
    store: GuessStore = client.config.guesses
    for _ in range(3 * PER_ADDRESS):
        one = guesses.Guesses(store, 'admin', ATTACKER, clock())
        one.begin()
        one.ended()
    for _ in range(AT_ONCE):
        guesses.Guesses(store, 'demo', ATTACKER, clock()).begin()
    (taken, _) = store.read([guesses._key('address', ATTACKER, str(int(clock() // WINDOW)))])[0]
    with pytest.raises(TooManyGuesses) as refused:
        guesses.Guesses(store, 'other', ATTACKER, clock()).begin()
    assert (taken, refused.value.facts['seconds'] > PAUSE) == (PER_ADDRESS, True)


def test_a_right_password_without_a_scope_is_no_failure(client: Client) -> None:
    body = {'auth': password_auth('admin', 'admin-password') | {'scope': 'nonsense'}}
    sent = IdentityRequest('POST', '/v3/auth/tokens', body=json.dumps(body).encode(), address=ATTACKER)
    assert {handle(sent, client.config).status for _ in range(3 * AT_ONCE)} == {400}
    assert log_in(client, 'admin', 'admin-password', ATTACKER).status == 201


def test_a_counter_that_is_not_released_fails_no_login(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    store: GuessStore = client.config.guesses
    add = store.add

    def refuse(key: str, amount: int, *rest: Any) -> bool:
        if amount < 0:
            raise ServiceUnavailable(reason='no answer')
        return add(key, amount, *rest)

    monkeypatch.setattr(store, 'add', refuse)
    assert log_in(client, 'admin', 'admin-password', OFFICE).status == 201


def test_memory_is_pruned(clock: Clock) -> None:
    store = InMemoryGuesses(clock)
    for number in range(1000):
        store.add(f'key-{number}', 1, clock() + 10)
        clock.now += 1
    assert len(store._counts) <= 10


def test_logins_that_succeed_are_not_limited(client: Client) -> None:
    """A script that runs a client for each of its calls, on a fast machine."""
    assert {log_in(client, 'admin', 'admin-password', OFFICE).status for _ in range(3 * AT_ONCE)} == {201}
    assert guess(client, PER_PAIR + 1, address=lambda _: OFFICE) == [401] * PER_PAIR + [429]


def test_names_that_do_not_exist_are_refused_alike(client: Client) -> None:
    assert guess(client, PER_PAIR + 1, user='unknown') == guess(client, PER_PAIR + 1, user='admin')


def test_an_address_has_few_guesses_at_all(client: Client) -> None:
    assert log_in(client, 'demo', 'demo-password', ATTACKER).status == 201
    statuses = [log_in(client, f'user-{number}', 'x', ATTACKER).status for number in range(PER_ADDRESS + 2)]
    assert statuses == [401] * PER_ADDRESS + [429] * 2
    assert log_in(client, 'admin', 'admin-password', ATTACKER).status == 429
    assert log_in(client, 'demo', 'demo-password', ATTACKER).status == 201  # who was there before


def test_guesses_from_everywhere_do_not_lock_a_user_out(client: Client) -> None:
    assert log_in(client, 'admin', 'admin-password', OFFICE).status == 201
    statuses = guess(client, PER_USER + 1, address=lambda number: f'203.0.113.{number}')
    assert statuses == [401] * PER_USER + [429]
    assert log_in(client, 'admin', 'admin-password', ATTACKER).status == 429
    assert log_in(client, 'admin', 'admin-password', OFFICE).status == 201


def test_a_host_has_one_address_of_ipv6(client: Client) -> None:
    statuses = guess(client, PER_PAIR + 1, address=lambda number: f'2001:db8:1:2::{number:x}')
    assert statuses[-1] == 429


def test_a_host_of_ipv4_has_one_address_in_either_form(client: Client) -> None:
    """A server that listens on :: sees ::ffff:192.0.2.1: all hosts of IPv4 are in one /64 of that form."""
    guess(client, PER_PAIR, address=lambda number: '::ffff:192.0.2.1')
    assert guess(client, 1, address=lambda number: '192.0.2.1') == [429]
    assert guess(client, 1, address=lambda number: '::ffff:192.0.2.2') == [401]
    assert guess(client, 1, address=lambda number: 'fe80::1%eth0') == [401]


def test_secrets_of_application_credentials_count_too(client: Client) -> None:
    credential = {'id': 'c' * 32, 'secret': 'wrong'}
    identity = {'methods': ['application_credential'], 'application_credential': credential}
    statuses = [client.issue({'identity': identity}).status for _ in range(PER_PAIR + 1)]
    assert statuses == [401] * PER_PAIR + [429]


def test_what_is_not_looked_at_gives_no_more_guesses(client: Client) -> None:
    """A name beside the id, another domain beside the name, a section of another method."""
    id = next(iter(client.config.directory.users))
    passwords: list[dict[str, Any]] = [{'id': id, 'name': f'junk-{number}'} for number in range(PER_PAIR + 1)]
    by_password = [{'methods': ['password'], 'password': {'user': {**user, 'password': 'x'}}} for user in passwords]
    assert [client.issue({'identity': one}).status for one in by_password] == [401] * PER_PAIR + [429]
    credential = {'id': 'c' * 32, 'secret': 'wrong'}
    by_credential = [
        {
            'methods': ['application_credential'],
            'application_credential': {**credential, **user},
            'password': {'user': user},
        }
        for user in ({'name': f'junk-{number}'} for number in range(PER_PAIR + 1))
    ]
    assert [client.issue({'identity': one}).status for one in by_credential] == [401] * PER_PAIR + [429]
    names = [{'name': 'demo', 'domain': {'name': f'd-{number}'}, 'password': 'x'} for number in range(PER_PAIR + 1)]
    by_name = [{'methods': ['password'], 'password': {'user': user}} for user in names]
    assert [client.issue({'identity': one}).status for one in by_name] == [401] * PER_PAIR + [429]


def test_what_is_refused_adds_nothing(client: Client, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    guess(client, PER_PAIR)
    store: GuessStore = client.config.guesses
    monkeypatch.setattr(store, 'add', lambda *_: pytest.fail('state grows'))
    guess(client, 5)


def test_a_token_is_no_guess(client: Client) -> None:
    guess(client, PER_PAIR + 1)
    identity = {'methods': ['token'], 'token': {'id': 'forged'}}
    assert [client.issue({'identity': identity}).status for _ in range(PER_PAIR + 1)] == [401] * (PER_PAIR + 1)


@pytest.mark.parametrize(
    'body',
    [
        {}, {'auth': None}, {'auth': {'identity': []}}, {'auth': {'identity': {'password': 'x'}}},
        {'auth': {'identity': {'password': {'user': 'x'}}}}, {'auth': {'identity': {'application_credential': 1}}},
    ],
)  # fmt: skip
def test_a_body_that_names_no_user(client: Client, body: Any) -> None:
    assert client.call('POST', '/v3/auth/tokens', body).status == 400


def test_keys_hold_no_names() -> None:
    assert 'admin' not in guesses._key('user', 'admin')
