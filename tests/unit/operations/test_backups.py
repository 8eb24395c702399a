"""Backups as the API sees them: what is accepted, what it takes, and in which words the rest is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import Backup, Snapshot, Volume, base
from chalicelib.operations import backup_reservations, backups, quotas
from chalicelib.operations.backup_reservations import Outcome
from chalicelib.rules import states, workflows
from tests.backup_factories import create_backup, stored_backup
from tests.factories import context, query, stored_snapshot, stored_volume
from tests.simulation import BIG, Simulation


@pytest.fixture
def volume(simulation: Simulation) -> Volume:
    return stored_volume(host=BIG, size=3)


def usage(project: str = 'project') -> dict[str, int]:
    found = quotas.usages(project)
    return {name: found[name]['in_use'] for name in ('backups', 'backup_gigabytes')}


def test_what_is_recorded(simulation: Simulation, volume: Volume) -> None:
    backup = create_backup(context(), volume, description='d', metadata={'a': 'b'}, container='mine')
    stored = backups.get(context(), backup.id)
    assert (stored.status, stored.size, stored.volume_id) == ('creating', 3, volume.id)
    assert (stored.name, stored.description, stored.metadata, stored.container) == ('nightly', 'd', {'a': 'b'}, 'mine')
    assert stored.data_timestamp == stored.created_at
    assert stored.service == 'cinder.backup.drivers.cinderless.S3BackupDriver'
    assert (stored.parent_id, stored.snapshot_id, stored.fail_reason) == (None, None, None)
    assert usage() == {'backups': 1, 'backup_gigabytes': 3}
    found = volume.reload()
    assert (found.status, found.previous_status, found.reader_count) == ('backing-up', 'available', 1)
    [message] = simulation.queue
    assert (message['action'], message['resource'], message['id']) == ('create', 'backup', backup.id)


def test_the_usual_container_and_the_volumes_zone(simulation: Simulation) -> None:
    volume = stored_volume(host=BIG, availability_zone='west')
    backup = create_backup(context(), volume)
    assert (backup.container, backup.availability_zone) == ('volumebackups', 'west')


@pytest.mark.parametrize('force', [False, True])
@pytest.mark.parametrize('status', sorted(states.VOLUME_STATUSES))
def test_the_matrix_of_volume_statuses(simulation: Simulation, status: str, force: bool) -> None:
    """Cinder's, measured."""
    volume = stored_volume(host=BIG, status=status)
    if status == 'available' or (force and status == 'in-use'):
        create_backup(context(), volume, force=force)
        assert volume.reload().status == 'backing-up'
    else:
        with pytest.raises(errors.InvalidVolume):
            create_backup(context(), volume, force=force)
        assert (volume.reload().status, list(Backup.scan()), usage()['backups']) == (status, [], 0)


@pytest.mark.parametrize('status', sorted(states.SNAPSHOT_STATUSES))
def test_the_matrix_of_snapshot_statuses(simulation: Simulation, volume: Volume, status: str) -> None:
    snapshot = stored_snapshot(volume, status=status)
    if status == 'available':
        backup = create_backup(context(), volume, snapshot_id=snapshot.id)
        assert (snapshot.reload().status, volume.reload().status) == ('backing-up', 'available')
        assert backup.data_timestamp == snapshot.created_at
    else:
        with pytest.raises(errors.InvalidSnapshot):
            create_backup(context(), volume, snapshot_id=snapshot.id)


def test_a_snapshot_of_an_attached_volume_needs_no_force(simulation: Simulation, volume: Volume) -> None:
    volume.update(actions=[Volume.status.set('in-use')])
    assert create_backup(context(), volume, snapshot_id=stored_snapshot(volume).id).status == 'creating'


def test_the_words_of_refusals_are_cinders(simulation: Simulation, volume: Volume) -> None:
    other = stored_snapshot(stored_volume(host=BIG))
    with pytest.raises(errors.InvalidVolume) as refused:
        create_backup(context(), volume, snapshot_id=other.id)
    assert refused.value.message == (
        f'Invalid volume: Volume {volume.id} does not match with snapshot.volume_id {other.volume_id}.'
    )
    volume.update(actions=[Volume.status.set('in-use')])
    with pytest.raises(errors.InvalidVolume) as refused:
        create_backup(context(), volume)
    assert refused.value.message == 'Invalid volume: Backing up an in-use volume must use the force flag.'


def test_quota_is_refused_before_anything_changes(simulation: Simulation, volume: Volume) -> None:
    quotas.update('project', {'backups': 0})
    with pytest.raises(errors.BackupLimitExceeded) as refused:
        create_backup(context(), volume)
    assert refused.value.message == 'Maximum number of backups allowed (0) exceeded'
    quotas.update('project', {'backups': 5, 'backup_gigabytes': 2})
    with pytest.raises(errors.VolumeBackupSizeExceedsAvailableQuota, match='Requested 3G, quota is 2G and 0G has been'):
        create_backup(context(), volume)
    found = volume.reload()
    assert (found.status, found.reader_count, list(Backup.scan()), simulation.queue) == ('available', 0, [], [])


def test_a_volume_that_is_taken_meanwhile_is_refused(
    simulation: Simulation, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = backups._check_source

    def late(*arguments: Any) -> None:
        check(*arguments)
        volume.update(actions=[Volume.status.set('deleting')])

    monkeypatch.setattr(backups, '_check_source', late)
    with pytest.raises(errors.InvalidVolume, match='changed while the request was being served'):
        create_backup(context(), volume)
    assert usage()['backups'] == 0


def moments() -> Callable[[], str]:
    """Times that follow each other by a second."""
    count = itertools.count()
    return lambda: f'2026-01-01T00:00:{next(count):02}.000000'


def test_an_incremental_builds_on_the_newest_available_backup(simulation: Simulation, volume: Volume) -> None:
    at = moments()
    oldest = stored_backup(volume, data_timestamp=at())
    newest = stored_backup(volume, data_timestamp=at(), container='elsewhere')
    stored_backup(volume, data_timestamp=at(), status='error')
    stored_backup(volume, data_timestamp=at(), status='creating')
    stored_backup(volume, data_timestamp=at(), project_id='other')
    stored_backup(stored_volume(host=BIG), data_timestamp=at())
    backup = create_backup(context(), volume, incremental=True, container='ignored')
    assert (backup.parent_id, backup.container) == (newest.id, 'elsewhere')
    assert newest.reload().num_dependent_backups == 0
    assert oldest.id != newest.id


def test_an_incremental_builds_on_a_backup_of_an_instance_whose_clock_is_ahead(
    simulation: Simulation, volume: Volume
) -> None:
    full = stored_backup(volume, data_timestamp=base.after(3), created_at=base.after(3))
    assert create_backup(context(), volume, incremental=True).parent_id == full.id


def test_an_incremental_of_a_snapshot_builds_on_what_is_older(simulation: Simulation, volume: Volume) -> None:
    at = moments()
    older = stored_backup(volume, data_timestamp=at())
    snapshot = stored_snapshot(volume, created_at=at())
    stored_backup(volume, data_timestamp=at())
    assert create_backup(context(), volume, incremental=True, snapshot_id=snapshot.id).parent_id == older.id


def test_an_incremental_without_a_base_is_refused(simulation: Simulation, volume: Volume) -> None:
    stored_backup(volume, status='error')
    with pytest.raises(errors.InvalidBackup, match='No backups available to do an incremental backup'):
        create_backup(context(), volume, incremental=True)
    assert volume.reload().status == 'available'


def test_update_changes_what_it_names(simulation: Simulation, volume: Volume) -> None:
    backup = stored_backup(volume, description='old', name='old')
    backups.update(context(), backup.id, {'name': 'new', 'metadata': {'a': '1'}})
    found = backups.get(context(), backup.id)
    assert (found.name, found.description, found.metadata) == ('new', 'old', {'a': '1'})
    backups.update(context(), backup.id, {'name': None})
    assert backups.get(context(), backup.id).name is None


@pytest.mark.parametrize('force', [False, True])
@pytest.mark.parametrize('status', sorted(states.BACKUP_STATUSES))
def test_the_matrix_of_delete(simulation: Simulation, volume: Volume, status: str, force: bool) -> None:
    """Cinder's, measured; but a backup with dependents may go, since no other needs it."""
    backup = stored_backup(volume, status=status, num_dependent_backups=1)
    if force or status in {'available', 'error'}:
        backups.delete(context(), backup.id, force=force)
        assert backup.reload().status == 'deleting'
        assert simulation.queue[-1]['action'] == 'delete'
    else:
        with pytest.raises(errors.InvalidBackup, match='Backup status must be available or error'):
            backups.delete(context(), backup.id, force=force)
        assert backup.reload().status == status


@pytest.mark.parametrize('status', sorted(states.BACKUP_STATUSES))
def test_the_matrix_of_restore(simulation: Simulation, volume: Volume, status: str) -> None:
    backup = stored_backup(volume, status=status)
    if status == 'available':
        _, target = backups.restore(context(), backup.id, volume_id=volume.id, name=None)
        assert (backup.reload().status, backup.reload().restore_volume_id) == ('restoring', volume.id)
        assert target.reload().status == 'restoring-backup'
    else:
        with pytest.raises(errors.InvalidBackup, match='Backup status must be available'):
            backups.restore(context(), backup.id, volume_id=volume.id, name=None)
        assert volume.reload().status == 'available'


@pytest.mark.parametrize('status', sorted(set(states.VOLUME_STATUSES) - {'available'}))
def test_the_matrix_of_restore_targets(simulation: Simulation, volume: Volume, status: str) -> None:
    backup = stored_backup(volume)
    volume.update(actions=[Volume.status.set(status)])
    with pytest.raises(errors.InvalidVolume, match='Volume to be restored to must be available'):
        backups.restore(context(), backup.id, volume_id=volume.id, name=None)
    assert backup.reload().status == 'available'


def test_a_target_that_is_too_small(simulation: Simulation, volume: Volume) -> None:
    backup = stored_backup(volume)
    small = stored_volume(host=BIG, size=2)
    with pytest.raises(errors.InvalidVolume, match='volume size 2 is too small to restore backup of size 3'):
        backups.restore(context(), backup.id, volume_id=small.id, name=None)


def test_neither_record_changes_when_one_of_them_is_taken_meanwhile(
    simulation: Simulation, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = stored_backup(volume)
    check = backups._check_target

    def late(*arguments: Any) -> None:
        check(*arguments)
        volume.update(actions=[Volume.status.set('in-use')])

    monkeypatch.setattr(backups, '_check_target', late)
    with pytest.raises(errors.InvalidVolume):
        backups.restore(context(), backup.id, volume_id=volume.id, name=None)
    assert (backup.reload().status, volume.reload().status, simulation.queue) == ('available', 'in-use', [])


def test_a_new_volume_is_made_without_keeping_the_caller_waiting(simulation: Simulation, volume: Volume) -> None:
    backup = stored_backup(volume)
    _, target = backups.restore(context(), backup.id, volume_id=None, name=None)
    assert (target.status, target.size, target.backup_id) == ('creating', 3, backup.id)
    assert (target.name, target.description) == (
        f'restore_backup_{backup.id}', 'auto-created_from_restore_from_backup',
    )  # fmt: skip
    assert (backup.reload().status, backup.reload().restore_volume_id) == ('restoring', target.id)
    [message] = simulation.queue
    assert (message['resource'], message['id']) == ('volume', target.id)
    with pytest.raises(errors.InvalidBackup, match='Backup status must be available'):
        backups.restore(context(), backup.id, volume_id=None, name='mine')


def test_no_volume_is_made_when_the_backup_is_taken_meanwhile(
    simulation: Simulation, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = stored_backup(volume)
    monkeypatch.setattr(backups, '_check_restorable', lambda _: backup.update(actions=[Backup.status.set('deleting')]))
    with pytest.raises(errors.InvalidBackup):
        backups.restore(context(), backup.id, volume_id=None, name=None)
    assert [found.id for found in Volume.scan()] == [volume.id]
    assert simulation.queue == []


def test_reset_status_cancels_what_is_under_way(simulation: Simulation, volume: Volume) -> None:
    backup = create_backup(context(), volume)
    backups.reset_status(context('admin'), backup.id, 'error')
    found = backup.reload()
    assert (found.status, found.owner, found.in_flight, found.operation) == ('error', None, None, None)
    with pytest.raises(errors.InvalidInput, match="must be 'available' or 'error', not 'creating'"):
        backups.reset_status(context('admin'), backup.id, 'creating')


def test_another_project_sees_nothing(simulation: Simulation, volume: Volume) -> None:
    backup = stored_backup(volume)
    stranger = context(project_id='other')
    with pytest.raises(errors.BackupNotFound):
        backups.get(stranger, backup.id)
    with pytest.raises(errors.BackupNotFound):
        backups.restore(stranger, backup.id, volume_id=None, name=None)
    assert backups.list_(stranger, query()) == ([], False)
    assert [one.id for one in backups.list_(context(), query())[0]] == [backup.id]
    assert backups.get(context('admin', 'other'), backup.id).id == backup.id


def test_no_two_projects_share_a_prefix(simulation: Simulation, volume: Volume) -> None:
    mine, theirs = stored_backup(volume), stored_backup(volume, project_id='other')
    assert backups.repository_prefix(mine) == 'project/volumebackups/'
    assert backups.repository_prefix(theirs) == 'other/volumebackups/'


ROW = workflows.BACKUP['create']


@pytest.mark.parametrize('kind', ['volume', 'snapshot'])
def test_an_end_gives_everything_back_once(simulation: Simulation, volume: Volume, kind: str) -> None:
    source: Volume | Snapshot = volume if kind == 'volume' else stored_snapshot(volume)
    parent = stored_backup(volume, data_timestamp='2020-01-01T00:00:00.000000')
    snapshot_id = source.id if kind == 'snapshot' else None
    if snapshot_id:
        source.update(actions=[Snapshot.created_at.set(base.now())])
    backup = create_backup(context(), volume, snapshot_id=snapshot_id, incremental=True)
    backup_reservations.end(backup, ROW, Outcome('available', dependents=1))
    assert (source.reload().status, source.reload().reader_count) == ('available', 0)
    assert (backup.reload().status, backup.reload().reading) == ('available', None)
    assert parent.reload().num_dependent_backups == 1
    with pytest.raises(errors.BackupCanceled):
        backup_reservations.end(backup, ROW, Outcome('available', dependents=1))
    backup_reservations.release_source(backup)
    backup_reservations.release_source(backup.reload())
    assert (source.reload().reader_count, parent.reload().num_dependent_backups) == (0, 1)


def test_an_end_begins_again_when_the_source_or_the_parent_moves(
    simulation: Simulation, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent is removed, and the volume reset, between reading and writing."""
    parent = stored_backup(volume, data_timestamp='2020-01-01T00:00:00.000000')
    backup = create_backup(context(), volume, incremental=True)
    commit, done = base.Transaction.commit, []

    def late(transaction: base.Transaction) -> None:
        if not done:
            done.append(True)
            parent.delete()
            volume.update(actions=[Volume.status.set('available'), Volume.owner.remove()])
        commit(transaction)

    monkeypatch.setattr(base.Transaction, 'commit', late)
    backup_reservations.end(backup, ROW, Outcome('available', dependents=1))
    assert (backup.reload().status, volume.reload().reader_count) == ('available', 0)


def test_an_end_that_keeps_its_source_keeps_it_from_being_removed(simulation: Simulation, volume: Volume) -> None:
    backup = create_backup(context(), volume)
    backup_reservations.restore_source_status(backup, backup_reservations.source_of(backup))
    backup_reservations.end(backup, ROW, Outcome('error', keeps_source=True))
    assert (volume.reload().status, volume.reload().reader_count) == ('available', 1)
    backup_reservations.release_source(backup.reload())
    assert volume.reload().reader_count == 0


def test_a_status_that_another_request_holds_is_not_given_back(simulation: Simulation, volume: Volume) -> None:
    backup = create_backup(context(), volume)
    volume.update(actions=[Volume.status.set('deleting'), Volume.owner.set('another')])
    backup_reservations.restore_source_status(backup, backup_reservations.source_of(backup))
    backup_reservations.end(backup, ROW, Outcome('error'))
    assert (volume.reload().status, volume.reload().reader_count) == ('deleting', 0)


def test_a_source_that_is_gone_holds_nobody_up(simulation: Simulation, volume: Volume) -> None:
    backup = create_backup(context(), volume)
    volume.delete()
    backup_reservations.restore_source_status(backup, backup_reservations.source_of(backup))
    backup_reservations.end(backup, ROW, Outcome('error'))
    assert backup.reload().status == 'error'


def test_a_removal_gives_the_quota_back_with_the_record(simulation: Simulation, volume: Volume) -> None:
    backup = create_backup(context(), volume)
    backup_reservations.end(backup, ROW, Outcome(states.REMOVED))
    assert (list(Backup.scan()), usage()) == ([], {'backups': 0, 'backup_gigabytes': 0})
    with pytest.raises(errors.BackupCanceled):
        backup_reservations.end(backup, ROW, Outcome(states.REMOVED))
    assert usage() == {'backups': 0, 'backup_gigabytes': 0}
