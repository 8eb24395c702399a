"""Requests on snapshots."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import Snapshot
from chalicelib.operations import quotas, snapshots
from chalicelib.rules.states import REPORTABLE, SNAPSHOT_STATUSES, VOLUME_STATUSES
from chalicelib.rules.workflows import SNAPSHOT
from tests.factories import context, create_snapshot, query, stored_snapshot, stored_volume
from tests.simulation import BIG, Simulation

CALLER = context()


def refusal(volume_facts: dict[str, Any], caller: Any = CALLER) -> str:
    volume = stored_volume(**{'host': BIG, **volume_facts})
    with pytest.raises(errors.InvalidVolume) as refused:
        create_snapshot(caller, volume)
    assert list(Snapshot.scan()) == []
    assert volume.reload().snapshot_count == 0
    return refused.value.message.removeprefix('Invalid volume: ').replace(volume.id, '<id>')


def test_the_record(simulation: Simulation) -> None:
    volume = stored_volume(host=BIG, size=3, volume_type_id='t', encryption_key_id='k')
    snapshot = create_snapshot(CALLER, volume, name='n', description='d', metadata={'k': 'v'}).reload()
    assert (snapshot.status, snapshot.volume_id, snapshot.volume_size) == ('creating', volume.id, 3)
    assert (snapshot.name, snapshot.description, snapshot.metadata) == ('n', 'd', {'k': 'v'})
    assert (snapshot.volume_type_id, snapshot.encryption_key_id, snapshot.host) == ('t', 'k', BIG)
    assert quotas.usages('project')['snapshots']['in_use'] == 1
    assert quotas.usages('project')['gigabytes']['in_use'] == 3


@pytest.mark.parametrize('status', sorted(VOLUME_STATUSES))
@pytest.mark.parametrize(('microversion', 'force'), [((3, 65), False), ((3, 65), True), ((3, 66), False)])
def test_by_status_of_the_volume(
    simulation: Simulation, status: str, microversion: tuple[int, int], force: bool
) -> None:
    allowed = ['available', 'in-use'] if force or microversion >= (3, 66) else ['available']
    caller, volume = context(microversion=microversion), stored_volume(host=BIG, status=status)
    if status in allowed:
        assert create_snapshot(caller, volume, force=force).status == 'creating'
        assert volume.reload().snapshot_count == 1
        return
    with pytest.raises(errors.InvalidVolume) as refused:
        create_snapshot(caller, volume, force=force)
    if status not in {'error', 'maintenance'}:
        assert refused.value.message == (
            f'Invalid volume: Volume {volume.id} status must be {", ".join(allowed)}, but current status is: {status}.'
        )


def test_obstacles(simulation: Simulation) -> None:
    assert refusal({'host': None}) == (
        'The snapshot cannot be created because volume has not been scheduled to any host.'
    )
    assert refusal({'status': 'maintenance'}) == (
        'The snapshot cannot be created when the volume is in maintenance mode.'
    )
    assert refusal({'migration_status': 'migrating'}) == 'Snapshot cannot be created while volume is migrating.'
    assert refusal({'status': 'error'}) == 'The snapshot cannot be created when the volume is in error status.'


def test_a_volume_that_grows_meanwhile(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = stored_volume(host=BIG)
    record = snapshots.new_record

    def meanwhile(*arguments: Any) -> Snapshot:
        volume.update(actions=[type(volume).size.set(2)])
        return record(*arguments)

    monkeypatch.setattr(snapshots, 'new_record', meanwhile)
    with pytest.raises(errors.InvalidVolume, match='was changed by another request; try again'):
        create_snapshot(CALLER, volume)


def test_quota(simulation: Simulation) -> None:
    quotas.update('project', {'snapshots': 0})
    with pytest.raises(errors.SnapshotLimitExceeded) as refused:
        create_snapshot(CALLER, stored_volume(host=BIG))
    assert refused.value.message == 'Maximum number of snapshots allowed (0) exceeded'


def test_an_administrators_snapshot_is_charged_to_the_volumes_project(simulation: Simulation) -> None:
    snapshot = create_snapshot(context('admin', 'ops'), stored_volume(host=BIG))
    assert snapshot.project_id == 'project'
    assert quotas.usages('ops')['snapshots']['in_use'] == 0


@pytest.mark.parametrize('status', sorted(SNAPSHOT_STATUSES))
def test_delete_by_status(simulation: Simulation, status: str) -> None:
    snapshot = stored_snapshot(stored_volume(), status=status)
    if status in SNAPSHOT['delete'].allowed:
        snapshots.delete(CALLER, snapshot.id)
        assert snapshot.reload().status == 'deleting'
        return
    with pytest.raises(errors.InvalidSnapshot) as refused:
        snapshots.delete(CALLER, snapshot.id)
    assert refused.value.message == (
        'Invalid snapshot: Snapshot status must be available or error and must not be part of a group.'
    )
    snapshots.delete(context('admin'), snapshot.id, force=True)
    assert snapshot.reload().status == 'deleting'


@pytest.mark.parametrize('facts', [{'group_snapshot_id': 'g'}, {'reader_count': 1}])
def test_what_forbids_a_delete_even_by_force(simulation: Simulation, facts: dict[str, Any]) -> None:
    snapshot = stored_snapshot(stored_volume(), **facts)
    with pytest.raises(errors.InvalidSnapshot):
        snapshots.delete(context('admin'), snapshot.id, force=True)


def test_update_and_metadata(simulation: Simulation) -> None:
    snapshot = stored_snapshot(stored_volume(), metadata={'a': '1'})
    assert snapshots.update(CALLER, snapshot.id, {'name': 'n', 'description': None}).name == 'n'
    assert snapshots.set_metadata(CALLER, snapshot.id, {'b': '2'}) == {'a': '1', 'b': '2'}
    assert snapshots.set_metadata(CALLER, snapshot.id, {'c': '3'}, replace=True) == {'c': '3'}
    snapshots.delete_metadata(CALLER, snapshot.id, 'c')
    with pytest.raises(errors.SnapshotMetadataNotFound):
        snapshots.delete_metadata(CALLER, snapshot.id, 'c')


def test_list(simulation: Simulation) -> None:
    volume = stored_volume()
    wanted = stored_snapshot(volume)
    stored_snapshot(stored_volume())
    found, more = snapshots.list_(CALLER, query(filters={'volume_id': volume.id}))
    assert ([one.id for one in found], more) == ([wanted.id], False)
    assert snapshots.count(CALLER, query()) == 2


def test_reset_status(simulation: Simulation) -> None:
    snapshot = stored_snapshot(stored_volume(), status='creating', owner='req', in_flight='1', deadline='x')
    snapshots.reset_status(context('admin'), snapshot.id, 'error')
    assert (snapshot.reload().status, snapshot.reload().in_flight) == ('error', None)


@pytest.mark.parametrize(
    ('before', 'after'),
    [(before, after) for before, allowed in REPORTABLE.items() for after in allowed],
)
def test_update_status(simulation: Simulation, before: str, after: str) -> None:
    snapshot = stored_snapshot(stored_volume(), status=before, owner='req', in_flight='1', deadline='x')
    snapshots.update_status(CALLER, snapshot.id, after, '80%')
    snapshot = snapshot.reload()
    assert (snapshot.status, snapshot.progress) == (after, '80%')
    assert (snapshot.in_flight is None) == (before != after)


def test_update_status_refusals(simulation: Simulation) -> None:
    available = stored_snapshot(stored_volume())
    with pytest.raises(errors.Invalid) as refused:
        snapshots.update_status(CALLER, available.id, 'error', None)
    assert refused.value.message == 'Snapshot status available not allowed for update_snapshot_status'
    creating = stored_snapshot(stored_volume(), status='creating')
    with pytest.raises(errors.Invalid) as refused:
        snapshots.update_status(CALLER, creating.id, 'deleting', None)
    assert refused.value.message == 'Provided snapshot status deleting not allowed for snapshot with status creating.'
