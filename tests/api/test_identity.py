"""Where tokens come from: the standalone identity behind the same door, or an external Keystone."""

from __future__ import annotations

import inspect
import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib import aws, config
from chalicelib.api import tokens
from chalicelib.api.identity import PATHS
from chalicelib.identity import handler
from chalicelib.identity.directory import stable_id
from chalicelib.identity.local import local_document
from tests.api.front_door import HOST, Answer, Caller, FrontDoor, match

ENDPOINT = f'https://{HOST}/stage'


@pytest.fixture
def standalone(tables: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    """The door with its own identity, whose document is a secret; a caller without a token."""
    import boto3

    name = f'identity-{uuid.uuid4().hex}'
    boto3.client('secretsmanager').create_secret(Name=name, SecretString=json.dumps(local_document()))
    monkeypatch.setenv('IDENTITY_SECRET', name)
    config.settings.cache_clear()
    aws.forget_documents()
    from app import app

    yield Caller(FrontDoor(app), '', {})
    monkeypatch.undo()
    config.settings.cache_clear()
    aws.forget_documents()


def log_in(caller: Caller, user: str, project: str | None) -> Answer:
    domain = {'name': 'Default'}
    credentials = {'user': {'name': user, 'domain': domain, 'password': user}}
    auth: dict[str, Any] = {'identity': {'methods': ['password'], 'password': credentials}}
    if project:
        auth['scope'] = {'project': {'name': project, 'domain': domain}}
    return caller.post('/auth/tokens', {'auth': auth}, prefix='/identity/v3')


def test_from_a_password_to_a_volume_list(standalone: Caller) -> None:
    answer = log_in(standalone, 'demo', 'demo')
    assert answer.status == 201
    headers = {'X-Auth-Token': answer.headers['x-subject-token']}
    assert standalone.get('/volumes', headers=headers).body == {'volumes': []}
    project = answer.body['token']['project']['id']
    assert standalone.get('/volumes', headers=headers, prefix=f'/v3/{project}').status == 200
    assert standalone.get('/os-services', headers=headers).status == 403


def test_the_catalog_leads_back_to_this_door(standalone: Caller) -> None:
    catalog = log_in(standalone, 'demo', 'demo').body['token']['catalog']
    urls = {service['type']: service['endpoints'][0]['url'] for service in catalog}
    assert urls == {
        'volumev3': f'{ENDPOINT}/v3',
        'block-storage': f'{ENDPOINT}/v3',
        'identity': f'{ENDPOINT}/identity/v3',
        'key-manager': f'{ENDPOINT}/key-manager',
    }


def test_discovery_and_its_challenge(standalone: Caller) -> None:
    assert standalone.get('', prefix='/identity').status == 300
    version = standalone.get('/v3/', prefix='/identity').body['version']
    assert version['links'][0]['href'] == f'{ENDPOINT}/identity/v3/'
    assert standalone.get('/volumes').headers['www-authenticate'] == f'Keystone uri="{ENDPOINT}/identity/v3"'


def test_a_token_of_nothing(standalone: Caller) -> None:
    wrong = log_in(standalone, 'demo', 'admin')
    assert (wrong.status, wrong.body['error']['code']) == (401, 401)
    assert standalone.get('/volumes', headers={'X-Auth-Token': 'x'}).status == 401


def test_a_revoked_token(standalone: Caller) -> None:
    token = log_in(standalone, 'demo', 'demo').headers['x-subject-token']
    headers = {'X-Auth-Token': token, 'X-Subject-Token': token}
    assert standalone.delete('/auth/tokens', headers=headers, prefix='/identity/v3').status == 204
    assert standalone.get('/volumes', headers=headers).status == 401


def test_collections_and_single_entries(standalone: Caller) -> None:
    answer = log_in(standalone, 'admin', 'admin')
    headers = {'X-Auth-Token': answer.headers['x-subject-token']}
    listed = standalone.get('/projects', headers=headers, prefix='/identity/v3').body['projects']
    assert {'admin', 'demo', 'alt_demo', 'service'} == {project['name'] for project in listed}
    one = standalone.get(f'/projects/{listed[0]["id"]}', headers=headers, prefix='/identity/v3')
    assert one.body['project']['id'] == listed[0]['id']
    head = standalone.request('HEAD', '/auth/tokens', headers={**headers, 'X-Subject-Token': headers['X-Auth-Token']},
                              prefix='/identity/v3')  # fmt: skip
    assert (head.status, head.text) == (200, '')


def filled(path: str) -> str:
    return re.sub(r'{(\w+)}', lambda name: {'collection': 'projects', 'inner': 'projects'}.get(name[1], 'x'), path)


def test_every_handler_is_mounted_and_every_mounted_path_is_handled(standalone: Caller) -> None:
    """A handler that no path leads to is dead; its tests would pass all the same."""
    served = {path: set(methods) for path, methods in standalone.door.app.routes.items()}
    for pattern, actions in handler.ROUTES.items():
        path = filled('/'.join(['/identity', *pattern]))
        found = match(tuple(sorted(served)), path)
        assert found is not None, pattern
        assert {*actions, *(['HEAD'] if 'GET' in actions else [])} <= served[found[0]], pattern
    known = {function for actions in handler.ROUTES.values() for function in actions.values()}
    takes = {
        one
        for one in vars(handler).values()
        if inspect.isfunction(one)
        and list(inspect.signature(one).parameters)[:2] == ['request', 'config']
        and str(inspect.signature(one).return_annotation) == 'IdentityResponse'
    }
    assert takes - {handler.handle, handler._dispatch, handler._projects_of} == known
    for path in PATHS:
        sample = filled(path).replace('/projects/x/projects', '/users/x/projects')
        handler._route(tuple(filter(None, sample.split('/'))))


@pytest.mark.parametrize(
    ('path', 'name', 'status'),
    [
        ('/auth/projects', 'projects', 200), ('/auth/catalog', 'catalog', 200), ('/auth/domains', 'domains', 200),
        ('/auth/system', 'system', 200), ('/users/{me}/projects', 'projects', 200),
        ('/users/{me}/groups', 'groups', 200),
        ('/users/{me}', 'user', 200), ('/domains/default', 'domain', 200), ('/projects/{project}', 'project', 200),
        ('/role_assignments?user.id={me}&include_names=1', 'role_assignments', 200),
        ('/role_assignments', 'error', 403), ('/users', 'error', 403), ('/roles', 'error', 403),
        ('/users/{other}/projects', 'error', 403), ('/projects/{project}/nothing', 'error', 404),
    ],
)  # fmt: skip
def test_what_a_member_may_read_of_the_own_account(path: str, name: str, status: int, standalone: Caller) -> None:
    """The requests that Horizon and the openstack CLI send."""
    answer = log_in(standalone, 'demo', 'demo')
    token = answer.body['token']
    ids = {'me': token['user']['id'], 'project': token['project']['id'], 'other': stable_id('user', 'admin')}
    headers = {'X-Auth-Token': answer.headers['x-subject-token']}
    found = standalone.get(path.format(**ids), headers=headers, prefix='/identity/v3')
    assert (found.status, name in found.body) == (status, True), found.text
    assert found.headers['x-openstack-request-id'].startswith('req-')
    if name == 'role_assignments':
        [row] = found.body[name]
        assert (row['role']['name'], row['scope']['project']['name'], row['user']['name']) == ('member', 'demo', 'demo')


def test_with_an_external_keystone(standalone: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    secret = f'keystone-{uuid.uuid4().hex}'
    boto3.client('secretsmanager').create_secret(Name=secret, SecretString='service-password')
    monkeypatch.setenv('KEYSTONE_URL', 'http://127.0.0.1:9/v3')
    monkeypatch.setenv('KEYSTONE_SECRET', secret)
    config.settings.cache_clear()
    assert standalone.get('/v3', prefix='/identity').body['title'] == 'Not Found'
    assert standalone.get('/volumes').headers['www-authenticate'] == 'Keystone uri="http://127.0.0.1:9/v3"'
    refused = standalone.get('/volumes', headers={'X-Auth-Token': 't'})
    assert refused.fault[:2] == ('serviceUnavailable', 503)
    assert 'service-password' not in refused.text
    assert tokens.validator() is tokens.validator()


def test_links_of_a_public_endpoint(standalone: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PUBLIC_ENDPOINT', 'https://block.example/')
    config.settings.cache_clear()
    versions = standalone.get('', prefix='/v3').body['versions']
    assert versions[0]['links'][1]['href'] == 'https://block.example/v3/'
