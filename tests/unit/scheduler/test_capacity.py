"""Arithmetic of capacity: thin, thick, reserve, over-subscription."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.scheduler import capacity
from tests.unit.scheduler.build import report
from tests.vectors import cinder


@pytest.mark.parametrize(
    ('capabilities', 'default', 'ratio'),
    [
        ({}, '20.0', 1.0),
        ({'ratio': 5}, '20.0', 1.0),
        ({'thin': True}, '20.0', 20.0),
        ({'thin': True, 'ratio': 3}, '20.0', 3.0),
        ({'thin': True, 'ratio': '2.5'}, '20.0', 2.5),
        ({'thin': True, 'ratio': 0}, '7', 7.0),
        ({'thin': True, 'ratio': 3, 'free': 'infinite'}, '20.0', 1.0),
        ({'thin': True, 'ratio': 3, 'total': 'unknown'}, '20.0', 1.0),
        ({'thin': True, 'ratio': 'auto'}, '20.0', 20),
        ({'thin': True, 'ratio': 'auto', 'free': 61, 'allocated': 80}, '20.0', 3.0),
        ({'thin': True, 'free': 61, 'allocated': 7, 'provisioned': 120}, 'auto', 4.0),
        ({'thin': 'False', 'ratio': 3}, '20.0', 3.0),
    ],
)
def test_the_ratio_in_force(capabilities: dict[str, Any], default: str, ratio: float) -> None:
    assert capacity.max_over_subscription_ratio(report(**capabilities), default) == pytest.approx(ratio)


@pytest.mark.parametrize('ratio', ['lots', [2], {'a': 1}])
def test_a_ratio_that_is_no_number_is_refused(ratio: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        capacity.max_over_subscription_ratio(report(thin=True, ratio=ratio), '20.0')


@pytest.mark.parametrize(
    ('total', 'free', 'provisioned', 'reserved', 'ratio', 'virtual_free'),
    [
        (100, 40, 60, 0, None, 40),
        (100, 90, 60, 0, None, 40),
        (100, 10, 60, 0, None, 10),
        (100, 40, 60, 10, None, 30),
        (99, 99, 0, 10, None, 90),  # the reserve of 9.9 counts as 9
        (100, 10, 0, 50, None, 10),  # the smaller, reported space keeps its reserve
        (100, 0, 150, 0, 2.0, 50),
        (100, 0, 150, 10, 2.0, 30),
        (100, 0, 250, 0, 2.0, -50),
    ],
)
def test_virtual_free_space(
    total: float, free: float, provisioned: float, reserved: float, ratio: float | None, virtual_free: float
) -> None:
    assert capacity.space(total, free, provisioned, reserved, ratio)[2] == virtual_free


def test_all_factors_of_a_thin_pool() -> None:
    assert cinder.capacity_factors(1000, 10, 1200, 25, 3.0) == cinder.CapacityFactors(
        total_capacity=1000.0,
        free_capacity=10,
        reserved_capacity=250,
        total_reserved_available_capacity=750.0,
        max_over_subscription_ratio=3.0,
        total_available_capacity=2250.0,
        provisioned_capacity=1200,
        calculated_free_capacity=1050.0,
        virtual_free_capacity=1050.0,
        free_percent=46.67,
        provisioned_ratio=0.53,
        provisioned_type='thin',
    )


def test_all_factors_of_a_thick_pool() -> None:
    factors = cinder.capacity_factors(200, 50, 120, 0, None)
    assert factors.provisioned_type == 'thick'
    assert factors.max_over_subscription_ratio is None
    assert (factors.calculated_free_capacity, factors.virtual_free_capacity) == (80.0, 50)
    assert (factors.free_percent, factors.provisioned_ratio) == (25.0, 0.6)


def test_factors_of_a_pool_that_is_all_reserve_divide_by_nothing() -> None:
    factors = cinder.capacity_factors(100, 100, 30, 100, None)
    assert (factors.free_percent, factors.provisioned_ratio, factors.virtual_free_capacity) == (0, 0, -30)


@pytest.mark.parametrize(('size', 'cents'), [(1.005, 1.0), (2.675, 2.67), (0.125, 0.12), (7, 7), (-3.456, -3.46)])
def test_rounding_is_that_of_python(size: float, cents: float) -> None:
    assert capacity.to_cents(size) == cents == round(size, 2)
