"""The limits that a host receives, figure by figure. Source: Cinder's volume manager."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.rules import qos


@pytest.mark.parametrize('name', qos.SCALED)
@pytest.mark.parametrize(
    ('given', 'size', 'expected'),
    [
        ({'_per_gb': '10'}, 3, 30),
        ({'_per_gb': '10', '_per_gb_min': '50'}, 3, 50),
        ({'_per_gb': '10', '_per_gb_min': '50'}, 7, 70),
        ({'_per_gb': '10', '_max': '25'}, 3, 25),
        ({'_per_gb': '10', '_max': '25'}, 2, 20),
        ({'_per_gb': '10', '_per_gb_min': '50', '_max': '40'}, 1, 40),
        ({'_per_gb': '0'}, 5, 0),
    ],
)
def test_limits_per_gib(name: str, given: dict[str, str], size: int, expected: int) -> None:
    specs = {f'{name}{part}': value for part, value in given.items()}
    assert qos.front_end('front-end', {**specs, 'other': 'kept'}, size) == {name: expected, 'other': 'kept'}


def test_what_is_not_per_gib_stays_as_it_is() -> None:
    specs = {'read_iops_sec': '100', 'read_iops_sec_max': '200', 'x': 'y'}
    assert qos.front_end('both', specs, 9) == specs
    assert specs == {'read_iops_sec': '100', 'read_iops_sec_max': '200', 'x': 'y'}


@pytest.mark.parametrize(
    ('consumer', 'front', 'back'),
    [('front-end', {'a': 'b'}, {}), ('both', {'a': 'b'}, {'a': 'b'}), ('back-end', None, {'a': 'b'})],
)
def test_who_enforces(consumer: str, front: Any, back: Any) -> None:
    assert qos.front_end(consumer, {'a': 'b'}, 1) == front
    assert qos.back_end(consumer, {'a': 'b'}) == back


@pytest.mark.parametrize('part', ['_per_gb', '_per_gb_min', '_max'])
@pytest.mark.parametrize('wrong', ['', 'x', '1.5', '-1', '٣', '9' * 19])
def test_figures_that_are_not_numbers(part: str, wrong: str) -> None:
    specs = {'total_iops_sec_per_gb': '1', f'total_iops_sec{part}': wrong}
    assert qos.check(specs) == [f'total_iops_sec{part}']


def test_figures_that_are_numbers() -> None:
    specs = {'total_iops_sec_per_gb': '1', 'total_iops_sec_per_gb_min': '0', 'total_iops_sec_max': '9' * 18}
    assert qos.check(specs) == []
    assert qos.check({'total_iops_sec_max': 'no limit per GiB', 'other': 'x'}) == []
