"""API Gateway's routing."""

from __future__ import annotations

import json

import pytest

from local.routes import GatewayResponses, Match, Routes

ROUTES = Routes(
    {
        '/': {'get': {}},
        '/v3/volumes': {'get': {}, 'post': {}},
        '/v3/volumes/detail': {'get': {}},
        '/v3/volumes/{volume_id}': {'get': {}, 'delete': {}},
        '/v3/{project_id}/volumes/{volume_id}': {'get': {}},
        '/files/{name}': {'x-amazon-apigateway-any-method': {}},
        '/files/own/{rest+}': {'get': {}},
        '/files/own/{name}/text': {'get': {}},
    }
)


@pytest.mark.parametrize(
    ('method', 'path', 'expected'),
    [
        ('GET', '/', Match('/', {})),
        ('GET', '/v3/volumes', Match('/v3/volumes', {})),
        ('GET', '/v3/volumes/', Match('/v3/volumes', {})),
        ('GET', '/v3/volumes/detail', Match('/v3/volumes/detail', {})),
        ('GET', '/v3/volumes/abc', Match('/v3/volumes/{volume_id}', {'volume_id': 'abc'})),
        ('DELETE', '/v3/volumes/detail', Match('/v3/volumes/{volume_id}', {'volume_id': 'detail'})),
        (
            'GET',
            '/v3/p/volumes/v',
            Match('/v3/{project_id}/volumes/{volume_id}', {'project_id': 'p', 'volume_id': 'v'}),
        ),
        ('GET', '/v3/volumes/a%20b%2Fc', Match('/v3/volumes/{volume_id}', {'volume_id': 'a b/c'})),
        ('PATCH', '/files/x', Match('/files/{name}', {'name': 'x'})),
        ('GET', '/files/own/a', Match('/files/own/{rest+}', {'rest': 'a'})),
        ('GET', '/files/own/a/b%20c.js', Match('/files/own/{rest+}', {'rest': 'a/b c.js'})),
        ('GET', '/files/own/a/text', Match('/files/own/{name}/text', {'name': 'a'})),
        ('GET', '/files/own/a/text/more', Match('/files/own/{rest+}', {'rest': 'a/text/more'})),
    ],
)
def test_a_declared_route_is_found(method: str, path: str, expected: Match) -> None:
    assert ROUTES.match(method, path) == expected


@pytest.mark.parametrize(
    ('method', 'path'),
    [
        ('PUT', '/v3/volumes'),
        ('HEAD', '/v3/volumes'),
        ('GET', '/v3'),
        ('GET', '/v3/nothing'),
        ('GET', '/v3/volumes//'),
        ('GET', '/v3//volumes'),
        ('GET', '/v3/volumes/a/b'),
    ],
)
def test_anything_else_has_no_route(method: str, path: str) -> None:
    assert ROUTES.match(method, path) is None


def test_a_told_answer_replaces_the_gateways() -> None:
    told = {'statusCode': '404', 'responseTemplates': {'application/json': '{"a": 1}'}}
    told['responseParameters'] = {'gatewayresponse.header.Retry-After': "'1'"}  # type: ignore[assignment]
    answer = GatewayResponses({'MISSING_AUTHENTICATION_TOKEN': told}).answer('MISSING_AUTHENTICATION_TOKEN')
    assert (answer.status, answer.body) == (404, b'{"a": 1}')
    assert ('Retry-After', '1') in answer.headers


def test_a_default_answer_stands_in_and_keeps_the_status() -> None:
    told = {'DEFAULT_5XX': {'responseTemplates': {'application/json': '{"message": $context.error.messageString}'}}}
    answer = GatewayResponses(told).answer('INTEGRATION_TIMEOUT')
    assert answer.status == 504
    assert json.loads(answer.body) == {'message': 'Endpoint request timed out'}


def test_without_a_word_of_the_template_the_gateway_answers_as_aws_does() -> None:
    answer = GatewayResponses({}).answer('MISSING_AUTHENTICATION_TOKEN')
    assert (answer.status, json.loads(answer.body)) == (403, {'message': 'Missing Authentication Token'})
