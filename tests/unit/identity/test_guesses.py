"""Passwords cannot be guessed for long, and a user cannot be locked out by who guesses."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib.identity import guesses
from chalicelib.identity.guesses import (
    AT_ONCE,
    BURST,
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
    return Client(dataclasses.replace(build(clock, document()), guesses=request.param()))


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
    assert (refused.status, refused.headers['Retry-After']) == (429, str(WINDOW))
    assert json.loads(refused.body)['error']['title'] == 'Too Many Requests'
    assert log_in(client, 'admin', 'admin-password', OFFICE).status == 201
    assert log_in(client, 'cinder', 'cinder-password', ATTACKER).status == 201
    clock.now += WINDOW + 1
    assert log_in(client, 'admin', 'admin-password', ATTACKER).status == 201


def test_guesses_that_come_at_once(client: Client, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """No failure is counted before the last of them is let through."""
    with monkeypatch.context() as patch:
        patch.setattr(guesses.Guesses, 'failed', lambda self: None)
        assert guess(client, AT_ONCE + 2) == [401] * AT_ONCE + [429] * 2
    refused = log_in(client, 'admin', 'admin-password', ATTACKER)
    assert (refused.status, refused.headers['Retry-After']) == (429, str(BURST))
    assert log_in(client, 'admin', 'admin-password', OFFICE).status == 201
    clock.now += BURST + 1
    assert log_in(client, 'admin', 'admin-password', ATTACKER).status == 201


def test_logins_that_succeed_are_not_limited(client: Client) -> None:
    """A script that runs a client for each of its calls, on a fast machine."""
    assert {log_in(client, 'admin', 'admin-password', OFFICE).status for _ in range(3 * AT_ONCE)} == {201}
    assert guess(client, PER_PAIR + 1, address=lambda _: OFFICE) == [401] * PER_PAIR + [429]


def test_names_that_do_not_exist_are_refused_alike(client: Client) -> None:
    assert guess(client, PER_PAIR + 1, user='nobody') == guess(client, PER_PAIR + 1, user='admin')


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
