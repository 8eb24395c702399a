"""Every way through revert_to_snapshot, with real bytes."""

from __future__ import annotations

import pytest

from chalicelib import errors
from chalicelib.models import Message, Snapshot, Volume
from chalicelib.operations import reverts, volumes
from tests import invariants
from tests.data_backends import Data
from tests.factories import context, create_snapshot
from tests.simulation import Simulation


@pytest.fixture
def snapshot(simulation: Simulation, data: Data, volume: Volume) -> Snapshot:
    """Of the data before the volume got other data."""
    taken = create_snapshot(context(), volume)
    simulation.settle()
    data.of(volume).fill(seed=2)
    simulation.executions.clear()
    return taken.reload()


def check(simulation: Simulation, data: Data) -> None:
    invariants.check(simulation)
    assert data.paths() == []


COPIED = ['RevertToSnapshot', 'IsReverted', 'CompleteRevert']


def test_by_copying(simulation: Simulation, data: Data, volume: Volume, snapshot: Snapshot) -> None:
    reverts.revert(context(), volume.id, snapshot.id)
    assert (volume.reload().status, snapshot.reload().status) == ('reverting', 'restoring')
    [execution] = simulation.settle()
    assert execution.path == COPIED
    assert (volume.reload().status, snapshot.reload().status) == ('available', 'available')
    assert data.of(volume).same(data.of(snapshot))
    check(simulation, data)


def test_a_copy_that_runs_out_of_time_goes_on(
    simulation: Simulation, data: Data, volume: Volume, snapshot: Snapshot
) -> None:
    simulation.lambda_context.milliseconds = 1_000
    reverts.revert(context(), volume.id, snapshot.id)
    [execution] = simulation.settle()
    assert execution.path == [*COPIED[:2] * 20, 'CompleteRevert']
    assert data.of(volume).same(data.of(snapshot))
    check(simulation, data)


def test_by_the_driver(simulation: Simulation, data: Data, volume: Volume, snapshot: Snapshot) -> None:
    simulation.big.revert = True
    reverts.revert(context(), volume.id, snapshot.id)
    simulation.settle()
    assert f'revert_to_snapshot volume-{volume.id}' in simulation.big.calls
    assert str(volume.reload().provider_location).endswith('again')
    assert not any(call.startswith('open_volume') for call in simulation.big.calls)
    assert data.of(volume).same(data.of(snapshot))
    check(simulation, data)


def test_a_backend_that_fails(simulation: Simulation, data: Data, volume: Volume, snapshot: Snapshot) -> None:
    simulation.big.fail('write', RuntimeError('a bug'))
    reverts.revert(context(), volume.id, snapshot.id)
    [execution] = simulation.settle()
    assert execution.path == ['RevertToSnapshot', 'FailRevert']
    assert (volume.reload().status, snapshot.reload().status) == ('error', 'available')
    [message] = Message.scan()
    assert (message.action_id, message.detail_id) == ('111', '111')
    check(simulation, data)


@pytest.mark.parametrize('by_driver', [True, False])
def test_a_revert_that_never_began_leaves_the_volume_as_it_was(
    simulation: Simulation, data: Data, volume: Volume, snapshot: Snapshot, by_driver: bool
) -> None:
    """The pool is full, or the volume cannot be opened; the advice to revert later can be followed."""
    simulation.big.revert = by_driver
    before = data.of(volume).copy(data.of(volume).size)
    simulation.big.fail('revert_to_snapshot' if by_driver else 'open_volume', simulation.big.full(5))
    reverts.revert(context(), volume.id, snapshot.id)
    [execution] = simulation.settle()
    assert execution.path == ['RevertToSnapshot', 'FailRevert']
    assert (volume.reload().status, snapshot.reload().status) == ('available', 'available')
    [message] = Message.scan()
    assert (message.action_id, message.detail_id) == ('111', '115')
    assert data.of(volume).same(before)
    check(simulation, data)
    reverts.revert(context(), volume.id, snapshot.id)
    simulation.settle()
    assert data.of(volume).same(data.of(snapshot))


def test_reset_meanwhile(simulation: Simulation, data: Data, volume: Volume, snapshot: Snapshot) -> None:
    """The snapshot is released, too, when the volume is not reverted any more."""
    reverts.revert(context(), volume.id, snapshot.id)
    volumes.reset_status(context('admin'), volume.id, 'available', None, None)
    [execution] = simulation.settle()
    assert execution.path == ['RevertToSnapshot', 'Superseded']
    simulation.reconcile()
    assert snapshot.reload().status == 'available'
    check(simulation, data)


def test_only_the_latest(simulation: Simulation, volume: Volume, snapshot: Snapshot) -> None:
    create_snapshot(context(), volume)
    simulation.settle()
    with pytest.raises(errors.Invalid, match='not the latest one'):
        reverts.revert(context(), volume.id, snapshot.id)
    with pytest.raises(errors.Invalid, match='not the latest one'):
        reverts.revert(context(), volume.id, None)


def test_of_the_same_size(simulation: Simulation, volume: Volume, snapshot: Snapshot) -> None:
    volumes.extend(context(), volume.id, 6)
    simulation.settle()
    with pytest.raises(errors.Invalid, match='size must be equal'):
        reverts.revert(context(), volume.id, snapshot.id)


@pytest.mark.parametrize('status', ['in-use', 'error', 'extending', 'reverting'])
def test_wrong_status(volume: Volume, snapshot: Snapshot, status: str) -> None:
    volume.update(actions=[Volume.status.set(status)])
    with pytest.raises(errors.Conflict, match="Volume's status must be 'available'"):
        reverts.revert(context(), volume.id, snapshot.id)
    assert (volume.reload().status, snapshot.reload().status) == (status, 'available')


def test_a_snapshot_in_use(volume: Volume, snapshot: Snapshot) -> None:
    snapshot.update(actions=[Snapshot.status.set('backing-up')])
    with pytest.raises(errors.Conflict, match="Snapshot's status must be 'available'"):
        reverts.revert(context(), volume.id, snapshot.id)
    assert volume.reload().status == 'available'


def test_without_snapshots(volume: Volume) -> None:
    with pytest.raises(errors.Invalid, match='has no snapshots'):
        reverts.revert(context(), volume.id, 'x')
