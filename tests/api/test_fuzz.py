"""No request causes a server error: bodies near each schema, queries near the documented ones, odd headers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib import aws, config
from chalicelib.api.resource import Route
from chalicelib.api.resources import routes
from chalicelib.api.schema import at
from chalicelib.identity.local import local_document
from tests.api.front_door import Caller, FrontDoor
from tests.api.records import Records
from tests.api.test_routes import name
from tests.api.test_schema import bodies

TABLE = routes()

TEXTS = st.one_of(
    st.sampled_from(
        ['', '0', '-1', '1', 'true', 'None', 'x', "{'a':'b'}", '[', 'a' * 300, 'gt:x', '9' * 30, '\x00', 'é']
    ),
    st.text(max_size=12),
)
NAMES = (
    'limit marker offset sort sort_key sort_dir with_count all_tenants name status metadata bootable size created_at '
    'volume_id extra_specs is_public detail usage host binary cascade force project_id resource foo name~ sort~'
)
QUERIES = st.dictionaries(st.sampled_from(NAMES.split(' ')), TEXTS, max_size=3)
VERSIONS = st.integers(0, 71).map(lambda minor: f'volume 3.{minor}')
IDS = st.one_of(
    st.just('own'), st.sampled_from(['x', '..', '%', 'a' * 300, 'default', str(uuid.uuid4())]), st.text(min_size=1)
)


def loose(route: Route) -> st.SearchStrategy[Any]:
    """Bodies near the route's schema, and anything at all."""
    anything = st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
        max_leaves=6,
    )
    named = st.fixed_dictionaries({route.action: anything}) if route.action else anything
    near = bodies(at(route.schema.schema, route.until)) if route.schema else anything
    return st.one_of(near, named, anything)


@pytest.fixture
def own(make: Records) -> dict[str, str]:
    """Collection -> an id that exists."""
    volume, attachment = make.attached()
    return {
        'volumes': volume.id, 'attachments': attachment.id, 'snapshots': make.snapshot(make.volume()).id,
        'backups': make.backup().id, 'types': make.type().id, 'messages': make.message().id,
    }  # fmt: skip


@pytest.mark.parametrize('route', TABLE, ids=name)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_server_error(route: Route, door: FrontDoor, project: str, own: dict[str, str], data: st.DataObject) -> None:
    from tests.api.front_door import event

    collection = route.path.split('/')[1]
    variables = {key: data.draw(IDS, key) for key in ('id', 'key') if f'{{{key}}}' in route.path}
    variables = {key: own.get(collection, 'x') if text == 'own' else text for key, text in variables.items()}
    headers = {
        'X-Auth-Token': f'{data.draw(st.sampled_from(["admin", "member"]))}@{project}',
        'OpenStack-API-Version': data.draw(st.one_of(VERSIONS, TEXTS), 'version'),
        'Content-Type': data.draw(st.sampled_from(['application/json', 'text/plain', '']), 'content type'),
        'If-Match': data.draw(TEXTS, 'If-Match'),
    }
    body = data.draw(st.one_of(loose(route).map(json.dumps), st.none(), TEXTS), 'body')
    sent = event(route.method, f'/v3{route.path}', f'/v3{route.path}', variables, '', headers, body)
    query = data.draw(QUERIES, 'query')
    sent['multiValueQueryStringParameters'] = {key: [text] for key, text in query.items()} or None
    answer = door.app(sent, None)
    assert answer['statusCode'] < 500, answer['body']


#: Headers that a client may send however it likes.
HEADERS = (
    'X-Auth-Token X-Service-Token OpenStack-API-Version Content-Type Content-Length Accept Accept-Encoding Host Origin '
    'X-Forwarded-Proto X-Forwarded-For X-OpenStack-Request-ID If-Match Transfer-Encoding Cookie X-Subject-Token '
    'Access-Control-Request-Method'
)
ODD = st.one_of(
    TEXTS,
    st.sampled_from(
        ['\r\nX: y', '\ud800', 'volume', ',', 'volume 3.', 'volume 3.0, compute', 'a' * 9000, 'Bearer x', '*']
    ),
    st.text(min_size=1, max_size=40),
)
PATHS = st.lists(
    st.one_of(
        st.sampled_from(
            ['v3', 'volumes', 'types', 'action', '..', '.', '', '%2e%2e', '%00', '%ff', 'é', 'a' * 3000, '{id}']
        ),
        st.text(max_size=8),
    ),
    min_size=1,
    max_size=8,
).map('/'.join)


@pytest.fixture
def identity(door: FrontDoor, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The standalone identity has its document."""
    import boto3

    name = f'identity-{uuid.uuid4().hex}'
    boto3.client('secretsmanager').create_secret(Name=name, SecretString=json.dumps(local_document()))
    monkeypatch.setenv('IDENTITY_SECRET', name)
    config.settings.cache_clear()
    aws.forget_documents()
    yield
    monkeypatch.undo()
    config.settings.cache_clear()
    aws.forget_documents()


def nested(levels: int, brackets: str) -> str:
    return brackets[0] * levels + brackets[1] * levels


BODIES = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60),
    st.sampled_from([
        '{', '[]', '{"volume": {"size": 1e999}}', '{"volume": {"size": NaN}}', '{"volume": {"name": "\\ud800"}}',
        '\ufeff{}',
        '{"a": 1, "a": 2}', '{"volume": {"size": ' + '9' * 5000 + '}}', '\x00', nested(99, '[]'), nested(50_000, '[]'),
        '{"a":' * 50_000 + '1' + '}' * 50_000, '{"volume": {"metadata": {"k": "' + 'x' * 120_000 + '"}}}',
    ]),
)  # fmt: skip


def shape_of(answer: dict[str, Any]) -> None:
    """Check the request id; a refusal is JSON in Cinder's shape, or that of the router or Keystone."""
    headers = {name.lower(): value for name, value in answer['headers'].items()}
    assert headers['x-openstack-request-id'].startswith('req-')
    if answer['statusCode'] < 400:
        return
    body = json.loads(answer['body'])
    if 'title' in body or 'error' in body:  # the router's 404, Keystone's 401
        return
    ((fault, facts),) = body.items()
    assert (facts['code'], isinstance(facts['message'], str)) == (answer['statusCode'], True), fault
    for inner in ('Traceback', 'chalicelib', 'botocore', 'dynamodb', '/var/task', 'arn:aws'):
        assert inner not in answer['body']


@pytest.mark.usefixtures('identity')
@pytest.mark.parametrize('method', ['GET', 'POST', 'PUT', 'DELETE'])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_odd_headers_and_bodies(method: str, door: FrontDoor, project: str, data: st.DataObject) -> None:
    from tests.api.front_door import event

    place = data.draw(st.sampled_from([path for path in sorted(door.app.routes) if method in door.app.routes[path]]))
    variables = {name: data.draw(IDS, name) for name in ('id', 'key', 'collection', 'inner') if f'{{{name}}}' in place}
    variables |= {'project_id': data.draw(st.sampled_from([project, 'x', '']))} if '{project_id}' in place else {}
    headers = {
        'X-Auth-Token': f'{data.draw(st.sampled_from(["admin", "member"]))}@{project}',
        'Content-Type': 'application/json',
        **data.draw(st.dictionaries(st.sampled_from(HEADERS.split(' ')), ODD, max_size=4), 'headers'),
    }
    body = data.draw(BODIES, 'body') if method in ('POST', 'PUT') else None
    answer = door.app(event(method, place, place, variables, '', headers, body), None)
    assert answer['statusCode'] < 500 or answer['statusCode'] == 503, answer['body']
    shape_of(answer)


@pytest.mark.usefixtures('identity')
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=PATHS, method=st.sampled_from(['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS', 'TRACE']))
def test_odd_paths(path: str, method: str, member: Caller) -> None:
    answer = member.request(method, '/' + path, '{}' if method in ('POST', 'PUT') else None, prefix='')
    assert answer.status < 500, answer.text
    shape_of({'statusCode': answer.status, 'headers': answer.headers, 'body': answer.text or '{"title": ""}'})


@pytest.mark.parametrize('levels', [101, 1000, 200_000])
@pytest.mark.parametrize('brackets', ['[]', '{}'])
def test_depth(levels: int, brackets: str, member: Caller) -> None:
    text = nested(levels, brackets) if brackets == '[]' else '{"a":' * levels + '1' + '}' * levels
    for method, path in (('POST', '/volumes'), ('POST', '/volumes/x/action'), ('PUT', '/os-services/enable')):
        answer = member.request(method, path, text)
        assert answer.status in (400, 413), answer.text
        shape_of({'statusCode': answer.status, 'headers': answer.headers, 'body': answer.text})
