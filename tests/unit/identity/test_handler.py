"""The rest of the API: validating and revoking tokens, the catalog, and reading the directory."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from chalicelib.identity.directory import stable_id
from chalicelib.identity.token import MAX_CHAIN, MAX_LENGTH

from .conftest import IDENTITY_URL, VOLUME_URL, Client, Clock

DEMO, ADMIN = stable_id('user', 'demo'), stable_id('user', 'admin')


@pytest.fixture
def admin(client: Client) -> str:
    return client.token('admin', 'admin-password')


@pytest.fixture
def demo(client: Client) -> str:
    return client.token('demo', 'demo-password')


@pytest.fixture
def cinder(client: Client) -> str:
    return client.token('cinder', 'cinder-password', 'admin')


def read(client: Client, path: str, token: str, status: int = 200) -> Any:
    response = client.call('GET', path, token=token)
    assert response.status == status, response.body
    assert response.headers['Content-Type'] == 'application/json'
    return json.loads(response.body)


class TestVersions:
    @pytest.mark.parametrize('path', ['', '/'])
    def test_the_root_offers_v3(self, client: Client, path: str) -> None:
        response = client.call('GET', path)

        assert response.status == 300
        assert response.headers['Location'] == f'{IDENTITY_URL}/'
        [version] = json.loads(response.body)['versions']['values']
        assert version['id'].startswith('v3.')

    @pytest.mark.parametrize('path', ['/v3', '/v3/'])
    def test_v3_describes_itself(self, client: Client, path: str) -> None:
        version = read(client, path, '')['version']

        assert version['status'] == 'stable'
        assert version['links'] == [{'rel': 'self', 'href': f'{IDENTITY_URL}/'}]


class TestTokens:
    def test_a_validated_token_is_as_it_was_issued(self, client: Client) -> None:
        issued = client.call('POST', '/v3/auth/tokens', {'auth': _auth()})
        text = issued.headers['X-Subject-Token']
        shown = client.call('GET', '/v3/auth/tokens', token=text, x_subject_token=text)

        assert shown.body == issued.body
        assert shown.headers['X-Subject-Token'] == text

    def test_nocatalog(self, client: Client, admin: str, demo: str) -> None:
        issued = client.call('POST', '/v3/auth/tokens?nocatalog=', {'auth': _auth()})
        shown = client.call('GET', '/v3/auth/tokens?nocatalog=1', token=admin, x_subject_token=demo)

        assert (issued.status, shown.status) == (201, 200)
        assert 'catalog' not in json.loads(issued.body)['token']
        assert 'catalog' not in json.loads(shown.body)['token']

    def test_head_answers_without_a_body(self, client: Client, admin: str, demo: str) -> None:
        response = client.call('HEAD', '/v3/auth/tokens', token=admin, x_subject_token=demo)

        assert response.status == 200
        assert response.body == b''
        assert client.call('HEAD', '/v3/auth/tokens', token=admin, x_subject_token='forged').status == 404

    def test_who_may_validate(self, client: Client, admin: str, demo: str, cinder: str) -> None:
        def status(caller: str, subject: str) -> int:
            return client.call('GET', '/v3/auth/tokens', token=caller, x_subject_token=subject).status

        assert [status(caller, demo) for caller in (admin, cinder, demo)] == [200, 200, 200]
        assert status(demo, admin) == 403
        assert [status(demo, subject) for subject in ('', 'forged')] == [404, 404]
        assert [status(caller, demo) for caller in ('', 'forged')] == [401, 401]

    def test_expired_subjects_only_when_asked_for(self, client: Client, clock: Clock, demo: str) -> None:
        clock.now += 3600
        admin = client.token('admin', 'admin-password')

        for query, status in [('', 404), ('?allow_expired=0', 404), ('?allow_expired=1', 200)]:
            path = f'/v3/auth/tokens{query}'
            assert client.call('GET', path, token=admin, x_subject_token=demo).status == status

    def test_revocation(self, client: Client, admin: str, demo: str) -> None:
        response = client.call('DELETE', '/v3/auth/tokens', token=demo, x_subject_token=demo)

        assert (response.status, response.body) == (204, b'')
        assert client.call('GET', '/v3/auth/tokens', token=admin, x_subject_token=demo).status == 404
        assert client.call('GET', '/v3/auth/projects', token=demo).status == 401
        assert client.call('GET', '/v3/auth/projects', token=client.token('demo', 'demo-password')).status == 200

    def test_who_may_revoke(self, client: Client, admin: str, demo: str, cinder: str) -> None:
        for caller, status in [(cinder, 403), ('forged', 401), (admin, 204), (admin, 404)]:
            assert client.call('DELETE', '/v3/auth/tokens', token=caller, x_subject_token=demo).status == status

    def test_a_token_dies_with_the_one_it_came_from_and_not_the_other_way(self, client: Client, demo: str) -> None:
        def rescoped(token: str) -> str:
            identity = {'methods': ['token'], 'token': {'id': token}}
            return client.issue({'identity': identity}).headers['X-Subject-Token']

        first, second = rescoped(demo), rescoped(demo)
        grandchild = rescoped(first)
        client.call('DELETE', '/v3/auth/tokens', token=first, x_subject_token=first)
        chain = (demo, second, first, grandchild)
        alive = [client.call('GET', '/v3/auth/projects', token=token).status for token in chain]
        assert alive == [200, 200, 401, 401]

        client.call('DELETE', '/v3/auth/tokens', token=demo, x_subject_token=demo)
        for token in (demo, second, grandchild):
            assert client.call('GET', '/v3/auth/projects', token=token).status == 401

    def test_a_chain_is_bounded(self, client: Client, demo: str) -> None:
        identity: dict[str, Any] = {'methods': ['token'], 'token': {'id': demo}}
        for _ in range(MAX_CHAIN):
            response = client.issue({'identity': identity})
            identity['token'] = {'id': response.headers['X-Subject-Token']}
            assert len(identity['token']['id']) < MAX_LENGTH
        refused = client.call('POST', '/v3/auth/tokens', {'auth': {'identity': identity}})
        assert (refused.status, 'authenticate by password' in refused.body.decode()) == (403, True)


class TestCatalog:
    def test_every_service_at_every_interface(self, client: Client, demo: str) -> None:
        catalog = read(client, '/v3/auth/catalog', demo)['catalog']

        assert [(entry['type'], entry['name']) for entry in catalog] == [
            ('volumev3', 'cinderv3'),
            ('block-storage', 'cinder'),
            ('identity', 'keystone'),
        ]
        for entry, url in zip(catalog, (VOLUME_URL, VOLUME_URL, IDENTITY_URL), strict=True):
            assert [endpoint['interface'] for endpoint in entry['endpoints']] == ['public', 'internal', 'admin']
            assert {endpoint['url'] for endpoint in entry['endpoints']} == {url}
            assert {endpoint['region'] for endpoint in entry['endpoints']} == {'eu-central-1'}

    def test_the_token_carries_it(self, client: Client, demo: str) -> None:
        token = json.loads(client.call('GET', '/v3/auth/tokens', token=demo, x_subject_token=demo).body)['token']

        assert token['catalog'] == read(client, '/v3/auth/catalog', demo)['catalog']

    def test_ids_are_unique(self, client: Client, demo: str) -> None:
        catalog = read(client, '/v3/auth/catalog', demo)['catalog']
        ids = [entry['id'] for entry in catalog] + [one['id'] for entry in catalog for one in entry['endpoints']]

        assert len(set(ids)) == len(ids) == 12

    def test_none_without_a_project(self, client: Client) -> None:
        read(client, '/v3/auth/catalog', client.token('idle', 'idle-password'), status=403)


class TestDirectory:
    def test_own_projects(self, client: Client, demo: str) -> None:
        body = read(client, '/v3/auth/projects', demo)

        assert [project['name'] for project in body['projects']] == ['demo', 'alt_demo']
        assert body['links'] == {'next': None, 'self': f'{IDENTITY_URL}/auth/projects', 'previous': None}
        assert body['projects'][0]['links'] == {'self': f'{IDENTITY_URL}/projects/{"d" * 32}'}

    @pytest.mark.parametrize(
        ('collection', 'names'),
        [
            ('projects', ['admin', 'demo', 'alt_demo', 'closed']),
            ('users', ['admin', 'demo', 'gone', 'idle', 'robot', 'cinder']),
            ('domains', ['Default']),
            ('roles', ['admin', 'manager', 'member', 'reader', 'service']),
            ('services', ['cinderv3', 'cinder', 'keystone']),
        ],
    )
    def test_an_admin_lists_and_shows(self, client: Client, admin: str, collection: str, names: list[str]) -> None:
        body = read(client, f'/v3/{collection}', admin)
        assert [entry['name'] for entry in body[collection]] == names

        for entry in body[collection]:
            shown = read(client, f'/v3/{collection}/{entry["id"]}', admin)
            assert shown == {collection[:-1]: entry}
            assert entry['links']['self'] == f'{IDENTITY_URL}/{collection}/{entry["id"]}'

    def test_projects_of_a_user(self, client: Client, admin: str, demo: str) -> None:
        for token in (admin, demo):
            body = read(client, f'/v3/users/{DEMO}/projects', token)
            assert [project['name'] for project in body['projects']] == ['demo', 'alt_demo']
        assert read(client, '/v3/users/unknown/projects', admin)['projects'] == []

    def test_endpoints_refer_to_their_service(self, client: Client, admin: str) -> None:
        endpoints = read(client, '/v3/endpoints', admin)['endpoints']
        services = {entry['id']: entry['type'] for entry in read(client, '/v3/services', admin)['services']}

        assert sorted(services[endpoint['service_id']] for endpoint in endpoints) == sorted([*services.values()] * 3)

    @pytest.mark.parametrize(
        ('query', 'names'),
        [
            ('name=demo', ['demo']),
            ('name=Demo', []),
            ('name=nowhere', []),
            ('domain_id=default&name=demo', ['demo']),
            ('domain_id=other', []),
            ('enabled=false', ['closed']),
            ('enabled=True&name=closed', []),
            ('colour=red&name=demo', ['demo']),
        ],
    )
    def test_filters(self, client: Client, admin: str, query: str, names: list[str]) -> None:
        body = read(client, f'/v3/projects?{query}', admin)

        assert [entry['name'] for entry in body['projects']] == names
        assert body['links']['self'] == f'{IDENTITY_URL}/projects?{query}'

    def test_a_user_sees_itself_its_project_and_its_domain(self, client: Client, demo: str) -> None:
        assert read(client, f'/v3/users/{DEMO}', demo)['user']['name'] == 'demo'
        assert read(client, '/v3/projects/' + 'd' * 32, demo)['project']['description'] == 'Where demo works'
        assert read(client, '/v3/domains/default', demo)['domain']['name'] == 'Default'

    @pytest.mark.parametrize(
        ('path', 'action'),
        [
            ('/v3/projects', 'list_projects'),
            ('/v3/users?name=admin', 'list_users'),
            ('/v3/roles', 'list_roles'),
            (f'/v3/users/{ADMIN}', 'get_user'),
            (f'/v3/users/{ADMIN}/projects', 'list_user_projects'),
            ('/v3/users/unknown', 'get_user'),
            ('/v3/projects/' + stable_id('project', 'alt_demo'), 'get_project'),
            ('/v3/roles/' + stable_id('role', 'admin'), 'get_role'),
        ],
    )
    def test_a_user_sees_nothing_else(self, client: Client, demo: str, path: str, action: str) -> None:
        message = read(client, path, demo, status=403)['error']['message']

        assert message == f'You are not authorized to perform the requested action: identity:{action}.'

    def test_an_unscoped_token_sees_no_project(self, client: Client) -> None:
        read(client, '/v3/projects/None', client.token('idle', 'idle-password'), status=403)

    def test_an_admin_learns_what_is_not_there(self, client: Client, admin: str) -> None:
        message = read(client, '/v3/projects/nowhere', admin, status=404)['error']['message']

        assert message == 'Could not find project: nowhere.'

    def test_no_answer_holds_a_secret(self, client: Client, admin: str) -> None:
        for collection in ('projects', 'users', 'domains', 'roles', 'services', 'endpoints'):
            shown = json.dumps(read(client, f'/v3/{collection}', admin))
            assert not any(hidden in shown for hidden in ('-password', '$scrypt$', 'kkkk', '-secret'))


PROTECTED = ['auth/tokens', 'auth/projects', 'auth/catalog', 'projects', 'users/x', 'services/y']


@pytest.mark.parametrize('path', PROTECTED)
@pytest.mark.parametrize('token', ['', 'forged'])
def test_everything_else_needs_a_token(client: Client, path: str, token: str) -> None:
    response = client.call('GET', f'/v3/{path}', token=token)

    assert response.status == 401
    assert response.headers['WWW-Authenticate'] == f'Keystone uri="{IDENTITY_URL}"'


@pytest.mark.parametrize(
    'path',
    ['/v2.0/tokens', '/v3/galaxies', '/v3/projects/a/b', '/v3/projects/a/projects', '/v3/auth', '/v4', '/v3/auth/x'],
)
def test_unknown_paths(client: Client, admin: str, path: str) -> None:
    assert read(client, path, admin, status=404)['error']['title'] == 'Not Found'


@pytest.mark.parametrize(
    ('method', 'path'),
    [
        *itertools.product(['POST', 'PATCH', 'PUT', 'DELETE'], ['/v3/projects', '/v3/users/x']),
        ('PUT', '/v3/auth/tokens'),
    ],
)
def test_nothing_is_written(client: Client, admin: str, method: str, path: str) -> None:
    response = client.call(method, path, {}, token=admin)

    assert response.status == 405
    assert b'changed in the document' in response.body


def _auth() -> dict[str, Any]:
    claim = {'name': 'demo', 'domain': {'id': 'default'}, 'password': 'demo-password'}
    return {'identity': {'methods': ['password'], 'password': {'user': claim}}}
