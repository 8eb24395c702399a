"""The reasons that decisions give: to users without names, to operators in full."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.scheduler.config import SchedulerConfig
from chalicelib.scheduler.filter_scheduler import schedule
from chalicelib.scheduler.pools import PoolState
from chalicelib.scheduler.request_spec import RequestSpec, Retry
from tests.unit.scheduler.build import config, pool, spec

DEFAULTS = SchedulerConfig()
A, B, C = 'host@a#p', 'host@a#q', 'host@b#p'

STORIES: list[tuple[str, dict[str, Any], list[PoolState], str, str]] = [
    (
        'AvailabilityZoneFilter',
        {'availability_zones': ('az1', 'az2')},
        [pool(A, zone='az3')],
        'the request requires zone az1 or az2',
        '',
    ),
    (
        'CapacityFilter',
        {'size': 500},
        [pool(A, free=98), pool(B, free=12.345)],
        'not enough free space for 500 GiB',
        f'{A} has 98 GiB, {B} has 12.35 GiB',
    ),
    ('CapacityFilter', {}, [pool(A, free=None)], 'no free capacity is reported', ''),
    (
        'CapacityFilter',
        {},
        [pool(A, total='unknown', reserved=5)],
        'no total capacity is reported, so the reserve cannot be computed',
        '',
    ),
    ('CapacityFilter', {}, [pool(A, total=0)], 'a total capacity of 0 is reported', ''),
    ('CapacityFilter', {}, [pool(A, thin=True, reserved=100)], 'the reserve leaves nothing', ''),
    ('CapacityFilter', {}, [pool(A, thin=True, ratio=0.5)], 'the over-subscription ratio is below 1', ''),
    ('CapacityFilter', {'size': 5}, [pool(A, provisioned=130)], 'not enough free space for 5 GiB', f'{A} has 0 GiB'),
    (
        'CapabilitiesFilter',
        {'extra_specs': {'capabilities:ssd': '<is> True'}},
        [pool(A), pool(B)],
        'the volume type requires other capabilities',
        "extra spec capabilities:ssd requires '<is> True'",
    ),
    (
        'CapabilitiesFilter',
        {'operation': 'extend_volume'},
        [pool(A, online_extend_support=False)],
        'the backend cannot extend an attached volume',
        '',
    ),
    (
        'DriverFilter',
        {},
        [pool(A, filter_function='volume.size < 5')],
        "the backend's own rules refuse the request",
        "filter_function 'volume.size < 5': it is false",
    ),
    (
        'DriverFilter',
        {},
        [pool(A, filter_function='stats.absent')],
        "the backend's own rules refuse the request",
        "filter_function 'stats.absent': Invalid expression stats.absent is unknown",
    ),
    ('JsonFilter', {'scheduler_hints': {'query': '["=", 1, 2]'}}, [pool(A)], 'the hint query is false', ''),
    (
        'DifferentBackendFilter',
        {'scheduler_hints': {'different_host': 'x'}},
        [pool(A)],
        'the hint different_host must be the id of a volume, or a list of ids',
        '',
    ),
    (
        'SameBackendFilter',
        {'scheduler_hints': {'same_host': '00000001-aaaa-4aaa-8aaa-aaaaaaaaaaaa'}},
        [pool(A)],
        'no volume of the hint same_host is on this pool',
        '',
    ),
    ('IgnoreAttemptedHostsFilter', {'retry': Retry(1, (A,))}, [pool(A)], 'already tried for this request', ''),
]


@pytest.mark.parametrize(('name', 'requested', 'states', 'reason', 'detail'), STORIES)
def test_every_filter_tells_why(
    name: str, requested: dict[str, Any], states: list[PoolState], reason: str, detail: str
) -> None:
    decision = schedule(RequestSpec(**{'size': 10, **requested}), states, config(name))
    (removal,) = decision.removed
    assert (removal.filter, removal.reason, removal.detail) == (name, reason, detail)
    assert removal.pools == tuple(state.name for state in states)
    count = '1 pool' if len(states) == 1 else f'{len(states)} pools'
    assert decision.summary() == f'{count}: {reason}'


def test_a_detail_names_the_free_space_of_some_pools_only() -> None:
    states = [pool(f'h@b#p{number}', free=number) for number in range(30)]
    (removal,) = schedule(spec(50), states, config('CapacityFilter')).removed
    assert len(removal.pools) == 30
    assert removal.detail.startswith('h@b#p0 has 0 GiB, h@b#p1 has 1 GiB, ')
    assert removal.detail.endswith('h@b#p19 has 19 GiB ...')


def test_the_summary_has_a_clause_per_step_and_no_names() -> None:
    states = [
        pool('secret-host@x#1', total='lots'),
        pool('secret-host@x#2', zone='az9'),
        pool('secret-host@x#3', free=98),
        pool('secret-host@x#4', free=5),
        pool('secret-host@x#5', free=None),
    ]
    decision = schedule(spec(500, availability_zone='nova'), states, DEFAULTS)
    assert decision.summary() == (
        '1 pool: the report is malformed; 1 pool: the request requires zone nova; '
        '3 pools: not enough free space for 500 GiB'
    )
    assert 'secret' not in decision.summary()


def test_the_whole_story_for_operators() -> None:
    other = 'host@backend#other'
    states = [pool(A, zone='az9'), pool(other, zone='az9'), pool(B, free=7), pool(C, free=50)]
    decision = schedule(spec(10, availability_zone='nova'), states, DEFAULTS)
    assert decision.explain() == [
        f'considered 4: {A}, {other}, {B}, {C}',
        f'AvailabilityZoneFilter removed {A}, {other}: the request requires zone nova',
        f'CapacityFilter removed {B}: not enough free space for 10 GiB ({B} has 7 GiB)',
        f'candidate {C} weighs 0',
    ]
