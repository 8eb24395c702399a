"""Whatever a client sends, the answer is no server error: bodies near each schema, queries near ours, odd headers."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.api.resource import Route
from chalicelib.api.resources import routes
from chalicelib.api.schema import at
from tests.api.front_door import FrontDoor
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
