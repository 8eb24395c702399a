"""Checks that every request passes, whatever its route."""

from __future__ import annotations

import concurrent.futures
import json
import logging
import re
import uuid
from collections.abc import Iterator

import pytest

from chalicelib.api.request import MAX_BODY
from chalicelib.operations import volumes as operations
from tests.api.front_door import Answer, Caller, FrontDoor

REQUEST_ID = re.compile(r'req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')

HIDDEN = 'The server has either erred or is incapable of performing the requested operation.'


def test_every_answer_carries_the_requests_id(member: Caller) -> None:
    for answer in member.get('/volumes'), member.get('/volumes/none'), member.post('/volumes', '{'):
        assert REQUEST_ID.fullmatch(answer.headers['x-openstack-request-id'])
        assert answer.headers['x-compute-request-id'] == answer.headers['x-openstack-request-id']


def test_ids_differ_from_request_to_request(member: Caller) -> None:
    ids = {member.get('/volumes').headers['x-openstack-request-id'] for _ in range(3)}
    assert len(ids) == 3


@pytest.mark.parametrize('token', [None, '', 'stale'])
def test_without_a_valid_token(member: Caller, token: str | None) -> None:
    answer = member.get('/volumes', headers={'X-Auth-Token': token})
    assert answer.status == 401
    assert answer.headers['www-authenticate'] == 'Keystone uri="https://volume.example/stage/identity/v3"'
    assert answer.body == {
        'error': {
            'code': 401,
            'title': 'Unauthorized',
            'message': 'The request you have made requires authentication.',
        }
    }


def test_a_token_without_a_project(member: Caller) -> None:
    assert member.get('/volumes', headers={'X-Auth-Token': 'member@'}).fault[:2] == ('forbidden', 403)


def test_the_token_is_asked_for_before_the_version(member: Caller) -> None:
    assert member.get('/volumes', at='9.9', headers={'X-Auth-Token': None}).status == 401


def test_the_project_may_stand_in_the_path(member: Caller, project: str) -> None:
    answer = member.get('/volumes', prefix=f'/v3/{project}')
    assert answer.status == 200


@pytest.mark.parametrize('role', ['member', 'admin'])
def test_another_project_in_the_path(door: FrontDoor, project: str, role: str) -> None:
    answer = door.caller(role, project).get('/volumes', prefix=f'/v3/{uuid.uuid4().hex}')
    assert answer.fault == ('badRequest', 400, 'Malformed request url')


def test_what_is_no_project_in_the_path(member: Caller) -> None:
    assert member.get('/volumes', prefix='/v3/Demo').body['title'] == 'Not Found'


def test_links_show_the_project_where_the_path_did(member: Caller, make: object, project: str) -> None:
    volume = make.volume()  # type: ignore[attr-defined]
    with_it = member.get(f'/volumes/{volume.id}', prefix=f'/v3/{project}').body['volume']['links']
    without = member.get(f'/volumes/{volume.id}').body['volume']['links']
    base = 'https://volume.example/stage'
    assert with_it == [
        {'rel': 'self', 'href': f'{base}/v3/{project}/volumes/{volume.id}'},
        {'rel': 'bookmark', 'href': f'{base}/{project}/volumes/{volume.id}'},
    ]
    assert without[0]['href'] == f'{base}/v3/volumes/{volume.id}'


@pytest.mark.parametrize('path', ['/volumes/', '/volumes/detail/'])
def test_a_slash_at_the_end_is_an_empty_id(member: Caller, path: str) -> None:
    """A client that sends an empty id does not get, change or delete the whole list."""
    assert member.get(path.rstrip('/')).status == 200
    answer = member.get(path)
    assert (answer.status, answer.body['title']) == (404, 'Not Found')


def test_a_slash_at_the_end_of_the_versions(member: Caller) -> None:
    assert member.get('/', prefix='/v3').status == 200


@pytest.mark.parametrize(
    'body',
    ['{', 'volume', '{"volume": {"size": NaN}}', '{"a": 1e999}', '"\\ud800"', '{"a": ' + '[' * 9999, '1' * 5000],
)
def test_what_is_no_json(member: Caller, body: str) -> None:
    assert member.post('/volumes', body).fault == ('badRequest', 400, 'Malformed request body')


@pytest.mark.parametrize('depth', [101, 500, 900, 940, 950, 960, 970, 980])
def test_a_body_that_is_too_deep(member: Caller, depth: int) -> None:
    """The parser accepts this depth; an error message that repeats the body would fail."""
    for value in '[' * depth + ']' * depth, '{"a":' * depth + '1' + '}' * depth:
        answer = member.post('/volumes', f'{{"volume": {{"size": {value}}}}}')
        assert answer.fault == ('badRequest', 400, 'Malformed request body')


def test_many_members_are_not_deep(member: Caller) -> None:
    body = {'volume': {'size': 1, 'x': [[]] * 200}}
    assert member.post('/volumes', body).status == 202


@pytest.mark.parametrize(
    'body',
    [
        b'\xff\xfe\x00',
        b'{"volume": {"size": 1, "name": "\xed\xa0\x80"}}',
        '{"volume": {"size": 1, "name": "\\ud800"}}'.encode('utf-16'),
        '{"volume": {"size": 1}}'.encode('utf-32'),
    ],
    ids=['no text', 'half a surrogate pair', 'half of one in UTF-16', 'UTF-32'],
)
def test_bytes_that_are_not_utf_8(member: Caller, body: bytes) -> None:
    assert member.post('/volumes', body).fault[:2] == ('badRequest', 400)


def test_a_body_that_is_too_large(member: Caller) -> None:
    name, code, message = member.post('/volumes', json.dumps({'volume': {'name': 'x' * MAX_BODY}})).fault
    assert (name, code) == ('overLimit', 413)
    assert str(MAX_BODY) in message


@pytest.mark.parametrize('content_type', ['text/plain', 'application/xml', 'application/x-www-form-urlencoded'])
def test_a_body_of_another_type(member: Caller, content_type: str) -> None:
    answer = member.post('/volumes', {'volume': {}}, headers={'Content-Type': content_type})
    assert answer.fault == ('badMediaType', 415, 'Unsupported Content-Type')


@pytest.mark.parametrize(
    'content_type',
    ['application/json', 'application/json; charset=utf-8', 'application/vnd.openstack.volume+json', None],
)
def test_a_body_that_is_read_as_json(member: Caller, content_type: str | None) -> None:
    answer = member.post('/volumes', {'volume': {'size': 1}}, headers={'Content-Type': content_type})
    assert answer.status == 202


def test_the_type_of_no_body_is_not_judged(member: Caller) -> None:
    assert member.get('/volumes', headers={'Content-Type': 'text/plain', 'Accept': 'application/xml'}).status == 200


def test_an_empty_body(member: Caller) -> None:
    assert member.request('POST', '/volumes').fault == ('badRequest', 400, "None is not of type 'object'")


def test_the_last_of_two_equal_members_counts(member: Caller) -> None:
    answer = member.post('/volumes', '{"volume": {"size": 1, "name": "a", "name": "b"}}')
    assert answer.body['volume']['name'] == 'b'


@pytest.mark.parametrize('body', ['[]', '{}', '"os-reserve"', '{"os-reserve": {}, "os-unreserve": {}}'])
def test_an_action_must_be_named_alone(member: Caller, body: str) -> None:
    answer = member.post(f'/volumes/{uuid.uuid4()}/action', body)
    assert answer.fault == ('badRequest', 400, 'Malformed request body')


def test_an_action_that_does_not_exist(member: Caller) -> None:
    said = 'There is no such action: {}. Verify the request body and Content-Type header and try again.'
    path = f'/volumes/{uuid.uuid4()}'
    assert member.act(path, 'os-fly').fault == ('badRequest', 400, said.format('os-fly'))
    for body in None, 'null':
        assert member.request('POST', f'{path}/action', body).fault == ('badRequest', 400, said.format(None))


def test_manageable_lists_name_a_wrong_sort_key(admin: Caller) -> None:
    for path in 'manageable_volumes', 'manageable_snapshots':
        for query, said in (
            ('sort=name', 'Invalid sort keys passed: name'),
            ('sort=a:asc,b', 'Invalid sort keys passed: a, b'),
            ('sort=size:up', 'Invalid sort dirs passed: up'),
        ):
            answer = admin.get(f'/{path}?host=host@lvm%23pool&{query}', at='3.8')
            assert answer.fault == ('badRequest', 400, said)


def test_an_unknown_default_type_is_the_bodys_fault(admin: Caller, project: str) -> None:
    answer = admin.put(f'/default-types/{project}', {'default_type': {'volume_type': 'nope'}}, at='3.62')
    assert answer.fault == ('badRequest', 400, 'Volume type with name nope could not be found.')


def test_a_record_that_is_not_base64(admin: Caller) -> None:
    for url, said in (
        ('a', "is not a 'base64'"),
        ('bm8=!', "Can't parse backup record."),
        ('////', "Can't parse"),
    ):
        record = {'backup-record': {'backup_service': 's3', 'backup_url': url}}
        answer = admin.post('/backups/import_record', record)
        assert (answer.status, said in answer.fault[2]) == (400, True), answer.text


@pytest.mark.parametrize('path', ['/nope', '/volumes/a/b/c'])
@pytest.mark.parametrize('method', ['GET', 'OPTIONS'])
def test_every_answer_has_a_request_id(member: Caller, path: str, method: str) -> None:
    answer = member.request(method, path)
    assert answer.status == 404
    assert answer.headers['x-openstack-request-id'].startswith('req-')


def test_health_needs_no_token(member: Caller) -> None:
    def ask(method: str, **headers: str) -> Answer:
        return member.door.send(method, '/healthcheck', headers, None)

    assert (ask('GET').status, ask('GET').text) == (200, 'OK')
    assert ask('GET').headers['content-type'].startswith('text/plain')
    assert (ask('HEAD').status, ask('HEAD').text) == (204, '')
    assert (ask('OPTIONS').status, ask('OPTIONS').text) == (200, 'OK')
    assert ask('GET', Accept='application/json').body == {'detailed': False, 'reasons': ['OK']}
    assert ask('GET').headers['x-openstack-request-id'].startswith('req-')


@pytest.mark.parametrize(('path', 'status'), [('/', 300), ('/v3', 200)])
def test_discovery_can_be_probed(path: str, status: int, member: Caller) -> None:
    found = {method: member.door.send(method, path, {}, None) for method in ('GET', 'HEAD', 'OPTIONS')}
    assert {answer.status for answer in found.values()} == {status}
    assert found['HEAD'].text == ''
    assert found['OPTIONS'].body == found['GET'].body


class TestCors:
    ORIGIN = 'https://dashboard.example'

    @pytest.fixture
    def allowed(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        from chalicelib import config

        monkeypatch.setenv('CORS_ALLOWED_ORIGINS', f'https://a.example, {self.ORIGIN}')
        config.settings.cache_clear()
        yield
        monkeypatch.undo()
        config.settings.cache_clear()

    def preflight(self, member: Caller, origin: str, method: str = 'GET', headers: str = 'X-Auth-Token') -> Answer:
        sent = {
            'Origin': origin,
            'Access-Control-Request-Method': method,
            'Access-Control-Request-Headers': headers,
        }
        return member.door.send('OPTIONS', '/v3/volumes', sent, None)

    def test_without_origins_there_is_none(self, member: Caller) -> None:
        answer = self.preflight(member, self.ORIGIN)
        assert answer.status == 404
        plain = member.get('/volumes', headers={'Origin': self.ORIGIN})
        for found in answer, plain:
            assert not [name for name in found.headers if name.startswith('access-control')]

    @pytest.mark.usefixtures('allowed')
    def test_a_page_of_an_allowed_origin(self, member: Caller) -> None:
        answer = self.preflight(member, self.ORIGIN, 'DELETE', 'x-auth-token, OpenStack-API-Version')
        assert answer.status == 200
        assert answer.headers['access-control-allow-origin'] == self.ORIGIN
        assert answer.headers['access-control-allow-methods'] == 'DELETE'
        assert answer.headers['access-control-allow-headers'] == 'x-auth-token,OpenStack-API-Version'
        assert answer.headers['vary'] == 'Origin'
        shown = member.get('/volumes', headers={'Origin': self.ORIGIN})
        assert shown.status == 200
        assert shown.headers['access-control-allow-origin'] == self.ORIGIN
        assert 'X-OpenStack-Request-ID' in shown.headers['access-control-expose-headers']
        refused = member.get('/volumes', headers={'Origin': self.ORIGIN, 'X-Auth-Token': None})
        assert (refused.status, refused.headers['access-control-allow-origin']) == (401, self.ORIGIN)

    @pytest.mark.usefixtures('allowed')
    def test_other_origins_methods_and_headers_get_nothing(self, member: Caller) -> None:
        for answer in (
            self.preflight(member, 'https://evil.example'),
            self.preflight(member, f'{self.ORIGIN}.evil.example'),
        ):
            assert 'access-control-allow-origin' not in answer.headers
        for answer in (
            self.preflight(member, self.ORIGIN, method='TRACE'),
            self.preflight(member, self.ORIGIN, headers='X-Evil'),
        ):
            assert 'access-control-allow-methods' not in answer.headers


@pytest.mark.parametrize('id', ['x' * 256, '%F0%9F%98%80' * 64])
def test_an_id_that_no_database_holds(member: Caller, id: str) -> None:
    assert member.get(f'/volumes/{id}').fault[:2] == ('itemNotFound', 404)


def test_a_marker_that_no_database_holds(member: Caller) -> None:
    assert member.get(f'/volumes?marker={"x" * 2000}').fault[:2] == ('itemNotFound', 404)


def test_another_projects_record_is_not_there(stranger: Caller, make: object) -> None:
    volume = make.volume()  # type: ignore[attr-defined]
    missing = f'Volume {volume.id} could not be found.'
    for answer in (
        stranger.get(f'/volumes/{volume.id}'),
        stranger.delete(f'/volumes/{volume.id}'),
        stranger.act(f'/volumes/{volume.id}', 'os-force_delete'),
    ):
        assert answer.fault == ('itemNotFound', 404, missing)


def test_an_administrator_finds_every_projects_records(door: FrontDoor, make: object) -> None:
    volume = make.volume()  # type: ignore[attr-defined]
    admin = door.caller('admin', uuid.uuid4().hex)
    assert admin.get(f'/volumes/{volume.id}').status == 200


def test_a_reader_is_told_which_rule_refuses(reader: Caller, make: object) -> None:
    volume = make.volume()  # type: ignore[attr-defined]
    answer = reader.delete(f'/volumes/{volume.id}')
    assert answer.fault == ('forbidden', 403, "Policy doesn't allow volume:delete to be performed.")


def test_an_error_nobody_foresaw_is_hidden_and_logged(
    member: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError('password=hunter2')

    monkeypatch.setattr(operations, 'get', fail)
    with caplog.at_level(logging.ERROR):
        answer = member.get('/volumes/x')
    assert answer.fault == ('computeFault', 500, HIDDEN)
    assert answer.headers['x-openstack-request-id'] in caplog.text
    assert 'RuntimeError' in caplog.text
    assert 'hunter2' not in caplog.text


def test_quota_refusals_name_their_class(member: Caller, admin: Caller, project: str) -> None:
    admin.put(f'/os-quota-sets/{project}', {'quota_set': {'volumes': 0}})
    answer = member.post('/volumes', {'volume': {'size': 1}})
    assert answer.status == 413
    assert answer.headers['retry-after'] == '0'
    assert answer.body['overLimit']['retryAfter'] == '0'
    assert answer.body['overLimit']['message'].startswith('VolumeLimitExceeded: Maximum number of volumes')


def test_threads_do_not_see_each_others_requests(door: FrontDoor) -> None:
    """Chalice keeps the current request on the app, for all threads."""
    callers = [door.caller('member', uuid.uuid4().hex) for _ in range(8)]

    def ask(number: int) -> bool:
        caller = callers[number % len(callers)]
        links = caller.get('/os-availability-zone', prefix=f'/v3/{caller.project}')
        return links.status == 200

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))


def test_an_empty_answer_is_truly_empty(admin: Caller, make: object) -> None:
    answer = admin.delete(f'/messages/{make.message().id}', at='3.3')  # type: ignore[attr-defined]
    assert (answer.status, answer.text) == (204, '')
