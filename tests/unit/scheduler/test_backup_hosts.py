"""Which service takes a backup."""

from __future__ import annotations

import random
from typing import Any

import pytest

from chalicelib import errors
from tests.vectors.cinder import get_backup_host


def service(host: str, zone: str, driver: str = 's3', state: bool = True, **keys: Any) -> dict[str, Any]:
    capabilities = {'backend_state': state, 'driver_name': driver, 'availability_zone': zone}
    return {'host': host, 'availability_zone': zone, 'capabilities': capabilities, **keys}


SERVICES = [
    service('a', 'az1'),
    service('b', 'az2', 'files'),
    service('c', 'az1', state=False),
    service('d', 'az2'),
    {'host': 'e', 'availability_zone': 'az1', 'capabilities': None},
    {'host': 'f', 'availability_zone': 'az1', 'capabilities': ['nonsense']},
    {'host': 'g', 'availability_zone': 'az3', 'capabilities': {'backend_state': True}},
]


def hosts(**asked: Any) -> set[str]:
    """All hosts that many draws come up with."""
    rng = random.Random(1)
    return {get_backup_host(SERVICES, rng=rng, **asked) for _ in range(60)}


@pytest.mark.parametrize(
    ('requested', 'expected'),
    [
        ({}, {'a', 'b', 'd', 'g'}),
        ({'volume': {'host': 'z@x#p', 'availability_zone': 'az1'}}, {'a'}),
        ({'volume': {'host': 'z@x#p', 'availability_zone': None}}, {'a', 'b', 'd', 'g'}),
        ({'volume': {'host': 'z@x#p', 'availability_zone': 'az1'}, 'availability_zone': 'az2'}, {'b', 'd'}),
        ({'driver': 'files'}, {'b'}),
        ({'driver': 's3', 'availability_zone': 'az2'}, {'d'}),
    ],
)
def test_a_working_service_in_the_zone_is_drawn(requested: dict[str, Any], expected: set[str]) -> None:
    assert hosts(**requested) == expected


@pytest.mark.parametrize('requested', [{'availability_zone': 'az9'}, {'driver': 'tape'}])
def test_nobody(requested: dict[str, Any]) -> None:
    with pytest.raises(errors.ServiceNotFound, match='cinder-backup'):
        hosts(**requested)


def test_the_machine_of_the_volume_if_that_is_asked_for() -> None:
    assert hosts(same_host=True, volume={'host': 'd@x#p', 'availability_zone': 'az2'}) == {'d'}
    # What the service reports of itself plays no part then, as in Cinder.
    assert hosts(same_host=True, volume={'host': 'c@x#p', 'availability_zone': 'az1'}) == {'c'}


@pytest.mark.parametrize('volume', [{'host': 'd@x', 'availability_zone': 'az1'}, {'host': 'z@x'}])
def test_nobody_on_the_machine_of_the_volume(volume: dict[str, Any]) -> None:
    with pytest.raises(errors.ServiceNotFound):
        hosts(same_host=True, volume=volume)


@pytest.mark.parametrize('keys', [{'up': False}, {'disabled': True}])
def test_a_service_on_the_machine_that_takes_no_work(keys: dict[str, Any]) -> None:
    with pytest.raises(errors.ServiceNotFound):
        get_backup_host([service('a', 'az1', **keys)], same_host=True, volume={'host': 'a@x#p'})


def test_without_a_volume_any_machine_will_do() -> None:
    assert hosts(same_host=True) == {'a', 'b', 'd', 'g'}
