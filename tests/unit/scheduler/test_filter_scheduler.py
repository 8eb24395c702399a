"""The calls of the scheduler."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.scheduler.config import SchedulerConfig
from chalicelib.scheduler.decision import Decision
from chalicelib.scheduler.filter_scheduler import check_host, get_pools, retype, schedule, schedule_group
from chalicelib.scheduler.pools import PoolState
from chalicelib.scheduler.request_spec import RequestSpec, Retry
from tests.unit.scheduler.build import pool, pools, report, service, spec
from tests.vectors.cinder import consume, pool_states

DEFAULTS = SchedulerConfig()
A, B, C = 'host@a#p', 'host@a#q', 'host@b#p'


def three() -> list[PoolState]:
    """Two pools of one backend and one of another, with 20, 150 and 100 GiB."""
    return [pool(A, free=20), pool(B, total=200, free=150), pool(C, total=300, free=100)]


def names(decision: Decision) -> list[str]:
    return [name for name, _ in decision.ranking]


def removals(decision: Decision) -> list[tuple[str, tuple[str, ...], str]]:
    return [(removal.filter, removal.pools, removal.reason) for removal in decision.removed]


def test_the_best_pool_first() -> None:
    decision = schedule(spec(), three(), DEFAULTS)
    assert names(decision) == [B, C, A]
    assert decision.winner == decision.require() == B
    assert decision.considered == [A, B, C]
    assert decision.removed == []


def test_pools_may_come_from_any_iterable() -> None:
    assert schedule(spec(), iter(three()), DEFAULTS).winner == B


def test_pools_that_take_no_work_are_not_considered() -> None:
    reports = {
        'up@x': {},
        'dis@x': {'disabled': True},
        'frz@x': {'frozen': True},
        'down@x': {'up': False},
    }
    services = [service(host, report(pool_name='p'), **keys) for host, keys in reports.items()]
    services.append({'host': 'mute@x', 'capabilities': None})
    decision = schedule(spec(), pool_states(services), DEFAULTS)
    assert decision.considered == ['up@x#p']
    assert removals(decision) == [
        ('ServiceState', ('dis@x#p',), 'the backend is disabled'),
        ('ServiceState', ('frz@x#p',), 'the backend is frozen'),
        ('ServiceState', ('down@x#p',), 'the backend is down'),
        ('ServiceState', ('mute@x',), 'the backend has not reported'),
    ]


def test_a_bad_report_costs_its_own_pool_only() -> None:
    states = [pool(A, total='lots'), pool(B)]
    decision = schedule(spec(), states, DEFAULTS)
    assert names(decision) == [B]
    assert removals(decision) == [('PoolReport', (A,), 'the report is malformed')]
    assert decision.removed[0].detail == "total_capacity_gb is 'lots'"


@pytest.mark.parametrize(
    ('reported_at', 'now', 'fresh'),
    [(400.0, 1000.0, True), (399.9, 1000.0, False), (399.9, None, True), (None, 1000.0, True), (2000, 1000.0, True)],
)
def test_stale_reports(reported_at: Any, now: float | None, fresh: bool) -> None:
    state = PoolState.from_record({'name': A, 'capabilities': report(), 'reported_at': reported_at})
    decision = schedule(spec(), [state], SchedulerConfig(report_max_age=600), now=now)
    assert (decision.winner == A) is fresh
    assert fresh or removals(decision) == [('PoolReport', (A,), 'the report is older than 600 s')]


def test_no_pools_at_all() -> None:
    decision = schedule(spec(), [], DEFAULTS)
    assert (decision.winner, decision.summary()) == (None, 'There are no pools.')
    with pytest.raises(errors.NoValidBackend, match=r'No valid backend was found\. There are no pools\.'):
        decision.require()


def test_a_retry_goes_elsewhere_until_the_attempts_are_used_up() -> None:
    retry, winners = Retry(), []
    for _ in range(3):
        decision = schedule(spec(retry=retry), three(), DEFAULTS)
        assert decision.retry is not None
        winners.append(decision.require())
        retry = decision.retry.tried(decision.require())
    assert winners == [B, C, A]
    spent = schedule(spec(retry=retry), three(), DEFAULTS)
    assert removals(spent) == [
        ('scheduler_max_attempts', (A, B, C), 'the request was tried 3 times, and failed each time')
    ]
    assert (spent.considered, spent.retry) == ([], None)


def test_attempts_are_counted() -> None:
    decision = schedule(spec(retry=Retry(1, (B,))), three(), DEFAULTS)
    assert decision.retry == Retry(2, (B,))
    assert names(decision) == [C, A]


def test_without_rescheduling_nothing_is_remembered() -> None:
    decision = schedule(spec(retry=Retry(5, (B,))), three(), SchedulerConfig(scheduler_max_attempts=1))
    assert (decision.winner, decision.retry) == (B, None)


@pytest.mark.parametrize(
    ('backend', 'size', 'expected'),
    [('host@a', 10, [B, A]), (A, 10, [A]), ('host@b', 10, [C]), (A, 50, []), ('host@none', 10, [])],
)
def test_a_volume_must_share_the_backend_of_its_source(backend: str, size: int, expected: list[str]) -> None:
    decision = schedule(spec(size, resource_backend=backend), three(), DEFAULTS)
    assert names(decision) == expected
    last = decision.removed[-1]
    assert (last.filter, last.detail) == ('resource_backend', f'only {backend}')


def test_weights_are_those_among_all_pools() -> None:
    assert schedule(spec(resource_backend=A), three(), DEFAULTS).ranking == [(A, 0.0)]


@pytest.mark.parametrize(
    ('backend', 'size', 'expected'),
    [(B, 10, B), ('host@a', 10, B), ('host@a', 160, None), (A, 30, None), ('x@y', 1, None)],
)
def test_check_host(backend: str, size: int, expected: str | None) -> None:
    decision = check_host(spec(size, resource_backend='ignored'), three(), DEFAULTS, backend)
    assert decision.winner == expected


def test_check_host_tells_about_the_others() -> None:
    decision = check_host(spec(30), three(), DEFAULTS, A)
    assert removals(decision) == [
        ('CapacityFilter', (A,), 'not enough free space for 30 GiB'),
        ('check_host', (B, C), 'the request names another backend'),
    ]


RETYPE_POOLS = [
    {'free': 0, 'ssd': 'n'},
    {'total': 200, 'free': 150, 'ssd': 'y'},
    {'total': 300, 'free': 200, 'ssd': 'y'},
]


@pytest.mark.parametrize(
    ('current', 'ssd', 'policy', 'expected'),
    [
        (A, 'n', 'never', A),  # full, but the volume is there already
        (A, 'y', 'never', None),
        (A, 'y', 'on-demand', C),
        (A, 'z', 'on-demand', None),
        (B, 'y', 'on-demand', B),  # where it is, whatever its rank
        ('host@a', 'y', 'never', B),  # a host without a pool: any pool of it
        ('host@c', 'y', 'never', None),
        ('host@c', 'y', 'on-demand', C),
    ],
)
def test_retype(current: str, ssd: str, policy: str, expected: str | None) -> None:
    states = [pool(name, **capabilities) for name, capabilities in zip((A, B, C), RETYPE_POOLS, strict=True)]
    asked = spec(60, extra_specs={'ssd': ssd}, resource_backend='ignored')
    assert retype(asked, states, DEFAULTS, current, policy).winner == expected


def test_retype_without_leave_to_move_says_so() -> None:
    decision = retype(spec(60), [pool(C, total=300, free=200)], DEFAULTS, A, 'never')
    assert decision.summary() == ('1 pool: the volume would have to move, but the policy is never')


GROUP = RequestSpec(0, group_specs={'consistent': '<is> True'})


def group_pools() -> list[PoolState]:
    return [
        pool(A, ssd='n', consistent=True),
        pool(B, ssd='y', consistent=False),
        pool(C, ssd='y', consistent=True, free=40),
    ]


def of_type(ssd: str, size: int = 10) -> RequestSpec:
    return spec(size, extra_specs={'ssd': ssd}, resource_backend='ignored')


@pytest.mark.parametrize(
    ('volumes', 'expected'),
    [
        ([of_type('n')], A),
        ([of_type('y')], B),  # its backend has a pool that suits the group type
        ([of_type('y'), of_type('n')], B),  # pools of one backend may share the volumes
        ([of_type('n'), of_type('y')], A),
        ([of_type('y', 30), of_type('z')], None),
        ([], None),
    ],
)
def test_a_group_needs_one_backend_for_all(volumes: list[RequestSpec], expected: str | None) -> None:
    assert schedule_group(GROUP, volumes, group_pools(), DEFAULTS).winner == expected


def test_a_stale_report_takes_no_part_of_a_group() -> None:
    fresh, stale = pool(A), PoolState.from_record({**pool(B).record, 'reported_at': 1.0})
    decision = schedule_group(RequestSpec(0), [spec(), spec()], [fresh, stale], DEFAULTS, now=10_000.0)
    assert [part.considered for part in decision.parts] == [[A], [A], [A]]


def test_a_group_that_nobody_can_take_says_why() -> None:
    states = group_pools()
    unfit = schedule_group(GROUP, [of_type('z')], states, DEFAULTS)
    assert unfit.summary() == '3 pools: the volume type requires other capabilities'
    split = schedule_group(RequestSpec(0), [of_type('n'), of_type('y')], [states[0], states[2]], DEFAULTS)
    assert split.winner is None
    assert split.summary() == 'No backend can take the group and all of its volumes.'
    assert len(split.parts) == 3


def test_a_sequence_of_placements_fills_the_pools() -> None:
    states, winners = pools(p={'total': 50, 'free': 50}, q={'total': 40, 'free': 40}), []
    for _ in range(4):
        winner = schedule(spec(25), states, DEFAULTS).winner
        winners.append(winner)
        states = consume(states, winner, 25) if winner else states
    assert winners == ['host@backend#p', 'host@backend#q', 'host@backend#p', None]
    assert [state.free_capacity_gb for state in states] == [0, 15]


@pytest.mark.parametrize(
    ('filters', 'expected'),
    [
        (None, [A, B, C]),
        ({'name': B}, [B]),
        ({'total_capacity_gb': '200'}, [B]),
        ({'total_capacity_gb': 300}, [C]),
        ({'multiattach': 'yes'}, [C]),
        ({'multiattach': 'false'}, [A]),
        ({'tier': 'gold'}, [A]),
        ({'absent': 'x'}, []),
        ({'absent': None}, [A, B, C]),
        ({'name': B, 'total_capacity_gb': '300'}, []),
    ],
)
def test_get_pools(filters: dict[str, Any] | None, expected: list[str]) -> None:
    states = [
        pool(A, multiattach=False, tier='gold'),
        pool(B, total=200),
        pool(C, total=300, multiattach=True),
    ]
    assert [found['name'] for found in get_pools(states, DEFAULTS, filters)] == expected


def test_get_pools_for_a_volume_type_asks_the_filters() -> None:
    states = [pool(A, ssd=True, free=0), pool(B, ssd=False), pool(C, ssd=True, total=None)]
    found = get_pools(states, DEFAULTS, None, RequestSpec(None, extra_specs={'ssd': '<is> True'}))
    assert [entry['name'] for entry in found] == [A]
    assert found[0]['capabilities']['ssd'] is True


def test_get_pools_shows_bad_reports_but_no_silent_service() -> None:
    states = [pool(A, total='lots'), *pool_states([{'host': 'mute@x', 'capabilities': None}])]
    assert [found['name'] for found in get_pools(states, DEFAULTS)] == [A]


def test_a_spec_is_not_changed_by_a_decision() -> None:
    asked = spec(60, extra_specs={'ssd': 'y'}, retry=Retry(1, (A,)))
    copy = dataclasses.replace(asked)
    schedule(asked, three(), SchedulerConfig(scheduler_max_attempts=1))
    retype(asked, three(), DEFAULTS, A, 'never')
    assert asked == copy
