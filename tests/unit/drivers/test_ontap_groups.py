"""What the ONTAP driver leaves, and what it does not, when several volumes are frozen at once."""

from __future__ import annotations

import time

import pytest

from chalicelib.drivers import ontap_groups
from chalicelib.drivers.base import SnapshotRef
from chalicelib.errors import BackendFull, BackendUnavailable, DriverError, NotSupported, ProviderNotFound
from tests.ontap.driver_fixture import driver
from tests.ontap.server import Double, Fault
from tests.ontap.state import Scope
from tests.unit.drivers.ontap import FAST, SLOW, double, identity, remembered, snapshot, volume

__all__ = ['double', 'identity']


def group(double: Double, *hosts: str) -> list[SnapshotRef]:
    """Snapshots to be taken, of existing volumes."""
    made = [volume(host=host) for host in hosts]
    for one in made:
        driver(double).create_volume(one)
    return [snapshot(one) for one in made]


def names(double: Double) -> list[str]:
    return sorted(lun['name'].rpartition('/')[2] for lun in double.cluster.luns)


@pytest.fixture(params=[(FAST, FAST), (FAST, SLOW)], ids=['one FlexVol', 'two FlexVols'])
def wanted(double: Double, request: pytest.FixtureRequest) -> list[SnapshotRef]:
    return group(double, *request.param)


def test_nothing_but_the_snapshots_is_left(double: Double, wanted: list[SnapshotRef]) -> None:
    updates = driver(double).create_group_snapshot(wanted)
    luns = {lun['uuid']: lun for lun in double.cluster.luns}
    assert [luns[one['provider_id']]['name'].rpartition('/')[2] for one in updates] == [one.name for one in wanted]
    assert all(luns[one['provider_id']]['space']['guarantee']['requested'] is False for one in updates)
    left = remembered(double.cluster)
    assert (left['snapshots'], left['groups']) == ([], [])


def test_a_snapshot_that_is_busy_is_waited_for_and_then_left_to_the_next(
    double: Double, wanted: list[SnapshotRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    double.cluster.busy_snapshots = 2
    driver(double).create_group_snapshot(wanted)
    assert double.cluster.snapshots == []


def test_a_volume_that_is_gone_leaves_none(double: Double, wanted: list[SnapshotRef]) -> None:
    before = names(double)
    with pytest.raises(ProviderNotFound, match='volume-'):
        driver(double).create_group_snapshot([*wanted, snapshot(volume())])
    assert names(double) == before
    assert (double.cluster.snapshots, double.cluster.groups) == ([], [])


def test_a_full_flexvol_leaves_none(double: Double, wanted: list[SnapshotRef], monkeypatch: pytest.MonkeyPatch) -> None:
    ours, before = driver(double), names(double)
    make, calls = ours._luns.make, []

    def full(path: str, body: dict[str, object]) -> object:
        calls.append(path)
        if len(calls) == 2:
            raise ontap_groups.Refused(500, '0', 'No space left on device')
        return make(path, body)

    monkeypatch.setattr(ours._luns, 'make', full)
    with pytest.raises(BackendFull):
        ours.create_group_snapshot(wanted)
    assert names(double) == before
    assert double.cluster.snapshots == []


def test_without_an_answer_all_is_left_to_the_repeat(double: Double, wanted: list[SnapshotRef]) -> None:
    double.fail('POST', '/storage/luns', *[Fault.DROP] * 3)
    with pytest.raises(BackendUnavailable):
        driver(double).create_group_snapshot(wanted)
    assert double.cluster.snapshots != []
    driver(double).create_group_snapshot(wanted)
    assert double.cluster.snapshots == []
    assert len(double.cluster.luns) == 4


def test_what_a_dead_process_left_goes_with_the_next(
    double: Double, wanted: list[SnapshotRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ('/storage/luns', '/application/consistency-groups/{}/snapshots'):
        double.fail('POST', path, *[Fault.DROP] * 3)
    double.fail('DELETE', '/application/consistency-groups/{}', *[Fault.DROP] * 3)
    with pytest.raises(BackendUnavailable):
        driver(double).create_group_snapshot(wanted)
    double.faults.clear()
    left = remembered(double.cluster)
    assert left['snapshots'] or left['groups']
    others = [snapshot(one.volume) for one in wanted]
    later = time.time() + ontap_groups.LEFT + 60
    monkeypatch.setattr('chalicelib.drivers.ontap_groups.time.time', lambda: later)
    driver(double).create_group_snapshot(others)
    left = remembered(double.cluster)
    assert (left['snapshots'], left['groups']) == ([], [])


def test_a_flexvol_that_is_being_frozen_with_others_is_tried_later(double: Double) -> None:
    wanted = group(double, FAST, SLOW)
    body = {'volumes': [{'name': 'slow', 'provisioning_options': {'action': 'add'}}], 'svm': {'name': 'svm1'}}
    double.cluster.create_group(Scope(None), body | {'name': f'{ontap_groups.PREFIX}other-{int(time.time())}'})
    with pytest.raises(BackendUnavailable, match='FlexVol slow is in another group snapshot'):
        driver(double).create_group_snapshot(wanted)


def test_a_consistency_group_that_is_not_ours_is_told(double: Double) -> None:
    wanted = group(double, FAST, SLOW)
    body = {'volumes': [{'name': 'slow', 'provisioning_options': {'action': 'add'}}], 'svm': {'name': 'svm1'}}
    double.cluster.create_group(Scope(None), body | {'name': 'payroll'})
    with pytest.raises(DriverError, match='payroll'):
        driver(double).create_group_snapshot(wanted)
    assert [one['name'] for one in double.cluster.groups] == ['payroll']
    assert len(double.cluster.luns) == 2


def test_a_flexvol_without_a_snapshot_folder_takes_none(double: Double, wanted: list[SnapshotRef]) -> None:
    next(one for one in double.cluster.volumes if one['name'] == 'fast')['snapshot_directory_access_enabled'] = False
    ours = driver(double)
    with pytest.raises(NotSupported, match='FlexVol fast has snapshot_directory_access_enabled off'):
        ours.create_group_snapshot(wanted)
    told = {one['pool_name']: one['consistent_group_snapshot_enabled'] for one in ours.get_volume_stats()['pools']}
    assert told == {'fast': False, 'slow': True}
