"""Every way through create_snapshot and delete_snapshot."""

from __future__ import annotations

import pytest

from chalicelib import errors
from chalicelib.models import Message, Snapshot, Volume
from chalicelib.operations import quotas, snapshots
from tests import invariants
from tests.factories import context, create_snapshot, create_volume
from tests.world import World


@pytest.fixture
def volume(world: World) -> Volume:
    made = create_volume(context(), 5)
    world.settle()
    world.executions.clear()
    return made.reload()


@pytest.fixture
def snapshot(world: World, volume: Volume) -> Snapshot:
    taken = create_snapshot(context(), volume)
    world.settle()
    world.executions.clear()
    return taken.reload()


def test_create(world: World, volume: Volume) -> None:
    taken = create_snapshot(context(), volume)
    assert (taken.status, taken.progress, volume.reload().snapshot_count) == ('creating', '0%', 1)
    [execution] = world.settle()
    assert execution.path == ['CreateSnapshot']
    taken = taken.reload()
    assert (taken.status, taken.progress, taken.provider_id) == ('available', '100%', f'snap-{taken.id}')
    assert quotas.usages('project')['gigabytes']['in_use'] == 10
    invariants.check(world)


def test_create_fails(world: World, volume: Volume) -> None:
    world.big.fail('create_snapshot', RuntimeError('a bug'))
    taken = create_snapshot(context(), volume)
    [execution] = world.settle()
    assert execution.path == ['CreateSnapshot', 'FailCreateSnapshot']
    assert taken.reload().status == 'error'
    [message] = Message.scan()
    assert (message.action_id, message.detail_id, message.resource_type) == ('009', '013', 'VOLUME_SNAPSHOT')
    invariants.check(world)


def test_a_snapshot_in_error_is_removed_with_whatever_is_left_of_it(world: World, volume: Volume) -> None:
    """The backend made it, and every answer was lost."""
    world.big.fail('create_snapshot', *[None] * 3)
    taken = create_snapshot(context(), volume)
    world.deliver()
    [execution] = world.executions.values()
    world.work('create_snapshot', execution.payload)
    snapshots.reset_status(context('admin'), taken.id, 'error')
    snapshots.delete(context(), taken.id)
    world.settle()
    assert f'snapshot-{taken.id}' not in world.big.objects
    invariants.check(world)


def test_create_comes_twice(world: World, volume: Volume) -> None:
    taken = create_snapshot(context(), volume)
    [message] = world.queue
    world.settle()
    revision = taken.reload().revision
    world.executions.clear()
    world.queue.append(message)
    [execution] = world.settle()
    assert execution.path == ['CreateSnapshot', 'Superseded']
    assert taken.reload().revision == revision


def test_delete(world: World, snapshot: Snapshot) -> None:
    snapshots.delete(context(), snapshot.id)
    [execution] = world.settle()
    assert execution.path == ['DeleteSnapshot']
    with pytest.raises(errors.SnapshotNotFound):
        snapshot.reload()
    invariants.check(world)


def test_delete_busy(world: World, snapshot: Snapshot) -> None:
    world.big.fail('delete_snapshot', errors.SnapshotIsBusy(id=snapshot.id, reason='a clone depends on it'))
    snapshots.delete(context(), snapshot.id)
    [execution] = world.settle()
    assert execution.path == ['DeleteSnapshot', 'CancelDeleteSnapshot']
    assert snapshot.reload().status == 'available'
    [message] = Message.scan()
    assert (message.action_id, message.detail_id) == ('010', '015')
    assert 'something depends on it' in message.user_message
    assert 'a clone depends on it' in message.explanation
    invariants.check(world)


def test_delete_fails(world: World, snapshot: Snapshot) -> None:
    world.big.fail('delete_snapshot', world.big.refuses())
    snapshots.delete(context(), snapshot.id)
    [execution] = world.settle()
    assert execution.path == ['DeleteSnapshot', 'FailDeleteSnapshot']
    assert snapshot.reload().status == 'error_deleting'
    [message] = Message.scan()
    assert (message.action_id, message.detail_id) == ('010', '016')
    invariants.check(world)
    snapshots.delete(context('admin'), snapshot.id, force=True)
    world.settle()
    invariants.check(world)


def test_delete_comes_after_the_end(world: World, snapshot: Snapshot) -> None:
    snapshots.delete(context(), snapshot.id)
    [message] = world.queue
    world.settle()
    world.executions.clear()
    world.queue.append(message)
    [execution] = world.settle()
    assert execution.path == ['DeleteSnapshot', 'Superseded']
    invariants.check(world)


def test_a_snapshot_that_a_volume_is_made_from_waits(world: World, snapshot: Snapshot) -> None:
    create_volume(context(), 5, snapshot_id=snapshot.id)
    with pytest.raises(errors.InvalidSnapshot, match='being read by 1 volume'):
        snapshots.delete(context(), snapshot.id)
    world.settle()
    snapshots.delete(context(), snapshot.id)
    world.settle()
    invariants.check(world)
