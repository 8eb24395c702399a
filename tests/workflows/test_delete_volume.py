"""Every way through delete_volume."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from chalicelib import errors
from chalicelib.models import Message, Pool, Snapshot, Volume, base
from chalicelib.operations import snapshots, volume_removal, volumes
from tests import invariants
from tests.factories import context, create_snapshot, create_volume
from tests.simulation import BIG, Simulation

CALLER = context()


@pytest.fixture
def volume(simulation: Simulation) -> Volume:
    made = create_volume(CALLER, 5)
    simulation.settle()
    simulation.executions.clear()
    return made.reload()


def gone(record: Volume | Snapshot) -> bool:
    try:
        record.reload()
    except errors.NotFound:
        return True
    return False


def test_happy_path(simulation: Simulation, volume: Volume) -> None:
    volumes.delete(context(), volume.id)
    assert volume.reload().status == 'deleting'
    [execution] = simulation.settle()
    assert execution.path == ['DeleteVolume', 'IsDeleted', 'Deleted']
    assert gone(volume)
    assert Pool.get(base.GLOBAL, BIG).claimable_gb == 100
    invariants.check(simulation)


def test_busy_on_its_backend(simulation: Simulation, volume: Volume) -> None:
    simulation.big.fail('delete_volume', errors.VolumeIsBusy(id=volume.id, reason='a session uses it'))
    volumes.delete(context(), volume.id)
    [execution] = simulation.settle()
    assert execution.path == ['DeleteVolume', 'CancelDelete']
    assert volume.reload().status == 'available'
    [message] = Message.scan()
    assert 'Volume is busy.' in message.user_message
    assert 'Detach it, or try again later.' in message.user_message
    assert 'a session uses it' in message.explanation
    invariants.check(simulation)


def test_a_busy_volume_in_error_stays_in_error(simulation: Simulation, volume: Volume) -> None:
    volumes.reset_status(context('admin'), volume.id, 'error_extending', None, None)
    simulation.big.fail('delete_volume', errors.VolumeIsBusy(id=volume.id, reason='a session uses it'))
    volumes.delete(context(), volume.id)
    simulation.settle()
    assert volume.reload().status == 'error_extending'


def test_a_backend_that_is_away_for_a_moment(simulation: Simulation, volume: Volume) -> None:
    simulation.big.fail('delete_volume', simulation.big.unavailable(), simulation.big.unavailable())
    volumes.delete(context(), volume.id)
    simulation.settle()
    assert gone(volume)


def test_a_backend_that_refuses(simulation: Simulation, volume: Volume) -> None:
    simulation.big.fail('delete_volume', simulation.big.refuses())
    volumes.delete(context(), volume.id)
    [execution] = simulation.settle()
    assert execution.path == ['DeleteVolume', 'FailDelete']
    volume = volume.reload()
    assert (volume.status, volume.host, volume.in_transit_gb) == ('error_deleting', BIG, 5)
    invariants.check(simulation)


def test_error_deleting_can_be_forced_and_gives_everything_back_once(simulation: Simulation, volume: Volume) -> None:
    simulation.big.fail('delete_volume', simulation.big.refuses())
    volumes.delete(context(), volume.id)
    simulation.settle()
    with pytest.raises(errors.InvalidVolume):
        volumes.delete(context(), volume.id)
    simulation.report()
    volumes.delete(context('admin'), volume.id, force=True)
    simulation.settle()
    assert gone(volume)
    invariants.check(simulation)
    simulation.report()
    assert Pool.get(base.GLOBAL, BIG).claimable_gb == 100


def test_a_report_between_backend_and_record_gives_nothing_away_twice(simulation: Simulation, volume: Volume) -> None:
    """The backend has freed the space and reports so before the record is deleted."""

    @contextlib.contextmanager
    def around(name: str) -> Iterator[None]:
        yield
        if name == 'cinderless@big delete_volume':
            simulation.around = lambda _: contextlib.nullcontext()
            simulation.report()
            assert Pool.get(base.GLOBAL, BIG).claimable_gb == 95

    simulation.around = around
    volumes.delete(context(), volume.id)
    simulation.settle()
    assert Pool.get(base.GLOBAL, BIG).claimable_gb == 100
    invariants.check(simulation)


@pytest.mark.parametrize('count', [1, 3])
def test_cascade(simulation: Simulation, volume: Volume, count: int) -> None:
    taken = [create_snapshot(CALLER, volume) for _ in range(count)]
    simulation.settle()
    with pytest.raises(errors.InvalidVolume, match='have snapshots'):
        volumes.delete(context(), volume.id)
    volumes.delete(context(), volume.id, cascade=True)
    simulation.settle()
    assert gone(volume)
    assert all(gone(snapshot) for snapshot in taken)
    invariants.check(simulation)


def test_cascade_goes_on_when_time_runs_short(simulation: Simulation, volume: Volume) -> None:
    create_snapshot(CALLER, volume)
    simulation.settle()
    volumes.delete(context(), volume.id, cascade=True)
    simulation.deliver()
    execution = list(simulation.executions.values())[-1]
    simulation.lambda_context.milliseconds = 0
    assert simulation.work('delete_volume', execution.payload) == {'done': False}
    simulation.lambda_context.milliseconds = 600_000
    simulation.settle()
    assert gone(volume)
    invariants.check(simulation)


def test_a_cascade_has_its_snapshots_from_the_start(simulation: Simulation, volume: Volume) -> None:
    """Cinder marks them in the request, too: a clone or backup that began later would call the cascade off."""
    snapshot = create_snapshot(CALLER, volume)
    simulation.settle()
    volumes.delete(context(), volume.id, cascade=True)
    assert snapshot.reload().status == 'deleting'
    with pytest.raises(errors.InvalidSnapshot):
        create_volume(CALLER, 5, snapshot_id=snapshot.id)
    simulation.settle()
    assert gone(volume)
    invariants.check(simulation)


def test_a_cascade_over_a_snapshot_that_is_read(simulation: Simulation, volume: Volume) -> None:
    snapshot = create_snapshot(CALLER, volume)
    simulation.settle()
    create_volume(CALLER, 5, snapshot_id=snapshot.id)
    with pytest.raises(errors.InvalidVolume, match='cannot be removed with its volume'):
        volumes.delete(context(), volume.id, cascade=True)
    assert (volume.reload().status, snapshot.reload().status) == ('available', 'available')


def test_a_cascade_stops_at_a_snapshot_beyond_its_transaction(
    simulation: Simulation, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume_removal, 'MOST_SNAPSHOTS', 1)
    taken = [create_snapshot(CALLER, volume) for _ in range(2)]
    simulation.settle()
    volumes.delete(context(), volume.id, cascade=True)
    taken[1].update(actions=[Snapshot.reader_count.set(1)])
    [execution] = simulation.settle()
    assert execution.path[-1] == 'CancelDelete'
    assert gone(taken[0])
    assert (volume.reload().status, taken[1].reload().status) == ('available', 'available')


def test_cascade_that_fails_leaves_no_snapshot_deleting(simulation: Simulation, volume: Volume) -> None:
    snapshot = create_snapshot(CALLER, volume)
    simulation.settle()
    simulation.big.fail('delete_snapshot', RuntimeError('a bug'))
    volumes.delete(context(), volume.id, cascade=True)
    simulation.settle()
    assert (volume.reload().status, snapshot.reload().status) == ('error_deleting', 'error_deleting')


def test_cascade_is_refused_for_a_snapshot_in_the_making(simulation: Simulation, volume: Volume) -> None:
    create_snapshot(CALLER, volume)
    with pytest.raises(errors.InvalidVolume, match='cannot be removed with its volume'):
        volumes.delete(context(), volume.id, cascade=True)


def test_a_second_message_after_the_end(simulation: Simulation, volume: Volume) -> None:
    volumes.delete(context(), volume.id)
    [message] = simulation.queue
    simulation.settle()
    calls = list(simulation.big.calls)
    simulation.executions.clear()
    simulation.queue.append(message)
    [execution] = simulation.settle()
    assert execution.path == ['DeleteVolume', 'Superseded']
    assert simulation.big.calls == calls


def test_a_volume_that_is_being_cloned_waits(simulation: Simulation, volume: Volume) -> None:
    create_volume(CALLER, 5, source_volid=volume.id)
    with pytest.raises(errors.InvalidVolume, match='being read by 1 clone'):
        volumes.delete(context(), volume.id)
    simulation.settle()
    volumes.delete(context(), volume.id)
    simulation.settle()
    assert gone(volume)
    invariants.check(simulation)


def test_snapshot_blocks_until_it_is_deleted(simulation: Simulation, volume: Volume) -> None:
    snapshot = create_snapshot(CALLER, volume)
    simulation.settle()
    snapshots.delete(context(), snapshot.id)
    simulation.settle()
    volumes.delete(context(), volume.id)
    simulation.settle()
    assert gone(volume)
    invariants.check(simulation)


@pytest.mark.parametrize('force', [False, True])
def test_a_second_delete_takes_over_from_the_first(simulation: Simulation, volume: Volume, force: bool) -> None:
    """Same status, another owner: the first request's execution is superseded."""
    volumes.delete(context('admin'), volume.id, force=force)
    simulation.deliver()
    [first] = simulation.executions.values()
    volumes.delete(context('admin'), volume.id, force=True)
    assert first.run() == 'SUCCEEDED'
    assert first.path == ['DeleteVolume', 'Superseded']
    assert f'volume-{volume.id}' in simulation.big.objects
    simulation.settle()
    assert gone(volume)
    invariants.check(simulation)


def test_reset_while_the_backend_removes_it(simulation: Simulation, volume: Volume) -> None:
    """An administrator's word counts: the record stays, with what it claims, and can be deleted again."""

    @contextlib.contextmanager
    def around(name: str) -> Iterator[None]:
        yield
        if name == 'cinderless@big delete_volume':
            volumes.reset_status(context('admin'), volume.id, 'error', None, None)

    simulation.around = around
    volumes.delete(context(), volume.id)
    [execution] = simulation.settle()
    simulation.around = lambda _: contextlib.nullcontext()
    assert execution.path == ['DeleteVolume', 'Superseded']
    assert (volume.reload().status, volume.reload().claimed_gb) == ('error', 5)
    volumes.delete(context(), volume.id)
    simulation.settle()
    assert gone(volume)
    invariants.check(simulation)
