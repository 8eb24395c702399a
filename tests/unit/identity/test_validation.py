"""What a token still grants when the time or the directory has moved on."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from chalicelib.context import TokenFacts
from chalicelib.errors import ServiceUnavailable, Unauthorized
from chalicelib.identity.config import EXPIRED_WINDOW, IdentityConfig
from chalicelib.identity.directory import stable_id
from chalicelib.identity.token import seal, unseal
from chalicelib.identity.validation import StandaloneTokens

from .conftest import Client, Clock, build, document


def refused(config: IdentityConfig, token: str, **options: bool) -> bool:
    try:
        StandaloneTokens(config).validate(token, **options)
    except Unauthorized:
        return True
    return False


def test_a_valid_token_says_who(client: Client, clock: Clock) -> None:
    facts = StandaloneTokens(client.config).validate(client.token('demo', 'demo-password', 'demo'))

    assert facts == TokenFacts(
        stable_id('user', 'demo'), 'd' * 32, frozenset({'member', 'reader'}), clock.now + 3600, 'default', 'default'
    )


def test_an_unscoped_token_has_no_project_and_no_roles(client: Client) -> None:
    facts = StandaloneTokens(client.config).validate(client.token('idle', 'idle-password'))

    assert facts.project_id is None
    assert facts.roles == frozenset()


def test_a_token_ends_to_the_second(client: Client, clock: Clock) -> None:
    token = client.token('demo', 'demo-password')
    clock.now += 3599
    assert not refused(client.config, token)
    clock.now += 1
    assert refused(client.config, token)


def test_a_service_may_use_it_within_the_window(client: Client, clock: Clock) -> None:
    token = client.token('demo', 'demo-password')
    clock.now += 3600 + EXPIRED_WINDOW - 1
    assert not refused(client.config, token, allow_expired=True)
    clock.now += 1
    assert refused(client.config, token, allow_expired=True)


def test_a_revoked_token_stays_revoked_through_the_window(client: Client, clock: Clock) -> None:
    token = client.token('demo', 'demo-password')
    client.call('DELETE', '/v3/auth/tokens', token=token, x_subject_token=token)
    clock.now += 3600

    assert refused(client.config, token, allow_expired=True)


def test_a_new_key_ends_every_token(client: Client, clock: Clock) -> None:
    token = client.token('demo', 'demo-password')

    assert refused(build(clock, {'signing_key': 'l' * 32}), token)


def change(name: str, **keys: Any) -> dict[str, Any]:
    users = document()['users']
    users = [entry | keys if entry['name'] == name else entry for entry in users]
    return {'users': users}


@pytest.mark.parametrize(
    'changed',
    [
        change('demo', enabled=False),
        change('demo', roles={'alt_demo': ['member']}),
        {'users': [], 'application_credentials': []},
        {'projects': [{'name': 'demo', 'id': 'd' * 32, 'enabled': False}, {'name': 'admin'}, {'name': 'alt_demo'}]}
        | change('demo', roles={'demo': ['member']}),
    ],
    ids=['user disabled', 'role lost', 'user gone', 'project disabled'],
)
def test_a_token_dies_with_what_it_rests_on(client: Client, clock: Clock, changed: dict[str, Any]) -> None:
    token = client.token('demo', 'demo-password', 'demo')
    changed.setdefault('application_credentials', [])

    assert refused(build(clock, changed), token)


def test_a_role_that_was_lost_is_lost_at_once(client: Client, clock: Clock) -> None:
    token = client.token('demo', 'demo-password', 'demo')
    now = build(clock, change('demo', roles={'demo': ['reader']}))

    assert StandaloneTokens(now).validate(token).roles == {'reader'}


def test_a_role_that_was_gained_needs_a_new_token(client: Client, clock: Clock) -> None:
    token = client.token('demo', 'demo-password', 'demo')
    now = build(clock, change('demo', roles={'demo': ['admin']}))

    assert StandaloneTokens(now).validate(token).roles == {'member', 'reader'}


def test_a_token_dies_with_its_application_credential(client: Client, clock: Clock) -> None:
    claim = {'id': 'c' * 32, 'secret': 'ci-secret'}
    response = client.issue({'identity': {'methods': ['application_credential'], 'application_credential': claim}})
    token = response.headers['X-Subject-Token']
    assert not refused(client.config, token)

    assert refused(build(clock, {'application_credentials': []}), token)


def issued(client: Client, identity: dict[str, Any], **scope: Any) -> str:
    response = client.issue({'identity': identity, **scope})
    assert response.status == 201, response.body
    return str(response.headers['X-Subject-Token'])


def credentials(**keys: Any) -> dict[str, Any]:
    found = document()['application_credentials']
    return {'application_credentials': [{**found[0], **keys}, *found[1:]]}


def test_a_token_dies_with_the_password_or_secret_that_it_was_issued_for(client: Client, clock: Clock) -> None:
    """Whatever was made from it, too. A user who gets the name of a removed one has another password as well."""
    password = client.token('demo', 'demo-password', 'demo')
    scope = {'scope': {'project': {'id': 'd' * 32}}}
    derived = issued(client, {'methods': ['token'], 'token': {'id': password}}, **scope)
    claim = {'methods': ['application_credential'], 'application_credential': {'id': 'c' * 32, 'secret': 'ci-secret'}}
    by_credential = issued(client, claim)

    users = [user for user in document()['users'] if user['name'] != 'demo']
    new = {'name': 'demo', 'password': 'of-another', 'roles': {'demo': ['admin']}}
    moved = build(clock, {'users': [*users, new]})
    assert [refused(moved, token) for token in (password, derived, by_credential)] == [True, True, False]
    assert refused(moved, password, allow_expired=True)
    moved = build(clock, credentials(secret='another'))
    assert [refused(moved, token) for token in (password, derived, by_credential)] == [False, False, True]


def test_a_token_of_the_release_before_has_no_stamp(client: Client) -> None:
    token = unseal(client.token('demo', 'demo-password', 'demo'), client.config.signing_key)

    assert token.stamp
    assert not refused(client.config, seal(token._replace(stamp=''), client.config.signing_key))


def test_an_unscoped_token_dies_with_its_user(client: Client, clock: Clock) -> None:
    token = client.token('idle', 'idle-password')

    assert refused(build(clock, change('idle', enabled=False)), token)


def test_a_revocation_store_without_an_answer_closes_the_door(client: Client) -> None:
    class Broken:
        def add(self, audit_id: str, until: float) -> None:
            raise ServiceUnavailable(reason='no answer')

        def contains(self, audit_id: str) -> bool:
            raise ServiceUnavailable(reason='no answer')

    token = client.token('demo', 'demo-password')
    config = dataclasses.replace(client.config, revocations=Broken())

    with pytest.raises(ServiceUnavailable):
        StandaloneTokens(config).validate(token)
