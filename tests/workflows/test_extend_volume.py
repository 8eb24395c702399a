"""Every way through extend_volume."""

from __future__ import annotations

import pytest

from chalicelib import errors
from chalicelib.models import Message, Pool, Volume, base
from chalicelib.operations import quotas, volumes
from tests import invariants
from tests.factories import context, create_volume
from tests.simulation import BIG, Simulation


@pytest.fixture
def volume(simulation: Simulation) -> Volume:
    made = create_volume(context(), 5)
    simulation.settle()
    simulation.executions.clear()
    return made.reload()


def usage() -> dict[str, int]:
    return quotas.usages('project')['gigabytes']


def test_happy_path(simulation: Simulation, volume: Volume) -> None:
    volumes.extend(context(), volume.id, 8)
    assert (volume.reload().status, usage()['reserved'], usage()['in_use']) == ('extending', 3, 5)
    [execution] = simulation.settle()
    assert execution.path == ['ExtendVolume', 'HasServers', 'Extended']
    volume = volume.reload()
    assert (volume.status, volume.size, volume.claimed_gb) == ('available', 8, 8)
    assert (usage()['reserved'], usage()['in_use']) == (0, 8)
    assert Pool.get(base.GLOBAL, BIG).claimable_gb == 92
    invariants.check(simulation)


def test_attached(simulation: Simulation, volume: Volume) -> None:
    volume.update(actions=[Volume.status.set('in-use'), Volume.attachments.set({'a': {}})])
    volumes.extend(context(), volume.id, 8)
    simulation.settle()
    assert (volume.reload().status, volume.reload().size) == ('in-use', 8)
    invariants.check(simulation)


def test_attached_on_a_backend_that_cannot(simulation: Simulation, volume: Volume) -> None:
    simulation.big.online_extend = False
    volume.update(actions=[Volume.status.set('in-use'), Volume.attachments.set({'a': {}})])
    volumes.extend(context(), volume.id, 8)
    [execution] = simulation.settle()
    assert execution.path == ['ExtendVolume', 'CancelExtend']
    assert (volume.reload().status, volume.reload().size) == ('in-use', 5)
    invariants.check(simulation)


def test_attached_before_its_microversion(simulation: Simulation, volume: Volume) -> None:
    volume.update(actions=[Volume.status.set('in-use')])
    expected = f"Volume {volume.id} status must be '{{'status': 'available'}}' to extend, currently in-use."
    with pytest.raises(errors.InvalidVolume) as refused:
        volumes.extend(context(microversion=(3, 41)), volume.id, 8)
    assert refused.value.message == f'Invalid volume: {expected}'
    assert usage() == {'limit': 1000, 'in_use': 5, 'reserved': 0}


def test_detached_while_it_grows(simulation: Simulation, volume: Volume) -> None:
    """Attachments record the status that the volume returns to, as long as the extension holds it."""
    volume.update(actions=[Volume.status.set('in-use')])
    volumes.extend(context(), volume.id, 8)
    volume.update(actions=[Volume.previous_status.set('available')])
    simulation.settle()
    assert volume.reload().status == 'available'


def test_no_room(simulation: Simulation, volume: Volume) -> None:
    volumes.extend(context(), volume.id, 200)
    [execution] = simulation.settle()
    assert execution.path == ['ExtendVolume', 'CancelExtend']
    assert (volume.reload().status, volume.reload().size) == ('available', 5)
    [message] = Message.scan()
    assert (message.action_id, message.detail_id) == ('007', '003')
    assert 'not enough free space for 195 GiB' in message.user_message
    invariants.check(simulation)


def test_the_driver_fails_and_nobody_knows_how_far_it_came(simulation: Simulation, volume: Volume) -> None:
    simulation.big.fail('extend_volume', simulation.big.refuses())
    simulation.big.fail('get_volume_size', simulation.big.unavailable())
    volumes.extend(context(), volume.id, 8)
    [execution] = simulation.settle()
    assert execution.path == ['ExtendVolume', 'FailExtend', 'HasServers', 'Extended']
    volume = volume.reload()
    assert (volume.status, volume.size, volume.claimed_gb) == ('error_extending', 5, 5)
    assert usage() == {'limit': 1000, 'in_use': 5, 'reserved': 0}
    [message] = Message.scan()
    assert (message.action_id, message.detail_id) == ('007', '010')
    invariants.check(simulation)


@pytest.mark.parametrize('error', ['refuses', 'full'])
def test_what_did_not_grow_is_as_it_was(simulation: Simulation, volume: Volume, error: str) -> None:
    """The backend has no space although the scheduler thought so, or refuses: the object has its old size."""
    simulation.big.fail('extend_volume', simulation.big.full(3) if error == 'full' else simulation.big.refuses())
    volumes.extend(context(), volume.id, 8)
    [execution] = simulation.settle()
    assert execution.path[1] == ('CancelExtend' if error == 'full' else 'FailExtend')
    volume = volume.reload()
    assert (volume.status, volume.size, volume.claimed_gb) == ('available', 5, 5)
    assert usage() == {'limit': 1000, 'in_use': 5, 'reserved': 0}
    assert [message.action_id for message in Message.scan()] == ['007']
    invariants.check(simulation)
    volumes.extend(context(), volume.id, 8)
    simulation.settle()
    assert volume.reload().size == 8


def test_what_grew_although_its_driver_failed_has_grown(simulation: Simulation, volume: Volume) -> None:
    volumes.extend(context(), volume.id, 8)
    simulation.big.objects[f'volume-{volume.id}'].size = 8
    simulation.big.fail('extend_volume', simulation.big.refuses())
    simulation.settle()
    volume = volume.reload()
    assert (volume.status, volume.size, volume.claimed_gb) == ('available', 8, 8)
    assert usage() == {'limit': 1000, 'in_use': 8, 'reserved': 0}
    assert list(Message.scan()) == []
    invariants.check(simulation)


def test_force_deleted_while_it_grows(simulation: Simulation, volume: Volume) -> None:
    volumes.extend(context(), volume.id, 8)
    volumes.delete(context('admin'), volume.id, force=True)
    first, _ = simulation.settle()
    assert first.path == ['ExtendVolume', 'Superseded']
    assert usage() == {'limit': 1000, 'in_use': 0, 'reserved': 0}
    assert Pool.get(base.GLOBAL, BIG).claimable_gb == 100
    invariants.check(simulation)


def test_reset_while_it_grows(simulation: Simulation, volume: Volume) -> None:
    volumes.extend(context(), volume.id, 8)
    volumes.reset_status(context('admin'), volume.id, 'available', None, None)
    [execution] = simulation.settle()
    assert execution.path == ['ExtendVolume', 'Superseded']
    assert usage() == {'limit': 1000, 'in_use': 5, 'reserved': 0}
    invariants.check(simulation)


def test_over_quota(simulation: Simulation, volume: Volume) -> None:
    quotas.update('project', {'gigabytes': 6})
    with pytest.raises(errors.VolumeSizeExceedsAvailableQuota) as refused:
        volumes.extend(context(), volume.id, 8)
    assert refused.value.message == (
        'Requested volume or snapshot exceeds allowed gigabytes quota. '
        'Requested 3G, quota is 6G and 5G has been consumed.'
    )
    assert volume.reload().status == 'available'


def test_an_administrator_charges_the_volumes_project(simulation: Simulation, volume: Volume) -> None:
    volumes.extend(context('admin', 'ops'), volume.id, 8)
    simulation.settle()
    assert usage()['in_use'] == 8
    assert quotas.usages('ops')['gigabytes']['in_use'] == 0


@pytest.mark.parametrize('size', [5, 4])
def test_never_shrinks(simulation: Simulation, volume: Volume, size: int) -> None:
    with pytest.raises(
        errors.InvalidInput, match=r'New size for extend must be greater than current size. \(current: 5'
    ):
        volumes.extend(context(), volume.id, size)
