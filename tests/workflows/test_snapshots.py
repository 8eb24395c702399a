"""Every way through create_snapshot and delete_snapshot."""

from __future__ import annotations

import pytest

from chalicelib import errors
from chalicelib.models import Message, Snapshot, Volume
from chalicelib.operations import quotas, snapshots
from tests import invariants
from tests.factories import context, create_snapshot, create_volume
from tests.simulation import Simulation


@pytest.fixture
def volume(simulation: Simulation) -> Volume:
    made = create_volume(context(), 5)
    simulation.settle()
    simulation.executions.clear()
    return made.reload()


@pytest.fixture
def snapshot(simulation: Simulation, volume: Volume) -> Snapshot:
    taken = create_snapshot(context(), volume)
    simulation.settle()
    simulation.executions.clear()
    return taken.reload()


def test_create(simulation: Simulation, volume: Volume) -> None:
    taken = create_snapshot(context(), volume)
    assert (taken.status, taken.progress, volume.reload().snapshot_count) == ('creating', '0%', 1)
    [execution] = simulation.settle()
    assert execution.path == ['CreateSnapshot']
    taken = taken.reload()
    assert (taken.status, taken.progress, taken.provider_id) == ('available', '100%', f'snap-{taken.id}')
    assert quotas.usages('project')['gigabytes']['in_use'] == 10
    invariants.check(simulation)


def test_create_fails(simulation: Simulation, volume: Volume) -> None:
    simulation.big.fail('create_snapshot', RuntimeError('a bug'))
    taken = create_snapshot(context(), volume)
    [execution] = simulation.settle()
    assert execution.path == ['CreateSnapshot', 'FailCreateSnapshot']
    assert taken.reload().status == 'error'
    [message] = Message.scan()
    assert (message.action_id, message.detail_id, message.resource_type) == ('009', '013', 'VOLUME_SNAPSHOT')
    invariants.check(simulation)


def test_a_snapshot_in_error_is_removed_with_whatever_is_left_of_it(simulation: Simulation, volume: Volume) -> None:
    """The backend made it, and every answer was lost."""
    simulation.big.fail('create_snapshot', *[None] * 3)
    taken = create_snapshot(context(), volume)
    simulation.deliver()
    [execution] = simulation.executions.values()
    simulation.work('create_snapshot', execution.payload)
    snapshots.reset_status(context('admin'), taken.id, 'error')
    snapshots.delete(context(), taken.id)
    simulation.settle()
    assert f'snapshot-{taken.id}' not in simulation.big.objects
    invariants.check(simulation)


def test_create_comes_twice(simulation: Simulation, volume: Volume) -> None:
    taken = create_snapshot(context(), volume)
    [message] = simulation.queue
    simulation.settle()
    revision = taken.reload().revision
    simulation.executions.clear()
    simulation.queue.append(message)
    [execution] = simulation.settle()
    assert execution.path == ['CreateSnapshot', 'Superseded']
    assert taken.reload().revision == revision


def test_delete(simulation: Simulation, snapshot: Snapshot) -> None:
    snapshots.delete(context(), snapshot.id)
    [execution] = simulation.settle()
    assert execution.path == ['DeleteSnapshot']
    with pytest.raises(errors.SnapshotNotFound):
        snapshot.reload()
    invariants.check(simulation)


def test_delete_busy(simulation: Simulation, snapshot: Snapshot) -> None:
    simulation.big.fail('delete_snapshot', errors.SnapshotIsBusy(id=snapshot.id, reason='a clone depends on it'))
    snapshots.delete(context(), snapshot.id)
    [execution] = simulation.settle()
    assert execution.path == ['DeleteSnapshot', 'CancelDeleteSnapshot']
    assert snapshot.reload().status == 'available'
    [message] = Message.scan()
    assert (message.action_id, message.detail_id) == ('010', '015')
    assert 'something depends on it' in message.user_message
    assert 'a clone depends on it' in message.explanation
    invariants.check(simulation)


def test_delete_fails(simulation: Simulation, snapshot: Snapshot) -> None:
    simulation.big.fail('delete_snapshot', simulation.big.refuses())
    snapshots.delete(context(), snapshot.id)
    [execution] = simulation.settle()
    assert execution.path == ['DeleteSnapshot', 'FailDeleteSnapshot']
    assert snapshot.reload().status == 'error_deleting'
    [message] = Message.scan()
    assert (message.action_id, message.detail_id) == ('010', '016')
    invariants.check(simulation)
    snapshots.delete(context('admin'), snapshot.id, force=True)
    simulation.settle()
    invariants.check(simulation)


def test_delete_comes_after_the_end(simulation: Simulation, snapshot: Snapshot) -> None:
    snapshots.delete(context(), snapshot.id)
    [message] = simulation.queue
    simulation.settle()
    simulation.executions.clear()
    simulation.queue.append(message)
    [execution] = simulation.settle()
    assert execution.path == ['DeleteSnapshot', 'Superseded']
    invariants.check(simulation)


def test_a_snapshot_that_a_volume_is_made_from_waits(simulation: Simulation, snapshot: Snapshot) -> None:
    create_volume(context(), 5, snapshot_id=snapshot.id)
    with pytest.raises(errors.InvalidSnapshot, match='being read by 1 volume'):
        snapshots.delete(context(), snapshot.id)
    simulation.settle()
    snapshots.delete(context(), snapshot.id)
    simulation.settle()
    invariants.check(simulation)
