"""Capability reports, taken apart into pools."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.scheduler.reports import pool_records
from tests.unit.scheduler.build import report, service
from tests.vectors.cinder import pool_states


def names(*services: dict[str, Any]) -> list[str]:
    return [pool.name for pool in pool_states(services)]


def test_pools_come_in_the_order_of_services_and_reports() -> None:
    first = service('b@x', report(pool_name='z'), report(pool_name='a'))
    assert names(first, service('a@x', report(pool_name='p'))) == ['b@x#z', 'b@x#a', 'a@x#p']


def test_a_pool_inherits_what_it_leaves_empty_and_the_functions_it_does_not_mention() -> None:
    backend = service(
        'h@b',
        report(pool_name='own', vendor_name='Own', filter_function=None, storage_protocol='FC'),
        report(pool_name='heir', volume_backend_name='', vendor_name=None),
        reported_at=50.0,
    )
    backend['capabilities'] |= {
        'filter_function': '1',
        'goodness_function': '2',
        'thin_provisioning_support': True,
        'reserved_percentage': 30,
        'multiattach': True,
    }
    own, heir = (pool.capabilities for pool in pool_states([backend]))
    assert (own['vendor_name'], own['filter_function'], own['goodness_function']) == ('Own', None, '2')
    assert own['storage_protocol'] == ['FC', 'fibre_channel', 'fc']
    assert (heir['vendor_name'], heir['volume_backend_name'], heir['filter_function']) == ('Vendor', 'backend', '1')
    assert heir['storage_protocol'] == ['iSCSI', 'iscsi']
    assert heir['timestamp'] == 50.0
    assert not {'thin_provisioning_support', 'reserved_percentage', 'multiattach'} & heir.keys()


def test_without_the_key_pools_the_backend_is_its_only_pool() -> None:
    backend = {'host': 'h@b', 'capabilities': report(volume_backend_name='lvm', free=60, storage_protocol='NFS')}
    (pool,) = pool_states([backend])
    assert (pool.name, pool.free_capacity_gb) == ('h@b#lvm', 60)
    assert pool.capabilities['storage_protocol'] == ['NFS', 'nfs']
    assert 'pool_name' not in pool.capabilities


def test_a_backend_without_pools_and_name_has_cinders_default_pool() -> None:
    assert names({'host': 'h@b', 'capabilities': report()}) == ['h@b#_pool0']


def test_an_empty_list_means_no_pools() -> None:
    assert names(service('h@b')) == []


def test_of_two_pools_of_one_name_the_later_counts() -> None:
    (pool,) = pool_states([service('h@b', report(pool_name='p', free=1), report(pool_name='p', free=2))])
    assert pool.free_capacity_gb == 2


@pytest.mark.parametrize('bad', [{}, {'pool_name': None}, {'pool_name': 5}, 'text', None, []])
def test_a_pool_without_a_name_costs_no_other_pool(bad: Any) -> None:
    good, broken = pool_states([service('h@b', report(pool_name='p'), bad)])
    assert (good.name, good.obstacle) == ('h@b#p', None)
    assert (broken.name, broken.warning) == ('h@b', 'a pool has no pool_name')


@pytest.mark.parametrize('bad', [{'a': 1}, 'text', 5, True])
def test_pools_that_are_no_list_cost_no_other_backend(bad: Any) -> None:
    broken, good = pool_states([{'host': 'a@x', 'capabilities': {'pools': bad}}, service('b@x', report(pool_name='p'))])
    assert (broken.name, broken.warning) == ('a@x', 'pools is not a list')
    assert good.obstacle is None


def test_a_silent_service_is_known_to_be_silent() -> None:
    (state,) = pool_states([{'host': 'h@b', 'capabilities': None}])
    assert state.obstacle is not None
    assert state.obstacle.reason == 'the backend has not reported'


def test_the_first_service_that_takes_work_stands_for_its_cluster() -> None:
    members = [
        service('h1@b', report(pool_name='p'), cluster_name='c@b', up=False, availability_zone='az1'),
        service('h0@b', report(pool_name='q')),
        service('h2@b', report(pool_name='p'), cluster_name='c@b', availability_zone='az2'),
        service('h3@b', report(pool_name='p'), cluster_name='c@b', availability_zone='az3'),
    ]
    single, clustered = pool_states(members)
    assert (single.name, single.cluster_name) == ('h0@b#q', None)
    assert (clustered.name, clustered.host, clustered.cluster_name) == ('c@b#p', 'h2@b#p', 'c@b#p')
    assert clustered.availability_zone == 'az2'
    assert clustered.obstacle is None


def test_a_cluster_of_services_that_take_no_work_is_shown_once() -> None:
    members = [service(f'h{number}@b', report(pool_name='p'), cluster_name='c@b', up=False) for number in (1, 2)]
    (pool,) = pool_states(members)
    assert (pool.name, pool.host) == ('c@b#p', 'h1@b#p')


def test_the_newest_report_is_the_clusters() -> None:
    members = [
        service('h1@b', report(pool_name='p', free=1), cluster_name='c@b', reported_at=100.0),
        service('h2@b', report(pool_name='p', free=2), cluster_name='c@b', reported_at='1970-01-01T00:05:00'),
        service('h3@b', report(pool_name='p', free=3), cluster_name='c@b', reported_at=200.0),
        {'host': 'h4@b', 'capabilities': None, 'cluster_name': 'c@b', 'reported_at': 900.0},
    ]
    (pool,) = pool_states(members)
    assert (pool.host, pool.free_capacity_gb, pool.reported_at) == ('h1@b#p', 2, 300.0)


def test_a_record_can_be_stored_and_read_again() -> None:
    services = [service('h@b', report(pool_name='p'), cluster_name='c@b', disabled=True, reported_at=7.0)]
    (record,) = pool_records(services[0])
    assert record == {
        'name': 'c@b#p',
        'host': 'h@b#p',
        'cluster_name': 'c@b#p',
        'availability_zone': 'nova',
        'disabled': True,
        'reported_at': 7.0,
        'warning': '',
        'capabilities': record['capabilities'],
    }


def test_reports_are_not_changed() -> None:
    reported = service('h@b', report(pool_name='p'))
    before = repr(reported)
    pool_states([reported])
    assert repr(reported) == before
