"""Copies of backups in another place: made, restored, removed, and what keeps one from being made."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest

from chalicelib import errors
from chalicelib.models import Backup, Message, Volume
from chalicelib.models.lease import Lease
from chalicelib.operations import backup_copies, backups
from tests import invariants
from tests.backup_factories import create_backup
from tests.data_backends import Data, Disk
from tests.factories import context
from tests.simulation import Simulation

#: GiB: three shards.
SIZE = 9

THERE = 'dr/project/volumebackups/'


@pytest.fixture
def original(data: Data, make_volume: Callable[[int], Volume]) -> Disk:
    return data.of(make_volume(SIZE))


@pytest.fixture
def backup(simulation: Simulation, data: Data, original: Disk) -> Backup:
    """Of a volume that is changed afterwards."""
    return backed_up(simulation, data)


def backed_up(simulation: Simulation, data: Data, incremental: bool = False) -> Backup:
    [volume] = Volume.scan()
    made = create_backup(context(), volume, incremental=incremental)
    simulation.settle()
    assert made.reload().status == 'available'
    return made.reload()


def asked(backup: Backup, target: str = 'dr') -> Backup:
    return backup_copies.create(context(), backup.id, target=target, name=None, description='d')


def copied(simulation: Simulation, backup: Backup) -> Backup:
    copy = asked(backup)
    simulation.settle()
    assert copy.reload().status == 'available', copy.reload().fail_reason
    return copy.reload()


def restored(simulation: Simulation, data: Data, backup: Backup) -> Disk:
    _, target = backups.restore(context(), backup.id, volume_id=None, name=None)
    simulation.settle()
    return data.of(target)


def test_a_copy_is_a_backup_of_its_own(simulation: Simulation, data: Data, backup: Backup, original: Disk) -> None:
    copy = asked(backup)
    assert (copy.status, copy.copied_from, copy.name) == ('creating', backup.id, backup.name)
    assert copy.location == {'bucket': 'elsewhere', 'region': 'eu-west-1', 'prefix': THERE}
    [execution] = simulation.settle()
    assert execution.path == ['CopyBackup', 'IsCopied', 'CompleteCopy']
    copy = copy.reload()
    assert (copy.status, copy.root_hash, copy.object_count) == ('available', backup.root_hash, backup.object_count)
    backups.delete(context(), backup.id)
    simulation.settle()
    assert restored(simulation, data, copy).same(original)
    invariants.check(simulation)


def test_removing_a_copy_removes_its_data_and_no_other(
    simulation: Simulation, data: Data, backup: Backup, original: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chalicelib.backup import gc

    copy = copied(simulation, backup)
    data.repositories[THERE]._clock = lambda: -2 * gc.GRACE
    backups.delete(context(), copy.id)
    simulation.settle()
    assert [key for key in data.repositories[THERE].objects if key.startswith('packs/')] == []
    assert restored(simulation, data, backup).same(original)
    invariants.check(simulation)


def test_an_incremental_is_whole_without_its_parent_and_shares_what_is_there(
    simulation: Simulation, data: Data, backup: Backup, original: Disk
) -> None:
    copied(simulation, backup)
    packs = {key for key in data.repositories[THERE].objects if key.startswith('packs/')}
    original.write(5 * 1024**3, b'changed' * 1000)
    child = backed_up(simulation, data, incremental=True)
    copy = copied(simulation, child)
    assert len({key for key in data.repositories[THERE].objects if key.startswith('packs/')} - packs) == 1
    assert (copy.parent_id, child.num_dependent_backups) == (None, 0)
    assert restored(simulation, data, copy).same(original)


def test_one_copy_in_one_place(simulation: Simulation, data: Data, backup: Backup) -> None:
    copy = asked(backup)
    with pytest.raises(errors.InvalidBackup, match=f'it is backup {copy.id}'):
        asked(backup)
    simulation.settle()
    invariants.check(simulation)


def test_a_place_that_nobody_named(simulation: Simulation, data: Data, backup: Backup) -> None:
    with pytest.raises(errors.InvalidInput, match="no place 'moon' for copies of backups: dr"):
        asked(backup, 'moon')


def test_a_copy_that_was_removed_must_be_swept_first(simulation: Simulation, data: Data, backup: Backup) -> None:
    copy = copied(simulation, backup)
    data.repositories[THERE]._clock = time.time  # else all is older than any grace
    backups.delete(context(), copy.id)
    simulation.settle()
    copy = asked(backup)
    simulation.settle()
    assert copy.reload().status == 'error'
    assert 'copy it again later' in copy.reload().fail_reason
    assert [one.resource_uuid for one in Message.scan()] == [copy.id]
    invariants.check(simulation)


def test_a_copy_goes_on_when_time_runs_short(
    simulation: Simulation, data: Data, backup: Backup, original: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation.lambda_context, 'milliseconds', 31_000)
    copy = asked(backup)
    [execution] = simulation.settle()
    assert (execution.path.count('CopyBackup'), copy.reload().status) == (3, 'available')


def test_a_delete_cancels_a_copy(simulation: Simulation, data: Data, backup: Backup) -> None:
    """In the middle of its work; nothing of it comes back."""
    asked_for: list[Backup] = []

    def around(name: str) -> contextlib.AbstractContextManager[None]:
        there = data.repositories.get(THERE)
        if (
            there
            and any(key.startswith('packs/') for key in there.objects)
            and asked_for[0].reload().status == 'creating'
        ):
            backups.delete(context('admin'), asked_for[0].id, force=True)
        return contextlib.nullcontext()

    asked_for.append(asked(backup))
    simulation.around = around
    simulation.settle()
    assert [one.id for one in Backup.scan()] == [backup.id]
    assert [key for key in data.repositories[THERE].objects if key.startswith('backups/')] == []
    invariants.check(simulation)


def test_a_collector_is_waited_for(simulation: Simulation, data: Data, backup: Backup) -> None:
    """The copy fails while a collector holds the lease."""
    held = Lease.acquire(f'collect:{backup.lineage}', 3600)
    copy = asked(backup)
    simulation.settle()
    assert (copy.reload().status, 'cleaning up the same backups' in copy.reload().fail_reason) == ('error', True)
    held.release()
    invariants.check(simulation)


def test_what_is_damaged_is_not_copied(simulation: Simulation, data: Data, backup: Backup) -> None:
    repository = data.repositories['project/volumebackups/']
    key = next(key for key in repository.objects if key.startswith('packs/'))
    repository.objects[key] += b'x'
    copy = asked(backup)
    simulation.settle()
    assert (copy.reload().status, 'The backup is damaged' in copy.reload().fail_reason) == ('error', True)
    invariants.check(simulation)
