"""Cinder's request_spec and filter_properties, and the settings of the scheduler."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import errors
from chalicelib.scheduler.config import DEFAULT_FILTERS, SchedulerConfig
from chalicelib.scheduler.request_spec import RequestSpec, Retry
from tests.vectors.cinder import read_request

CINDERS = {
    'volume_id': 'v1',
    'volume_properties': {'size': 8, 'qos_specs': {'maxIOPS': '9'}, 'attach_status': 'detached'},
    'resource_properties': {'availability_zone': 'az1'},
    'volume_type': {'id': 't1', 'extra_specs': {'ssd': 'y'}},
    'availability_zones': ['az1', 'az2'],
    'resource_backend': 'h@b',
    'operation': 'extend_volume',
}


def test_cinders_form_is_read() -> None:
    properties = {
        'new_size': 12,
        'vol_exists_on': 'h@b#p',
        'scheduler_hints': {'same_host': 'x'},
        'retry': {'num_attempts': 2, 'backends': ['h@b#p'], 'hosts': []},
    }
    assert read_request(CINDERS, properties) == RequestSpec(
        size=8,
        new_size=12,
        availability_zone='az1',
        availability_zones=('az1', 'az2'),
        extra_specs={'ssd': 'y'},
        qos_specs={'maxIOPS': '9'},
        volume_properties=CINDERS['volume_properties'],  # type: ignore[arg-type]
        operation='extend_volume',
        resource_backend='h@b',
        vol_exists_on='h@b#p',
        scheduler_hints={'same_host': 'x'},
        retry=Retry(2, ('h@b#p',)),
    )


@pytest.mark.parametrize(
    'empty',
    [
        {},
        {'volume_type': None, 'availability_zones': None, 'group_type': None, 'resource_backend': None},
        {'volume_type': {'extra_specs': None}, 'availability_zones': []},
    ],
)
def test_what_is_not_there_is_empty(empty: dict[str, Any]) -> None:
    spec = read_request({'volume_properties': {'size': 1}, **empty}, {'scheduler_hints': None, 'retry': None})
    assert spec == RequestSpec(1, volume_properties={'size': 1})


def test_the_older_name_of_the_tried_backends_is_understood() -> None:
    spec = read_request(CINDERS, {'retry': {'num_attempts': 1, 'hosts': ['h@b#p']}})
    assert spec.retry == Retry(1, ('h@b#p',))


def test_a_group_type_stands_beside_the_volume_type() -> None:
    spec = read_request({'volume_properties': {'size': 0}, 'group_type': {'extra_specs': {'cg': 'y'}}})
    assert (spec.group_specs, spec.extra_specs) == ({'cg': 'y'}, {})


@pytest.mark.parametrize(
    ('size', 'new_size', 'requested'), [(5, None, 5), (5, 8, 3), ('5', '8', 3), (0, None, 0), (None, None, None)]
)
def test_only_growth_needs_room(size: Any, new_size: Any, requested: int | None) -> None:
    assert RequestSpec(size, new_size=new_size).requested_size == requested


def test_a_retry_remembers_in_order() -> None:
    assert Retry().tried('a').tried('b') == Retry(0, ('a', 'b'))


def test_defaults_are_cinders_plus_memory_of_failed_attempts() -> None:
    config = SchedulerConfig()
    assert config.scheduler_default_filters == DEFAULT_FILTERS
    assert DEFAULT_FILTERS == (
        'AvailabilityZoneFilter',
        'CapacityFilter',
        'CapabilitiesFilter',
        'IgnoreAttemptedHostsFilter',
    )
    assert config.scheduler_default_weighers == ('CapacityWeigher',)
    assert (config.scheduler_max_attempts, config.max_over_subscription_ratio) == (3, '20.0')


def test_options_of_cinder_conf_are_taken() -> None:
    config = SchedulerConfig.from_options(
        {
            'scheduler_default_filters': ['JsonFilter'],
            'scheduler_default_weighers': ['ChanceWeigher'],
            'scheduler_weight_handler': 'cinder.scheduler.weights.stochastic.StochasticHostWeightHandler',
            'capacity_weight_multiplier': -2.0,
        }
    )
    assert config.scheduler_default_filters == ('JsonFilter',)
    assert config.scheduler_weight_handler == 'StochasticHostWeightHandler'
    assert config.capacity_weight_multiplier == -2.0


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            {'scheduler_default_filters': ('CapacityFilter', 'NoFilter')},
            'scheduler_default_filters: NoFilter does not exist',
        ),
        (
            {'scheduler_default_weighers': ('Weigher',)},
            'scheduler_default_weighers: Weigher does not exist; allowed: ',
        ),
        ({'scheduler_weight_handler': 'Ordered'}, 'scheduler_weight_handler: Ordered does not exist'),
        ({'scheduler_max_attempts': 0}, "Invalid value for 'scheduler_max_attempts', must be >=1"),
    ],
)
def test_a_scheduler_that_is_set_up_wrongly_does_not_start(options: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InvalidParameterValue, match=message):
        SchedulerConfig(**options)
