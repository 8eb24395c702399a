"""Rate limits at the API: the shape of a refusal, what is shown, and what a request costs."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import Any

import pytest
from pynamodb.connection import Connection

from chalicelib import config
from chalicelib.operations import rate_limits
from tests.api.front_door import Caller, FrontDoor


@pytest.fixture
def limited(door: FrontDoor, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Six requests a minute, and three at once."""
    monkeypatch.setenv('PROJECT_RATE_LIMIT', '6')
    monkeypatch.setenv('PROJECT_BURST_LIMIT', '3')
    config.settings.cache_clear()
    rate_limits.forget()
    yield
    monkeypatch.undo()
    config.settings.cache_clear()
    rate_limits.forget()


def test_a_refusal_has_cinders_shape(limited: None, member: Caller, stranger: Caller) -> None:
    assert [member.get('/volumes').status for _ in range(5)] == [200, 200, 200, 413, 413]
    refused = member.post('/volumes', {'volume': {'size': 1}})
    assert refused.body['overLimitFault'] == {
        'code': 413,
        'message': 'This request was rate-limited.',
        'details': f'The project may send 6 requests a minute, and 3 at once: repeat the request in '
        f'{refused.headers["retry-after"]} seconds.',
    }
    assert 1 <= int(refused.headers['retry-after']) <= 10
    assert refused.headers['x-openstack-request-id'].startswith('req-')
    assert stranger.get('/volumes').body == {'volumes': []}


def test_limits_show_the_rate(limited: None, member: Caller) -> None:
    [rate] = member.get('/limits').body['limits']['rate']
    assert (rate['uri'], rate['regex'], {one['verb'] for one in rate['limit']}) == (
        '*', '.*', {'GET', 'POST', 'PUT', 'DELETE'},
    )  # fmt: skip
    facts = rate['limit'][0]
    assert (facts['value'], facts['remaining'], facts['unit']) == (6, 2, 'MINUTE')


def test_a_request_without_a_token_takes_none(limited: None, door: FrontDoor, member: Caller) -> None:
    for _ in range(5):
        assert door.send('GET', '/v3/volumes', {}, None).status == 401
    assert member.get('/volumes').status == 200


def test_without_a_limit_nothing_is_shown_and_nothing_costs(member: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    assert member.get('/limits').body['limits']['rate'] == []
    monkeypatch.setattr(rate_limits, 'admit', lambda context: pytest.fail('a call'))
    assert member.get('/volumes').status == 200


def test_the_cost_of_a_limit(member: Caller, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write for a request, or for several of a busy project; none for one that is refused."""
    calls: collections.Counter[str] = collections.Counter()
    call = Connection._make_api_call

    def counted(connection: Connection, operation: str, asked: dict[str, Any], **facts: Any) -> Any:
        calls[operation] += 1
        return call(connection, operation, asked, **facts)

    def cost() -> collections.Counter[str]:
        calls.clear()
        member.get('/volumes')
        return collections.Counter(calls)

    monkeypatch.setattr(Connection, '_make_api_call', counted)
    cost()
    unlimited = cost()
    request.getfixturevalue('limited')
    assert cost() - unlimited == {'UpdateItem': 1}
    for _ in range(2):
        cost()
    cost()  # finds the bucket empty
    assert cost() == {}
