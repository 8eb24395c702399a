"""CapabilitiesFilter, DriverFilter, JsonFilter: filters that read what a pool reports."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chalicelib.scheduler.filter_scheduler import schedule
from chalicelib.scheduler.filters.json_query import MAX_DEPTH, MAX_LENGTH
from chalicelib.scheduler.pools import PoolState
from tests.unit.scheduler.build import config, pool, pools, report, spec, survivors

CAPABILITIES = {
    'fast': {'ssd': True, 'iops': 900, 'disk': {'kind': 'nvme'}, 'tier': ['gold', 'silver'], 'none': None},
    'slow': {'ssd': False, 'iops': '90', 'disk': 'nvme', 'tier': 'bronze'},
    'mute': {},
}


@pytest.mark.parametrize(
    ('extra_specs', 'expected'),
    [
        ({}, ['fast', 'mute', 'slow']),
        ({'ssd': '<is> True'}, ['fast']),
        ({'ssd': '<is> False'}, ['slow']),
        ({'iops': '>= 90'}, ['fast', 'slow']),
        ({'iops': '90'}, ['slow']),
        ({'capabilities:iops': '>= 100'}, ['fast']),
        ({'capabilities:disk:kind': 'nvme'}, ['fast']),
        ({'disk': 'nvme'}, ['slow']),
        ({'tier': 'silver'}, ['fast']),
        ({'tier': '<or> bronze <or> gold'}, ['fast', 'slow']),
        ({'none': None}, ['fast']),
        ({'none': 's!= x'}, []),
        ({'absent': '<is> False'}, []),
        ({'vendor:absent': 'x', 'provisioning:type': 'thin'}, ['fast', 'mute', 'slow']),
        ({'ssd': '<is> True', 'tier': 'bronze'}, []),
        ({'capabilities': '<in> ssd'}, ['fast', 'slow']),
        ({'iops': '<in> 90'}, ['slow']),
        ({'iops': 's< 99'}, ['slow']),
    ],
)
def test_capabilities(extra_specs: dict[str, str | None], expected: list[str]) -> None:
    assert survivors('CapabilitiesFilter', pools(**CAPABILITIES), spec(extra_specs=extra_specs)) == expected


def test_an_empty_list_of_capabilities_matches_nothing() -> None:
    assert survivors('CapabilitiesFilter', pools(a={'tier': []}), spec(extra_specs={'tier': 's!= x'})) == []


@pytest.mark.parametrize('requested', ['iSCSI', 'iscsi', '<in> scsi', '<in> iSCSI', 's!= FC'])
def test_any_spelling_of_the_protocol_will_do(requested: str) -> None:
    states = pools(scsi={'storage_protocol': 'iscsi'}, fc={'storage_protocol': 'FC'})
    assert 'scsi' in survivors('CapabilitiesFilter', states, spec(extra_specs={'storage_protocol': requested}))
    assert survivors('CapabilitiesFilter', states, spec(extra_specs={'storage_protocol': 'fibre_channel'})) == ['fc']


@pytest.mark.parametrize(
    ('attach_status', 'operation', 'expected'),
    [
        ('attached', 'extend_volume', ['silent', 'yes', 'zero']),
        (None, 'extend_volume', ['silent', 'yes', 'zero']),
        ('detached', 'extend_volume', ['no', 'silent', 'yes', 'zero']),
        ('attached', 'create_volume', ['no', 'silent', 'yes', 'zero']),
    ],
)
def test_extending_what_is_attached(attach_status: str | None, operation: str, expected: list[str]) -> None:
    states = pools(
        no={'online_extend_support': False},
        yes={'online_extend_support': True},
        silent={},
        zero={'online_extend_support': 0},
    )
    asked = spec(operation=operation, volume_properties={'attach_status': attach_status})
    assert survivors('CapabilitiesFilter', states, asked) == expected


def test_for_a_group_the_group_type_counts() -> None:
    states = pools(cg={'consistent': True}, ssd={'ssd': True})
    asked = spec(0, extra_specs={'ssd': '<is> True'}, group_specs={'consistent': '<is> True'})
    assert survivors('CapabilitiesFilter', states, asked) == ['cg']


FUNCTIONS = [
    ('stats.free_capacity_gb > 50', True),
    ('volume.size < 10', False),
    ('volume.size == 10 and stats.total_capacity_gb == 100', True),
    ("extra.tier == 'gold'", True),
    ('qos.maxIOPS >= 500', True),
    ("capabilities.vendor == 'V'", True),
    ('stats.QoS_support == 0', True),
    ("volume.availability_zone == 'az1'", True),
    ("stats.host == 'host@backend#pool' && stats.backend_id == stats.host", True),
    ('stats.allocated_capacity_gb + stats.reserved_percentage == 9', True),
    ("'text'", True),
    ("''", False),
    ('0', False),
    ('', False),
    ('volume.size <', False),
    ('stats.provisioned_capacity_gb > 0', False),  # Cinder has no such name
    ('stats.cluster_name == 1', False),
    ('1 / 0', False),
    (5, True),
    (True, True),  # its text is a word, and a text is true
]


@pytest.mark.parametrize(('function', 'passes'), FUNCTIONS)
def test_the_filter_function(function: Any, passes: bool) -> None:
    state = pool(filter_function=function, vendor='V', allocated=4, reserved=5)
    asked = spec(
        extra_specs={'tier': 'gold'}, qos_specs={'maxIOPS': '500'}, volume_properties={'availability_zone': 'az1'}
    )
    assert survivors('DriverFilter', [state], asked) == (['pool'] if passes else [])


@pytest.mark.parametrize('capabilities', [{}, {'filter_function': None}])
def test_without_a_function_a_pool_passes(capabilities: dict[str, Any]) -> None:
    assert survivors('DriverFilter', [pool(**capabilities)]) == ['pool']


@pytest.mark.parametrize(
    ('function', 'passes'),
    [
        ("stats.storage_protocol == 'iscsi'", True),
        ("capabilities.storage_protocol == 'iSCSI'", True),
        ("stats.storage_protocol == 'fc'", False),
        ("stats.storage_protocol == 'iscsi' && stats.absent", False),
    ],
)
def test_a_function_is_tried_with_every_spelling_of_the_protocol(function: str, passes: bool) -> None:
    state = pool(storage_protocol='iSCSI', filter_function=function)
    assert survivors('DriverFilter', [state]) == (['pool'] if passes else [])


def test_a_function_follows_what_was_promised_in_stats_only() -> None:
    functions = {'stats': 'stats.free_capacity_gb == 70', 'capabilities': 'capabilities.free_capacity_gb == 100'}
    states = [pool(f'h@b#{name}', filter_function=function).consume(30) for name, function in functions.items()]
    assert survivors('DriverFilter', states) == ['capabilities', 'stats']


def query(text: Any, states: list[PoolState] | None = None) -> list[str]:
    known = pools(
        a={'free': 20, 'provisioned': 80, 'thin': True, 'ratio': 3.0, 'disk': {'kind': 'ssd'}, 'pool_name': 'a'},
        b={'free': 90, 'multiattach': True, 'vendor_name': 'V', 'pool_name': 'b'},
    )
    return survivors('JsonFilter', states or known, spec(scheduler_hints={'query': text}))


@pytest.mark.parametrize(
    ('requested', 'expected'),
    [
        (['=', '$pool_name', 'a'], ['a']),
        (['=', '$backend_id', 'host@backend#b'], ['b']),
        (['=', '$host', '$backend_id'], ['a', 'b']),
        (['>', '$free_capacity_gb', 50], ['b']),
        (['<=', '$free_capacity_gb', 90], ['a', 'b']),
        (['<', '$free_capacity_gb', 90, 50], ['a']),
        (['>=', '$provisioned_capacity_gb', 80], ['a']),
        (['in', '$pool_name', 'b', 'c'], ['b']),
        (['and', ['=', 1, 1], ['=', '$multiattach', True]], ['b']),
        (['or', ['=', '$vendor_name', 'V'], ['=', '$max_over_subscription_ratio', 3.0]], ['a', 'b']),
        (['not', ['=', '$pool_name', 'a']], ['b']),
        (['not', ['=', 1, 1], ['=', 1, 2]], ['a', 'b']),
        (['=', '$thin_provisioning_support', True], ['a']),
        (['=', '$capabilities.disk.kind', 'ssd'], ['a']),
        (['=', '$service.availability_zone', 'nova'], ['a', 'b']),
        (['=', '$goodness_function', 0], ['a', 'b']),
        # Arguments without a value are left out, and one alone proves nothing.
        (['=', '$absent', 1], []),
        (['=', '', ''], []),
        (['='], []),
        # A list of results is true wherever a truth is expected, but for the end.
        (['or', ['not', ['=', 1, 1]]], ['a', 'b']),
        (['and', []], ['a', 'b']),
        ([], ['a', 'b']),
        ({}, ['a', 'b']),
        # What cannot be compared refuses the pool, and no other.
        (['<', '$free_capacity_gb', 'x'], []),
        (['=', '$pool_name.deeper', 'x'], []),
    ],
)
def test_the_query_of_the_requester(requested: Any, expected: list[str]) -> None:
    assert query(json.dumps(requested)) == expected


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('not json', 'the hint query is not a JSON list that starts with an operator'),
        ('{"=": 1}', 'the hint query is not a JSON list that starts with an operator'),
        ('5', 'the hint query is not a JSON list that starts with an operator'),
        (['=', 1, 1], 'the hint query is not a JSON list that starts with an operator'),
        ('["like", 1, 1]', 'the hint query has an unknown operator; allowed: = < > <= >= in not or and'),
        ('["and", [["="], 1]]', 'the hint query has an unknown operator; allowed: = < > <= >= in not or and'),
        ('["not",' * (MAX_DEPTH + 1) + '["=",1,1]' + ']' * (MAX_DEPTH + 1), 'the hint query is nested more than 50'),
        ('[' * 2000, 'the hint query is not a JSON list that starts with an operator'),
        ('["=", "' + 'x' * MAX_LENGTH + '", 1]', 'the hint query is longer than 4096 characters'),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_query_that_makes_no_sense_refuses_every_pool_and_says_why(text: Any, reason: str) -> None:
    decision = schedule(spec(scheduler_hints={'query': text}), pools(a={}, b={}), config('JsonFilter'))
    assert decision.candidates == []
    (removal,) = decision.removed
    assert removal.reason.startswith(reason)


def test_one_pool_that_cannot_be_compared_costs_no_other() -> None:
    states = pools(odd={'tier': {'a': 1}, 'iops': 5}, good={'tier': 'gold', 'iops': '5'})
    decision = schedule(spec(extra_specs={'iops': '<in> 5'}), states, config('CapabilitiesFilter'))
    assert [name for name, _ in decision.ranking] == ['host@backend#good']
    (removal,) = decision.removed
    assert removal.pools == ('host@backend#odd',)
    assert removal.reason == 'the report cannot be compared with the request'
    assert removal.detail == "TypeError: argument of type 'int' is not iterable"


def test_a_report_is_not_changed_by_any_filter() -> None:
    capabilities = report(storage_protocol='iSCSI', filter_function="stats.storage_protocol == 'iscsi'")
    before = repr(capabilities)
    state = PoolState.from_record({'name': 'h@b#p', 'capabilities': capabilities})
    schedule(spec(), [state], config('DriverFilter', 'CapabilitiesFilter', 'CapacityFilter'))
    assert repr(capabilities) == before
