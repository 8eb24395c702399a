"""AvailabilityZoneFilter, CapacityFilter, and the filters of where other things are."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import errors
from chalicelib.scheduler.filter_scheduler import schedule
from chalicelib.scheduler.request_spec import Facts, RequestSpec, Retry
from tests.unit.scheduler.build import config, pool, pools, spec, survivors

ONE, TWO, THREE, FOUR = (f'0000000{number}-aaaa-4aaa-8aaa-aaaaaaaaaaaa' for number in range(1, 5))


@pytest.mark.parametrize(
    ('requested', 'expected'),
    [
        ({}, ['p1', 'p2', 'p3']),
        ({'availability_zone': 'az2'}, ['p2']),
        ({'availability_zone': 'az9'}, []),
        ({'availability_zones': ('az1', 'az3')}, ['p1', 'p3']),
        ({'availability_zones': ('az3',), 'availability_zone': 'az1'}, ['p3']),
        ({'availability_zones': (), 'availability_zone': 'az1'}, ['p1']),
    ],
)
def test_zones(requested: dict[str, Any], expected: list[str]) -> None:
    states = [pool(f'h@b#p{number}', zone=f'az{number}') for number in (1, 2, 3)]
    assert survivors('AvailabilityZoneFilter', states, spec(**requested)) == expected


CAPACITY: list[tuple[str, dict[str, Any], int, bool]] = [
    ('an exact fit', {'free': 10, 'allocated': 90}, 10, True),
    ('one too many', {'free': 9, 'allocated': 91}, 10, False),
    ('provisioned beyond allocated', {'free': 90, 'allocated': 10, 'provisioned': 95}, 10, False),
    ('the reserve', {'free': 20, 'allocated': 80, 'reserved': 11}, 10, False),
    ('the reserve is rounded down', {'total': 99, 'free': 20, 'allocated': 79, 'reserved': 10}, 11, True),
    ('a reported free space keeps its reserve', {'free': 10, 'reserved': 50}, 10, True),
    ('all of it reserved', {'reserved': 100}, 1, False),
    ('no free capacity', {'free': None}, 1, False),
    ('infinite', {'free': 'infinite', 'total': 0, 'reserved': 90}, 10**6, True),
    ('unknown', {'free': 'unknown', 'total': 'unknown', 'reserved': 20}, 10**6, True),
    ('infinite total without reserve', {'total': 'infinite', 'free': 1}, 10**6, True),
    ('infinite total with reserve', {'total': 'infinite', 'free': 5, 'reserved': 1}, 1, False),
    ('nothing in total', {'total': 0, 'free': 50}, 1, False),
    ('less than nothing in total', {'total': -1, 'free': 50}, 1, False),
    ('thin: twice the total', {'thin': True, 'ratio': 2.0, 'free': 1, 'provisioned': 190}, 10, True),
    ('thin: beyond twice the total', {'thin': True, 'ratio': 2.0, 'free': 99, 'provisioned': 191}, 10, False),
    ('thin: reserve first, then ratio', {'thin': True, 'ratio': 2.0, 'reserved': 10, 'provisioned': 171}, 10, False),
    ('thin: ratio of the scheduler', {'thin': True, 'provisioned': 1990}, 10, True),
    ('thin: ratio as text', {'thin': True, 'ratio': '1.5', 'provisioned': 141}, 10, False),
    ('thin: ratio from use', {'thin': True, 'ratio': 'auto', 'free': 90, 'provisioned': 40}, 400, True),
    ('thin: ratio below 1', {'thin': True, 'ratio': 0.9}, 1, False),
    ('thin: all of it reserved', {'thin': True, 'ratio': 2.0, 'reserved': 100}, 1, False),
    ('thin: any text is support', {'thin': 'False', 'ratio': 2.0, 'free': 0, 'provisioned': 150}, 10, True),
    ('thin: once more against the rounded total', {'total': 100.004, 'thin': True, 'ratio': 1.0}, 100, True),
    ('ratio without thin support', {'ratio': 10.0, 'free': 20, 'provisioned': 95}, 10, False),
]


@pytest.mark.parametrize(
    ('capabilities', 'size', 'fits'), [row[1:] for row in CAPACITY], ids=[row[0] for row in CAPACITY]
)
def test_capacity(capabilities: dict[str, Any], size: int, fits: bool) -> None:
    assert survivors('CapacityFilter', [pool(**capabilities)], spec(size)) == (['pool'] if fits else [])


def test_within_a_hair_of_the_limit_the_rounded_total_decides() -> None:
    """Cinder tests the ratio against a total of 10.0 here, and 10.002 is more than that."""
    state = pool(total=10.004, thin=True, ratio=1.0, provisioned=0.002)
    assert survivors('CapacityFilter', [state], spec(10)) == []
    assert survivors('CapacityFilter', [pool(total=10.004, thin=True, ratio=1.1, provisioned=0.002)], spec(10)) == [
        'pool'
    ]


def test_a_type_for_thick_volumes_wants_real_space_on_thin_pools() -> None:
    states = pools(
        real={'thin': True, 'ratio': 10.0, 'free': 15, 'provisioned': 85},
        promised={'thin': True, 'ratio': 10.0, 'free': 5, 'provisioned': 85},
    )
    assert survivors('CapacityFilter', states, spec(10)) == ['promised', 'real']
    assert survivors('CapacityFilter', states, spec(10, extra_specs={'provisioning:type': 'thick'})) == ['real']


def test_only_the_growth_needs_room() -> None:
    states = pools(enough={'free': 10, 'allocated': 90}, short={'free': 9, 'allocated': 91})
    assert survivors('CapacityFilter', states, spec(50, new_size=60)) == ['enough']


def test_a_volume_needs_no_room_where_it_is() -> None:
    states = pools(here={'free': 0}, there={'free': 0})
    assert survivors('CapacityFilter', states, spec(10, vol_exists_on='host@backend#here')) == ['here']


@pytest.mark.parametrize('size', [0, None])
def test_a_request_for_no_space_fits_anywhere(size: int | None) -> None:
    assert survivors('CapacityFilter', [pool(total=0, free=None)], spec(size)) == ['pool']


FACTS = Facts(
    volume_backends={ONE: 'host@backend#a', TWO: 'host@backend#b'},
    instance_hosts={THREE: 'host'},
)


@pytest.mark.parametrize(
    ('hint', 'different', 'same'),
    [
        (ONE, ['b', 'c'], ['a']),
        ([ONE, TWO], ['c'], ['a', 'b']),
        ([ONE, FOUR], ['b', 'c'], ['a']),
        (FOUR, ['a', 'b', 'c'], []),
        ([], ['a', 'b', 'c'], ['a', 'b', 'c']),
        ([ONE, 'not a uuid'], [], []),
        ('not a uuid', [], []),
        (None, [], []),
        ({'a': 1}, [], []),
        ([5], [], []),
    ],
)
def test_affinity_to_volumes(hint: Any, different: list[str], same: list[str]) -> None:
    states = pools(a={}, b={}, c={})
    apart = spec(scheduler_hints={'different_host': hint})
    together = spec(scheduler_hints={'same_host': hint})
    assert survivors('DifferentBackendFilter', states, apart, facts=FACTS) == different
    assert survivors('SameBackendFilter', states, together, facts=FACTS) == same


@pytest.mark.parametrize(
    'name', ['DifferentBackendFilter', 'SameBackendFilter', 'InstanceLocalityFilter', 'JsonFilter']
)
def test_without_its_hint_a_filter_passes_all(name: str) -> None:
    assert survivors(name, pools(a={}, b={})) == ['a', 'b']


def test_uuids_in_other_spellings_are_uuids() -> None:
    hint = '{' + FOUR.upper() + '}'
    assert survivors('DifferentBackendFilter', pools(a={}), spec(scheduler_hints={'different_host': hint})) == ['a']


@pytest.mark.parametrize(
    ('retry', 'expected'),
    [
        (None, ['a', 'b']),
        (Retry(), ['a', 'b']),
        (Retry(1, ('host@backend#a',)), ['b']),
        (Retry(1, ('host@backend',)), ['a', 'b']),
    ],
)
def test_attempted_pools(retry: Retry | None, expected: list[str]) -> None:
    assert survivors('IgnoreAttemptedHostsFilter', pools(a={}, b={}), spec(retry=retry)) == expected


def locality(hint: Any, facts: Facts = FACTS) -> list[str]:
    states = [pool('host@x#near'), pool('host2@x#far'), pool('host#bare')]
    return survivors('InstanceLocalityFilter', states, spec(scheduler_hints={'local_to_instance': hint}), facts=facts)


def test_near_the_instance() -> None:
    assert locality(THREE) == ['bare', 'near']


def test_an_instance_that_is_no_uuid_is_an_error_of_the_request() -> None:
    with pytest.raises(errors.InvalidUUID, match='received nope'):
        locality('nope')


def test_an_instance_of_unknown_host_is_an_error_of_the_request() -> None:
    with pytest.raises(errors.HintNotSupported, match='Nova did not report the host'):
        locality(FOUR)


def test_hints_are_not_looked_at_when_no_pool_is_left() -> None:
    both = config('AvailabilityZoneFilter', 'InstanceLocalityFilter')
    asked = spec(availability_zone='az9', scheduler_hints={'local_to_instance': 'nope'})
    assert schedule(asked, pools(a={}), both).candidates == []


def test_one_filter_after_the_other_sees_only_the_survivors() -> None:
    states = [pool('h@b#a', zone='az1', free=5), pool('h@b#b', zone='az2', free=50), pool('h@b#c', zone='az1', free=50)]
    decision = schedule(
        RequestSpec(10, availability_zone='az1'), states, config('CapacityFilter', 'AvailabilityZoneFilter')
    )
    assert [(removal.filter, removal.pools) for removal in decision.removed] == [
        ('CapacityFilter', ('h@b#a',)),
        ('AvailabilityZoneFilter', ('h@b#b',)),
    ]
