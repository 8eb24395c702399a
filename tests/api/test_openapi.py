"""The OpenAPI document: complete, valid, and no request that fits it is answered with a server error."""

from __future__ import annotations

import json
import re
import urllib.parse
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.schemas import OpenApiSchema

from chalicelib import api
from chalicelib.api import openapi
from chalicelib.api.resources import routes
from tests.api.front_door import FrontDoor
from tests.api.records import Records

DOCUMENT = json.loads(json.dumps(openapi.document()))

#: Figures of a quick run that always sends the same requests.
EXAMPLES = 6


def operations() -> list[tuple[str, str]]:
    return [(method, path) for path, found in DOCUMENT['paths'].items() for method in found]


def test_every_route_is_in_it_with_its_rule() -> None:
    for route in routes():
        operation = DOCUMENT['paths'][route.path][route.method.lower()]
        rules = [(rule['policy'], rule['status'], rule.get('action')) for rule in operation['x-rules']]
        assert (route.policy, route.status, route.action) in rules
        assert str(route.status) in operation['responses']


def test_nothing_is_in_it_that_is_not_served() -> None:
    served = {(route.method.lower(), route.path) for route in routes()}
    assert set(operations()) == served
    names = [DOCUMENT['paths'][path][method]['operationId'] for method, path in operations()]
    assert len(set(names)) == len(names)


def test_every_action_has_its_body() -> None:
    for route in routes():
        if route.action is None:
            continue
        content = DOCUMENT['paths'][route.path]['post']['requestBody']['content']['application/json']
        assert any(route.action in body['properties'] for body in content['schema']['anyOf'])


def test_every_parameter_that_is_read_is_in_it() -> None:
    documented = {name for names in openapi.QUERIES.values() for name in names}
    for path in Path(api.__file__).parent.rglob('*.py'):
        read = re.findall(r"query(?:\.get\(|\[)'(\w+)'", path.read_text())
        assert set(read) <= documented, path.name


def test_schemas_are_json_schemas() -> None:
    for method, path in operations():
        operation = DOCUMENT['paths'][path][method]
        if 'requestBody' in operation:
            schema = operation['requestBody']['content']['application/json']['schema']
            jsonschema.Draft202012Validator.check_schema(schema)
            assert schema['anyOf']


def test_it_is_served_to_anybody(door: FrontDoor) -> None:
    answer = door.send('GET', '/openapi.json', {}, None)
    assert (answer.status, answer.body['openapi']) == (200, '3.1.0')
    assert answer.body['servers'][0]['url'].endswith('/stage/v3')


@pytest.fixture(scope='module')
def described() -> OpenApiSchema:
    return schemathesis.openapi.from_dict({**DOCUMENT, 'servers': [{'url': 'http://volume.example/v3'}]})


@pytest.mark.parametrize(('method', 'path'), operations(), ids=' '.join)
def test_no_request_that_fits_is_a_server_error(
    described: OpenApiSchema, method: str, path: str, door: FrontDoor, make: Records
) -> None:
    operation = described[path][method]
    own = {'volumes': make.attached()[0].id, 'types': make.default_type().id}.get(path.split('/')[1], 'x')

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), at=st.integers(0, 71))
    def send(case: Any, at: int) -> None:
        ids = dict.fromkeys(case.path_parameters or {}, own)
        query = urllib.parse.urlencode(case.query or {})
        answer = door.send(
            method.upper(),
            f'/v3{path.format(**ids)}?{query}',
            {
                'X-Auth-Token': f'admin@{make.project}',
                'Content-Type': 'application/json',
                'OpenStack-API-Version': f'volume 3.{at}',
            },
            json.dumps(case.body) if 'requestBody' in DOCUMENT['paths'][path][method] else None,
        )
        assert answer.status < 500, answer.text

    send()
