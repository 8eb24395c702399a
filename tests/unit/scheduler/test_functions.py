"""The names that a backend's filter_function and goodness_function read: Cinder's, each with its own value."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.scheduler.functions import evaluate_each, goodness_stats, stats
from chalicelib.scheduler.pools import PoolState
from tests.unit.scheduler.build import spec

POOL = PoolState.from_record(
    {
        'name': 'host@backend#pool',
        'host': 'host@backend',
        'cluster_name': 'cluster@backend#pool',
        'reported_at': 5.0,
        'capabilities': {
            'volume_backend_name': 'gold',
            'vendor_name': 'Vendor',
            'driver_version': '1.2',
            'storage_protocol': 'ebs',
            'QoS_support': True,
            'total_capacity_gb': 100,
            'allocated_capacity_gb': 30,
            'free_capacity_gb': 60,
            'reserved_percentage': 7,
        },
    }
)

STATS = {
    'host': 'host@backend',
    'volume_backend_name': 'gold',
    'vendor_name': 'Vendor',
    'driver_version': '1.2',
    'storage_protocol': 'ebs',
    'QoS_support': True,
    'total_capacity_gb': 100,
    'allocated_capacity_gb': 30,
    'free_capacity_gb': 60,
    'reserved_percentage': 7,
    'updated': 5.0,
}


def test_statistics() -> None:
    assert goodness_stats(POOL) == STATS
    assert stats(POOL) == {**STATS, 'cluster_name': 'cluster@backend#pool', 'backend_id': 'host@backend#pool'}


def test_a_pool_that_reports_nothing_has_no_qos() -> None:
    bare = PoolState.from_record({'name': 'host@backend#pool', 'capabilities': {}})
    assert stats(bare)['QoS_support'] is False
    assert stats(bare)['volume_backend_name'] is None


@pytest.mark.parametrize(
    ('function', 'value'),
    [
        ('stats.free_capacity_gb', 60),
        ('capabilities.reserved_percentage', 7),
        ('volume.size', 10),
        ('volume.name', 'data'),
        ('extra.tier', 3),
        ('qos.iops', 500),
    ],
)
def test_each_scope_is_read(function: str, value: Any) -> None:
    asked = spec(10, volume_properties={'name': 'data'}, extra_specs={'tier': '3'}, qos_specs={'iops': '500'})
    assert list(evaluate_each(function, stats(POOL), POOL, asked)) == [value]
