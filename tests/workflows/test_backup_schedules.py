"""Schedules at work: what is backed up when, how, and what stays."""

from __future__ import annotations

import contextlib
import datetime
from typing import Any, NoReturn

import pytest

from chalicelib import errors
from chalicelib.context import implied_roles
from chalicelib.models import Backup, BackupSchedule, Message, Volume, base
from chalicelib.operations import backup_schedules as operations
from chalicelib.operations import backups, volumes
from chalicelib.rules.sentences import SENTENCES
from chalicelib.tasks import schedules
from tests.data_backends import Data
from tests.factories import context, create_volume
from tests.invariants import check
from tests.simulation import Killed, Simulation


class Clock:
    """The records' clock; it advances only when a test sets it."""

    def __init__(self) -> None:
        self.moment = datetime.datetime(2026, 3, 1, 0, 30)

    def now(self) -> str:
        self.moment += datetime.timedelta(milliseconds=1)
        return self.moment.strftime('%Y-%m-%dT%H:%M:%S.%f')

    def after(self, seconds: float) -> str:
        return (self.moment + datetime.timedelta(seconds=seconds)).strftime('%Y-%m-%dT%H:%M:%S.%f')


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, simulation: Simulation) -> Clock:
    clock = Clock()
    monkeypatch.setattr(base, 'now', clock.now)
    monkeypatch.setattr(base, 'after', clock.after)
    simulation.report()
    return clock


@pytest.fixture
def data(clock: Clock, simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Data:
    return Data(simulation, monkeypatch)


@pytest.fixture
def volume(simulation: Simulation, data: Data) -> Volume:
    made = create_volume(context(), 1)
    simulation.settle()
    data.of(made).write(0, b'something' * 1000)
    return made


def made(volume: Volume, **facts: Any) -> BackupSchedule:
    return operations.create(context(), **{'volume_id': volume.id, 'cron': '0 * * * *', **facts})


def pass_hours(simulation: Simulation, clock: Clock, count: int) -> None:
    for _ in range(count):
        clock.moment += datetime.timedelta(hours=1)
        schedules.run()
        simulation.settle()


def found() -> list[Backup]:
    return sorted(Backup.scan(), key=lambda backup: backup.created_at)


def test_a_run_makes_a_backup_and_waits_for_the_next(
    simulation: Simulation, clock: Clock, data: Data, volume: Volume
) -> None:
    schedule = made(volume, name='nightly')
    assert schedule.next_run_at == '2026-03-01T01:00:00.000000'
    schedules.run()
    assert found() == []
    pass_hours(simulation, clock, 1)
    [backup] = found()
    assert (backup.status, backup.name, backup.schedule_id) == ('available', 'nightly-2026-03-01T01:00', schedule.id)
    schedule = schedule.reload()
    assert schedule.next_run_at == '2026-03-01T02:00:00.000000'
    assert (schedule.last_backup_id, schedule.last_error) == (backup.id, None)
    schedules.run()
    assert len(found()) == 1
    check(simulation)


def test_a_run_that_comes_twice_asks_for_one_backup(
    simulation: Simulation, clock: Clock, data: Data, volume: Volume
) -> None:
    schedule = made(volume)
    clock.moment += datetime.timedelta(hours=1)
    late = schedule.reload()
    operations.run(schedule)
    with pytest.raises(errors.StateChanged):
        operations.run(late)
    assert len(found()) == 1


def test_what_was_missed_is_done_once(simulation: Simulation, clock: Clock, data: Data, volume: Volume) -> None:
    schedule = made(volume)
    clock.moment += datetime.timedelta(hours=30)
    schedules.run()
    assert len(found()) == 1
    assert schedule.reload().next_run_at == '2026-03-02T07:00:00.000000'


@pytest.mark.parametrize(('full_every', 'expected'), [(0, 'FiiiiI'), (1, 'FFFFFF'), (3, 'FiiFii')])
def test_full_and_incremental(
    simulation: Simulation, clock: Clock, data: Data, volume: Volume, full_every: int, expected: str
) -> None:
    made(volume, full_every=full_every)
    pass_hours(simulation, clock, 6)
    assert ''.join('i' if backup.parent_id else 'F' for backup in found()) == expected.replace('I', 'i')


def test_retention_removes_what_need_not_stay(simulation: Simulation, clock: Clock, data: Data, volume: Volume) -> None:
    own = backups.create(
        context(), volume_id=volume.id, name=None, description=None, container=None, incremental=False, force=False,
        snapshot_id=None, metadata={}, availability_zone=None,
    )  # fmt: skip
    simulation.settle()
    made(volume, keep={'last': 2})
    pass_hours(simulation, clock, 6)
    left = found()
    assert left[0].id == own.id
    assert len(left) == 1 + 2 + 1
    for backup in left:
        _, target = backups.restore(context(), backup.id, volume_id=None, name=None)
        simulation.settle()
        assert data.of(target).same(data.of(volume))
    check(simulation)


def test_an_attached_volume_is_backed_up_too(simulation: Simulation, clock: Clock, data: Data, volume: Volume) -> None:
    volume.update(actions=[Volume.status.set('in-use')])
    made(volume)
    pass_hours(simulation, clock, 1)
    assert [backup.status for backup in found()] == ['available']


def test_a_volume_that_is_gone_is_told_of(simulation: Simulation, clock: Clock, data: Data, volume: Volume) -> None:
    schedule = made(volume)
    volumes.delete(context(), volume.id)
    simulation.settle()
    pass_hours(simulation, clock, 1)
    schedule = schedule.reload()
    assert schedule.last_error == f'Volume {volume.id} could not be found.'
    assert schedule.next_run_at == '2026-03-01T02:00:00.000000'
    assert found() == []


def test_one_that_is_disabled_rests(simulation: Simulation, clock: Clock, data: Data, volume: Volume) -> None:
    schedule = made(volume, enabled=False)
    pass_hours(simulation, clock, 3)
    assert found() == []
    operations.update(context(), schedule.id, {'enabled': True})
    assert schedule.reload().next_run_at == '2026-03-01T04:00:00.000000'
    pass_hours(simulation, clock, 1)
    assert len(found()) == 1
    operations.delete(context(), schedule.id)
    pass_hours(simulation, clock, 1)
    assert len(found()) == 1


def test_one_that_fails_keeps_no_other_waiting(
    simulation: Simulation, clock: Clock, data: Data, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, _ = made(volume), made(volume)
    run = operations.run

    def failing(schedule: BackupSchedule) -> None:
        if schedule.id == broken.id:
            raise RuntimeError('a bug')
        run(schedule)

    monkeypatch.setattr(operations, 'run', failing)
    pass_hours(simulation, clock, 1)
    assert len(found()) == 1


def test_schedules_whose_runs_fail_keep_no_others_waiting(
    simulation: Simulation, clock: Clock, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hundred that take the whole process with them, and are due before twenty good ones."""
    monkeypatch.setattr(operations, 'LIMIT', 1000)
    broken = {made(volume, cron='0 * * * *').id for _ in range(200)}
    good = {made(volume, cron='5 * * * *').id for _ in range(20)}
    ran: set[str] = set()

    def run(schedule: BackupSchedule) -> None:
        if schedule.id in broken:
            clock.moment += datetime.timedelta(seconds=0.1)
            raise RuntimeError('a bug') if len(ran) % 2 else Killed
        ran.add(schedule.id)

    monkeypatch.setattr(operations, 'run', run)
    clock.moment += datetime.timedelta(minutes=66)
    for _ in range(len(broken) + 2):
        with contextlib.suppress(Killed):
            schedules.run()
    assert ran == good


def test_a_run_that_may_pass_is_tried_again_for_a_while_and_then_told(
    simulation: Simulation, clock: Clock, data: Data, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = made(volume)
    with monkeypatch.context() as patch:
        patch.setattr(backups, 'create', down)
        for minutes, next_run in ((60, '01:00'), (14, '01:00'), (2, '02:00'), (45, '02:00'), (16, '03:00')):
            clock.moment += datetime.timedelta(minutes=minutes)
            schedules.run()
            known = schedule.reload()
            assert (known.moment or known.next_run_at) == f'2026-03-01T{next_run}:00.000000'
            assert len(list(Message.scan())) == (next_run > '01:00')  # the second run fails alike
    [message] = Message.scan()
    assert (message.resource_type, message.resource_uuid) == ('BACKUP_SCHEDULE', schedule.id)
    assert message.user_message.endswith('unavailable now. Try again.')
    schedule = schedule.reload()
    assert (schedule.last_error, schedule.last_backup_id) == (SENTENCES[errors.ServiceUnavailable], None)
    assert (schedule.trying_since, schedule.moment, schedule.attempts) == (None, None, None)
    pass_hours(simulation, clock, 1)
    assert (len(found()), schedule.reload().last_error) == (1, None)


def down(*_: Any, **__: Any) -> NoReturn:
    raise errors.ServiceUnavailable('The key manager is down.')


def test_others_see_nothing(simulation: Simulation, clock: Clock, data: Data, volume: Volume) -> None:
    schedule, stranger = made(volume), context(project_id='other')
    with pytest.raises(errors.BackupScheduleNotFound):
        operations.get(stranger, schedule.id)
    with pytest.raises(errors.VolumeNotFound):
        operations.create(stranger, volume_id=volume.id, cron='0 * * * *')
    with pytest.raises(errors.InvalidInput, match='has 2 fields'):
        made(volume, cron='0 *')


@pytest.mark.parametrize('action', ['scrub', 'drill'])
def test_a_run_checks_one_backup(simulation: Simulation, clock: Clock, data: Data, volume: Volume, action: str) -> None:
    """First the newest that was never checked, then the one checked longest ago."""
    old = backups_of(simulation, clock, volume, 2)
    schedule = made(volume, action=action, sample=50)
    checked = []
    for _ in range(3):
        pass_hours(simulation, clock, 1)
        checked.append(schedule.reload().last_backup_id)
    assert checked == [old[1].id, old[0].id, old[1].id]
    assert {getattr(backup, action)['result'] for backup in found()} == {'passed'}
    assert (schedule.reload().last_error, len(found())) == (None, 2)
    check(simulation)


def backups_of(simulation: Simulation, clock: Clock, volume: Volume, count: int) -> list[Backup]:
    """Oldest first; the schedule that made them is gone."""
    schedule = made(volume)
    pass_hours(simulation, clock, count)
    operations.delete(context(), schedule.id)
    return found()


@pytest.mark.parametrize('action', ['scrub', 'drill'])
def test_a_run_that_comes_twice_checks_once(
    simulation: Simulation, clock: Clock, data: Data, volume: Volume, action: str
) -> None:
    backups_of(simulation, clock, volume, 2)
    schedule = made(volume, action=action)
    clock.moment += datetime.timedelta(hours=1)
    late = schedule.reload()
    operations.run(schedule)
    with pytest.raises(errors.StateChanged):
        operations.run(late)
    simulation.settle()
    with pytest.raises(errors.StateChanged):
        operations.run(late)
    simulation.settle()
    assert [getattr(backup, action) is None for backup in found()] == [True, False]


def test_a_drill_of_a_volume_that_is_gone(simulation: Simulation, clock: Clock, data: Data, volume: Volume) -> None:
    """Its backups are what is left of it."""
    [backup] = backups_of(simulation, clock, volume, 1)
    schedule = made(volume, action='drill')
    volumes.delete(context(), volume.id)
    simulation.settle()
    pass_hours(simulation, clock, 1)
    assert (schedule.reload().last_error, backup.reload().drill['result']) == (None, 'passed')
    check(simulation)


@pytest.mark.parametrize(('action', 'facts'), [('scrub', {}), ('copy', {'target': 'dr'})])
def test_without_a_backup_it_says_so(
    simulation: Simulation, clock: Clock, data: Data, volume: Volume, action: str, facts: dict[str, str]
) -> None:
    schedule = made(volume, action=action, **facts)
    pass_hours(simulation, clock, 1)
    assert 'has no available backup to c' in (schedule.reload().last_error or '')


def test_a_run_copies_the_newest_backup_once_and_keeps_its_own_copies(
    simulation: Simulation, clock: Clock, data: Data, volume: Volume
) -> None:
    old = backups_of(simulation, clock, volume, 2)
    schedule = made(volume, action='copy', target='dr', keep={'last': 1})
    pass_hours(simulation, clock, 2)
    [copy] = [backup for backup in found() if backup.copied_from]
    assert (copy.copied_from, copy.status, copy.schedule_id) == (old[1].id, 'available', schedule.id)
    assert (schedule.reload().last_backup_id, schedule.reload().last_error) == (copy.id, None)
    backups_of(simulation, clock, volume, 1)
    pass_hours(simulation, clock, 2)
    assert [backup.copied_from for backup in found()] == [None, None, None, found()[2].id]
    check(simulation)


def test_a_copy_that_failed_is_told_of(simulation: Simulation, clock: Clock, data: Data, volume: Volume) -> None:
    [backup] = backups_of(simulation, clock, volume, 1)
    schedule = made(volume, action='copy', target='dr')
    [packs] = data.repositories.values()
    packs.delete([key for key in packs.objects if key.startswith('packs/')])
    pass_hours(simulation, clock, 2)
    assert f'of backup {backup.id} failed: ' in (schedule.reload().last_error or '')
    assert len(found()) == 2


def test_a_place_is_for_copies(simulation: Simulation, clock: Clock, data: Data, volume: Volume) -> None:
    for facts in ({'action': 'copy'}, {'target': 'dr'}, {'action': 'copy', 'target': 'moon'}):
        with pytest.raises(errors.InvalidInput, match='place'):
            made(volume, **facts)
    with pytest.raises(errors.InvalidInput, match='default retention'):
        made(volume, action='copy', target='dr', lock_days=1)


def test_backups_of_a_schedule_have_its_storage_class(
    simulation: Simulation, clock: Clock, data: Data, volume: Volume
) -> None:
    schedule = made(volume, storage_class='STANDARD_IA')
    pass_hours(simulation, clock, 1)
    operations.update(context(), schedule.id, {'storage_class': None})
    pass_hours(simulation, clock, 1)
    assert [backup.storage_class for backup in found()] == ['STANDARD_IA', None]


def test_backups_of_a_schedule_are_locked(
    simulation: Simulation, clock: Clock, data: Data, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retention takes them when the lock is over."""
    known = backups.settings()._replace(backup_lock_days=30)
    monkeypatch.setattr(backups, 'settings', lambda: known)
    made(volume, lock_days=1, keep={'last': 1})
    pass_hours(simulation, clock, 3)
    assert [backup.locked_until for backup in found()] == [f'2026-03-02T0{hour}:30:00.000000' for hour in (1, 2, 3)]
    clock.moment += datetime.timedelta(hours=22)
    pass_hours(simulation, clock, 1)
    assert [backup.created_at[:13] for backup in found()] == ['2026-03-01T03', '2026-03-02T02']
    check(simulation)


def test_a_schedule_whose_user_has_left_the_project_is_paused(
    simulation: Simulation, clock: Clock, volume: Volume
) -> None:
    schedule = made(volume)
    simulation.roles = implied_roles(['reader'])
    pass_hours(simulation, clock, 2)
    assert found() == []
    schedule = schedule.reload()
    assert (schedule.enabled, schedule.due, schedule.moment) == (False, None, None)
    assert schedule.last_error.startswith('The user who made the schedule is no longer a member')
    [message] = Message.scan()
    assert message.resource_uuid == schedule.id


def test_who_enables_a_paused_schedule_owns_it(simulation: Simulation, clock: Clock, volume: Volume) -> None:
    schedule = made(volume)
    simulation.roles = frozenset()
    pass_hours(simulation, clock, 1)
    simulation.roles = implied_roles(['member'])
    operations.update(context(user_id='another'), schedule.id, {'enabled': True})
    pass_hours(simulation, clock, 1)
    assert (schedule.reload().user_id, len(found())) == ('another', 1)


def test_an_administrator_of_another_project_does_not_become_its_owner(
    simulation: Simulation, clock: Clock, volume: Volume
) -> None:
    schedule = made(volume)
    admin = context('admin', 'administrators')
    operations.update(admin, schedule.id, {'enabled': False})
    operations.update(admin, schedule.id, {'enabled': True})
    assert schedule.reload().user_id == schedule.user_id
