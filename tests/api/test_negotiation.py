"""Microversions: which one a request is served at, and what it sees of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import InvalidAPIVersionString
from chalicelib.rules import microversions
from tests.api.front_door import Caller

HEADER = 'OpenStack-API-Version'

GENERIC = 'The server could not comply with the request since it is either malformed or otherwise incorrect.'
BAD_FORM = 'API Version String {} is of invalid format. Must be of format MajorNum.MinorNum.'


@pytest.mark.parametrize(
    ('sent', 'served'),
    [
        (None, '3.0'),
        ('volume 3.0', '3.0'),
        ('volume 3.71', '3.71'),
        ('volume latest', '3.71'),
        ('compute 2.1,volume 3.50', '3.50'),
        ('volume 3.50, compute 2.1', '3.50'),
        ('volume  3.9 ', '3.9'),
    ],
)
def test_a_version_that_is_served(member: Caller, sent: str | None, served: str) -> None:
    answer = member.get('/volumes', headers={HEADER: sent})
    assert answer.status == 200
    assert answer.headers['openstack-api-version'] == f'volume {served}'
    assert answer.headers['vary'] == HEADER


@pytest.mark.parametrize('sent', ['volume 3.72', 'volume 2.0', 'volume 4.0'])
def test_a_version_that_we_lack(member: Caller, sent: str) -> None:
    answer = member.get('/volumes', headers={HEADER: sent})
    text = sent.split()[1]
    message = f'Version {text} is not supported by the API. Minimum is 3.0 and maximum is 3.71.'
    assert answer.fault == ('computeFault', 406, message)
    assert answer.headers['openstack-api-version'] == sent


@pytest.mark.parametrize('text', ['3', 'abc', '3.01', '03.1', '3.1.2', '3.-1', '\u0663.\u0661', '3.' + '9' * 50])
def test_what_is_no_version(member: Caller, text: str) -> None:
    answer = member.get('/volumes', headers={HEADER: f'volume {text}'})
    assert answer.fault == ('badRequest', 400, BAD_FORM.format(text))
    assert 'openstack-api-version' not in answer.headers


@pytest.mark.parametrize('sent', ['3.50', 'compute 2.1', 'volume3.50', 'volume', 'volume 3 50', ''])
def test_a_header_that_does_not_ask_us(member: Caller, sent: str) -> None:
    assert member.get('/volumes', headers={HEADER: sent}).fault == ('badRequest', 400, GENERIC)


def test_a_route_below_its_version(member: Caller) -> None:
    answer = member.get('/messages', at='3.2')
    assert answer.fault == ('itemNotFound', 404, 'The resource could not be found.')
    assert answer.headers['openstack-api-version'] == 'volume 3.2'
    assert member.get('/messages', at='3.3').status == 200


def test_an_action_below_its_version(member: Caller) -> None:
    answer = member.act('/attachments/x', 'os-complete', at='3.43')
    assert answer.fault == ('itemNotFound', 404, 'The resource could not be found.')
    assert member.act('/attachments/x', 'os-complete', at='3.44').fault[2].startswith('Volume attachment')


def test_errors_tell_the_version_too(member: Caller) -> None:
    assert member.get('/volumes/none', at='3.42').headers['openstack-api-version'] == 'volume 3.42'


@given(st.tuples(st.integers(1, 9999), st.integers(0, 9999)))
def test_a_version_reads_as_it_is_written(version: tuple[int, int]) -> None:
    assert microversions.parse(microversions.text(version)) == version


@given(st.text(max_size=8))
def test_parse_takes_nothing_else(text: str) -> None:
    try:
        version = microversions.parse(text)
    except InvalidAPIVersionString:
        return
    assert microversions.text(version) == text


def test_every_version_has_its_fact() -> None:
    assert list(microversions.FACTS) == [f'3.{minor}' for minor in range(72)]
    assert microversions.MAXIMUM == (3, 71)


@pytest.mark.parametrize(('path', 'prefix', 'status'), [('/', '', 300), ('', '/v3', 200), ('/', '/v3', 200)])
def test_discovery_needs_no_token(member: Caller, path: str, prefix: str, status: int) -> None:
    answer = member.get(path, prefix=prefix, headers={'X-Auth-Token': None})
    assert answer.status == status
    (version,) = answer.body['versions']
    assert (version['id'], version['status'], version['min_version'], version['version']) == (
        'v3.0', 'CURRENT', '3.0', '3.71',
    )  # fmt: skip
    assert version['links'][1] == {'rel': 'self', 'href': 'https://volume.example/stage/v3/'}


def test_discovery_judges_versions_as_well(member: Caller) -> None:
    assert member.get('/', prefix='', headers={HEADER: 'volume 3.99'}).status == 406
