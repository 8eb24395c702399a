"""Every way through delete_volume."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from chalicelib import errors
from chalicelib.models import Message, Pool, Snapshot, Volume, base
from chalicelib.operations import snapshots, volumes
from tests import invariants
from tests.factories import context, create_snapshot, create_volume
from tests.world import BIG, World

CALLER = context()


@pytest.fixture
def volume(world: World) -> Volume:
    made = create_volume(CALLER, 5)
    world.settle()
    world.executions.clear()
    return made.reload()


def gone(record: Volume | Snapshot) -> bool:
    try:
        record.reload()
    except errors.NotFound:
        return True
    return False


def test_happy_path(world: World, volume: Volume) -> None:
    volumes.delete(context(), volume.id)
    assert volume.reload().status == 'deleting'
    [execution] = world.settle()
    assert execution.path == ['DeleteVolume', 'IsDeleted', 'Deleted']
    assert gone(volume)
    assert Pool.get(base.GLOBAL, BIG).claimable_gb == 100
    invariants.check(world)


def test_busy_on_its_backend(world: World, volume: Volume) -> None:
    world.big.fail('delete_volume', errors.VolumeIsBusy(id=volume.id, reason='a session uses it'))
    volumes.delete(context(), volume.id)
    [execution] = world.settle()
    assert execution.path == ['DeleteVolume', 'CancelDelete']
    assert volume.reload().status == 'available'
    [message] = Message.scan()
    assert 'Volume is busy.' in message.user_message
    assert 'Detach it, or try again later.' in message.user_message
    assert 'a session uses it' in message.explanation
    invariants.check(world)


def test_a_busy_volume_in_error_stays_in_error(world: World, volume: Volume) -> None:
    volumes.reset_status(context('admin'), volume.id, 'error_extending', None, None)
    world.big.fail('delete_volume', errors.VolumeIsBusy(id=volume.id, reason='a session uses it'))
    volumes.delete(context(), volume.id)
    world.settle()
    assert volume.reload().status == 'error_extending'


def test_a_backend_that_is_away_for_a_moment(world: World, volume: Volume) -> None:
    world.big.fail('delete_volume', world.big.unavailable(), world.big.unavailable())
    volumes.delete(context(), volume.id)
    world.settle()
    assert gone(volume)


def test_a_backend_that_refuses(world: World, volume: Volume) -> None:
    world.big.fail('delete_volume', world.big.refuses())
    volumes.delete(context(), volume.id)
    [execution] = world.settle()
    assert execution.path == ['DeleteVolume', 'FailDelete']
    volume = volume.reload()
    assert (volume.status, volume.host, volume.in_transit_gb) == ('error_deleting', BIG, 5)
    invariants.check(world)


def test_error_deleting_can_be_forced_and_gives_everything_back_once(world: World, volume: Volume) -> None:
    world.big.fail('delete_volume', world.big.refuses())
    volumes.delete(context(), volume.id)
    world.settle()
    with pytest.raises(errors.InvalidVolume):
        volumes.delete(context(), volume.id)
    world.report()
    volumes.delete(context('admin'), volume.id, force=True)
    world.settle()
    assert gone(volume)
    invariants.check(world)
    world.report()
    assert Pool.get(base.GLOBAL, BIG).claimable_gb == 100


def test_a_report_between_backend_and_record_gives_nothing_away_twice(world: World, volume: Volume) -> None:
    """The backend has freed the space and reports so before the record is deleted."""

    @contextlib.contextmanager
    def around(name: str) -> Iterator[None]:
        yield
        if name == 'cinderless@big delete_volume':
            world.around = lambda _: contextlib.nullcontext()
            world.report()
            assert Pool.get(base.GLOBAL, BIG).claimable_gb == 95

    world.around = around
    volumes.delete(context(), volume.id)
    world.settle()
    assert Pool.get(base.GLOBAL, BIG).claimable_gb == 100
    invariants.check(world)


@pytest.mark.parametrize('count', [1, 3])
def test_cascade(world: World, volume: Volume, count: int) -> None:
    taken = [create_snapshot(CALLER, volume) for _ in range(count)]
    world.settle()
    with pytest.raises(errors.InvalidVolume, match='have snapshots'):
        volumes.delete(context(), volume.id)
    volumes.delete(context(), volume.id, cascade=True)
    world.settle()
    assert gone(volume)
    assert all(gone(snapshot) for snapshot in taken)
    invariants.check(world)


def test_cascade_goes_on_when_time_runs_short(world: World, volume: Volume) -> None:
    create_snapshot(CALLER, volume)
    world.settle()
    volumes.delete(context(), volume.id, cascade=True)
    world.deliver()
    execution = list(world.executions.values())[-1]
    world.lambda_context.milliseconds = 0
    assert world.work('delete_volume', execution.payload) == {'done': False}
    world.lambda_context.milliseconds = 600_000
    world.settle()
    assert gone(volume)
    invariants.check(world)


def test_a_cascade_has_its_snapshots_from_the_start(world: World, volume: Volume) -> None:
    """Cinder marks them in the request, too: a clone or backup that began later would call the cascade off."""
    snapshot = create_snapshot(CALLER, volume)
    world.settle()
    volumes.delete(context(), volume.id, cascade=True)
    assert snapshot.reload().status == 'deleting'
    with pytest.raises(errors.InvalidSnapshot):
        create_volume(CALLER, 5, snapshot_id=snapshot.id)
    world.settle()
    assert gone(volume)
    invariants.check(world)


def test_a_cascade_over_a_snapshot_that_is_read(world: World, volume: Volume) -> None:
    snapshot = create_snapshot(CALLER, volume)
    world.settle()
    create_volume(CALLER, 5, snapshot_id=snapshot.id)
    with pytest.raises(errors.InvalidVolume, match='cannot be removed with its volume'):
        volumes.delete(context(), volume.id, cascade=True)
    assert (volume.reload().status, snapshot.reload().status) == ('available', 'available')


def test_a_cascade_stops_at_a_snapshot_beyond_its_transaction(
    world: World, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, 'MOST_SNAPSHOTS', 1)
    taken = [create_snapshot(CALLER, volume) for _ in range(2)]
    world.settle()
    volumes.delete(context(), volume.id, cascade=True)
    taken[1].update(actions=[Snapshot.reader_count.set(1)])
    [execution] = world.settle()
    assert execution.path[-1] == 'CancelDelete'
    assert gone(taken[0])
    assert (volume.reload().status, taken[1].reload().status) == ('available', 'available')


def test_cascade_that_fails_leaves_no_snapshot_deleting(world: World, volume: Volume) -> None:
    snapshot = create_snapshot(CALLER, volume)
    world.settle()
    world.big.fail('delete_snapshot', RuntimeError('a bug'))
    volumes.delete(context(), volume.id, cascade=True)
    world.settle()
    assert (volume.reload().status, snapshot.reload().status) == ('error_deleting', 'error_deleting')


def test_cascade_is_refused_for_a_snapshot_in_the_making(world: World, volume: Volume) -> None:
    create_snapshot(CALLER, volume)
    with pytest.raises(errors.InvalidVolume, match='cannot be removed with its volume'):
        volumes.delete(context(), volume.id, cascade=True)


def test_a_second_message_after_the_end(world: World, volume: Volume) -> None:
    volumes.delete(context(), volume.id)
    [message] = world.queue
    world.settle()
    calls = list(world.big.calls)
    world.executions.clear()
    world.queue.append(message)
    [execution] = world.settle()
    assert execution.path == ['DeleteVolume', 'Superseded']
    assert world.big.calls == calls


def test_a_volume_that_is_being_cloned_waits(world: World, volume: Volume) -> None:
    create_volume(CALLER, 5, source_volid=volume.id)
    with pytest.raises(errors.InvalidVolume, match='being read by 1 clone'):
        volumes.delete(context(), volume.id)
    world.settle()
    volumes.delete(context(), volume.id)
    world.settle()
    assert gone(volume)
    invariants.check(world)


def test_snapshot_blocks_until_it_is_deleted(world: World, volume: Volume) -> None:
    snapshot = create_snapshot(CALLER, volume)
    world.settle()
    snapshots.delete(context(), snapshot.id)
    world.settle()
    volumes.delete(context(), volume.id)
    world.settle()
    assert gone(volume)
    invariants.check(world)


@pytest.mark.parametrize('force', [False, True])
def test_a_second_delete_takes_over_from_the_first(world: World, volume: Volume, force: bool) -> None:
    """Same status, another owner: the first request's execution is superseded."""
    volumes.delete(context('admin'), volume.id, force=force)
    world.deliver()
    [first] = world.executions.values()
    volumes.delete(context('admin'), volume.id, force=True)
    assert first.run() == 'SUCCEEDED'
    assert first.path == ['DeleteVolume', 'Superseded']
    assert f'volume-{volume.id}' in world.big.objects
    world.settle()
    assert gone(volume)
    invariants.check(world)


def test_reset_while_the_backend_removes_it(world: World, volume: Volume) -> None:
    """An administrator's word counts: the record stays, with what it claims, and can be deleted again."""

    @contextlib.contextmanager
    def around(name: str) -> Iterator[None]:
        yield
        if name == 'cinderless@big delete_volume':
            volumes.reset_status(context('admin'), volume.id, 'error', None, None)

    world.around = around
    volumes.delete(context(), volume.id)
    [execution] = world.settle()
    world.around = lambda _: contextlib.nullcontext()
    assert execution.path == ['DeleteVolume', 'Superseded']
    assert (volume.reload().status, volume.reload().claimed_gb) == ('error', 5)
    volumes.delete(context(), volume.id)
    world.settle()
    assert gone(volume)
    invariants.check(world)
