"""A project sends no more requests than its bucket has tokens, in however many processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib import config, errors
from chalicelib.context import Context
from chalicelib.models import Quota
from chalicelib.operations import rate_limits
from tests.factories import context
from tests.unreliable import Unreliable, every_write

#: Requests a minute, and at once.
RATE, BURST = 600, 20


class Clock:
    def __init__(self) -> None:
        self.now = 1_795_305_600.25

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()
    limited = config.settings()._replace(project_rate_limit=RATE, project_burst_limit=BURST)
    monkeypatch.setattr(rate_limits, 'settings', lambda: limited)
    monkeypatch.setattr(rate_limits.time, 'time', made.time)
    rate_limits.forget()
    yield made
    rate_limits.forget()


def admitted(caller: Context, times: int) -> int:
    """Send so many requests; return how many were admitted."""
    return sum(is_admitted(caller) for _ in range(times))


def is_admitted(caller: Context) -> bool:
    try:
        rate_limits.admit(caller)
    except errors.RateLimited:
        return False
    return True


def test_a_burst_and_then_the_rate(tables: None, clock: Clock) -> None:
    assert admitted(context(), 50) == BURST
    clock.now += 1
    assert admitted(context(), 50) == RATE / 60
    clock.now += 3600
    assert admitted(context(), 50) == BURST


def test_a_refusal_names_the_seconds(tables: None, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = config.settings()._replace(project_rate_limit=10, project_burst_limit=1)
    monkeypatch.setattr(rate_limits, 'settings', lambda: slow)
    rate_limits.admit(context())
    with pytest.raises(errors.RateLimited) as refused:
        rate_limits.admit(context())
    assert refused.value.facts['seconds'] == 6
    clock.now += 6
    rate_limits.admit(context())


def test_projects_do_not_share(tables: None, clock: Clock) -> None:
    assert admitted(context(), 50) == admitted(context(project_id='other'), 50) == BURST


def test_services_are_not_limited(tables: None, clock: Clock) -> None:
    assert admitted(context('service'), 50) == 50
    assert admitted(context(service_roles=frozenset({'service'})), 50) == 50


@pytest.mark.parametrize('processes', [2, 7])
def test_processes_share_the_bucket(tables: None, clock: Clock, processes: int) -> None:
    """Each process holds tokens of its own; no token is used twice."""
    instances: list[Any] = [({}, {}) for _ in range(processes)]
    total = 0
    with pytest.MonkeyPatch.context() as patch:
        for step in range(600):
            held, seen = instances[step % processes]
            patch.setattr(rate_limits, '_held', held)
            patch.setattr(rate_limits, '_last_full_at', seen)
            total += is_admitted(context())
            clock.now += 0.01
    most = BURST + 6 * RATE / 60
    assert most * 0.8 <= total <= most


def test_a_busy_project_costs_few_writes(tables: None, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[str] = []
    write = rate_limits._written
    monkeypatch.setattr(rate_limits, '_written', lambda *call: writes.append(call[0]) or write(*call))
    for _ in range(100):
        assert is_admitted(context())
        clock.now += 0.1
    assert len(writes) <= 20


def test_a_flood_that_is_refused_costs_nothing(tables: None, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    admitted(context(), 50)
    monkeypatch.setattr(rate_limits, '_written', lambda *_: pytest.fail('a call'))
    assert admitted(context(), 1000) == 0


def test_an_answer_that_is_lost_takes_its_tokens_once(unreliable: Unreliable, clock: Clock) -> None:
    unreliable.resent = every_write
    assert admitted(context(), 50) == BURST


def test_tokens_that_are_not_used_are_lost(tables: None, clock: Clock) -> None:
    for _ in range(6):
        rate_limits.admit(context())
    clock.now += rate_limits.LEASE + 1
    assert admitted(context(), 50) == BURST


def test_memory_is_bounded(tables: None, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, 'MOST_PROJECTS', 3)
    for number in range(10):
        rate_limits.admit(context(project_id=f'project-{number}'))
    assert len(rate_limits._held) <= 4


def test_a_project_without_a_quota_keeps_its_defaults(tables: None, clock: Clock) -> None:
    """The bucket is another item than the quota."""
    rate_limits.admit(context())
    assert Quota.find_or_none('project', 'quota') is None
