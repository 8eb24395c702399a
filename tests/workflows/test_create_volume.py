"""Every way through create_volume: the states it passes, and what is left of it."""

from __future__ import annotations

import contextlib

import pytest

from chalicelib import errors
from chalicelib.models import Backup, Message, Pool, Snapshot, Volume, base
from chalicelib.operations import volumes
from chalicelib.tasks import backends, executions, report_pools
from tests import invariants
from tests.factories import context, create_snapshot, create_volume
from tests.world import BIG, FAST, World

CALLER = context()

HAPPY = ['Schedule', 'Provision']


def made(world: World, size: int = 1, **facts: object) -> Volume:
    """A volume that is available."""
    volume = create_volume(CALLER, size, **facts)
    world.settle()
    volume = volume.reload()
    assert volume.status == 'available'
    return volume


def message_of(volume: Volume) -> Message:
    [message] = [one for one in Message.query(volume.project_id) if one.resource_uuid == volume.id]
    return message


def test_happy_path(world: World) -> None:
    volume = create_volume(CALLER, 5)
    [execution] = world.settle()
    assert execution.path == HAPPY
    assert execution.transitions <= 5
    volume = volume.reload()
    assert (volume.status, volume.host, volume.availability_zone) == ('available', BIG, 'nova')
    assert (volume.provider_id, volume.shared_targets) == (f'lun-{volume.id}', False)
    assert volume.launched_at
    assert world.big.objects[f'volume-{volume.id}'].size == 5
    invariants.check(world)


def test_payload_carries_ids_only(world: World) -> None:
    create_volume(CALLER, 5, name='secret name', metadata={'key': 'secret'})
    [execution] = world.settle()
    assert 'secret' not in str(execution.payload)
    assert set(execution.payload) == {*executions.KEYS, executions.RELATED, 'execution'}


def test_next_candidate_after_a_failure(world: World) -> None:
    world.big.fail('create_volume', world.big.full(5))
    volume = create_volume(CALLER, 5)
    [execution] = world.settle()
    assert execution.path == ['Schedule', 'Provision', 'Reschedule', 'Provision']
    assert volume.reload().host == FAST
    assert world.big.objects == {}
    assert list(Message.scan()) == []
    invariants.check(world)


@pytest.mark.parametrize(
    'fault',
    [
        errors.BackendUnavailable(backend='big', reason='no route to host'),
        errors.BackendMisconfigured(backend='big', reason='no key'),
        RuntimeError('a bug'),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_any_error_of_a_driver_lets_the_next_candidate_try(world: World, fault: Exception) -> None:
    world.big.fail_for_good('create_volume', fault)
    volume = create_volume(CALLER, 5)
    world.settle()
    assert volume.reload().host == FAST
    world.report()
    invariants.check(world)


def test_all_candidates_fail(world: World) -> None:
    world.big.fail('create_volume', world.big.full(5))
    world.fast.fail_for_good('create_volume')
    volume = create_volume(CALLER, 5)
    [execution] = world.settle()
    assert execution.path == ['Schedule', 'Provision', 'Reschedule', 'Provision', 'Reschedule', 'FailCreate']
    volume = volume.reload()
    assert (volume.status, volume.host) == ('error', None)
    message = message_of(volume)
    assert (message.action_id, message.detail_id) == ('001', '003')
    assert 'already tried for this request' in message.user_message
    assert 'no route to host' not in message.user_message
    assert 'no route to host' in message.explanation
    assert 'IgnoreAttemptedHostsFilter' in message.explanation
    world.report()
    invariants.check(world)


def test_nobody_has_room(world: World) -> None:
    volume = create_volume(CALLER, 500)
    [execution] = world.settle()
    assert execution.path == ['Schedule', 'FailCreate']
    assert volume.reload().status == 'error'
    assert '2 pools: not enough free space for 500 GiB' in message_of(volume).user_message
    invariants.check(world)


def test_an_error_volume_keeps_its_quota_until_it_is_deleted_and_is_then_gone_at_once(world: World) -> None:
    volume = create_volume(CALLER, 500)
    world.settle()
    volumes.delete(context(), volume.id)
    assert world.queue == []
    with pytest.raises(errors.VolumeNotFound):
        volume.reload()
    invariants.check(world)


def test_pools_fill_and_then_refuse(world: World) -> None:
    made_sizes = [create_volume(context(project_id=f'p{number}'), 10).project_id for number in range(14)]
    world.settle()
    found = [volume.status for volume in Volume.scan()]
    assert (found.count('available'), found.count('error')) == (12, 2)
    assert len(made_sizes) == 14
    invariants.check(world)


def test_stale_view_of_a_pool_loses_its_claim_to_the_record(world: World) -> None:
    """Another process filled the pool; what this one remembers is five seconds old."""
    from chalicelib.operations import pools

    pools.states()
    Pool(base.GLOBAL, BIG).update(actions=[Pool.claimable_gb.set(3), Pool.allocated_gb.set(0)])
    volume = create_volume(CALLER, 5)
    [execution] = world.settle()
    assert execution.path == HAPPY
    assert volume.reload().host == FAST


def test_room_that_this_process_has_not_heard_of_yet(world: World) -> None:
    """Another process deleted volumes; the scheduler reads the records again before it refuses a volume."""
    from chalicelib.operations import pools

    for name in (BIG, FAST):
        Pool(base.GLOBAL, name).update(actions=[Pool.claimable_gb.set(0)])
    pools.states(fresh=True)
    Pool(base.GLOBAL, FAST).update(actions=[Pool.claimable_gb.set(20)])
    volume = create_volume(CALLER, 5)
    world.settle()
    assert volume.reload().host == FAST


@pytest.mark.parametrize('verb', ['delete_volume'])
def test_what_cannot_be_undone_is_removed_when_the_backend_answers_again(world: World, verb: str) -> None:
    """The driver made the volume, its worker was cut off, and the backend cannot be reached for the undo either."""
    world.big.fail(verb, world.big.unavailable())
    volume = create_volume(CALLER, 5)
    world.deliver()
    [execution] = world.executions.values()
    world.work('schedule', execution.payload)
    placed = {**execution.payload, 'placed': {'host': BIG}}
    placed_volume = volume.reload()
    backends.driver(placed_volume).create_volume(backends.volume_ref(placed_volume))  # and the worker is cut off
    world.work('reschedule', {**placed, 'error': {'Error': 'States.Timeout', 'Cause': ''}})
    assert f'volume-{volume.id}' in world.big.objects
    assert Pool.get(base.GLOBAL, BIG).claimable_gb == 95
    world.settle()
    world.report()
    assert world.big.objects == {}
    assert not Pool.get(base.GLOBAL, BIG).leftovers
    world.report()
    assert Pool.get(base.GLOBAL, BIG).claimable_gb == 100
    invariants.check(world)


def test_from_snapshot_stays_where_its_volume_is(world: World) -> None:
    source = made(world, 2)
    snapshot = create_snapshot(CALLER, source)
    world.settle()
    volume = create_volume(CALLER, 3, snapshot_id=snapshot.id)
    assert Snapshot.find('project', snapshot.id).reader_count == 1
    world.settle()
    volume = volume.reload()
    assert (volume.status, volume.host, volume.snapshot_id) == ('available', source.host, snapshot.id)
    assert world.big.objects[f'volume-{volume.id}'].origin == f'snapshot-{snapshot.id}'
    invariants.check(world)


def test_clone_of_a_volume_in_use_takes_its_size(world: World) -> None:
    source = made(world, 2)
    source.update(actions=[Volume.status.set('in-use')])
    volume = create_volume(CALLER, None, source_volid=source.id)
    world.settle()
    assert volume.reload().size == 2
    assert world.big.objects[f'volume-{volume.id}'].origin == f'volume-{source.id}'


def test_a_source_that_is_gone_on_its_backend_fails_without_another_candidate(world: World) -> None:
    source = made(world, 2)
    volume = create_volume(CALLER, 2, source_volid=source.id)
    del world.big.objects[f'volume-{source.id}']
    [execution] = world.settle()
    assert execution.path == ['Schedule', 'Provision', 'FailCreate']
    assert volume.reload().status == 'error'
    assert source.reload().reader_count == 0
    message = message_of(volume)
    assert (message.action_id, message.detail_id) == ('008', '012')


def test_a_failing_source_backend_leaves_no_reader_behind(world: World) -> None:
    source = made(world, 2)
    world.big.fail_for_good('create_cloned_volume')
    volume = create_volume(CALLER, 2, source_volid=source.id)
    [execution] = world.settle()
    assert execution.path == ['Schedule', 'Provision', 'Reschedule', 'FailCreate']
    assert volume.reload().status == 'error'
    world.report()
    invariants.check(world)


def test_a_message_that_comes_often_starts_one_execution(world: World) -> None:
    create_volume(CALLER, 1)
    world.deliver(times=3)
    assert len(world.executions) == 1
    world.settle()
    invariants.check(world)


def test_a_message_that_comes_after_the_end_changes_nothing(world: World) -> None:
    volume = create_volume(CALLER, 1)
    [message] = world.queue
    world.settle()
    before, calls = volume.reload().revision, list(world.big.calls)
    world.executions.clear()
    world.queue.append(message)
    [execution] = world.settle()
    assert execution.path == ['Schedule', 'Superseded']
    assert (volume.reload().revision, world.big.calls) == (before, calls)


def test_two_executions_of_one_request_make_one_volume(world: World) -> None:
    """The reconciler started a second one while the first was merely slow."""
    volume = create_volume(CALLER, 1)
    world.deliver()
    [first] = world.executions.values()
    for task in ('schedule', 'schedule', 'provision'):
        world.work(task, {**first.payload, 'placed': {'host': BIG}})
    with pytest.raises(errors.StateChanged):
        world.work('provision', {**first.payload, 'placed': {'host': BIG}})
    assert first.run() == 'SUCCEEDED'
    assert volume.reload().status == 'available'
    invariants.check(world)


def test_a_late_provision_of_a_volume_that_moved_on_undoes_itself(world: World) -> None:
    volume = create_volume(CALLER, 1)
    world.deliver()
    [execution] = world.executions.values()
    world.work('schedule', execution.payload)
    late = {**execution.payload, 'placed': {'host': BIG}}

    def move(name: str) -> contextlib.AbstractContextManager[None]:
        """The volume is placed elsewhere while the driver works."""
        if name == 'cinderless@big create_volume':
            Volume('project', volume.id).update(actions=[Volume.host.set(FAST)])
        return contextlib.nullcontext()

    world.around = move
    with pytest.raises(errors.StateChanged):
        world.work('provision', late)
    assert world.big.objects == {}


def test_deleted_while_it_is_being_placed(world: World) -> None:
    """Cinder removes a volume that has no host at once; its workflow finds nothing to do."""
    volume = create_volume(CALLER, 1)
    world.deliver()
    volumes.delete(context(), volume.id)
    [execution] = world.run_machines()
    assert execution.path == ['Schedule', 'Superseded']
    invariants.check(world)


def test_force_deleted_while_it_is_being_made(world: World) -> None:
    volume = create_volume(CALLER, 1)
    world.deliver()
    [execution] = world.executions.values()
    world.work('schedule', execution.payload)
    volumes.delete(context('admin'), volume.id, force=True)
    world.settle()
    assert execution.path == ['Schedule', 'Superseded']
    invariants.check(world)


def test_a_queue_out_of_reach_does_not_lose_the_request(world: World) -> None:
    world.sending_fails = True
    volume = create_volume(CALLER, 1)
    assert world.queue == []
    world.sending_fails = False
    world.reconcile()
    world.settle()
    assert volume.reload().status == 'available'
    invariants.check(world)


def test_zone_of_the_type_is_chosen_by_the_scheduler(world: World) -> None:
    from chalicelib.operations import volume_types

    world.fast.availability_zone = 'west'
    world.report()
    west = volume_types.create(
        context('admin'),
        name='west',
        description=None,
        is_public=True,
        extra_specs={'RESKEY:availability_zones': 'west,moon'},
    )
    volume = create_volume(CALLER, 1, volume_type=west.id)
    assert volume.availability_zone is None
    world.settle()
    assert (volume.reload().host, volume.reload().availability_zone) == (FAST, 'west')


def test_affinity_hints(world: World) -> None:
    first = made(world, 1)
    volume = create_volume(CALLER, 1, scheduler_hints={'different_host': [first.id]})
    other = create_volume(CALLER, 1, scheduler_hints={'same_host': first.id})
    world.settle()
    assert first.host == BIG
    assert (volume.reload().host, other.reload().host) == (FAST, BIG)


def stored_backup(**facts: object) -> Backup:
    usual = {'created_at': base.now(), 'user_id': 'u', 'volume_id': 'v', 'size': 2, 'status': 'available'}
    backup = Backup('project', 'b', **{**usual, **facts})
    backup.save()
    return backup


def test_a_volume_for_a_restore_is_handed_over_to_it(world: World) -> None:
    backup = stored_backup()
    volume = create_volume(CALLER, 2, backup_id=backup.id)
    world.deliver()
    [execution] = world.run_machines()
    assert execution.path == HAPPY
    volume, backup = volume.reload(), backup.reload()
    assert (volume.status, volume.in_transit_gb) == ('restoring-backup', 0)
    reading = {'backup_id': 'b', 'backup_project_id': 'project', 'new': True}
    assert volume.operation == {'action': 'restore', 'attempt': 0, **reading}
    assert (backup.status, backup.restore_volume_id, backup.owner) == ('restoring', volume.id, volume.owner)
    message = {
        'action': 'restore',
        'resource': 'backup',
        'id': 'b',
        'project_id': 'project',
        'request_id': volume.owner,
    }
    related = [['Volume', 'project', volume.id], ['VolumeType', '-', volume.volume_type_id]]
    assert world.queue == [{**message, 'related': related}]


def test_a_backup_that_is_busy_by_then_fails_the_volume(world: World) -> None:
    backup = stored_backup()
    volume = create_volume(CALLER, 2, backup_id=backup.id)
    backup.update(actions=[Backup.status.set('deleting')])
    world.deliver()
    [execution] = world.run_machines()
    assert execution.path == [*HAPPY, 'FailCreate']
    assert volume.reload().status == 'error'
    assert 'no longer available' in message_of(volume).user_message
    assert world.big.objects == {}


def test_a_reschedule_that_is_repeated_keeps_its_candidate(world: World) -> None:
    """Its answer was lost, so Step Functions runs it again."""
    volume = create_volume(CALLER, 5)
    world.deliver()
    [execution] = world.executions.values()
    world.work('schedule', execution.payload)
    failed = {**execution.payload, 'placed': {'host': BIG}, 'error': {'Error': 'BackendFull', 'Cause': 'full'}}
    assert [world.work('reschedule', failed) for _ in range(3)] == [{'host': FAST}] * 3
    assert [attempt['host'] for attempt in volume.reload().operation['attempted']] == [BIG]


def test_a_volume_that_was_placed_elsewhere_is_not_completed_by_whoever_made_it_before(world: World) -> None:
    volume = create_volume(CALLER, 5)
    world.deliver()
    [execution] = world.executions.values()
    world.work('schedule', execution.payload)
    before = {**execution.payload, 'placed': {'host': BIG}}
    world.work('reschedule', {**before, 'error': {'Error': 'States.Timeout', 'Cause': ''}})
    with pytest.raises(errors.StateChanged):
        world.work('provision', before)
    assert volume.reload().status == 'creating'
    assert world.fast.objects == {}
    world.settle()
    world.report()
    invariants.check(world)


def test_a_backend_that_answers_again_is_not_left_out_until_its_next_report(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was down when the schedule came, and the schedule comes every five minutes."""
    monkeypatch.setattr(report_pools, 'AGAIN', 0)
    for backend in world.backends.values():
        backend.fail('get_volume_stats', *[backend.unavailable()] * 3)
    world.report()
    volume = create_volume(context(), 1)
    [execution] = world.settle()
    assert execution.path == ['Schedule', 'Provision']
    assert volume.reload().status == 'available'
    invariants.check(world)
