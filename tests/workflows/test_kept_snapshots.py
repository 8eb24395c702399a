"""The snapshot of the last backup stays on the backend: increments read what changed, and nothing is left of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import aws
from chalicelib.drivers.base import GIB
from chalicelib.models import Backup, Volume
from chalicelib.operations import backups, managing, moves, reverts, transfers, volumes
from chalicelib.rules import backup_methods as methods
from tests import invariants
from tests.backup_factories import create_backup
from tests.data_backends import TILE, Data
from tests.factories import context, create_snapshot
from tests.simulation import Simulation
from tests.workflows.test_backup_machines import backed_up, check, restored

#: GiB: two shards.
SIZE = 5

ADMIN = context('admin')


@pytest.fixture
def data(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Data:
    return Data(simulation, monkeypatch, keeps=True)


@pytest.fixture
def volume(make_volume: Callable[[int], Volume]) -> Volume:
    return make_volume(SIZE)


def kept(simulation: Simulation) -> list[str]:
    return sorted(name for backend in simulation.backends.values() for name in backend.kept)


def reads(simulation: Simulation) -> int:
    return sum(call.startswith('read ') for backend in simulation.backends.values() for call in backend.calls)


def increment(simulation: Simulation, volume: Volume, **facts: Any) -> tuple[Backup, int]:
    """An incremental backup, and the number of blocks that it read."""
    for backend in simulation.backends.values():
        backend.calls.clear()
    backup = backed_up(simulation, volume, incremental=True, **facts)
    return backup, reads(simulation)


def is_right(simulation: Simulation, data: Data, volume: Volume, backup: Backup) -> bool:
    now = data.of(volume).copy(data.of(volume).size)
    return data.of(restored(simulation, backup)).same(now)


def test_an_increment_reads_what_changed(simulation: Simulation, data: Data, volume: Volume) -> None:
    full = backed_up(simulation, volume)
    assert (full.method, kept(simulation)) == (methods.FULL, [f'snapshot-{full.id}'])
    data.of(volume).write(4 * GIB + 5 * TILE, b'changed' * 10_000)
    child, count = increment(simulation, volume)
    assert (child.method, count, kept(simulation)) == (methods.CHANGED_BLOCKS, 1, [f'snapshot-{child.id}'])
    assert is_right(simulation, data, volume, child)
    check(simulation, data)


def test_a_backend_that_lists_nothing_says_so(simulation: Simulation, data: Data, volume: Volume) -> None:
    for backend in simulation.backends.values():
        backend.keeps = False
    backed_up(simulation, volume)
    child, count = increment(simulation, volume)
    assert (child.method, count > 1, kept(simulation)) == (methods.COMPARED, True, [])


def lost(simulation: Simulation, data: Data) -> None:
    for backend in simulation.backends.values():
        for name in list(backend.kept):
            del backend.kept[name], backend.objects[name], data.disks[backend.host][name]


def compares_once(simulation: Simulation, data: Data, volume: Volume) -> None:
    """The next increment reads the whole volume; the one after it reads what changed again."""
    data.of(volume).fill(seed=3)
    child, _ = increment(simulation, volume)
    assert child.method == methods.COMPARED
    assert is_right(simulation, data, volume, child)
    again, count = increment(simulation, volume)
    assert (again.method, count) == (methods.CHANGED_BLOCKS, 0)
    check(simulation, data)


def test_a_snapshot_that_is_lost(simulation: Simulation, data: Data, volume: Volume) -> None:
    backed_up(simulation, volume)
    lost(simulation, data)
    compares_once(simulation, data, volume)


def test_one_that_goes_in_the_middle(simulation: Simulation, data: Data, volume: Volume) -> None:
    """Another backup of the volume has ended: the rest is compared, and the record has it."""
    backed_up(simulation, volume)
    data.of(volume).fill(seed=3)
    seen: list[str] = []

    def around(name: str) -> Any:
        if name.endswith(' changes_since'):
            seen.append(name)
            if len(seen) == 2:
                lost(simulation, data)
        return ordinary(name)

    ordinary, simulation.around = simulation.around, around
    child = backed_up(simulation, volume, incremental=True)
    assert (len(seen), child.method) == (2, methods.COMPARED)
    assert is_right(simulation, data, volume, child)
    check(simulation, data)


@pytest.mark.parametrize('change', ['extend', 'revert', 'rewrite'])
def test_what_happens_to_the_volume_in_between(simulation: Simulation, data: Data, volume: Volume, change: str) -> None:
    for backend in simulation.backends.values():
        backend.revert = True
    snapshot = create_snapshot(context(), volume)
    simulation.settle()
    data.of(volume).fill(seed=3)
    backed_up(simulation, volume)
    if change == 'extend':
        volumes.extend(context(), volume.id, SIZE + 4)
    elif change == 'revert':
        reverts.revert(context(), volume.id, snapshot.id)
    simulation.settle()
    if change != 'revert':
        data.of(volume).fill(seed=4)
    child, _ = increment(simulation, volume)
    assert child.method == methods.CHANGED_BLOCKS
    assert is_right(simulation, data, volume, child)
    check(simulation, data)


def test_increments_of_snapshots_of_users(simulation: Simulation, data: Data, volume: Volume) -> None:
    made: list[Backup] = []
    for seed in (3, 4):
        data.of(volume).fill(seed=seed)
        snapshot = create_snapshot(context(), volume)
        simulation.settle()
        made.append(backed_up(simulation, volume, snapshot_id=snapshot.id, incremental=bool(made)))
    assert [one.method for one in made] == [methods.FULL, methods.CHANGED_BLOCKS]
    assert kept(simulation) == []
    assert is_right(simulation, data, volume, made[-1])


def move(simulation: Simulation, volume: Volume) -> Volume:
    host = next(host for host in simulation.backends if host != volume.reload().backend)
    moves.migrate(ADMIN, volume.id, host=host, cluster=None, force_host_copy=False, lock_volume=False)
    simulation.settle()
    assert volume.reload().backend == host
    return volume.reload()


def test_a_move_leaves_it_behind(simulation: Simulation, data: Data, volume: Volume) -> None:
    backed_up(simulation, volume)
    volume = move(simulation, volume)
    assert kept(simulation) == []
    compares_once(simulation, data, volume)


def test_a_transfer(simulation: Simulation, data: Data, volume: Volume) -> None:
    """The donor's snapshot is deleted with its backup, or when that of the receiver's first one is kept."""
    backup = backed_up(simulation, volume)
    transfer, key = transfers.create(context(), volume.id, name=None, no_snapshots=False, allow_encrypted=False)
    receiver = context(project_id='other')
    volume = transfers.accept(receiver, transfer.id, key)
    assert kept(simulation) == [f'snapshot-{backup.id}']
    backups.delete(context(), backup.id)
    simulation.settle()
    compare(simulation)
    assert kept(simulation) == []


@pytest.mark.parametrize('leave', ['delete', 'unmanage'])
def test_it_goes_with_its_volume(simulation: Simulation, data: Data, volume: Volume, leave: str) -> None:
    backed_up(simulation, volume)
    if leave == 'delete':
        volumes.delete(context(), volume.id)
    else:
        managing.unmanage_volume(ADMIN, volume.id)
    simulation.settle()
    assert kept(simulation) == []
    assert not [name for backend in simulation.backends.values() for name in backend.objects if 'snapshot' in name]
    assert list(Volume.scan()) == []


def test_it_goes_with_its_backup(simulation: Simulation, data: Data, volume: Volume) -> None:
    first = backed_up(simulation, volume)
    second, _ = increment(simulation, volume)
    backups.delete(context(), first.id)
    simulation.settle()
    assert kept(simulation) == [f'snapshot-{second.id}']
    backups.delete(context(), second.id)
    simulation.settle()
    assert kept(simulation) == []
    check(simulation, data)


def test_a_backup_whose_snapshot_cannot_be_kept_fails_and_leaves_nothing(
    simulation: Simulation, data: Data, volume: Volume
) -> None:
    for backend in simulation.backends.values():
        backend.fail('retire_snapshot', backend.refuses())
    backup = create_backup(context(), volume)
    simulation.settle()
    assert backup.reload().status == 'error'
    assert (kept(simulation), volume.reload().status) == ([], 'available')
    check(simulation, data)


def compare(simulation: Simulation) -> dict[str, dict[str, Any]]:
    return {host: aws.invoke('worker', 'reconcile_backend', {'backend': host}) for host in simulation.backends}


class TestReconciliation:
    def test_it_stays_and_is_counted(self, simulation: Simulation, data: Data, volume: Volume) -> None:
        backed_up(simulation, volume)
        report = compare(simulation)[str(volume.reload().backend)]
        assert (report['kept'], report['unknown'], report['differences']) == (1, {}, [])
        assert len(kept(simulation)) == 1
        invariants.check(simulation)

    def test_one_of_no_backup_goes(self, simulation: Simulation, data: Data, volume: Volume) -> None:
        """The backend did not answer when the backup was deleted."""
        backup = backed_up(simulation, volume)
        backend = simulation.backends[str(volume.reload().backend)]
        backend.fail_for_good('delete_snapshot')
        backups.delete(context(), backup.id)
        simulation.settle()
        backend.faults.clear()
        assert (len(kept(simulation)), list(Backup.scan())) == (1, [])
        assert compare(simulation)[backend.host]['kept'] == 0
        assert kept(simulation) == []

    def test_one_that_is_old_goes(self, simulation: Simulation, data: Data, volume: Volume) -> None:
        backed_up(simulation, volume)
        backend = simulation.backends[str(volume.reload().backend)]
        backend.kept_since = time.time() - 31 * 86_400
        assert compare(simulation)[backend.host]['kept'] == 0
        child, _ = increment(simulation, volume)
        assert child.method == methods.COMPARED

    @pytest.mark.parametrize('reason', ['another deployment', 'the volume is busy', 'it does not answer'])
    def test_one_stays(self, simulation: Simulation, data: Data, volume: Volume, reason: str) -> None:
        backup = backed_up(simulation, volume)
        backend = simulation.backends[str(volume.reload().backend)]
        backend.kept_since = 0
        if reason == 'another deployment':
            backend.objects[f'snapshot-{backup.id}'].deployment = 'theirs'
        elif reason == 'the volume is busy':
            volume.reload().update(actions=[Volume.reader_count.set(1)])
        else:
            backend.fail('delete_snapshot', backend.unavailable())
        assert compare(simulation)[backend.host]['kept'] == 1
        assert len(kept(simulation)) == 1


class TestRestoreInPlace:
    """Of the volume that was backed up, only what differs is written; the bytes are those of a full restore."""

    def writes(self, simulation: Simulation) -> int:
        verbs = ('write ', 'zero ')
        return sum(call.startswith(verbs) for backend in simulation.backends.values() for call in backend.calls)

    def restore(self, simulation: Simulation, backup: Backup, volume: Volume) -> int:
        for backend in simulation.backends.values():
            backend.calls.clear()
        assert restored(simulation, backup, volume).status == 'available'
        return self.writes(simulation)

    def test_what_differs_is_written(self, simulation: Simulation, data: Data, volume: Volume) -> None:
        original = data.of(volume).copy(data.of(volume).size)
        backup = backed_up(simulation, volume)
        for place in (4 * GIB + 5 * TILE, GIB):
            data.of(volume).write(place, b'changed' * 10_000)
        assert self.restore(simulation, backup, volume) <= 4
        assert data.of(volume).same(original)
        assert kept(simulation) == [f'snapshot-{backup.id}']
        check(simulation, data)

    def test_what_was_discarded_comes_back(self, simulation: Simulation, data: Data, volume: Volume) -> None:
        original = data.of(volume).copy(data.of(volume).size)
        backup = backed_up(simulation, volume)
        data.of(volume).tiles.clear()
        self.restore(simulation, backup, volume)
        assert data.of(volume).same(original)

    def test_a_volume_that_has_grown(self, simulation: Simulation, data: Data, volume: Volume) -> None:
        original = data.of(volume).copy(data.of(volume).size)
        backup = backed_up(simulation, volume)
        volumes.extend(context(), volume.id, SIZE + 4)
        simulation.settle()
        data.of(volume).fill(seed=4)
        self.restore(simulation, backup, volume)
        assert data.of(volume).same(original)
        check(simulation, data)

    def test_of_a_snapshot_of_a_user(self, simulation: Simulation, data: Data, volume: Volume) -> None:
        snapshot = create_snapshot(context(), volume)
        simulation.settle()
        original = data.of(volume).copy(data.of(volume).size)
        backup = backed_up(simulation, volume, snapshot_id=snapshot.id)
        data.of(volume).write(GIB, b'changed' * 10_000)
        assert self.restore(simulation, backup, volume) <= 2
        assert data.of(volume).same(original)
        check(simulation, data)

    def test_an_older_backup_is_restored_as_a_whole(self, simulation: Simulation, data: Data, volume: Volume) -> None:
        original = data.of(volume).copy(data.of(volume).size)
        backup = backed_up(simulation, volume)
        data.of(volume).fill(seed=4)
        increment(simulation, volume)
        assert self.restore(simulation, backup, volume) > 4
        assert data.of(volume).same(original)
        assert len(kept(simulation)) == 1
        check(simulation, data)

    @pytest.mark.parametrize('when', [1, 2])
    def test_the_snapshot_that_goes_in_the_middle(
        self, simulation: Simulation, data: Data, volume: Volume, when: int
    ) -> None:
        """The rest is restored as a whole."""
        original = data.of(volume).copy(data.of(volume).size)
        backup = backed_up(simulation, volume)
        data.of(volume).fill(seed=4)
        seen: list[str] = []

        def around(name: str) -> Any:
            if name.endswith(' changes_since'):
                seen.append(name)
                if len(seen) == when:
                    lost(simulation, data)
            return ordinary(name)

        ordinary, simulation.around = simulation.around, around
        self.restore(simulation, backup, volume)
        assert data.of(volume).same(original)
        assert kept(simulation) == []
        check(simulation, data)

    @pytest.mark.parametrize('verb', ['changes_of_restore', 'write'])
    def test_one_that_fails_leaves_nothing(self, simulation: Simulation, data: Data, volume: Volume, verb: str) -> None:
        backup = backed_up(simulation, volume)
        data.of(volume).fill(seed=4)
        now = data.of(volume).copy(data.of(volume).size)
        for backend in simulation.backends.values():
            backend.fail(verb, *[backend.refuses()] * 20)
        assert restored(simulation, backup, volume).status in ('available', 'error_restoring')
        assert kept(simulation) == [f'snapshot-{backup.id}']
        assert verb == 'write' or data.of(volume).same(now)
        check(simulation, data)

    def test_a_copy_of_the_volume_is_restored_as_a_whole(
        self, simulation: Simulation, data: Data, volume: Volume
    ) -> None:
        backup = backed_up(simulation, volume)
        assert is_right(simulation, data, volume, backup)
        assert kept(simulation) == [f'snapshot-{backup.id}']
