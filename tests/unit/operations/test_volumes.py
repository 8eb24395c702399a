"""Requests on volumes: what each status allows, and the words of a refusal."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import aws, errors
from chalicelib.models import Attachment, Volume, base
from chalicelib.operations import quotas, volumes
from chalicelib.rules.states import VOLUME_STATUSES
from chalicelib.rules.workflows import VOLUME
from tests.factories import context, create_volume, stored_snapshot, stored_volume
from tests.simulation import BIG, Simulation

CALLER = context()
ADMIN = context('admin')

UNDELETABLE = (
    'Invalid volume: Volume status must be available or error or error_restoring or error_extending or error_managing '
    'and must not be migrating, attached, belong to a group, have snapshots, awaiting a transfer, or be disassociated '
    'from snapshots after volume transfer.'
)


def placed(**facts: Any) -> Volume:
    return stored_volume(**{'host': BIG, 'claimed_gb': 1, **facts})


@pytest.mark.parametrize('status', sorted(VOLUME_STATUSES))
def test_delete_by_status(simulation: Simulation, status: str) -> None:
    volume = placed(status=status)
    if status in VOLUME['delete'].allowed | {'error_managing'}:
        volumes.delete(CALLER, volume.id)
        assert volume.reload().status == ('error_managing_deleting' if status == 'error_managing' else 'deleting')
        assert volume.reload().terminated_at
        return
    with pytest.raises(errors.InvalidVolume) as refused:
        volumes.delete(CALLER, volume.id)
    assert refused.value.message == UNDELETABLE
    assert simulation.queue == []


@pytest.mark.parametrize('status', sorted(VOLUME_STATUSES))
def test_force_delete_by_status(simulation: Simulation, status: str) -> None:
    volume = placed(status=status)
    volumes.delete(ADMIN, volume.id, force=True)
    assert volume.reload().status == ('error_managing_deleting' if status == 'error_managing' else 'deleting')


@pytest.mark.parametrize(
    'facts',
    [
        {'attach_status': 'attached'},
        {'migration_status': 'migrating'},
        {'group_id': 'g'},
        {'snapshot_count': 1},
    ],
    ids=lambda facts: next(iter(facts)),
)
def test_what_forbids_a_delete_even_by_force(simulation: Simulation, facts: dict[str, Any]) -> None:
    volume = placed(**facts)
    with pytest.raises(errors.InvalidVolume, match='must not be migrating, attached, belong to a group'):
        volumes.delete(ADMIN, volume.id, force=True)
    with pytest.raises(errors.InvalidVolume):
        volumes.delete(CALLER, volume.id)
    assert volume.reload().status == 'available'


@pytest.mark.parametrize('migration', ['success', 'error', 'deleting', None])
def test_a_migration_that_is_over_forbids_nothing(simulation: Simulation, migration: str | None) -> None:
    volume = placed(migration_status=migration)
    volumes.delete(CALLER, volume.id)
    assert volume.reload().status == 'deleting'


def test_a_volume_in_no_pool_is_gone_at_once(simulation: Simulation) -> None:
    volume = create_volume(CALLER, 3)
    volumes.delete(CALLER, volume.id)
    with pytest.raises(errors.VolumeNotFound):
        volumes.get(CALLER, volume.id)
    assert quotas.usages('project')['gigabytes']['in_use'] == 0
    assert quotas.usages('project')['volumes___DEFAULT__']['in_use'] == 0


def test_a_clone_in_no_pool_lets_its_source_go(simulation: Simulation) -> None:
    source = stored_volume()
    clone = create_volume(CALLER, 1, source_volid=source.id)
    assert source.reload().reader_count == 1
    volumes.delete(CALLER, clone.id)
    assert source.reload().reader_count == 0


def test_delete_charges_the_volumes_project(simulation: Simulation) -> None:
    volume = create_volume(CALLER, 3)
    volumes.delete(context('admin', 'ops'), volume.id)
    assert quotas.usages('project')['volumes']['in_use'] == 0
    assert quotas.usages('ops')['volumes']['in_use'] == 0


def test_a_stranger_cannot_delete(simulation: Simulation) -> None:
    volume = placed()
    with pytest.raises(errors.VolumeNotFound):
        volumes.delete(context(project_id='other'), volume.id)


@pytest.mark.parametrize('status', sorted(VOLUME_STATUSES))
@pytest.mark.parametrize('microversion', [(3, 41), (3, 42)])
def test_extend_by_status(simulation: Simulation, status: str, microversion: tuple[int, int]) -> None:
    volume = placed(status=status)
    caller = context(microversion=microversion)
    if status == 'available' or (status == 'in-use' and microversion >= (3, 42)):
        volumes.extend(caller, volume.id, 3)
        assert (volume.reload().status, volume.reload().previous_status) == ('extending', status)
        return
    with pytest.raises(errors.InvalidVolume) as refused:
        volumes.extend(caller, volume.id, 3)
    assert refused.value.message.endswith(f"status must be '{{'status': 'available'}}' to extend, currently {status}.")
    assert quotas.usages('project')['gigabytes'] == {'limit': 1000, 'in_use': 0, 'reserved': 0}


def test_extend_twice_at_once(simulation: Simulation) -> None:
    volume = placed()
    volumes.extend(CALLER, volume.id, 3)
    with pytest.raises(errors.InvalidVolume, match='currently extending'):
        volumes.extend(CALLER, volume.id, 4)
    assert quotas.usages('project')['gigabytes']['reserved'] == 2


def test_extend_beyond_the_projects_size(simulation: Simulation) -> None:
    quotas.update('project', {'per_volume_gigabytes': 2})
    with pytest.raises(errors.VolumeSizeExceedsLimit):
        volumes.extend(CALLER, placed().id, 3)


def test_update(simulation: Simulation) -> None:
    volume = placed(name='a', description='d')
    changed = volumes.update(CALLER, volume.id, {'name': 'b', 'description': None})
    assert (changed.name, changed.description) == ('b', None)
    assert changed.updated_at
    assert volume.reload().name == 'b'


def test_maintenance_forbids_an_update(simulation: Simulation) -> None:
    volume = placed(status='maintenance')
    for change in ({'name': 'b'}, {'bootable': True}):
        with pytest.raises(errors.InvalidVolume) as refused:
            volumes.update(CALLER, volume.id, change)
        assert refused.value.message == 'Invalid volume: The volume cannot be updated during maintenance.'


def test_metadata(simulation: Simulation) -> None:
    volume = placed(metadata={'a': '1'})
    assert volumes.set_metadata(CALLER, volume.id, {'b': '2'}, replace=False) == {'a': '1', 'b': '2'}
    assert volumes.set_metadata(CALLER, volume.id, {'c': '3'}, replace=True) == {'c': '3'}
    volumes.delete_metadata(CALLER, volume.id, 'c')
    assert volume.reload().metadata == {}
    with pytest.raises(errors.VolumeMetadataNotFound) as refused:
        volumes.delete_metadata(CALLER, volume.id, 'c')
    assert refused.value.message == f'Volume {volume.id} has no metadata with key c.'


@pytest.mark.parametrize('status', ['maintenance', 'uploading'])
def test_metadata_by_status(simulation: Simulation, status: str) -> None:
    volume = placed(status=status, metadata={'a': '1'})
    with pytest.raises(errors.InvalidVolume, match=f'Updating volume metadata is not allowed for volumes in {status}'):
        volumes.set_metadata(CALLER, volume.id, {'b': '2'}, replace=False)
    with pytest.raises(errors.InvalidVolume, match=f'Deleting volume metadata is not allowed for volumes in {status}'):
        volumes.delete_metadata(CALLER, volume.id, 'a')


def test_image_metadata(simulation: Simulation) -> None:
    volume = placed()
    assert volumes.set_image_metadata(CALLER, volume.id, {'os': 'linux'}) == {'os': 'linux'}
    volumes.unset_image_metadata(CALLER, volume.id, 'os')
    with pytest.raises(errors.GlanceMetadataNotFound):
        volumes.unset_image_metadata(CALLER, volume.id, 'os')


def test_bootable_and_readonly(simulation: Simulation) -> None:
    volume = placed()
    volumes.set_bootable(CALLER, volume.id, True)
    volumes.set_readonly(CALLER, volume.id, True)
    volume = volume.reload()
    assert (volume.bootable, volume.admin_metadata) == (True, {'readonly': 'True'})


def test_readonly_by_status(simulation: Simulation) -> None:
    volume = placed(status='in-use')
    with pytest.raises(errors.InvalidVolume) as refused:
        volumes.set_readonly(CALLER, volume.id, True)
    assert refused.value.message == (
        f'Invalid volume: Volume {volume.id} status must be available to update readonly flag, '
        'but current status is: in-use.'
    )


def test_summary(simulation: Simulation) -> None:
    placed(size=2, metadata={'k': 'v', 'l': 'm'})
    placed(size=3, metadata={'k': 'w'})
    placed(size=4, metadata={'k': 'v'})
    stored_volume('other', size=9)
    found = volumes.summary(CALLER, all_tenants=True)
    assert (found['count'], found['size']) == (3, 9)
    assert {key: sorted(values) for key, values in found['metadata'].items()} == {'k': ['v', 'w'], 'l': ['m']}
    assert volumes.summary(ADMIN, all_tenants=True)['size'] == 18


def test_snapshots_of_a_volume_oldest_first(simulation: Simulation) -> None:
    volume = placed()
    second, first = (stored_snapshot(volume, created_at=f'2026-01-0{day}T00:00:00.000000') for day in (2, 1))
    stored_snapshot(placed())
    assert [one.id for one in volumes.snapshots_of(volume)] == [first.id, second.id]


def test_reset_status(simulation: Simulation) -> None:
    volume = placed(
        status='creating', owner='req', in_flight='1', deadline=base.after(9), operation={'action': 'create'}
    )
    volumes.reset_status(ADMIN, volume.id, 'error', None, None)
    volume = volume.reload()
    assert (volume.status, volume.owner, volume.in_flight, volume.operation) == ('error', None, None, None)


@pytest.mark.parametrize('status', sorted(VOLUME_STATUSES.keys() - {'deleting', 'in-use'}))
def test_reset_to_any_status(simulation: Simulation, status: str) -> None:
    volume = placed()
    volumes.reset_status(ADMIN, volume.id, status, None, None)
    assert volume.reload().status == status


def test_reset_refusals(simulation: Simulation) -> None:
    volume = placed()
    with pytest.raises(errors.Invalid) as refused:
        volumes.reset_status(ADMIN, volume.id, 'deleting', None, None)
    assert refused.value.message == 'Cannot reset-state to deleting'
    with pytest.raises(errors.Invalid) as refused:
        volumes.reset_status(ADMIN, volume.id, 'in-use', None, None)
    assert refused.value.message == 'Cannot reset-state to in-use because volume does not have any attachments.'


def test_reset_migration_status(simulation: Simulation) -> None:
    volume = placed(migration_status='error')
    volumes.reset_status(ADMIN, volume.id, None, None, 'none')
    assert volume.reload().migration_status is None
    volumes.reset_status(ADMIN, volume.id, None, None, 'starting')
    assert volume.reload().migration_status == 'starting'


def attached(simulation: Simulation) -> Volume:
    volume = placed(status='in-use', attach_status='attached', attachments={'a': {}, 'b': {}}, attachment_count=2)
    for id in ('a', 'b'):
        Attachment('project', id, created_at=base.now(), volume_id=volume.id, attach_status='attached').save()
        simulation.big.paths[f'volume-{volume.id}'].add(id)
    return volume


def test_reset_to_detached_takes_the_paths_away_first(simulation: Simulation) -> None:
    volume = attached(simulation)
    volumes.reset_status(ADMIN, volume.id, 'available', 'detached', None)
    volume = volume.reload()
    assert (volume.status, volume.attach_status, volume.attachments) == ('available', 'detached', {})
    assert list(Attachment.scan()) == []
    assert simulation.big.paths[f'volume-{volume.id}'] == set()


def test_reset_to_detached_of_a_backend_that_is_away_changes_nothing(simulation: Simulation) -> None:
    """A host that still has its path would write to a volume that looks free."""
    volume = attached(simulation)
    simulation.big.fail('terminate_connection', simulation.big.unavailable())
    with pytest.raises(errors.BackendUnavailable):
        volumes.reset_status(ADMIN, volume.id, 'available', 'detached', None)
    assert (volume.reload().status, len(list(Attachment.scan()))) == ('in-use', 2)


def test_reset_gives_back_what_the_interrupted_work_held(simulation: Simulation) -> None:
    source = stored_volume(host=BIG)
    clone = create_volume(CALLER, 2, source_volid=source.id)
    simulation.deliver()
    [execution] = simulation.executions.values()
    simulation.work('schedule', execution.payload)
    volumes.reset_status(ADMIN, clone.id, 'error', None, None)
    clone = clone.reload()
    assert (source.reload().reader_count, clone.reading, clone.in_transit_gb) == (0, None, 0)
    assert (clone.host, clone.claimed_gb) == (BIG, 2)


def test_a_worker_is_asked_for_paths_only_of_a_volume_that_has_some(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, 'invoke', None)
    volume = placed()
    volumes.reset_status(ADMIN, volume.id, 'available', 'detached', None)
    assert volume.reload().status == 'available'
