"""POST /v3/auth/tokens: every way in, and every way that must stay shut."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chalicelib.identity import secret
from chalicelib.identity.directory import stable_id
from chalicelib.identity.handler import IdentityResponse

from .conftest import Client, Clock, build, document, password_auth

UNAUTHORIZED = {
    'error': {
        'code': 401,
        'message': 'The request you have made requires authentication.',
        'title': 'Unauthorized',
    }
}
ALT = stable_id('project', 'alt_demo')


def token_of(response: IdentityResponse) -> dict[str, Any]:
    assert response.status == 201, response.body
    return dict(json.loads(response.body)['token'])


def role_names(token: dict[str, Any]) -> list[str]:
    return [role['name'] for role in token.get('roles', [])]


def by_token(token: str, scope: Any = None) -> dict[str, Any]:
    return {'identity': {'methods': ['token'], 'token': {'id': token}}} | ({'scope': scope} if scope else {})


def by_credential(**claim: Any) -> dict[str, Any]:
    return {'identity': {'methods': ['application_credential'], 'application_credential': claim}}


def test_password_and_project(client: Client) -> None:
    token = token_of(client.issue(password_auth('demo', 'demo-password', 'demo')))

    assert token['user'] == {
        'id': stable_id('user', 'demo'),
        'name': 'demo',
        'domain': {'id': 'default', 'name': 'Default'},
        'password_expires_at': None,
    }
    assert token['project'] == {'id': 'd' * 32, 'name': 'demo', 'domain': {'id': 'default', 'name': 'Default'}}
    assert role_names(token) == ['member', 'reader']
    assert token['methods'] == ['password']
    assert len(token['audit_ids']) == 1
    assert token['issued_at'] == '2026-11-22T00:00:00.000000Z'
    assert token['expires_at'] == '2026-11-22T01:00:00.000000Z'


@pytest.mark.parametrize(
    'claim',
    [
        {'id': stable_id('user', 'demo')},
        {'name': 'demo', 'domain': {'id': 'default'}},
        {'name': 'demo', 'domain': {'name': 'Default'}},
    ],
)
@pytest.mark.parametrize('project', [{'id': ALT}, {'name': 'alt_demo', 'domain': {'id': 'default'}}])
def test_users_and_projects_by_id_or_by_name(client: Client, claim: dict[str, Any], project: dict[str, Any]) -> None:
    identity = {'methods': ['password'], 'password': {'user': claim | {'password': 'demo-password'}}}
    token = token_of(client.issue({'identity': identity, 'scope': {'project': project}}))

    assert token['project']['id'] == ALT
    assert role_names(token) == ['reader']


def test_without_a_scope_the_default_project(client: Client) -> None:
    assert token_of(client.issue(password_auth('demo', 'demo-password')))['project']['name'] == 'demo'


@pytest.mark.parametrize('scope', ['unscoped', {'unscoped': {}}])
def test_explicitly_unscoped(client: Client, scope: object) -> None:
    token = token_of(client.issue(password_auth('demo', 'demo-password') | {'scope': scope}))

    assert {'project', 'roles', 'catalog', 'is_domain'}.isdisjoint(token)


def test_without_a_scope_and_a_default_project_unscoped(client: Client) -> None:
    assert 'project' not in token_of(client.issue(password_auth('idle', 'idle-password')))


def test_a_default_project_that_is_lost_gives_an_unscoped_token(clock: Clock) -> None:
    users = document()['users']
    users[1] |= {'default_project': 'admin'}
    token = token_of(Client(build(clock, {'users': users})).issue(password_auth('demo', 'demo-password')))

    assert 'project' not in token


@pytest.mark.parametrize(
    'auth',
    [
        password_auth('demo', 'wrong', 'demo'),
        password_auth('demo', '', 'demo'),
        password_auth('unknown', 'demo-password', 'demo'),
        password_auth('unknown', '', 'demo'),
        password_auth('gone', 'gone-password', 'demo'),
        password_auth('robot', '', 'demo'),
        password_auth('demo', 'demo-password', 'admin'),
        password_auth('demo', 'demo-password', 'closed'),
        password_auth('demo', 'demo-password', 'nowhere'),
        by_token('forged'),
        by_credential(id='c' * 32, secret='wrong'),
        by_credential(id='nothing', secret='ci-secret'),
        by_credential(name='ci', user={'id': stable_id('user', 'robot')}, secret='ci-secret'),
    ],
)
def test_every_refusal_says_the_same(client: Client, auth: dict[str, Any]) -> None:
    response = client.issue(auth)

    assert response.status == 401
    assert json.loads(response.body) == UNAUTHORIZED
    assert response.headers['WWW-Authenticate'] == 'Keystone uri="http://cloud.test/identity/v3"'
    assert 'X-Subject-Token' not in response.headers


def test_an_unknown_user_costs_a_comparison_too(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def never(stored: str, claimed: str) -> bool:
        compared.append(stored)
        return False

    monkeypatch.setattr(secret, 'matches', never)
    for auth in (password_auth('unknown', 'x'), password_auth('demo', 'x'), by_credential(id='nothing', secret='x')):
        client.issue(auth)

    assert len(compared) == 3
    assert all(secret.is_hash(stored) for stored in compared)


def test_who_has_not_proved_an_identity_learns_nothing_of_scopes(client: Client) -> None:
    for scope in ({'system': {'all': True}}, {'project': {'id': 'nowhere'}}):
        assert json.loads(client.issue(password_auth('demo', 'wrong') | {'scope': scope}).body) == UNAUTHORIZED


@pytest.mark.parametrize('scope', [{'domain': {'id': 'default'}}, {'system': {'all': True}}, {'OS-TRUST:trust': {}}])
def test_scopes_without_roles_are_refused_clearly(client: Client, scope: dict[str, Any]) -> None:
    response = client.issue(password_auth('admin', 'admin-password') | {'scope': scope})

    assert response.status == 401
    assert b'request a project scope' in response.body


def user(**claim: Any) -> dict[str, Any]:
    return {'identity': {'methods': ['password'], 'password': {'user': claim}}}


@pytest.mark.parametrize(
    ('auth', 'missing'),
    [
        ({}, 'identity in auth'),
        ({'identity': []}, 'identity in auth'),
        ({'identity': {}}, 'one of password, token, application_credential in identity methods'),
        ({'identity': {'methods': 'password'}}, 'in identity methods'),
        ({'identity': {'methods': []}}, 'in identity methods'),
        ({'identity': {'methods': ['totp']}}, 'in identity methods'),
        ({'identity': {'methods': [['password']]}}, 'in identity methods'),
        ({'identity': {'methods': ['password', 'token']}}, 'in identity methods'),
        ({'identity': {'methods': ['password']}}, 'password in identity'),
        ({'identity': {'methods': ['password'], 'password': {}}}, 'user in password'),
        (user(name='demo', password='x'), 'domain in user'),
        (user(name='demo', domain={}, password='x'), 'name in domain'),
        (user(domain={'id': 'default'}, password='x'), 'name in user'),
        (user(id=7, password='x'), 'id in user, as a string'),
        (user(id='x'), 'password in user'),
        (user(id='x', password=7), 'password in user, as a string'),
        (by_token(7), 'id in token'),  # type: ignore[arg-type]
        (by_credential(id='c' * 32), 'secret in application_credential'),
        (by_credential(name='ci', secret='x'), 'user in application_credential'),
        (password_auth('demo', 'demo-password') | {'scope': {'galaxy': {}}}, 'project or unscoped in scope'),
        (password_auth('demo', 'demo-password') | {'scope': {}}, 'project or unscoped in scope'),
        (password_auth('demo', 'demo-password') | {'scope': 'all'}, 'project or unscoped in scope'),
        (password_auth('demo', 'demo-password') | {'scope': {'project': {'name': 'demo'}}}, 'domain in project'),
    ],
)
def test_a_body_of_the_wrong_shape(client: Client, auth: dict[str, Any], missing: str) -> None:
    response = client.issue(auth)

    assert response.status == 400
    assert json.loads(response.body)['error']['message'].startswith('Expecting to find')
    assert missing in json.loads(response.body)['error']['message']


@pytest.mark.parametrize('body', [b'', b'{', b'[]', b'"auth"', b'null', b'\xff', b'{"auth": 7}', b'[' * 100_000])
def test_a_body_that_is_no_json_object(client: Client, body: bytes) -> None:
    assert client.call('POST', '/v3/auth/tokens', body).status == 400


def test_a_body_that_is_too_large(client: Client) -> None:
    response = client.call('POST', '/v3/auth/tokens', b' ' * 114689)

    assert response.status == 400
    assert b'send at most 114688' in response.body


class TestRescoping:
    def test_to_another_project(self, client: Client, clock: Clock) -> None:
        first = token_of(client.issue(password_auth('demo', 'demo-password')))
        text = client.token('demo', 'demo-password')
        clock.now += 600
        token = token_of(client.issue(by_token(text, {'project': {'id': ALT}})))

        assert token['project']['id'] == ALT
        assert role_names(token) == ['reader']
        assert token['methods'] == ['token', 'password']
        assert token['issued_at'] == '2026-11-22T00:10:00.000000Z'
        assert token['expires_at'] == first['expires_at']

    def test_the_audit_chain_leads_to_the_first_token(self, client: Client) -> None:
        response = client.issue(password_auth('demo', 'demo-password'))
        first, text = token_of(response), response.headers['X-Subject-Token']
        for _ in range(3):
            response = client.issue(by_token(text, {'project': {'id': ALT}}))
            text = response.headers['X-Subject-Token']
            own, root = token_of(response)['audit_ids']
            assert root == first['audit_ids'][0] != own

    def test_not_to_a_project_without_a_role(self, client: Client) -> None:
        text = client.token('demo', 'demo-password')
        scope = {'project': {'name': 'admin', 'domain': {'id': 'default'}}}

        assert client.issue(by_token(text, scope)).status == 401

    def test_not_with_an_expired_token(self, client: Client, clock: Clock) -> None:
        text = client.token('demo', 'demo-password')
        clock.now += 3600

        assert client.issue(by_token(text)).status == 401


class TestApplicationCredentials:
    @pytest.mark.parametrize(
        'claim',
        [
            {'id': 'c' * 32},
            {'name': 'ci', 'user': {'id': stable_id('user', 'demo')}},
            {'name': 'ci', 'user': {'name': 'demo', 'domain': {'id': 'default'}}},
        ],
    )
    def test_by_id_or_by_name(self, client: Client, claim: dict[str, Any]) -> None:
        token = token_of(client.issue(by_credential(**claim, secret='ci-secret')))

        assert token['user']['name'] == 'demo'
        assert token['project']['name'] == 'demo'
        assert role_names(token) == ['reader']
        assert token['methods'] == ['application_credential']
        assert token['application_credential'] == {'id': 'c' * 32, 'name': 'ci', 'restricted': True}

    def test_requests_no_scope(self, client: Client) -> None:
        auth = by_credential(id='c' * 32, secret='ci-secret') | {'scope': {'project': {'id': 'd' * 32}}}

        assert client.issue(auth).status == 401

    def test_its_token_buys_no_other(self, client: Client) -> None:
        text = client.issue(by_credential(id='c' * 32, secret='ci-secret')).headers['X-Subject-Token']

        assert client.issue(by_token(text)).status == 403
        assert client.issue(by_token(text, {'project': {'id': ALT}})).status == 403

    def test_its_token_ends_with_it(self, client: Client, clock: Clock) -> None:
        brief = by_credential(name='brief', user={'id': stable_id('user', 'robot')}, secret='brief-secret')
        assert token_of(client.issue(brief))['expires_at'] == '2026-11-22T00:10:00.000000Z'
        clock.now += 600

        assert client.issue(brief).status == 401

    def test_nothing_is_left_of_it_when_its_user_has_lost_its_roles(self, clock: Clock) -> None:
        users = document()['users']
        users[1] |= {'roles': {}, 'default_project': None}
        client = Client(build(clock, {'users': users}))

        assert client.issue(by_credential(id='c' * 32, secret='ci-secret')).status == 401
