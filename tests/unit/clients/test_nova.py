"""The Nova port against one that keeps its API, and one that fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chalicelib.clients.nova import EVENTS, Compute
from chalicelib.errors import ServiceUnavailable
from tests.fake_nova import FakeNova, NoTokens, serving


@pytest.fixture
def nova() -> Iterator[FakeNova]:
    with serving(FakeNova()) as running:
        yield running
    assert running.violations == []


@pytest.fixture
def compute(nova: FakeNova) -> Compute:
    return Compute(nova.url, NoTokens())


@pytest.mark.parametrize('event', EVENTS)
def test_events(nova: FakeNova, compute: Compute, event: str) -> None:
    nova.servers = {'one': {}, 'two': {}}
    compute.send_server_event(event, ['one', 'two', 'gone'], 'volume')
    assert nova.notified == [(event, 'one', 'volume'), (event, 'two', 'volume')]
    compute.send_server_event(event, ['gone'], 'volume')


@pytest.mark.parametrize('status', [200, 400, 403, 500, 302])
def test_events_that_were_not_taken(nova: FakeNova, compute: Compute, status: int) -> None:
    nova.servers, nova.faults = {'one': {}}, [status]
    with pytest.raises(ServiceUnavailable, match='The compute service'):
        compute.send_server_event('volume-extended', ['one'], 'volume')
    assert nova.notified == []


def test_attachments(nova: FakeNova, compute: Compute) -> None:
    nova.servers = {'one': {'volume': 'attachment'}}
    assert compute.attachment_of('one', 'volume') == 'attachment'
    assert compute.attachment_of('one', 'other') is None
    assert compute.attachment_of('two', 'volume') is None


@pytest.mark.parametrize('status', [200, 401, 403, 500])
def test_no_answer_is_never_a_no(nova: FakeNova, compute: Compute, status: int) -> None:
    nova.faults = [status]
    with pytest.raises(ServiceUnavailable):
        compute.attachment_of('one', 'volume')


def test_hosts(nova: FakeNova, compute: Compute) -> None:
    nova.hosts = {'one': 'compute-1', 'shelved': ''}
    assert [compute.host_of(server) for server in ('one', 'shelved', 'gone')] == ['compute-1', None, None]
    nova.faults = [500]
    with pytest.raises(ServiceUnavailable):
        compute.host_of('one')


def test_ids_stay_in_their_place(nova: FakeNova, compute: Compute) -> None:
    assert compute.attachment_of('../x', 'a/b') is None
    assert nova.requests == ['GET /v2.1/servers/..%2Fx/os-volume_attachments/a%2Fb']
