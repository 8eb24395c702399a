"""One pool: what is read from its record, whether it can be believed, what is promised on it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from chalicelib.scheduler.pools import ABSURD_GB, PoolState, seconds
from tests.unit.scheduler.build import pool, pools, report
from tests.vectors.cinder import consume


def record(**keys: Any) -> dict[str, Any]:
    return {'name': 'host@backend#pool', 'capabilities': report(), **keys}


def test_what_a_report_leaves_out_has_cinders_defaults() -> None:
    state = PoolState.from_record({'name': 'h@b#p', 'capabilities': {'allocated_capacity_gb': 7}})
    assert (state.total_capacity_gb, state.free_capacity_gb, state.reserved_percentage) == (0, 0, 0)
    assert state.provisioned_capacity_gb == 7
    assert state.thin_provisioning_support is False
    assert (state.host, state.cluster_name, state.availability_zone) == ('h@b#p', None, None)
    assert state.reported_at is None
    assert state.obstacle is None


def test_a_clustered_pool_has_two_names() -> None:
    state = PoolState.from_record(record(name='c@b#p', host='h1@b#p', cluster_name='c@b#p', availability_zone='az1'))
    assert (state.name, state.host, state.cluster_name) == ('c@b#p', 'h1@b#p', 'c@b#p')
    assert (state.pool_name, state.availability_zone) == ('p', 'az1')


@pytest.mark.parametrize(
    ('protocol', 'spellings'),
    [
        ('iSCSI', ['iSCSI', 'iscsi']),
        ('fc', ['FC', 'fibre_channel', 'fc']),
        ('nfs', ['NFS', 'nfs']),
        ('NVMeOF', ['NVMe-oF', 'NVMeOF', 'nvmeof']),
        ('ebs', 'ebs'),
        (['x'], ['x']),
        (None, None),
    ],
)
def test_a_protocol_is_all_its_spellings(protocol: Any, spellings: Any) -> None:
    original = report(storage_protocol=protocol)
    state = PoolState.from_record(record(capabilities=original))
    assert state.capabilities['storage_protocol'] == spellings
    assert original['storage_protocol'] == protocol


@pytest.mark.parametrize(
    ('keys', 'reason'),
    [
        ({'disabled': True}, 'the backend is disabled'),
        ({'frozen': True}, 'the backend is frozen'),
        ({'up': False}, 'the backend is down'),
        ({'capabilities': None}, 'the backend has not reported'),
        ({'capabilities': None, 'up': False}, 'the backend is down'),
        ({'disabled': True, 'up': False, 'warning': 'bad'}, 'the backend is disabled'),
    ],
)
def test_a_service_that_takes_no_work(keys: dict[str, Any], reason: str) -> None:
    state = PoolState.from_record(record(**keys))
    assert state.obstacle is not None
    assert (state.obstacle.step, state.obstacle.reason) == ('ServiceState', reason)
    assert state.warning == ''


@pytest.mark.parametrize(
    ('capabilities', 'warning'),
    [
        ({'total': None}, 'total_capacity_gb is None'),
        ({'total': 'lots'}, "total_capacity_gb is 'lots'"),
        ({'total': math.nan}, 'total_capacity_gb is nan'),
        ({'total': math.inf}, 'total_capacity_gb is inf'),
        ({'total': ABSURD_GB}, 'total_capacity_gb is 1125899906842624.0'),
        ({'total': 10**400, 'free': 0.5}, 'total_capacity_gb is 1000'),
        ({'free': '50'}, "free_capacity_gb is '50'"),
        ({'free': [1]}, 'free_capacity_gb is a list'),
        ({'allocated': {'a': 1}}, 'allocated_capacity_gb is a dict, provisioned_capacity_gb is a dict'),
        ({'allocated': -1, 'provisioned': 0}, 'allocated_capacity_gb is -1'),
        ({'provisioned': 'infinite'}, "provisioned_capacity_gb is 'infinite'"),
        ({'provisioned': -5}, 'provisioned_capacity_gb is -5'),
        ({'reserved': 101}, 'reserved_percentage is 101'),
        ({'reserved': -1}, 'reserved_percentage is -1'),
        ({'reserved': 'some'}, "reserved_percentage is 'some'"),
        ({'thin': True, 'ratio': 'lots'}, "max_over_subscription_ratio is 'lots'"),
        ({'thin': True, 'ratio': math.inf}, 'max_over_subscription_ratio is inf'),
        ({'thin': True, 'ratio': [2]}, 'max_over_subscription_ratio is a list'),
        ({'total': None, 'reserved': 500}, 'total_capacity_gb is None, reserved_percentage is 500'),
    ],
)
def test_a_report_that_cannot_be_believed(capabilities: dict[str, Any], warning: str) -> None:
    state = pool(**capabilities)
    assert state.warning.startswith(warning)
    assert state.obstacle is not None
    assert (state.obstacle.step, state.obstacle.reason) == ('PoolReport', 'the report is malformed')


@pytest.mark.parametrize(
    'capabilities',
    [
        {'total': 'infinite', 'free': 'unknown'},
        {'total': 'unknown', 'free': 5},
        {'free': None},
        {'total': -1},
        {'free': 200},
        {'total': 0, 'free': 0},
        {'thin': True, 'ratio': 'auto'},
        {'thin': True, 'ratio': '2.5'},
        {'thin': True, 'ratio': None},
        {'ratio': 'lots'},
        {'reserved': 100},
    ],
)
def test_a_report_that_is_odd_but_usable(capabilities: dict[str, Any]) -> None:
    assert pool(**capabilities).obstacle is None


def test_numbers_as_text_are_read() -> None:
    state = pool(total='200', reserved='10')
    assert (state.total_capacity_gb, state.reserved_percentage) == (200.0, 10.0)
    assert state.obstacle is None


@pytest.mark.parametrize('capabilities', [[], 'text', 5, True])
def test_a_report_that_is_no_object(capabilities: Any) -> None:
    state = PoolState.from_record(record(capabilities=capabilities))
    assert 'not an object' in state.warning


def test_a_warning_from_the_time_of_the_report_is_kept() -> None:
    assert PoolState.from_record(record(warning='two pools of one name')).warning == 'two pools of one name'
    assert PoolState.from_record(record(capabilities=None, warning='no answer')).warning == 'no answer'


@pytest.mark.parametrize(
    ('capabilities', 'thick', 'free'),
    [
        ({'free': 40}, False, 40),
        ({'free': 40, 'provisioned': 90}, False, 10),
        ({'free': 40.126}, False, 40.13),
        ({'thin': True, 'provisioned': 150, 'ratio': 2.0}, False, 50),
        ({'thin': True, 'provisioned': 150}, False, 850),
        ({'thin': True, 'provisioned': 30, 'free': 60, 'ratio': 2.0}, True, 60),
        ({'free': 'infinite'}, False, None),
        ({'total': 'unknown'}, False, None),
    ],
)
def test_virtual_free_space(capabilities: dict[str, Any], thick: bool, free: float | None) -> None:
    assert pool(**capabilities).virtual_free_gb('10.0', thick) == free


def test_consumption_moves_three_numbers_and_no_capability() -> None:
    before = pool(free=60, allocated=40, provisioned=70)
    after = before.consume(25)
    assert (after.free_capacity_gb, after.allocated_capacity_gb, after.provisioned_capacity_gb) == (35, 65, 95)
    assert after.capabilities == before.capabilities
    assert before.free_capacity_gb == 60
    assert after.consume(-25) == before


@pytest.mark.parametrize('free', ['infinite', 'unknown', None])
def test_what_is_not_counted_is_not_consumed(free: Any) -> None:
    assert pool(free=free).consume(10).free_capacity_gb == free


def test_consumption_leaves_the_ratio_of_the_report() -> None:
    state = pool(thin=True, ratio='auto', free=61, allocated=80)
    assert state.consume(20).ratio('20.0') == state.ratio('20.0') == 3.0


def test_consume_touches_the_pool_of_that_name_only() -> None:
    one, other = consume(pools(a={}, b={}), 'host@backend#b', 30)
    assert (one.free_capacity_gb, other.free_capacity_gb) == (100, 70)


@pytest.mark.parametrize(
    ('when', 'since_epoch'),
    [
        (None, None),
        (1700000000, 1700000000),
        ('1970-01-01T00:01:00', 60.0),
        ('1970-01-01T00:01:00.500000+00:00', 60.5),
        ('1970-01-01T02:00:00+02:00', 0.0),
        ('yesterday', -math.inf),
        ({}, -math.inf),
    ],
)
def test_moments(when: Any, since_epoch: float | None) -> None:
    assert seconds(when) == since_epoch
