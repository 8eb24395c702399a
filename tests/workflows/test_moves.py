"""Every way through move_volume: retype and migrate, with real bytes, claims and quotas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import Backup, Message, Pool, Quota, Volume, VolumeType, base
from chalicelib.operations import attachments, backups, extensions, moves, quotas, volume_types, volumes
from tests import invariants
from tests.backup_factories import create_backup
from tests.data_backends import Data, Disk
from tests.factories import context, create_snapshot, create_volume
from tests.simulation import BIG, FAST, Simulation

MOVED = ['PlanMove', 'IsMoved', 'PrepareTarget', 'CopyVolume', 'IsCopied', 'CompleteMove', 'Moved']


@pytest.fixture
def volume(simulation: Simulation, make_volume: Callable[[int], Volume]) -> Volume:
    """On the big backend."""
    made = make_volume(5)
    simulation.executions.clear()
    return made


@pytest.fixture
def original(data: Data, volume: Volume) -> Disk:
    return data.of(volume).copy(data.of(volume).size)


def make_type(name: str, **extra_specs: str) -> VolumeType:
    return volume_types.create(context('admin'), name=name, description=None, is_public=True, extra_specs=extra_specs)


def migrate(volume: Volume, host: str | None = 'cinderless@fast', **facts: Any) -> None:
    usual: dict[str, Any] = {'cluster': None, 'force_host_copy': False, 'lock_volume': False}
    moves.migrate(context('admin'), volume.id, host=host, **{**usual, **facts})


def usage(type_id: str | None) -> tuple[int, int]:
    """Volumes and gigabytes of a type that the project has."""
    counted = Quota.get('project', 'quota', consistent_read=True).usage.attribute_values
    return counted.get(f'volumes_{type_id}', 0), counted.get(f'gigabytes_{type_id}', 0)


def check(simulation: Simulation, data: Data) -> None:
    invariants.check(simulation)
    assert data.paths() == []


def test_migrate(simulation: Simulation, data: Data, volume: Volume, original: Disk) -> None:
    migrate(volume)
    assert (volume.reload().status, volume.reload().migration_status) == ('available', 'starting')
    move, removal = simulation.settle()
    assert move.path == MOVED
    assert removal.machine == 'delete_volume'
    volume = volume.reload()
    assert (volume.host, volume.status, volume.migration_status) == (FAST, 'available', 'success')
    assert volume.name_id != volume.id
    assert data.of(volume).same(original)
    assert not data.disks['cinderless@big']
    assert (Pool.get(base.GLOBAL, FAST).claimable_gb, Pool.get(base.GLOBAL, BIG).claimable_gb) == (15, 100)
    check(simulation, data)


def test_and_back(simulation: Simulation, data: Data, volume: Volume, original: Disk) -> None:
    migrate(volume)
    simulation.settle()
    migrate(volume, BIG)
    simulation.settle()
    assert volume.reload().host == BIG
    assert data.of(volume).same(original)
    check(simulation, data)
    volumes.delete(context(), volume.id)
    simulation.settle()
    assert not any(data.disks.values())
    check(simulation, data)


def test_over_old_data(simulation: Simulation, data: Data, volume: Volume, original: Disk) -> None:
    """A backend whose new volumes hold another's data: every byte is written."""
    data.zeroed = False
    migrate(volume)
    simulation.settle()
    assert data.of(volume).same(original)
    check(simulation, data)


def test_a_copy_that_runs_out_of_time_goes_on(
    simulation: Simulation, data: Data, volume: Volume, original: Disk
) -> None:
    simulation.lambda_context.milliseconds = 1_000
    migrate(volume)
    move, _ = simulation.settle()
    assert move.path.count('CopyVolume') == 20
    assert data.of(volume).same(original)
    check(simulation, data)


def test_locked(simulation: Simulation, data: Data, volume: Volume) -> None:
    migrate(volume, lock_volume=True)
    assert volume.reload().status == 'maintenance'
    with pytest.raises(errors.InvalidVolume, match='currently maintenance'):
        volumes.extend(context(), volume.id, 6)
    simulation.settle()
    assert (volume.reload().status, volume.reload().host) == ('available', FAST)
    check(simulation, data)


def test_projects_never_see_the_target(simulation: Simulation, volume: Volume) -> None:
    migrate(volume)
    simulation.deliver()
    [execution] = simulation.executions.values()
    simulation.work('plan_move', execution.payload)
    query = volumes.common.ListQuery()
    assert [one.id for one in volumes.list_(context(), query)[0]] == [volume.id]
    everything, _ = volumes.list_(context('admin'), volumes.common.ListQuery(all_tenants=True))
    assert {one.migration_status for one in everything} == {'migrating', f'target:{volume.id}'}
    execution.run()
    simulation.settle()
    invariants.check(simulation)


def test_nobody_attaches_meanwhile(simulation: Simulation, volume: Volume) -> None:
    migrate(volume)
    with pytest.raises(errors.InvalidVolume, match='is being migrated'):
        attachments.create(context(), volume_id=volume.id, instance_id=None, connector=None, mode=None)


def test_no_room_there(simulation: Simulation, data: Data, volume: Volume) -> None:
    simulation.fast.pools['pool'] = 4
    simulation.report()
    migrate(volume)
    [move] = simulation.settle()
    assert move.path == ['PlanMove', 'FailMove']
    assert (volume.reload().host, volume.reload().migration_status) == (BIG, 'error')
    [message] = Message.scan()
    assert (message.action_id, message.detail_id) == ('113', '003')
    assert 'not enough free space' in message.user_message
    check(simulation, data)


@pytest.mark.parametrize('verb', ['create_volume', 'open_volume', 'write', 'close_volume'])
def test_the_new_backend_fails(simulation: Simulation, data: Data, volume: Volume, original: Disk, verb: str) -> None:
    simulation.fast.fail_for_good(verb)
    migrate(volume)
    move, *_ = simulation.settle()
    assert move.path[-1] == 'FailMove'
    volume = volume.reload()
    assert (volume.host, volume.status, volume.migration_status) == (BIG, 'available', 'error')
    assert data.of(volume).same(original)
    assert not simulation.fast.objects
    invariants.check(simulation)


def test_extended_meanwhile(simulation: Simulation, data: Data, volume: Volume) -> None:
    """Another request takes the volume: the move is given up, and its target is deleted."""
    migrate(volume)
    simulation.deliver()
    [execution] = simulation.executions.values()
    simulation.work('plan_move', execution.payload)
    simulation.work('prepare_target', execution.payload)
    extensions.extend(context(), volume.id, 6)
    simulation.settle()
    assert execution.path == ['PlanMove', 'AbandonMove']
    volume = volume.reload()
    assert (volume.size, volume.host, volume.migration_status) == (6, BIG, 'error')
    check(simulation, data)


#: Requests that take a volume over from a move that does not lock it, as in Cinder.
TAKING_OVER: dict[str, Callable[[Volume], object]] = {
    'extend': lambda volume: extensions.extend(context(), volume.id, 6),
    'backup': lambda volume: create_backup(context(), volume),
    'restore': lambda volume: backups.restore(context(), stored_backup(volume).id, volume_id=volume.id, name=None),
}


def stored_backup(volume: Volume) -> Backup:
    [found] = base.every(Backup, volume.project_id)
    return found


@pytest.mark.parametrize(
    'begun',
    [[], ['plan_move'], ['plan_move', 'prepare_target'], ['plan_move', 'prepare_target', 'copy_volume']],
    ids=len,
)
@pytest.mark.parametrize('request_', TAKING_OVER)
def test_a_move_that_lost_its_volume_and_then_its_execution(
    simulation: Simulation, data: Data, volume: Volume, request_: str, begun: list[str]
) -> None:
    """As after a local cloud was killed: nothing continues the move, and its status must not stay 'migrating'."""
    if request_ == 'restore':
        create_backup(context(), volume)
        simulation.settle()
        simulation.executions.clear()
    migrate(volume)
    simulation.deliver()
    [execution] = simulation.executions.values()
    for task in begun:
        simulation.work(task, execution.payload)
    simulation.executions.clear()
    TAKING_OVER[request_](volume)
    simulation.settle()
    simulation.reconcile()
    simulation.settle()
    assert (volume.reload().status, volume.reload().migration_status) == ('available', 'error')
    check(simulation, data)


def test_the_move_is_forgotten_by_the_reconciler(simulation: Simulation, data: Data, volume: Volume) -> None:
    """Without the request that takes the volume over: its record was read before the move began."""
    migrate(volume)
    simulation.deliver()
    [execution] = simulation.executions.values()
    simulation.work('plan_move', execution.payload)
    simulation.work('prepare_target', execution.payload)
    simulation.executions.clear()
    base.update(volume.reload(), base.end_actions(volume, 'available'))
    simulation.reconcile()
    simulation.settle()
    assert volume.reload().migration_status == 'error'
    check(simulation, data)


def test_called_off_by_its_completion(simulation: Simulation, data: Data, volume: Volume) -> None:
    migrate(volume)
    simulation.deliver()
    [execution] = simulation.executions.values()
    simulation.work('plan_move', execution.payload)
    target = moves.target_of(volume.id, execution.payload['request_id'])
    assert target is not None
    admin = context('admin')
    assert moves.complete_migration(admin, volume.id, target.id, False) == volume.id
    assert moves.complete_migration(admin, volume.id, target.id, True) == volume.id
    simulation.settle()
    assert volume.reload().migration_status == 'error'
    check(simulation, data)


def test_completion_of_what_is_not_migrating(volume: Volume, simulation: Simulation) -> None:
    other = create_volume(context(), 5)
    simulation.settle()
    admin = context('admin')
    assert moves.complete_migration(admin, volume.id, other.id, False) == other.id
    volume.update(actions=[Volume.migration_status.set('migrating')])
    with pytest.raises(errors.InvalidVolume, match='Destination volume not mid-migration'):
        moves.complete_migration(admin, volume.id, other.id, False)
    other.update(actions=[Volume.migration_status.set('target:another')])
    with pytest.raises(errors.InvalidVolume, match='expected target:'):
        moves.complete_migration(admin, volume.id, other.id, False)


def test_attached_volumes_stay(simulation: Simulation, data: Data, volume: Volume) -> None:
    volume.update(actions=[Volume.status.set('in-use'), Volume.attachment_count.set(1)])
    migrate(volume)
    assert volume.reload().status == 'in-use'
    simulation.settle()
    assert (volume.reload().status, volume.reload().migration_status) == ('in-use', 'error')
    [message] = Message.scan()
    assert 'detach it first' in message.user_message


@pytest.mark.parametrize('host', [BIG, 'cinderless@big'])
def test_where_it_is_already(volume: Volume, host: str) -> None:
    with pytest.raises(errors.InvalidVolume, match='must be different'):
        migrate(volume, host)


@pytest.mark.parametrize('host', ['nope@x', 'cinderless@slow'])
def test_unknown_host(volume: Volume, host: str) -> None:
    with pytest.raises(errors.InvalidHost, match=f"No available service named '{host}'"):
        migrate(volume, host)


def test_host_or_cluster(volume: Volume) -> None:
    for host, cluster in (('a', 'b'), (None, None)):
        with pytest.raises(errors.InvalidInput, match='One and only one'):
            migrate(volume, host, cluster=cluster)


def test_with_snapshots(simulation: Simulation, volume: Volume) -> None:
    create_snapshot(context(), volume)
    simulation.settle()
    with pytest.raises(errors.InvalidVolume, match='have snapshots'):
        migrate(volume)


# Retype


def test_retype_in_place(simulation: Simulation, data: Data, volume: Volume) -> None:
    wanted = make_type('plain')
    moves.retype(context(), volume.id, 'plain', 'never')
    assert volume.reload().status == 'retyping'
    assert usage(wanted.id) == (1, 5)
    [move] = simulation.settle()
    assert move.path == ['PlanMove', 'IsMoved', 'Moved']
    assert (volume.reload().volume_type_id, volume.reload().status) == (wanted.id, 'available')
    assert (usage(wanted.id), usage(volume.volume_type_id)) == ((1, 5), (0, 0))
    check(simulation, data)


def test_retype_by_the_driver(simulation: Simulation, data: Data, volume: Volume) -> None:
    simulation.big.retype = 'done'
    make_type('tuned', **{'vendor:speed': '7'})
    moves.retype(context(), volume.id, 'tuned', 'never')
    simulation.settle()
    assert f'retype volume-{volume.id}' in simulation.big.calls
    check(simulation, data)


def test_retype_to_another_backend(simulation: Simulation, data: Data, volume: Volume, original: Disk) -> None:
    wanted = make_type('fast', volume_backend_name='fast')
    moves.retype(context(), volume.id, wanted.id, 'on-demand')
    move, _ = simulation.settle()
    assert move.path == MOVED
    volume = volume.reload()
    assert (volume.host, volume.volume_type_id, volume.migration_status) == (FAST, wanted.id, 'success')
    assert data.of(volume).same(original)
    assert (usage(wanted.id), usage(volume_types.default(context()).id)) == ((1, 5), (0, 0))
    check(simulation, data)


def test_a_driver_that_cannot_has_it_copied(simulation: Simulation, data: Data, volume: Volume, original: Disk) -> None:
    simulation.big.retype = 'refused'
    make_type('other', **{'vendor:disk': 'ssd'})
    moves.retype(context(), volume.id, 'other', 'on-demand')
    move, _ = simulation.settle()
    assert move.path == MOVED
    assert volume.reload().host == BIG
    assert data.of(volume).same(original)
    check(simulation, data)


def test_policy_never(simulation: Simulation, data: Data, volume: Volume) -> None:
    wanted = make_type('fast', volume_backend_name='fast')
    moves.retype(context(), volume.id, 'fast', 'never')
    [move] = simulation.settle()
    assert move.path == ['PlanMove', 'FailMove']
    volume = volume.reload()
    assert (volume.host, volume.status, volume.migration_status) == (BIG, 'available', None)
    assert volume.volume_type_id != wanted.id
    assert usage(wanted.id) == (0, 0)
    [message] = Message.scan()
    assert message.action_id == '112'
    check(simulation, data)


def test_retype_fails_where_the_driver_fails(simulation: Simulation, data: Data, volume: Volume) -> None:
    simulation.big.retype = 'done'
    simulation.big.fail_for_good('retype')
    make_type('tuned', **{'vendor:speed': '7'})
    moves.retype(context(), volume.id, 'tuned', 'on-demand')
    simulation.settle()
    assert volume.reload().status == 'available'
    check(simulation, data)


def test_deleted_by_force_while_it_is_retyped(simulation: Simulation, data: Data, volume: Volume) -> None:
    wanted = make_type('plain')
    moves.retype(context(), volume.id, 'plain', 'never')
    volumes.delete(context('admin'), volume.id, force=True)
    simulation.settle()
    assert usage(wanted.id) == (0, 0)
    check(simulation, data)


def test_over_the_quota_of_the_type(simulation: Simulation, volume: Volume) -> None:
    wanted = make_type('scarce')
    quotas.update('project', {'volumes_scarce': 0})
    with pytest.raises(errors.VolumeLimitExceeded):
        moves.retype(context(), volume.id, 'scarce', 'never')
    assert volume.reload().status == 'available'
    assert usage(wanted.id) == (0, 0)


@pytest.mark.parametrize('status', ['error', 'retyping', 'maintenance', 'extending'])
def test_retype_in_another_status(volume: Volume, status: str) -> None:
    make_type('plain')
    volume.update(actions=[Volume.status.set(status)])
    with pytest.raises(errors.InvalidVolume, match='Retype needs volume to be in available or in-use'):
        moves.retype(context(), volume.id, 'plain', 'never')


def test_retype_to_the_same(volume: Volume) -> None:
    with pytest.raises(errors.InvalidVolume, match='requested type has to be different'):
        moves.retype(context(), volume.id, '__DEFAULT__', 'never')


def test_encryption_cannot_change(volume: Volume) -> None:
    wanted = make_type('sealed')
    wanted.update(actions=[VolumeType.encryption.set({'provider': 'luks', 'cipher': 'aes', 'key_size': 256})])
    volume_types.forget()
    with pytest.raises(errors.InvalidVolume, match='encrypt differently'):
        moves.retype(context(), volume.id, 'sealed', 'on-demand')
