"""Every way through backup_volume, restore_backup and delete_backup, with real bytes: what is left, and of what."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import config, errors
from chalicelib.models import Backup, Message, Snapshot, Volume
from chalicelib.operations import backups, volumes
from chalicelib.rules.sentences import for_users
from chalicelib.tasks import executions, function_time
from tests import invariants
from tests.backup_factories import create_backup
from tests.data_backends import Data, Disk
from tests.factories import context, create_snapshot, create_volume
from tests.fake_driver import REPEATED
from tests.machine import Execution
from tests.simulation import Simulation

#: GiB: three shards, so three ranges.
SIZE = 9

BACKED_UP = ['OpenBackup', 'CopyRanges', *['CopyRange', 'IsRangeDone', 'RangeDone'] * 3, 'CompleteBackup']
REMOVED = ['DeleteManifest', 'DeleteBackup', 'WaitForGrace', 'CollectBackup', 'IsCollected', 'Collected']
RESTORED = ['OpenRestore', 'RestoreRanges', *['RestoreRange', 'IsRangeDone', 'RangeDone'] * 3, 'CompleteRestore']


@pytest.fixture
def volume(make_volume: Callable[[int], Volume]) -> Volume:
    return make_volume(SIZE)


def backed_up(simulation: Simulation, volume: Volume, **facts: Any) -> Backup:
    backup = create_backup(context(), volume, **facts)
    simulation.settle()
    backup = backup.reload()
    assert backup.status == 'available', backup.fail_reason
    return backup


def restored(simulation: Simulation, backup: Backup, volume: Volume | None = None) -> Volume:
    """The volume that the backup was restored to."""
    _, target = backups.restore(context(), backup.id, volume_id=volume.id if volume else None, name=None)
    simulation.settle()
    return target.reload()


def check(simulation: Simulation, data: Data) -> None:
    """Nothing in flight, nothing temporary, no path; quota and counters right."""
    invariants.check(simulation)
    assert data.paths() == []
    made = list(Backup.scan())
    assert [one.id for one in made if one.reading or one.restore_volume_id] == []
    finished = [one for one in made if one.manifest_key]
    children = {one.id: sum(other.parent_id == one.id for other in finished) for one in made}
    assert {one.id: one.num_dependent_backups for one in made} == children


def messages_of(record: Any) -> list[tuple[str, str]]:
    return sorted((one.action_id, one.detail_id) for one in Message.scan() if one.resource_uuid == record.id)


def one_run(simulation: Simulation) -> Execution:
    """The execution that has run last."""
    return list(simulation.executions.values())[-1]


def test_full(simulation: Simulation, data: Data, volume: Volume) -> None:
    original = data.of(volume).copy(data.of(volume).size)
    backup = create_backup(context(), volume)
    assert (backup.status, volume.reload().status) == ('creating', 'backing-up')
    [execution] = simulation.settle()
    assert execution.path == BACKED_UP
    backup = backup.reload()
    assert (backup.status, backup.size, volume.reload().status) == ('available', SIZE, 'available')
    assert backup.object_count == len(
        [key for key in data.objects() if key.split('/')[0] in {'packs', 'shards', 'backups'}]
    )
    assert f'deleted/{volume.id}/{backup.id}' not in data.objects()
    data.of(volume).fill(seed=2)
    assert data.of(restored(simulation, backup)).same(original)
    check(simulation, data)


def test_payload_carries_ids_only(simulation: Simulation, data: Data, volume: Volume) -> None:
    create_backup(context(), volume, name='secret name', description='secret', metadata={'a': 'secret'})
    [execution] = simulation.settle()
    assert 'secret' not in str(execution.payload)
    assert set(execution.payload) == {*executions.KEYS, executions.RELATED, 'execution'}


def test_the_volume_has_its_status_back_while_it_is_copied(simulation: Simulation, data: Data, volume: Volume) -> None:
    """The volume may be written and extended but not deleted; the backup has the data from before."""
    original = data.of(volume).copy(data.of(volume).size)
    seen = []

    def around(name: str) -> contextlib.AbstractContextManager[None]:
        if name == 'cinderless@big open_snapshot' and not seen:
            seen.append(volume.reload().status)
            data.of(volume).fill(seed=5)
            with pytest.raises(errors.InvalidVolume, match='is being read by 1 clone or backup'):
                volumes.delete(context(), volume.id)
            volumes.extend(context(), volume.id, SIZE + 1)
        return contextlib.nullcontext()

    backup = create_backup(context(), volume)
    simulation.around = around
    simulation.settle()
    assert seen == ['available']
    assert (backup.reload().status, volume.reload().size) == ('available', SIZE + 1)
    assert data.of(restored(simulation, backup)).same(original)
    check(simulation, data)


def test_in_use_needs_force_and_stays_in_use(simulation: Simulation, data: Data, volume: Volume) -> None:
    volume.update(actions=[Volume.status.set('in-use')])
    with pytest.raises(errors.InvalidVolume, match='must use the force flag'):
        create_backup(context(), volume)
    backup = create_backup(context(), volume, force=True)
    assert volume.reload().status == 'backing-up'
    simulation.settle()
    assert (backup.reload().status, volume.reload().status) == ('available', 'in-use')
    check(simulation, data)


def test_incremental_stores_what_changed_and_restores_in_one_pass(
    simulation: Simulation, data: Data, volume: Volume
) -> None:
    full = backed_up(simulation, volume)
    first = data.of(volume).copy(data.of(volume).size)
    stored = set(data.objects())
    data.of(volume).write(5 * 1024**3, b'changed' * 10_000)
    child = backed_up(simulation, volume, incremental=True)
    packs = [key for key in data.objects() if key.startswith('packs/') and key not in stored]
    assert len(packs) == 1
    assert (child.parent_id, full.reload().num_dependent_backups) == (full.id, 1)
    second = data.of(volume).copy(data.of(volume).size)
    data.of(volume).fill(seed=3)
    assert data.of(restored(simulation, child)).same(second)
    assert data.of(restored(simulation, full, volume)).same(first)
    check(simulation, data)


def test_a_parent_may_go_before_its_children(simulation: Simulation, data: Data, volume: Volume) -> None:
    full = backed_up(simulation, volume)
    data.of(volume).write(0, b'x' * 100)
    child = backed_up(simulation, volume, incremental=True)
    backups.delete(context(), full.id)
    simulation.settle()
    assert data.of(restored(simulation, child)).same(data.of(volume))
    backups.delete(context(), child.id)
    simulation.settle()
    assert list(Backup.scan()) == []
    check(simulation, data)


def test_a_parent_that_vanishes_before_the_copy_begins_says_do_a_full_one(
    simulation: Simulation, data: Data, volume: Volume
) -> None:
    full = backed_up(simulation, volume)
    child = create_backup(context(), volume, incremental=True)
    waiting, simulation.queue = simulation.queue, []
    backups.delete(context(), full.id)
    simulation.settle()
    simulation.queue = waiting
    simulation.settle()
    assert child.reload().status == 'error'
    assert 'create a full backup' in child.reload().fail_reason
    check(simulation, data)


def test_from_a_snapshot(simulation: Simulation, data: Data, volume: Volume) -> None:
    snapshot = create_snapshot(context(), volume)
    simulation.settle()
    original = data.of(volume).copy(data.of(volume).size)
    data.of(volume).fill(seed=4)
    backup = create_backup(context(), volume, snapshot_id=snapshot.id)
    assert (snapshot.reload().status, volume.reload().status) == ('backing-up', 'available')
    simulation.settle()
    backup = backup.reload()
    assert (backup.status, backup.snapshot_id, snapshot.reload().status) == ('available', snapshot.id, 'available')
    assert backup.data_timestamp == snapshot.created_at
    assert data.of(restored(simulation, backup)).same(original)
    check(simulation, data)


def test_an_incremental_of_a_snapshot_builds_on_what_is_older_than_it(
    simulation: Simulation, data: Data, volume: Volume
) -> None:
    old = backed_up(simulation, volume)
    snapshot = create_snapshot(context(), volume)
    simulation.settle()
    backed_up(simulation, volume)
    child = backed_up(simulation, volume, incremental=True, snapshot_id=snapshot.id)
    assert child.parent_id == old.id


def test_an_administrator_backs_up_for_another_project(simulation: Simulation, data: Data, volume: Volume) -> None:
    caller = context('admin', 'operations')
    backup = create_backup(caller, volume)
    simulation.settle()
    assert (backup.reload().status, backup.project_id) == ('available', 'operations')
    assert all(key.startswith('operations/volumebackups/') for key in data.repositories)
    _, target = backups.restore(caller, backup.id, volume_id=volume.id, name=None)
    simulation.settle()
    assert (target.reload().status, target.project_id) == ('available', 'project')
    invariants.check(simulation)


def test_restore_to_the_volume_itself_zeroes_what_was_zero(simulation: Simulation, data: Data, volume: Volume) -> None:
    original = data.of(volume).copy(data.of(volume).size)
    backup = backed_up(simulation, volume)
    data.of(volume).fill(seed=9)
    _, target = backups.restore(context(), backup.id, volume_id=volume.id, name=None)
    assert (target.reload().status, backup.reload().status) == ('restoring-backup', 'restoring')
    [execution] = simulation.settle()
    assert execution.path == RESTORED
    assert (volume.reload().status, backup.reload().status) == ('available', 'available')
    assert data.of(volume).same(original)
    assert 'src_backup_id' not in volume.reload().metadata
    check(simulation, data)


def test_restore_to_a_larger_volume_zeroes_the_rest(simulation: Simulation, data: Data, volume: Volume) -> None:
    backup = backed_up(simulation, volume)
    larger = create_volume(context(), SIZE + 4)
    simulation.settle()
    data.of(larger).fill(seed=7)
    restored(simulation, backup, larger)
    assert data.of(larger).same(data.of(volume))
    assert larger.reload().metadata == {'src_backup_id': backup.id}
    check(simulation, data)


def waiting(backup: Backup) -> Volume:
    """A volume that is made from the backup, by a request for a volume; nothing of it is done yet."""
    made = create_volume(context(), int(backup.size), backup_id=backup.id)
    assert backup.reload().status == 'restoring'
    return made


def test_a_volume_that_is_made_from_a_backup_holds_it_at_once(
    simulation: Simulation, data: Data, volume: Volume
) -> None:
    """Else the backup could be removed, and a second restore accepted, which both leave a volume in error."""
    backup = backed_up(simulation, volume)
    made = waiting(backup)
    with pytest.raises(errors.InvalidBackup):
        backups.delete(context(), backup.id)
    with pytest.raises(errors.InvalidBackup):
        create_volume(context(), SIZE, backup_id=backup.id)
    simulation.settle()
    assert (made.reload().status, backup.reload().status) == ('available', 'available')
    assert data.of(made).same(data.of(volume))
    check(simulation, data)


@pytest.mark.parametrize(
    'end',
    [
        lambda made: volumes.delete(context(), made.id),
        lambda made: volumes.reset_status(context('admin'), made.id, 'error', None, None),
    ],
)
def test_a_volume_that_will_not_be_made_gives_its_backup_back(
    simulation: Simulation, data: Data, volume: Volume, end: Callable[[Volume], object]
) -> None:
    backup = backed_up(simulation, volume)
    end(waiting(backup))
    assert backup.reload().status == 'available'
    simulation.settle()
    assert [one.status for one in Volume.scan() if one.id != volume.id] in ([], ['error'])
    assert (backup.reload().status, backup.reload().restore_volume_id) == ('available', None)


def test_restore_to_a_new_volume_brings_back_what_described_it(
    simulation: Simulation, data: Data, volume: Volume
) -> None:
    volumes.set_metadata(context(), volume.id, {'rack': '7'}, replace=False)
    volumes.set_bootable(context(), volume.id, True)
    backup = backed_up(simulation, volume)
    _, target = backups.restore(context(), backup.id, volume_id=None, name=None)
    assert (target.status, target.name) == ('creating', f'restore_backup_{backup.id}')
    created, done = simulation.settle()
    assert (created.path[-1], done.path) == ('Provision', RESTORED)
    target = target.reload()
    assert (target.status, target.name, target.description) == ('available', 'data', None)
    assert target.metadata == {'rack': '7', 'src_backup_id': backup.id}
    assert target.bootable
    check(simulation, data)


def test_a_backup_whose_new_volume_cannot_be_made_is_available_again(
    simulation: Simulation, data: Data, volume: Volume
) -> None:
    backup = backed_up(simulation, volume)
    for backend in simulation.backends.values():
        backend.fail('create_volume', *[errors.DriverError(backend='b', reason='no')] * 9)
    _, target = backups.restore(context(), backup.id, volume_id=None, name=None)
    assert backup.reload().status == 'restoring'
    simulation.settle()
    assert (target.reload().status, backup.reload().status) == ('error', 'available')
    assert backup.reload().restore_volume_id is None
    check(simulation, data)


@pytest.mark.parametrize('removed', [True, False], ids=['deleted', 'reset'])
def test_a_backup_does_not_wait_for_a_volume_that_was_taken_away(
    simulation: Simulation, data: Data, volume: Volume, removed: bool
) -> None:
    backup = backed_up(simulation, volume)
    _, target = backups.restore(context(), backup.id, volume_id=None, name=None)
    simulation.reconcile()
    assert backup.reload().status == 'restoring'
    if removed:
        volumes.delete(context('admin'), target.id, force=True)
    else:
        volumes.reset_status(context('admin'), target.id, 'error', None, None)
    simulation.settle()
    simulation.reconcile()
    assert backup.reload().status == 'available'


def test_a_name_that_was_asked_for_stays(simulation: Simulation, data: Data, volume: Volume) -> None:
    backup = backed_up(simulation, volume)
    _, target = backups.restore(context(), backup.id, volume_id=None, name='mine')
    simulation.settle()
    assert target.reload().name == 'mine'


def test_a_new_volume_that_is_not_zeroed_leaks_nothing(simulation: Simulation, data: Data, volume: Volume) -> None:
    backup = backed_up(simulation, volume)
    data.zeroed = False
    target = restored(simulation, backup)
    assert data.of(target).same(data.of(volume))


def test_work_goes_on_from_its_cursor_when_time_runs_short(
    simulation: Simulation, data: Data, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call gets a little further than the one before, and no further than it has time for."""
    looks = iter(range(10**6))
    monkeypatch.setattr(function_time, 'seconds_left', lambda: 100.0 if next(looks) % 3 else 0.0)
    backup = create_backup(context(), volume)
    simulation.settle()
    assert one_run(simulation).path.count('CopyRange') > 3
    assert backup.reload().status == 'available'
    monkeypatch.setattr(function_time, 'seconds_left', lambda: 100.0)
    assert data.of(restored(simulation, backup)).same(data.of(volume))
    check(simulation, data)


def test_a_function_without_time_does_nothing_and_is_called_again(
    simulation: Simulation, data: Data, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, True, *[True] * 100])
    monkeypatch.setattr(function_time, 'has_time', lambda: next(answers))
    backup = create_backup(context(), volume)
    simulation.settle()
    assert one_run(simulation).path.count('CopyRange') == 4
    assert backup.reload().status == 'available'


FAULTS = [
    ('create_snapshot', RuntimeError('a bug'), '020'),
    ('create_snapshot', errors.BackendMisconfigured(backend='big', reason='no key'), '002'),
    ('open_snapshot', errors.NotSupported(backend='big', operation='open_snapshot', reason='never'), '019'),
    ('read', errors.InvalidRange(device='d', reason='beyond the end'), '019'),
    ('allocated', errors.LoginFailed(device='d', reason='wrong secret'), '019'),
    ('close_snapshot', errors.DriverError(backend='big', reason='a refusal'), '019'),
    ('delete_snapshot', errors.DriverError(backend='big', reason='a refusal'), '019'),
]


@pytest.mark.parametrize(('verb', 'fault', 'detail'), FAULTS, ids=lambda value: getattr(value, 'message', str(value)))
def test_a_failure_leaves_the_volume_as_it_was_and_says_why(
    simulation: Simulation, data: Data, volume: Volume, verb: str, fault: Exception, detail: str
) -> None:
    original = data.of(volume).copy(data.of(volume).size)
    simulation.big.fail(verb, *[fault] * (REPEATED if isinstance(fault, errors.LoginFailed) else 1))
    backup = create_backup(context(), volume)
    simulation.settle()
    backup = backup.reload()
    assert (backup.status, volume.reload().status) == ('error', 'available')
    assert backup.fail_reason == for_users(type(fault).__name__, str(fault)) != str(fault)
    assert messages_of(backup) == [('013', detail)]
    assert data.of(volume).same(original)
    check(simulation, data)
    with pytest.raises(errors.InvalidBackup):
        backups.restore(context(), backup.id, volume_id=None, name=None)
    backups.delete(context(), backup.id)
    simulation.settle()
    check(simulation, data)


@pytest.mark.parametrize('method', ['put', 'get', 'head'])
def test_a_repository_that_fails_for_good_fails_the_backup(
    simulation: Simulation, data: Data, volume: Volume, method: str
) -> None:
    def around(name: str) -> contextlib.AbstractContextManager[None]:
        if name == f's3 {method}' and 'FailBackup' not in one_run(simulation).path:
            raise errors.RepositoryError(key='k', reason='access denied')
        return contextlib.nullcontext()

    backup = create_backup(context(), volume)
    simulation.deliver()
    simulation.around = around
    simulation.settle()
    backup = backup.reload()
    assert (backup.status, volume.reload().status) == ('error', 'available')
    assert backup.fail_reason == for_users('RepositoryError', '')
    assert messages_of(backup) == [('013', '020')]
    check(simulation, data)


TRANSIENT = [
    ('create_snapshot', errors.BackendUnavailable(backend='big', reason='no route to host')),
    ('open_snapshot', errors.BackendUnavailable(backend='big', reason='no route to host')),
    ('read', errors.DeviceUnreachable(device='d', reason='no route to host')),
    ('allocated', errors.DeviceTimeout(device='d', seconds=30, reason='nothing came')),
    ('read', errors.CheckCondition(device='d', reason='medium error')),
    ('close_snapshot', errors.BackendUnavailable(backend='big', reason='no route to host')),
    ('delete_snapshot', errors.SnapshotIsBusy(id='s', reason='a session')),
]


@pytest.mark.parametrize(('verb', 'fault'), TRANSIENT, ids=lambda value: type(value).__name__)
def test_what_passes_is_retried(
    simulation: Simulation, data: Data, volume: Volume, verb: str, fault: Exception
) -> None:
    simulation.big.fail(verb, fault, fault)
    backup = backed_up(simulation, volume)
    assert data.of(restored(simulation, backup)).same(data.of(volume))
    check(simulation, data)


def test_a_backend_that_stays_away_does_not_keep_the_failure_from_being_told(
    simulation: Simulation, data: Data, volume: Volume
) -> None:
    """The temporary snapshot stays, and with it the hold on the volume; deleting the backup takes both away."""
    simulation.big.fail_for_good('allocated', errors.LoginFailed(device='d', reason='wrong secret'))
    simulation.big.fail('close_snapshot', *[simulation.big.unavailable()] * 200)
    backup = create_backup(context(), volume)
    simulation.settle()
    assert (backup.reload().status, volume.reload().status) == ('error', 'available')
    assert messages_of(backup) == [('013', '019'), ('013', '023')]
    with pytest.raises(errors.InvalidVolume, match='is being read by'):
        volumes.delete(context(), volume.id)
    simulation.big.faults.clear()
    backups.delete(context(), backup.id)
    simulation.settle()
    check(simulation, data)
    volumes.delete(context(), volume.id)
    simulation.settle()
    assert list(Volume.scan()) == []


RESTORE_FAULTS = [
    ('open_volume', errors.NotSupported(backend='big', operation='open_volume', reason='never')),
    ('write', errors.InvalidRange(device='d', reason='beyond the end')),
    ('flush', RuntimeError('a bug')),
    ('close_volume', errors.DriverError(backend='big', reason='a refusal')),
]


@pytest.mark.parametrize('new', [False, True], ids=['existing', 'new'])
@pytest.mark.parametrize(('verb', 'fault'), RESTORE_FAULTS, ids=lambda value: str(value))
def test_a_failed_restore_is_the_volumes_loss_alone(
    simulation: Simulation, data: Data, volume: Volume, verb: str, fault: Exception, new: bool
) -> None:
    original = data.of(volume).copy(data.of(volume).size)
    backup = backed_up(simulation, volume)
    simulation.big.fail(verb, fault)
    target = restored(simulation, backup, None if new else volume)
    untouched = verb == 'open_volume'
    status = 'error' if new else 'available' if untouched else 'error_restoring'
    assert (target.status, backup.reload().status) == (status, 'available')
    assert messages_of(target) == [('015', '117' if status == 'available' else '026')]
    if untouched and not new:
        assert data.of(target).same(original)
    assert backup.reload().fail_reason is None
    check(simulation, data)
    assert data.of(restored(simulation, backup)).same(original)


def test_a_damaged_byte_fails_the_restore_loudly(simulation: Simulation, data: Data, volume: Volume) -> None:
    backup = backed_up(simulation, volume)
    [repository] = data.repositories.values()
    pack = next(key for key in sorted(repository.objects) if key.startswith('packs/'))
    repository.objects[pack] = repository.objects[pack][:-1] + bytes([repository.objects[pack][-1] ^ 1])
    target = restored(simulation, backup, volume)
    assert (target.status, backup.reload().status) == ('error_restoring', 'available')
    [message] = [one for one in Message.scan() if one.resource_uuid == volume.id]
    assert 'is damaged' in message.user_message


def test_a_manifest_of_another_moment_in_its_place_is_noticed(
    simulation: Simulation, data: Data, volume: Volume
) -> None:
    """The record knows the root hash of its data."""
    backup = backed_up(simulation, volume)
    backup.update(actions=[Backup.root_hash.set('0' * 64)])
    assert restored(simulation, backup, volume).status == 'available', 'nothing was written'
    assert messages_of(volume) == [('015', '117')]


def test_delete_gives_the_quota_back_and_sweeps_after_the_grace_time(
    simulation: Simulation, data: Data, volume: Volume
) -> None:
    backup = backed_up(simulation, volume)
    backups.delete(context(), backup.id)
    assert backup.reload().status == 'deleting'
    [execution] = simulation.settle()
    assert execution.path == REMOVED
    assert list(Backup.scan()) == []
    assert data.objects() == []
    check(simulation, data)


def test_delete_that_fails_says_so_and_may_be_forced(simulation: Simulation, data: Data, volume: Volume) -> None:
    backup = backed_up(simulation, volume)

    def around(name: str) -> contextlib.AbstractContextManager[None]:
        if name == 's3 put':
            raise errors.BackupError(reason='access denied')
        return contextlib.nullcontext()

    backups.delete(context(), backup.id)
    simulation.around = around
    [execution] = simulation.settle()
    assert execution.path == ['DeleteManifest', 'FailDeleteBackup']
    assert backup.reload().status == 'error_deleting'
    assert messages_of(backup) == [('014', '025')]
    simulation.around = lambda _: contextlib.nullcontext()
    with pytest.raises(errors.InvalidBackup):
        backups.delete(context(), backup.id)
    backups.delete(context('admin'), backup.id, force=True)
    simulation.settle()
    assert list(Backup.scan()) == []
    check(simulation, data)


def interrupted(simulation: Simulation, name: str, action: Any) -> None:
    """Do something once, at the first call of that name."""
    done: list[str] = []

    def around(called: str) -> contextlib.AbstractContextManager[None]:
        if called == name and not done:
            done.append(called)
            action()
        return contextlib.nullcontext()

    simulation.around = around


CANCEL_AT = [
    'cinderless@big create_snapshot',
    's3 put',
    'cinderless@big open_snapshot',
    'cinderless@big read',
    'cinderless@big close_snapshot',
    'cinderless@big delete_snapshot',
]


@pytest.mark.parametrize('deleted_first', [True, False], ids=['delete runs at once', 'delete runs later'])
@pytest.mark.parametrize('when', CANCEL_AT)
def test_a_forced_delete_cancels_a_backup_wherever_it_is(
    simulation: Simulation, data: Data, volume: Volume, when: str, deleted_first: bool
) -> None:
    backup = create_backup(context(), volume)
    simulation.deliver()
    execution = one_run(simulation)

    def cancel() -> None:
        backups.delete(context('admin'), backup.id, force=True)
        if deleted_first:
            simulation.deliver()
            for other in [one for one in simulation.executions.values() if one is not execution]:
                other.run()

    interrupted(simulation, when, cancel)
    simulation.settle()
    assert execution.status == 'SUCCEEDED'
    assert list(Backup.scan()) == []
    assert volume.reload().status == 'available'
    check(simulation, data)
    volumes.delete(context(), volume.id)
    simulation.settle()
    assert not any(data.disks.values())


def test_a_forced_delete_before_anything_began(simulation: Simulation, data: Data, volume: Volume) -> None:
    backup = create_backup(context(), volume)
    backups.delete(context('admin'), backup.id, force=True)
    simulation.settle()
    assert (list(Backup.scan()), volume.reload().status) == ([], 'available')
    check(simulation, data)


def test_a_reset_while_it_is_copied_cancels_it(simulation: Simulation, data: Data, volume: Volume) -> None:
    backup = create_backup(context(), volume)
    interrupted(simulation, 'cinderless@big read', lambda: backups.reset_status(context('admin'), backup.id, 'error'))
    simulation.settle()
    assert (backup.reload().status, volume.reload().status) == ('error', 'available')
    check(simulation, data)


@pytest.mark.parametrize('new', [False, True], ids=['existing', 'new'])
def test_a_restore_whose_backup_is_taken_away_leaves_an_error(
    simulation: Simulation, data: Data, volume: Volume, new: bool
) -> None:
    backup = backed_up(simulation, volume)
    _, target = backups.restore(context(), backup.id, volume_id=None if new else volume.id, name=None)
    interrupted(simulation, 'cinderless@big write', lambda: backups.delete(context('admin'), backup.id, force=True))
    simulation.settle()
    assert target.reload().status == 'error'
    assert messages_of(target) == [('015', '026')]
    check(simulation, data)


def test_a_late_task_of_an_old_restore_leaves_the_new_one_alone(
    simulation: Simulation, data: Data, volume: Volume
) -> None:
    """An administrator reset both records; the first execution comes back in the middle of the second restore."""
    backup = backed_up(simulation, volume)
    backups.restore(context(), backup.id, volume_id=volume.id, name=None)
    simulation.deliver()
    old = one_run(simulation)
    late = {**old.payload, 'plan': simulation.work('open_restore', old.payload)}
    backups.reset_status(context('admin'), backup.id, 'available')
    volumes.reset_status(context('admin'), volume.id, 'available', None, None)
    _, target = backups.restore(context(), backup.id, volume_id=volume.id, name=None)

    def come_back() -> None:
        for task in ('close_restore', 'fail_restore'):
            simulation.work(task, late)

    interrupted(simulation, 'cinderless@big write', come_back)
    simulation.settle()
    assert (target.reload().status, backup.reload().status) == ('available', 'available')
    assert messages_of(volume) == []
    check(simulation, data)


def late_tasks(payload: dict[str, Any], plan: Any) -> list[tuple[str, dict[str, Any]]]:
    planned = {**payload, 'plan': plan}
    progress = {'last': 0, 'progress': {'done': False, 'shard': 0, 'cursor': None}}
    error = {'error': {'Error': 'States.Timeout', 'Cause': ''}}
    return [
        ('open_backup', payload),
        ('copy_range', {**planned, **progress}),
        ('complete_backup', planned),
        ('close_backup', payload),
        ('close_backup', planned),
        ('fail_backup', {**payload, **error}),
        ('fail_backup', {**planned, **error}),
    ]


def test_a_stale_execution_never_harms_a_finished_backup(simulation: Simulation, data: Data, volume: Volume) -> None:
    backup = create_backup(context(), volume)
    simulation.deliver()
    execution = one_run(simulation)
    plan = simulation.work('open_backup', execution.payload)
    simulation.settle()
    before, objects, calls = backup.reload(), data.objects(), len(simulation.big.objects)
    assert before.status == 'available'
    for task, payload in late_tasks(execution.payload, plan):
        with contextlib.suppress(errors.BackupCanceled):
            simulation.work(task, payload)
    after = backup.reload()
    assert (after.revision, data.objects(), len(simulation.big.objects)) == (before.revision, objects, calls)
    assert messages_of(backup) == []
    assert data.of(restored(simulation, backup)).same(data.of(volume))
    check(simulation, data)


@pytest.mark.parametrize('kind', ['volume', 'snapshot'])
def test_a_stale_execution_of_a_removed_backup_leaves_nothing(
    simulation: Simulation, data: Data, volume: Volume, kind: str
) -> None:
    snapshot = create_snapshot(context(), volume)
    simulation.settle()
    backup = create_backup(context(), volume, snapshot_id=snapshot.id if kind == 'snapshot' else None)
    simulation.deliver()
    execution = one_run(simulation)
    plan = simulation.work('open_backup', execution.payload)
    backups.delete(context('admin'), backup.id, force=True)
    simulation.settle()
    for task, payload in late_tasks(execution.payload, plan):
        with contextlib.suppress(errors.BackupCanceled):
            simulation.work(task, payload)
    assert (volume.reload().status, snapshot.reload().status) == ('available', 'available')
    check(simulation, data)


def test_messages_delivered_twice_start_one_execution_each(simulation: Simulation, data: Data, volume: Volume) -> None:
    backup = create_backup(context(), volume)
    simulation.deliver(times=3)
    simulation.run_machines()
    _, target = backups.restore(context(), backup.id, volume_id=None, name=None)
    while simulation.queue:
        simulation.deliver(times=2)
        simulation.run_machines()
    backups.delete(context(), backup.id)
    simulation.deliver(times=2)
    simulation.run_machines()
    machines = sorted(execution.machine for execution in simulation.executions.values())
    assert machines == ['backup_volume', 'create_volume', 'create_volume', 'delete_backup', 'restore_backup']
    assert data.of(target).same(data.of(volume))
    check(simulation, data)


def test_two_executions_of_one_request_make_one_backup(simulation: Simulation, data: Data, volume: Volume) -> None:
    """The reconciler started a second one while the first was merely slow; each does every step."""
    backup = create_backup(context(), volume)
    simulation.deliver()
    first = one_run(simulation)
    plan = simulation.work('open_backup', first.payload)
    for task, payload in late_tasks(first.payload, plan)[:2]:
        simulation.work(task, payload)
    assert first.run() == 'SUCCEEDED'
    with pytest.raises(errors.BackupCanceled):
        simulation.work('complete_backup', {**first.payload, 'plan': plan})
    assert backup.reload().status == 'available'
    assert data.of(restored(simulation, backup)).same(data.of(volume))
    check(simulation, data)


def test_a_request_whose_message_was_lost_is_started_by_the_reconciler(
    simulation: Simulation, data: Data, volume: Volume
) -> None:
    simulation.sending_fails = True
    backup = create_backup(context(), volume)
    simulation.sending_fails = False
    simulation.reconcile()
    simulation.settle()
    assert backup.reload().status == 'available'
    check(simulation, data)


def test_a_backup_that_dies_each_time_is_given_up(simulation: Simulation, data: Data, volume: Volume) -> None:
    from chalicelib.tasks.reconcile import ATTEMPTS
    from tests.simulation import Killed

    backup = create_backup(context(), volume)
    simulation.deliver()

    def around(name: str) -> contextlib.AbstractContextManager[None]:
        if name == 'cinderless@big read':
            raise Killed(name)
        return contextlib.nullcontext()

    simulation.around = around
    for _ in range(ATTEMPTS + 2):
        with contextlib.suppress(Killed):
            simulation.settle()
        simulation.reconcile()
    backup = backup.reload()
    assert (backup.status, volume.reload().status) == ('error', 'available')
    assert 'could not finish this' in backup.fail_reason
    check(simulation, data)


def test_a_volume_left_behind_by_its_backup_is_brought_back(simulation: Simulation, data: Data, volume: Volume) -> None:
    """The process died between the reset of the backup's record and anything else."""
    backup = create_backup(context(), volume)
    simulation.queue.clear()
    backups.reset_status(context('admin'), backup.id, 'error')
    simulation.reconcile()
    assert volume.reload().status == 'available'
    backups.delete(context(), backup.id)
    simulation.settle()
    check(simulation, data)


def test_a_disk_keeps_what_is_written_to_it() -> None:
    """The double itself: unaligned writes, holes, zeroes."""
    disk = Disk(1 << 20)
    disk.write(65_000, b'abc' * 1000)
    assert disk.read(64_998, 3006) == bytes(2) + b'abc' * 1000 + bytes(4)
    assert disk.same(disk.copy(1 << 20))
    assert not disk.same(Disk(1 << 20))
    assert Snapshot.resource == 'snapshot'


LOCKED_UNTIL = '2099-01-31T00:00:00Z'


@pytest.fixture
def locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of up to a century."""
    known = config.settings()._replace(backup_lock_days=36_500)
    monkeypatch.setattr(backups, 'settings', lambda: known)


def test_a_locked_backup_stays(simulation: Simulation, data: Data, volume: Volume, locks: None) -> None:
    """With all that it shares with its parent."""
    backed_up(simulation, volume)
    data.of(volume).write(5 * 1024**3, b'changed' * 10_000)
    locked = backed_up(simulation, volume, incremental=True, locked_until=LOCKED_UNTIL)
    assert locked.locked_until == '2099-01-31T00:00:00.000000'
    [repository] = data.repositories.values()
    assert {key.split('/')[0] for key in repository.retained} == {'packs', 'shards'}
    for force, caller in ((False, context()), (True, context('admin'))):
        with pytest.raises(errors.InvalidBackup, match='is locked until 2099-01-31T00:00:00 UTC'):
            backups.delete(caller, locked.id, force=force)
    locked.update(actions=[Backup.locked_until.set('2020-01-31T00:00:00.000000')])
    backups.delete(context(), locked.id)
    simulation.settle()
    check(simulation, data)


@pytest.mark.parametrize(
    ('until', 'complaint'),
    [('soon', 'is not a timestamp'), ('2020-01-01T00:00:00Z', 'in the future'), ('2999-01-01', 'within 36500 days')],
)
def test_a_lock_that_cannot_be_had(
    simulation: Simulation, data: Data, volume: Volume, locks: None, until: str, complaint: str
) -> None:
    with pytest.raises(errors.InvalidInput, match=complaint):
        create_backup(context(), volume, locked_until=until)
    check(simulation, data)


def test_no_lock_without_object_lock(simulation: Simulation, data: Data, volume: Volume) -> None:
    with pytest.raises(errors.InvalidInput, match='the bucket has no Object Lock'):
        create_backup(context(), volume, locked_until=LOCKED_UNTIL)


def test_a_zone_that_does_not_exist(simulation: Simulation, data: Data, volume: Volume) -> None:
    """As Cinder's scheduler ends it: accepted, then in error with its words; the volume is as before."""
    backup = create_backup(context(), volume, availability_zone='mars')
    simulation.settle()
    assert (backup.reload().status, backup.reload().fail_reason) == ('error', 'Service not found for creating backup.')
    assert volume.reload().status == 'available'
    check(simulation, data)
    backups.delete(context(), backup.id)
    simulation.settle()
    check(simulation, data)


@pytest.mark.parametrize('zone', [None, 'nova'])
def test_a_zone_that_exists(simulation: Simulation, data: Data, volume: Volume, zone: str | None) -> None:
    assert backed_up(simulation, volume, availability_zone=zone).availability_zone == 'nova'
