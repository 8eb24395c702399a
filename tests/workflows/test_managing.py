"""Every way through manage and unmanage, of volumes and snapshots."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import aws, errors
from chalicelib.models import Message, Pool, Snapshot, Transfer, Volume, base
from chalicelib.operations import managing, quotas, services, snapshots, transfers, volumes
from chalicelib.operations.common import ListQuery
from chalicelib.rules import states
from tests import invariants
from tests.factories import context, create_snapshot, create_volume
from tests.fake_driver import Object
from tests.simulation import BIG, Simulation

ADMIN = context('admin')


@pytest.fixture
def legacy(simulation: Simulation) -> Simulation:
    """A backend with a volume of 7 GiB, and a snapshot, that have no records."""
    simulation.big.objects['legacy'] = Object('pool', 7)
    simulation.big.objects['old-snapshot-1'] = Object('pool', 7, 'legacy')
    simulation.report()
    return simulation


def manage(**facts: Any) -> Volume:
    usual: dict[str, Any] = {
        'host': 'cinderless@big',
        'cluster': None,
        'ref': {'source-name': 'legacy'},
        'name': 'adopted',
        'description': None,
        'volume_type': None,
        'metadata': {},
        'availability_zone': None,
        'bootable': False,
    }
    return managing.manage_volume(context('admin'), **{**usual, **facts})


def usage(name: str) -> int:
    return quotas.usages('project')[name]['in_use']


def room() -> tuple[float, float, int]:
    pool = Pool.get(base.GLOBAL, BIG, consistent_read=True)
    return pool.claimable_gb, pool.allocated_gb, pool.volume_count


def test_manage(legacy: Simulation) -> None:
    volume = manage()
    assert (volume.status, volume.size, usage('volumes'), usage('gigabytes')) == ('managing', 0, 1, 0)
    assert room() == (93, 0, 0)
    [execution] = legacy.settle()
    assert execution.path == ['ManageVolume']
    volume = volume.reload()
    assert (volume.status, volume.size, volume.host, volume.launched_at is None) == ('available', 7, BIG, False)
    assert usage('gigabytes') == 7
    assert room() == (93, 7, 1)
    assert f'volume-{volume.id}' in legacy.big.objects
    legacy.report()
    assert room() == (93, 7, 1)
    invariants.check(legacy)


def test_manage_where_there_is_no_room_left(legacy: Simulation) -> None:
    """Managing an existing object needs no free capacity."""
    Pool(base.GLOBAL, BIG).update(actions=[Pool.claimable_gb.set(0)])
    volume = manage()
    legacy.settle()
    assert volume.reload().status == 'available'


@pytest.mark.parametrize('ref', [{'source-name': 'nowhere'}, {'source-id': '1'}, {}])
def test_what_is_not_there(legacy: Simulation, ref: dict[str, str]) -> None:
    volume = manage(ref=ref)
    [execution] = legacy.settle()
    assert execution.path == ['ManageVolume', 'FailManageVolume']
    assert volume.reload().status == 'error_managing'
    assert (usage('volumes'), usage('gigabytes')) == (0, 0)
    [message] = Message.scan()
    assert (message.action_id, message.detail_id) == ('114', '113')
    volumes.delete(context(), volume.id)
    assert list(Volume.scan()) == []
    invariants.check(legacy)


def test_what_is_managed_already(legacy: Simulation) -> None:
    known = create_volume(context(), 2)
    legacy.settle()
    volume = manage(ref={'source-name': f'volume-{known.id}'})
    legacy.settle()
    assert volume.reload().status == 'error_managing'
    assert f'volume-{known.id}' in legacy.big.objects
    [message] = Message.scan()
    assert f'managed already, as volume {known.id}' in message.user_message


def test_a_driver_that_fails_after_the_size_was_counted(legacy: Simulation) -> None:
    legacy.big.fail_for_good('manage_existing')
    volume = manage()
    legacy.settle()
    assert volume.reload().status == 'error_managing'
    assert (usage('volumes'), usage('gigabytes')) == (0, 0)
    assert room() == (93, 0, 0)
    assert 'legacy' in legacy.big.objects
    invariants.check(legacy)


def test_a_reset_of_a_volume_that_is_being_managed(legacy: Simulation) -> None:
    """It is on no pool yet: removing its record leaves the object, and the pool's counters, as they are."""
    volume = manage()
    volumes.reset_status(ADMIN, volume.id, 'error', None, None)
    legacy.settle()
    assert (volume.reload().status, volume.reload().host) == ('error', None)
    invariants.check(legacy, explained=frozenset({volume.id}))
    volumes.delete(context(), volume.id)
    legacy.settle()
    assert ('legacy' in legacy.big.objects, list(Volume.scan()), usage('volumes'), room()) == (True, [], 0, (93, 0, 0))


def test_over_the_quota(legacy: Simulation) -> None:
    quotas.update('project', {'gigabytes': 5})
    volume = manage()
    legacy.settle()
    assert volume.reload().status == 'error_managing'
    assert usage('volumes') == 0
    [message] = Message.scan()
    assert 'quota' in message.user_message
    invariants.check(legacy)


def test_hosts_that_cannot(legacy: Simulation) -> None:
    with pytest.raises(errors.Invalid, match="Host 'nope@x' not found"):
        manage(host='nope@x')
    with pytest.raises(errors.InvalidInput, match='One and only one'):
        manage(cluster='c')
    services.set_enabled(ADMIN, 'cinderless@big', 'cinder-volume', False)
    with pytest.raises(errors.Invalid, match='Service is unavailable at this time'):
        manage()


def test_a_pool_that_does_not_suit_the_type(legacy: Simulation) -> None:
    volume = manage(availability_zone='mars')
    legacy.settle()
    assert volume.reload().status == 'error_managing'
    [message] = Message.scan()
    assert message.detail_id == '003'
    assert 'AvailabilityZoneFilter removed cinderless@big#pool' in message.explanation


def test_unmanage(legacy: Simulation) -> None:
    volume = manage()
    legacy.settle()
    managing.unmanage_volume(ADMIN, volume.id)
    assert volume.reload().status == 'unmanaging'
    execution = legacy.settle()[-1]
    assert execution.path == ['UnmanageVolume']
    assert list(Volume.scan()) == []
    assert f'unmanaged-volume-{volume.id}' in legacy.big.objects
    assert (usage('volumes'), usage('gigabytes')) == (0, 0)
    assert room() == (93, 0, 0)
    legacy.report()
    assert room() == (93, 0, 0)
    invariants.check(legacy)


def test_unmanage_fails(legacy: Simulation) -> None:
    volume = manage()
    legacy.settle()
    legacy.big.fail('unmanage', legacy.big.refuses())
    managing.unmanage_volume(ADMIN, volume.id)
    legacy.settle()
    assert volume.reload().status == 'error_unmanaging'
    [message] = Message.scan()
    assert (message.action_id, message.detail_id) == ('006', '114')
    invariants.check(legacy)


@pytest.mark.parametrize('force', [False, True])
def test_deleting_what_was_not_managed_leaves_the_data(legacy: Simulation, force: bool) -> None:
    volume = create_volume(context(), 3)
    legacy.settle()
    volume.reload().update(actions=[Volume.status.set('error_managing')])
    volumes.delete(ADMIN, volume.id, force=force)
    assert volume.reload().status == 'error_managing_deleting'
    legacy.settle()
    assert f'unmanaged-volume-{volume.id}' in legacy.big.objects
    assert list(Volume.scan()) == []
    invariants.check(legacy)


def test_unmanage_ends_offers(legacy: Simulation) -> None:
    """An administrator has reset a volume on offer, and unmanages it: nothing is left to accept."""
    volume = manage()
    legacy.settle()
    transfers.create(context(), volume.id, name=None, no_snapshots=False, allow_encrypted=False)
    volumes.reset_status(ADMIN, volume.id, 'available', None, None)
    managing.unmanage_volume(ADMIN, volume.id)
    legacy.settle()
    assert (list(Volume.scan()), list(Transfer.scan())) == ([], [])


def test_unmanage_with_snapshots_or_a_key(legacy: Simulation) -> None:
    volume = manage()
    legacy.settle()
    create_snapshot(context(), volume)
    legacy.settle()
    with pytest.raises(errors.InvalidVolume, match='have snapshots'):
        managing.unmanage_volume(ADMIN, volume.id)
    volume.reload().update(actions=[Volume.encryption_key_id.set('k')])
    with pytest.raises(errors.Invalid, match='encrypted'):
        managing.unmanage_volume(ADMIN, volume.id)


# Snapshots


@pytest.fixture
def volume(legacy: Simulation) -> Volume:
    made = manage()
    legacy.settle()
    return made.reload()


def manage_snapshot(volume: Volume, name: str = 'old-snapshot-1') -> Snapshot:
    facts: dict[str, Any] = {'name': 'old', 'description': None, 'metadata': {}}
    return managing.manage_snapshot(context('admin'), volume.id, ref={'source-name': name}, **facts)


def test_manage_a_snapshot(legacy: Simulation, volume: Volume) -> None:
    legacy.big.objects['old-snapshot-1'].size = 6
    snapshot = manage_snapshot(volume)
    assert (snapshot.status, volume.reload().snapshot_count) == ('creating', 1)
    execution = legacy.settle()[-1]
    assert execution.path == ['ManageSnapshot']
    snapshot = snapshot.reload()
    assert (snapshot.status, snapshot.volume_size) == ('available', 6)
    assert (usage('snapshots'), usage('gigabytes')) == (1, 13)
    invariants.check(legacy)


@pytest.mark.parametrize('status', states.NOT_ADOPTING)
def test_a_volume_that_comes_or_goes_takes_no_snapshot(legacy: Simulation, volume: Volume, status: str) -> None:
    """Its removal has counted its snapshots already."""
    volume.update(actions=[Volume.status.set(status)])
    with pytest.raises(errors.InvalidVolume, match='is being made, removed, retyped or migrated'):
        manage_snapshot(volume)
    assert (list(Snapshot.scan()), volume.reload().snapshot_count) == ([], 0)


def test_manage_a_snapshot_that_is_not_there(legacy: Simulation, volume: Volume) -> None:
    snapshot = manage_snapshot(volume, 'nowhere')
    legacy.settle()
    assert snapshot.reload().status == 'error'
    [message] = Message.scan()
    assert (message.action_id, message.detail_id) == ('115', '113')
    snapshots.delete(context(), snapshot.id)
    legacy.settle()
    assert list(Snapshot.scan()) == []
    invariants.check(legacy)


def test_a_snapshot_that_failed_to_be_managed_is_not_deleted_with_its_record(
    legacy: Simulation, volume: Volume
) -> None:
    legacy.big.fail_for_good('manage_existing_snapshot')
    snapshot = manage_snapshot(volume)
    legacy.settle()
    snapshots.delete(context(), snapshot.id)
    legacy.settle()
    assert 'old-snapshot-1' in legacy.big.objects
    invariants.check(legacy)


def test_unmanage_a_snapshot(legacy: Simulation, volume: Volume) -> None:
    snapshot = manage_snapshot(volume)
    legacy.settle()
    managing.unmanage_snapshot(ADMIN, snapshot.id)
    assert snapshot.reload().status == 'unmanaging'
    legacy.settle()
    assert list(Snapshot.scan()) == []
    assert f'unmanaged-snapshot-{snapshot.id}' in legacy.big.objects
    assert (usage('snapshots'), volume.reload().snapshot_count) == (0, 0)
    invariants.check(legacy)


def test_unmanage_a_snapshot_fails(legacy: Simulation, volume: Volume) -> None:
    snapshot = manage_snapshot(volume)
    legacy.settle()
    legacy.big.fail('unmanage_snapshot', legacy.big.refuses())
    managing.unmanage_snapshot(ADMIN, snapshot.id)
    legacy.settle()
    assert snapshot.reload().status == 'error'
    invariants.check(legacy)


# Lists


def listed(resource: str = 'volume', host: str | None = 'cinderless@big', **facts: Any) -> list[dict[str, Any]]:
    query = ListQuery(sort=(('reference', 'desc'),), **facts)
    return managing.manageable(ADMIN, resource, host=host, cluster=None, query=query)


def test_what_there_is(legacy: Simulation) -> None:
    known = create_volume(context(), 2)
    legacy.settle()
    ours, theirs = listed()
    assert theirs == {
        'reference': {'source-name': 'legacy'},
        'size': 7,
        'safe_to_manage': True,
        'reason_not_safe': None,
        'cinder_id': None,
        'extra_info': None,
    }
    assert (ours['cinder_id'], ours['safe_to_manage'], ours['reason_not_safe']) == (known.id, False, 'already managed')
    assert [one['reference']['source-name'] for one in listed(limit=1, offset=1)] == ['legacy']
    assert [one['cinder_id'] for one in listed(marker=f'volume-{known.id}')] == [None]
    [snapshot] = listed('snapshot', host=BIG)
    assert snapshot['source_reference'] == {'source-name': 'legacy'}


def test_lists_of_nothing(legacy: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    assert listed(limit=0) == []
    with pytest.raises(errors.Invalid, match='marker not found'):
        listed(marker='nowhere')
    with pytest.raises(errors.Invalid, match='not found'):
        listed(host='nope@x')

    def invoke(*_: Any) -> Any:
        raise errors.NotSupported(backend='b', operation='get_manageable_volumes', reason='it does not')

    monkeypatch.setattr(aws, 'invoke', invoke)
    with pytest.raises(errors.Invalid, match='does not support'):
        listed()
