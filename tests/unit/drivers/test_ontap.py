"""The requests of the ONTAP driver to ONTAP, beyond the contract that all drivers keep."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from chalicelib.drivers import ontap_exports
from chalicelib.drivers.ontap_client import Client
from chalicelib.errors import (
    BackendFull,
    BackendMisconfigured,
    DeviceError,
    InvalidConnector,
    InvalidVolumeType,
    ManageExistingInvalidReference,
    ProviderNotFound,
    SnapshotIsBusy,
    VolumeIsBusy,
)
from tests.ontap.disks import NoDisks
from tests.ontap.driver_fixture import SECRET, driver
from tests.ontap.server import USERS, Double
from tests.unit.drivers.ontap import FAST, GIB, HOST, OTHER, SLOW, double, identity, remembered, snapshot, volume

__all__ = ['double', 'identity']

CONNECTOR = {'initiator': HOST}


def lun(double: Double, name: str = '') -> Any:
    return next(one for one in double.cluster.luns if name in one['name'])


def test_a_volume_is_a_lun_of_its_flexvol(double: Double) -> None:
    made = volume(2)
    update = driver(double).create_volume(made)
    found = lun(double)
    assert found['name'] == f'/vol/fast/{made.name}'
    assert (found['os_type'], found['space']['size']) == ('linux', 2 * GIB)
    assert found['space']['guarantee']['requested'] is True
    assert update == {'provider_id': found['uuid'], 'provider_location': f'svm1:{found["name"]}'}


@pytest.mark.parametrize(('option', 'reserved'), [({}, True), ({'space_reservation': False}, False)])
def test_space_is_reserved_unless_the_backend_says_otherwise(
    double: Double, option: dict[str, Any], reserved: bool
) -> None:
    made, ours = volume(), driver(double, **option)
    ours.create_volume(made)
    assert lun(double)['space']['guarantee']['requested'] is reserved
    pool = ours.get_volume_stats()['pools'][0]
    assert (pool['thick_provisioning_support'], pool['thin_provisioning_support']) == (reserved, not reserved)


@pytest.mark.parametrize(
    ('text', 'discard'), [('false', False), ('<is> False', False), ('true', True), ('<is> True', True)]
)
def test_space_allocation_is_an_extra_spec_and_hosts_see_it_as_discard(
    double: Double, text: str, discard: bool
) -> None:
    made, ours = volume(extra_specs={'netapp:space_allocation': text}), driver(double)
    ours.create_volume(made)
    copy = volume(extra_specs={'netapp:space_allocation': text})
    ours.create_cloned_volume(copy, made)
    for one in (made, copy):
        assert ours.initialize_connection(one, CONNECTOR, 'e')['data']['discard'] is discard


def test_a_volume_in_another_flexvol_is_copied_and_waited_for(double: Double) -> None:
    double.cluster.copy_takes = 3
    source, ours = volume(), driver(double)
    ours.create_volume(source)
    frozen = snapshot(source)
    ours.create_snapshot(frozen)
    ours.create_volume_from_snapshot(volume(2, SLOW), frozen)
    made = lun(double, '/vol/slow/')
    assert made['space']['size'] == 2 * GIB
    assert made['space']['scsi_thin_provisioning_support_enabled'] is True


def test_a_lun_that_is_busy_being_cloned_is_asked_again(double: Double) -> None:
    source, ours = volume(), driver(double)
    ours.create_volume(source)
    double.cluster.busy_clones = 2
    ours.create_snapshot(snapshot(source))
    double.cluster.busy_clones = 2
    ours.create_cloned_volume(volume(), source)
    assert len(double.cluster.luns) == 3


@pytest.mark.parametrize('polls', [0, 3])
def test_luns_that_are_made_by_jobs_are_waited_for(double: Double, polls: int) -> None:
    double.jobs_for_luns, double.job_polls = True, polls
    ours, made = driver(double), volume(qos_specs={'maxIOPS': '100'})
    assert ours.create_volume(made)['provider_id'] == lun(double)['uuid']
    with pytest.raises(BackendFull, match='No space'):
        ours.create_volume(volume(1000))


def test_lists_are_read_page_by_page(double: Double) -> None:
    double.page = 2
    ours, made = driver(double), [volume() for _ in range(5)]
    for one in made:
        ours.create_volume(one)
    assert sorted(ours.list_objects()) == sorted(one.name for one in made)
    assert [pool['provisioned_capacity_gb'] for pool in ours.get_volume_stats()['pools']] == [5, 0]


def test_only_our_pools_are_told(double: Double) -> None:
    driver(double).create_volume(volume(host=SLOW))
    ours = driver(double, pools=['fast'])
    assert ours.list_objects() == []
    assert [pool['pool_name'] for pool in ours.get_volume_stats()['pools']] == ['fast']
    with pytest.raises(BackendMisconfigured, match='does not name a pool'):
        ours.create_volume(volume(host=SLOW))
    with pytest.raises(BackendMisconfigured, match="'gone'; SVM svm1 has fast, slow"):
        driver(double, pools=['gone']).check_for_setup_error()


def test_pools_carry_netapp_s_capabilities(double: Double) -> None:
    pool = driver(double).get_volume_stats()['pools'][0]
    shown = {'netapp_dedup': 'true', 'netapp_compression': 'false', 'netapp_thin_provisioned': 'true'}
    assert shown.items() <= pool.items()
    assert 'netapp_disk_type' not in pool
    account = {'username': 'fsxadmin', 'password': USERS['fsxadmin'][0]}
    cluster = driver(double, **account).get_volume_stats()['pools'][0]
    assert (cluster['netapp_disk_type'], cluster['netapp_raid_type']) == ('solid_state', 'raid_dp')


def test_a_cluster_s_account_works_in_the_svm_that_is_named(double: Double) -> None:
    ours = driver(double, username='fsxadmin', password=USERS['fsxadmin'][0])
    made = volume()
    ours.create_volume(made)
    assert lun(double)['svm']['name'] == 'svm1'
    portals = ours.initialize_connection(made, CONNECTOR, 'e')['data']['target_portals']
    assert sorted(portals) == ['192.0.2.1:3260', '192.0.2.2:3260']
    with pytest.raises(BackendMisconfigured, match='SVM does not exist'):
        driver(double, svm='svm2').create_volume(volume())


def test_setup_needs_an_iscsi_service(double: Double) -> None:
    driver(double).check_for_setup_error()
    double.cluster.services[0]['enabled'] = False
    with pytest.raises(BackendMisconfigured, match='iSCSI service'):
        driver(double).check_for_setup_error()


def test_disabled_portals_are_left_out_unless_there_are_no_others(double: Double) -> None:
    made = volume()
    driver(double).create_volume(made)
    double.cluster.interfaces[0]['enabled'] = False
    one = driver(double).initialize_connection(made, CONNECTOR, 'e')['data']
    assert one['target_portal'] == '192.0.2.2:3260'
    assert 'target_portals' not in one
    double.cluster.interfaces[1]['enabled'] = False
    assert len(driver(double).initialize_connection(made, CONNECTOR, 'e')['data']['target_portals']) == 2


def test_a_host_has_one_igroup_and_account_for_all_its_volumes(double: Double) -> None:
    ours, made = driver(double), [volume(), volume()]
    for one in made:
        ours.create_volume(one)
        ours.initialize_connection(one, {'initiator': HOST.upper()}, 'e')
    assert len(double.cluster.igroups) == 1
    assert double.cluster._passwords[HOST] == ours._exports.account(HOST)
    for one in made:
        ours.terminate_connection(one, 'e')
    assert double.cluster.maps == []
    assert all(one['attributes'] == [] for one in double.cluster.luns)


def test_an_account_that_differs_is_set_right(double: Double) -> None:
    first, second, made = driver(double), driver(double, chap_secret=SECRET[::-1]), volume()
    first.create_volume(made)
    first.open_volume(made, 'e', 'rw')
    name = double.cluster.igroups[0]['initiators'][0]['name']
    double.cluster.maps.clear()
    second.open_volume(made, 'e', 'rw')
    assert double.cluster._passwords[name] == second._exports.account(name) != first._exports.account(name)


def test_a_clone_does_not_take_its_source_s_exports_for_its_own(double: Double) -> None:
    source, clone, ours = volume(), volume(), driver(double)
    ours.create_volume(source)
    ours.initialize_connection(source, CONNECTOR, 'e')
    ours.create_cloned_volume(clone, source)
    ours.initialize_connection(clone, {'initiator': OTHER}, 'e')
    ours.terminate_connection(source, 'e')
    assert [one['lun']['name'] for one in double.cluster.maps] == [f'/vol/fast/{clone.name}']
    ours.terminate_connection(clone, 'e')
    assert double.cluster.maps == []


def test_a_number_that_is_taken_is_passed_over(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ontap_exports, '_digest', lambda text: 'ff' if '-' in text and len(text) == 36 else 'abc')
    ours, made, numbers = driver(double), [volume() for _ in range(10)], []
    for one in made:
        ours.create_volume(one)
        numbers.append(ours.initialize_connection(one, CONNECTOR, 'e')['data']['target_lun'])
    assert len(set(numbers)) == 10
    assert numbers[:8] == list(range(256, 264))


def test_an_export_made_while_another_of_its_host_goes_keeps_its_map(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other, made = driver(double), driver(double), volume()
    ours.create_volume(made)
    ours.initialize_connection(made, CONNECTOR, 'one')
    expel = ours._exports.unmap_lun
    monkeypatch.setattr(
        ours._exports,
        'unmap_lun',
        lambda lun, igroup: (other.initialize_connection(made, CONNECTOR, 'two'), expel(lun, igroup)),
    )
    ours.terminate_connection(made, 'one')
    assert len(double.cluster.maps) == 1
    other.terminate_connection(made, 'two')
    assert double.cluster.maps == []


def test_what_is_mapped_to_a_host_that_is_logged_in_is_busy(double: Double) -> None:
    disks = double.cluster.disks
    assert isinstance(disks, NoDisks)
    ours, made = driver(double), volume()
    ours.create_volume(made)
    frozen = snapshot(made)
    ours.create_snapshot(frozen)
    ours.initialize_connection(made, CONNECTOR, 'e')
    disks.logged_in = [HOST]
    for verb in (lambda: ours.delete_volume(made), lambda: ours.revert_to_snapshot(made, frozen)):
        with pytest.raises(VolumeIsBusy, match=HOST):
            verb()
    ours.delete_snapshot(frozen)
    disks.logged_in = [OTHER]
    ours.delete_volume(made)
    assert double.cluster.luns == []
    assert double.cluster.maps == []


def test_a_snapshot_that_is_read_is_busy(double: Double) -> None:
    disks = double.cluster.disks
    assert isinstance(disks, NoDisks)
    ours, made = driver(double), volume()
    ours.create_volume(made)
    frozen = snapshot(made)
    ours.create_snapshot(frozen)
    device = ours.open_snapshot(frozen, 'backup')
    with pytest.raises(DeviceError, match='read-only'):
        device.write(0, bytes(512))
    disks.logged_in = [device._device.initiator]  # type: ignore[attr-defined]
    with pytest.raises(SnapshotIsBusy):
        ours.delete_snapshot(frozen)
    disks.logged_in = []
    ours.close_snapshot(frozen, 'backup')
    ours.delete_snapshot(frozen)
    assert remembered(double.cluster)['igroups'] == remembered(double.cluster)['credentials'] == []


@pytest.mark.parametrize('requests', [2, 3])
def test_a_path_whose_close_died_is_opened_anew(double: Double, monkeypatch: pytest.MonkeyPatch, requests: int) -> None:
    ours, made = driver(double), volume()
    ours.create_volume(made)
    ours.open_volume(made, 'backup', 'ro')
    whole, sent, attempt = remembered(double.cluster), [], Client._attempt

    def dying(self: Client, *request: Any) -> Any:
        if len(sent) == requests:
            raise KeyboardInterrupt
        sent.append(request)
        return attempt(self, *request)

    with monkeypatch.context() as patch:
        patch.setattr(Client, '_attempt', dying)
        with pytest.raises(KeyboardInterrupt):
            ours.close_volume(made, 'backup')
    assert remembered(double.cluster) != whole
    ours.open_volume(made, 'backup', 'ro')
    assert remembered(double.cluster) == whole


def test_a_worker_s_path_that_was_left_goes_with_its_volume(double: Double) -> None:
    ours, made = driver(double), volume()
    ours.create_volume(made)
    ours.open_volume(made, 'backup', 'ro')
    ours.delete_volume(made)
    assert remembered(double.cluster) == remembered(type(double.cluster)(NoDisks()))


def test_an_odd_initiator_is_refused_before_anything_is_made(double: Double) -> None:
    ours, made = driver(double), volume()
    ours.create_volume(made)
    for name in ('', 'iqn.2026-01.a:' + 'x' * 300, 'eui.12'):
        with pytest.raises(InvalidConnector):
            ours.initialize_connection(made, {'initiator': name}, 'e')
    assert remembered(double.cluster)['igroups'] == []
    assert lun(double)['attributes'] == []


def test_a_revert_keeps_the_size_and_the_identity(double: Double) -> None:
    ours, made = driver(double), volume(1)
    ours.create_volume(made)
    frozen, before = snapshot(made), (lun(double)['uuid'], lun(double)['serial_number'])
    ours.create_snapshot(frozen)
    ours.extend_volume(made, 3)
    ours.revert_to_snapshot(dataclasses.replace(made, size=3), frozen)
    found = lun(double, made.name)
    assert (found['uuid'], found['serial_number']) == before
    assert found['space']['size'] == 3 * GIB
    with pytest.raises(ProviderNotFound):
        ours.revert_to_snapshot(made, snapshot(made))


def test_qos_specs_become_a_policy_of_the_volume_s_own(double: Double) -> None:
    ours, made = driver(double), volume(2, qos_specs={'maxIOPSperGiB': '100', 'maxBPS': '2097152'})
    ours.create_volume(made)
    policy = double.cluster.policies[0]
    assert policy['fixed'] == {'max_throughput_iops': 200, 'max_throughput_mbps': 2}
    assert lun(double)['qos_policy']['name'] == policy['name']
    ours.extend_volume(made, 4)
    assert [one['fixed']['max_throughput_iops'] for one in double.cluster.policies] == [400]
    ours.retype(made, dataclasses.replace(made, qos_specs={'expectedIOPSperGiB': '1', 'peakIOPSperGiB': '2'}))
    assert [one['adaptive'] for one in double.cluster.policies] == [{'expected_iops': 1024, 'peak_iops': 2048}]
    ours.retype(made, dataclasses.replace(made, qos_specs={}))
    assert double.cluster.policies == []
    assert lun(double)['qos_policy']['name'] == ''


def test_a_deleted_volume_takes_its_policy_along(double: Double) -> None:
    ours, made = driver(double), volume(qos_specs={'maxIOPS': '100'})
    ours.create_volume(made)
    ours.delete_volume(made)
    assert double.cluster.policies == []


@pytest.mark.parametrize(
    ('qos', 'extra', 'problem'),
    [
        ({'maxIOPS': 'many'}, {}, 'number above 0'),
        ({'maxIOPS': '-1'}, {}, 'number above 0'),
        ({'maxIOPS': 'inf'}, {}, 'number above 0'),
        ({'colour': '1'}, {}, 'not supported'),
        ({'maxIOPS': '1', 'peakIOPSperGiB': '1'}, {}, 'mix'),
        ({'maxIOPS': '1'}, {'netapp:qos_policy_group': 'gold'}, 'either'),
    ],
)
def test_qos_specs_that_make_no_policy_are_refused(
    double: Double, qos: dict[str, str], extra: dict[str, str], problem: str
) -> None:
    with pytest.raises(InvalidVolumeType, match=problem):
        driver(double).create_volume(volume(qos_specs=qos, extra_specs=extra))
    assert double.cluster.luns == []


def test_a_policy_group_that_exists_is_used_and_left(double: Double) -> None:
    policy = {'svm': {'name': 'svm1'}, 'name': 'gold', 'fixed': {'max_throughput_iops': 1}}
    from tests.ontap.state import Scope

    double.cluster.create_policy(Scope(None), policy)
    ours, made = driver(double), volume(extra_specs={'netapp:qos_policy_group': 'gold'})
    ours.create_volume(made)
    assert lun(double)['qos_policy']['name'] == 'gold'
    ours.delete_volume(made)
    assert [one['name'] for one in double.cluster.policies] == ['gold']


@pytest.mark.parametrize('reference', ['path', 'name', 'uuid'])
def test_an_existing_lun_is_brought_under_management_and_let_go(double: Double, reference: str) -> None:
    ours, first, made = driver(double), volume(), volume()
    ours.create_volume(first)
    ours.unmanage(first)
    assert ours.list_objects() == []
    found = lun(double)
    references = {
        'path': {'source-name': found['name']},
        'name': {'source-name': found['name'].rpartition('/')[2]},
        'uuid': {'source-id': found['uuid']},
    }
    listed = ours.get_manageable_volumes('fast')
    assert [(one.reference, one.size, one.reason_not_safe) for one in listed] == [
        ({'source-name': found['name']}, 1, None)
    ]
    assert ours.manage_existing_get_size(made, references[reference]) == 1
    for _ in range(2):
        ours.manage_existing(made, references[reference])
    assert ours.list_objects() == [made.name]


@pytest.mark.parametrize('known', [True, False])
def test_a_snapshot_that_was_let_go_is_found_by_its_comment(double: Double, known: bool) -> None:
    ours, source = driver(double), volume()
    update = ours.create_volume(source)
    source = dataclasses.replace(source, **update) if known else source
    frozen, other = snapshot(source), volume()
    ours.create_snapshot(frozen)
    ours.create_volume_from_snapshot(other, frozen)
    ours.unmanage_snapshot(frozen)
    [found] = ours.get_manageable_snapshots('fast')
    assert found.source_reference == {'source-name': source.name}
    assert {one.source_reference for one in ours.get_manageable_volumes('fast')} == {None}
    again, elsewhere = snapshot(source), snapshot(dataclasses.replace(other, **ours.create_volume(other)))
    if known:
        with pytest.raises(ManageExistingInvalidReference, match='names LUN'):
            ours.manage_existing_snapshot(elsewhere, found.reference)
    assert ours.manage_existing_snapshot_get_size(again, found.reference) == 1
    for _ in range(2):
        assert ours.manage_existing_snapshot(again, found.reference) == {'provider_id': lun(double, again.name)['uuid']}


def test_a_lun_of_the_administrator_becomes_a_snapshot(double: Double) -> None:
    ours, source, theirs = driver(double), volume(), volume()
    ours.create_volume(source)
    ours.create_volume(theirs)
    ours.unmanage(theirs)
    ours.manage_existing_snapshot(snapshot(source), {'source-name': f'unmanaged-{theirs.name}'})
    [found] = ours.get_manageable_snapshots('fast')
    assert found.source_reference == {'source-name': source.name}


@pytest.mark.parametrize('wrong', [{}, {'source-name': '../x'}, {'source-name': 'gone'}, {'source-id': 'x'}])
def test_what_cannot_be_managed_is_refused(double: Double, wrong: dict[str, str]) -> None:
    with pytest.raises(ManageExistingInvalidReference):
        driver(double).manage_existing_get_size(volume(), wrong)


def test_what_is_ours_or_elsewhere_is_not_managed_again(double: Double) -> None:
    ours, made = driver(double), volume()
    ours.create_volume(made)
    for host, problem in ((FAST, 'already managed'), (SLOW, 'does not have this LUN')):
        with pytest.raises(ManageExistingInvalidReference, match=problem):
            ours.manage_existing(volume(host=host), {'source-name': f'/vol/fast/{made.name}'})


def test_secrets_are_long_enough_and_never_told(double: Double) -> None:
    with pytest.raises(BackendMisconfigured, match='32 characters') as short:
        driver(double, chap_secret='short secret')
    assert 'short secret' not in short.value.message
    ours, made = driver(double), volume()
    ours.create_volume(made)
    answer = ours.initialize_connection(made, CONNECTOR, 'e')
    assert SECRET not in str(answer)
    assert USERS['vsadmin'][0] not in str(answer)
