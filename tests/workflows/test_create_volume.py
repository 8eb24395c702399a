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
from tests.simulation import BIG, FAST, Simulation

CALLER = context()

HAPPY = ['Schedule', 'Provision']


def made(simulation: Simulation, size: int = 1, **facts: object) -> Volume:
    """A volume that is available."""
    volume = create_volume(CALLER, size, **facts)
    simulation.settle()
    volume = volume.reload()
    assert volume.status == 'available'
    return volume


def message_of(volume: Volume) -> Message:
    [message] = [one for one in Message.query(volume.project_id) if one.resource_uuid == volume.id]
    return message


def test_happy_path(simulation: Simulation) -> None:
    volume = create_volume(CALLER, 5)
    [execution] = simulation.settle()
    assert execution.path == HAPPY
    assert execution.transitions <= 5
    volume = volume.reload()
    assert (volume.status, volume.host, volume.availability_zone) == ('available', BIG, 'nova')
    assert (volume.provider_id, volume.shared_targets) == (f'lun-{volume.id}', False)
    assert volume.launched_at
    assert simulation.big.objects[f'volume-{volume.id}'].size == 5
    invariants.check(simulation)


def test_payload_carries_ids_only(simulation: Simulation) -> None:
    create_volume(CALLER, 5, name='secret name', metadata={'key': 'secret'})
    [execution] = simulation.settle()
    assert 'secret' not in str(execution.payload)
    assert set(execution.payload) == {*executions.KEYS, executions.RELATED, 'execution'}


def test_next_candidate_after_a_failure(simulation: Simulation) -> None:
    simulation.big.fail('create_volume', simulation.big.full(5))
    volume = create_volume(CALLER, 5)
    [execution] = simulation.settle()
    assert execution.path == ['Schedule', 'Provision', 'Reschedule', 'Provision']
    assert volume.reload().host == FAST
    assert simulation.big.objects == {}
    assert list(Message.scan()) == []
    invariants.check(simulation)


@pytest.mark.parametrize(
    'fault',
    [
        errors.BackendUnavailable(backend='big', reason='no route to host'),
        errors.BackendMisconfigured(backend='big', reason='no key'),
        RuntimeError('a bug'),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_any_error_of_a_driver_lets_the_next_candidate_try(simulation: Simulation, fault: Exception) -> None:
    simulation.big.fail_for_good('create_volume', fault)
    volume = create_volume(CALLER, 5)
    simulation.settle()
    assert volume.reload().host == FAST
    simulation.report()
    invariants.check(simulation)


def test_all_candidates_fail(simulation: Simulation) -> None:
    simulation.big.fail('create_volume', simulation.big.full(5))
    simulation.fast.fail_for_good('create_volume')
    volume = create_volume(CALLER, 5)
    [execution] = simulation.settle()
    assert execution.path == ['Schedule', 'Provision', 'Reschedule', 'Provision', 'Reschedule', 'FailCreate']
    volume = volume.reload()
    assert (volume.status, volume.host) == ('error', None)
    message = message_of(volume)
    assert (message.action_id, message.detail_id) == ('001', '003')
    assert 'already tried for this request' in message.user_message
    assert 'no route to host' not in message.user_message
    assert 'no route to host' in message.explanation
    assert 'IgnoreAttemptedHostsFilter' in message.explanation
    simulation.report()
    invariants.check(simulation)


def test_nobody_has_room(simulation: Simulation) -> None:
    volume = create_volume(CALLER, 500)
    [execution] = simulation.settle()
    assert execution.path == ['Schedule', 'FailCreate']
    assert volume.reload().status == 'error'
    assert '2 pools: not enough free space for 500 GiB' in message_of(volume).user_message
    invariants.check(simulation)


def test_an_error_volume_keeps_its_quota_until_it_is_deleted_and_is_then_gone_at_once(simulation: Simulation) -> None:
    volume = create_volume(CALLER, 500)
    simulation.settle()
    volumes.delete(context(), volume.id)
    assert simulation.queue == []
    with pytest.raises(errors.VolumeNotFound):
        volume.reload()
    invariants.check(simulation)


def test_pools_fill_and_then_refuse(simulation: Simulation) -> None:
    made_sizes = [create_volume(context(project_id=f'p{number}'), 10).project_id for number in range(14)]
    simulation.settle()
    found = [volume.status for volume in Volume.scan()]
    assert (found.count('available'), found.count('error')) == (12, 2)
    assert len(made_sizes) == 14
    invariants.check(simulation)


def test_stale_view_of_a_pool_loses_its_claim_to_the_record(simulation: Simulation) -> None:
    """Another process filled the pool; what this one remembers is five seconds old."""
    from chalicelib.operations import pools

    pools.states()
    Pool(base.GLOBAL, BIG).update(actions=[Pool.claimable_gb.set(3), Pool.allocated_gb.set(0)])
    volume = create_volume(CALLER, 5)
    [execution] = simulation.settle()
    assert execution.path == HAPPY
    assert volume.reload().host == FAST


def test_room_that_this_process_has_not_heard_of_yet(simulation: Simulation) -> None:
    """Another process deleted volumes; the scheduler reads the records again before it refuses a volume."""
    from chalicelib.operations import pools

    for name in (BIG, FAST):
        Pool(base.GLOBAL, name).update(actions=[Pool.claimable_gb.set(0)])
    pools.states(fresh=True)
    Pool(base.GLOBAL, FAST).update(actions=[Pool.claimable_gb.set(20)])
    volume = create_volume(CALLER, 5)
    simulation.settle()
    assert volume.reload().host == FAST


@pytest.mark.parametrize('verb', ['delete_volume'])
def test_what_cannot_be_undone_is_removed_when_the_backend_answers_again(simulation: Simulation, verb: str) -> None:
    """The driver made the volume, its worker was cut off, and the backend cannot be reached for the undo either."""
    simulation.big.fail(verb, simulation.big.unavailable())
    volume = create_volume(CALLER, 5)
    simulation.deliver()
    [execution] = simulation.executions.values()
    simulation.work('schedule', execution.payload)
    placed = {**execution.payload, 'placed': {'host': BIG}}
    placed_volume = volume.reload()
    backends.driver(placed_volume).create_volume(backends.volume_ref(placed_volume))  # and the worker is cut off
    simulation.work('reschedule', {**placed, 'error': {'Error': 'States.Timeout', 'Cause': ''}})
    assert f'volume-{volume.id}' in simulation.big.objects
    assert Pool.get(base.GLOBAL, BIG).claimable_gb == 95
    simulation.settle()
    simulation.report()
    assert simulation.big.objects == {}
    assert not Pool.get(base.GLOBAL, BIG).leftovers
    simulation.report()
    assert Pool.get(base.GLOBAL, BIG).claimable_gb == 100
    invariants.check(simulation)


def test_from_snapshot_stays_where_its_volume_is(simulation: Simulation) -> None:
    source = made(simulation, 2)
    snapshot = create_snapshot(CALLER, source)
    simulation.settle()
    volume = create_volume(CALLER, 3, snapshot_id=snapshot.id)
    assert Snapshot.find('project', snapshot.id).reader_count == 1
    simulation.settle()
    volume = volume.reload()
    assert (volume.status, volume.host, volume.snapshot_id) == ('available', source.host, snapshot.id)
    assert simulation.big.objects[f'volume-{volume.id}'].origin == f'snapshot-{snapshot.id}'
    invariants.check(simulation)


def test_clone_of_a_volume_in_use_takes_its_size(simulation: Simulation) -> None:
    source = made(simulation, 2)
    source.update(actions=[Volume.status.set('in-use')])
    volume = create_volume(CALLER, None, source_volid=source.id)
    simulation.settle()
    assert volume.reload().size == 2
    assert simulation.big.objects[f'volume-{volume.id}'].origin == f'volume-{source.id}'


def test_a_source_that_is_gone_on_its_backend_fails_without_another_candidate(simulation: Simulation) -> None:
    source = made(simulation, 2)
    volume = create_volume(CALLER, 2, source_volid=source.id)
    del simulation.big.objects[f'volume-{source.id}']
    [execution] = simulation.settle()
    assert execution.path == ['Schedule', 'Provision', 'FailCreate']
    assert volume.reload().status == 'error'
    assert source.reload().reader_count == 0
    message = message_of(volume)
    assert (message.action_id, message.detail_id) == ('008', '012')


def test_a_failing_source_backend_leaves_no_reader_behind(simulation: Simulation) -> None:
    source = made(simulation, 2)
    simulation.big.fail_for_good('create_cloned_volume')
    volume = create_volume(CALLER, 2, source_volid=source.id)
    [execution] = simulation.settle()
    assert execution.path == ['Schedule', 'Provision', 'Reschedule', 'FailCreate']
    assert volume.reload().status == 'error'
    simulation.report()
    invariants.check(simulation)


def test_a_message_that_comes_often_starts_one_execution(simulation: Simulation) -> None:
    create_volume(CALLER, 1)
    simulation.deliver(times=3)
    assert len(simulation.executions) == 1
    simulation.settle()
    invariants.check(simulation)


def test_a_message_that_comes_after_the_end_changes_nothing(simulation: Simulation) -> None:
    volume = create_volume(CALLER, 1)
    [message] = simulation.queue
    simulation.settle()
    before, calls = volume.reload().revision, list(simulation.big.calls)
    simulation.executions.clear()
    simulation.queue.append(message)
    [execution] = simulation.settle()
    assert execution.path == ['Schedule', 'Superseded']
    assert (volume.reload().revision, simulation.big.calls) == (before, calls)


def test_two_executions_of_one_request_make_one_volume(simulation: Simulation) -> None:
    """The reconciler started a second one while the first was merely slow."""
    volume = create_volume(CALLER, 1)
    simulation.deliver()
    [first] = simulation.executions.values()
    for task in ('schedule', 'schedule', 'provision'):
        simulation.work(task, {**first.payload, 'placed': {'host': BIG}})
    with pytest.raises(errors.StateChanged):
        simulation.work('provision', {**first.payload, 'placed': {'host': BIG}})
    assert first.run() == 'SUCCEEDED'
    assert volume.reload().status == 'available'
    invariants.check(simulation)


def test_a_late_provision_of_a_volume_that_moved_on_undoes_itself(simulation: Simulation) -> None:
    volume = create_volume(CALLER, 1)
    simulation.deliver()
    [execution] = simulation.executions.values()
    simulation.work('schedule', execution.payload)
    late = {**execution.payload, 'placed': {'host': BIG}}

    def move(name: str) -> contextlib.AbstractContextManager[None]:
        """The volume is placed elsewhere while the driver works."""
        if name == 'cinderless@big create_volume':
            Volume('project', volume.id).update(actions=[Volume.host.set(FAST)])
        return contextlib.nullcontext()

    simulation.around = move
    with pytest.raises(errors.StateChanged):
        simulation.work('provision', late)
    assert simulation.big.objects == {}


def test_deleted_while_it_is_being_placed(simulation: Simulation) -> None:
    """Cinder removes a volume that has no host at once; its workflow finds nothing to do."""
    volume = create_volume(CALLER, 1)
    simulation.deliver()
    volumes.delete(context(), volume.id)
    [execution] = simulation.run_machines()
    assert execution.path == ['Schedule', 'Superseded']
    invariants.check(simulation)


def test_force_deleted_while_it_is_being_made(simulation: Simulation) -> None:
    volume = create_volume(CALLER, 1)
    simulation.deliver()
    [execution] = simulation.executions.values()
    simulation.work('schedule', execution.payload)
    volumes.delete(context('admin'), volume.id, force=True)
    simulation.settle()
    assert execution.path == ['Schedule', 'Superseded']
    invariants.check(simulation)


def test_a_queue_out_of_reach_does_not_lose_the_request(simulation: Simulation) -> None:
    simulation.sending_fails = True
    volume = create_volume(CALLER, 1)
    assert simulation.queue == []
    simulation.sending_fails = False
    simulation.reconcile()
    simulation.settle()
    assert volume.reload().status == 'available'
    invariants.check(simulation)


def test_zone_of_the_type_is_chosen_by_the_scheduler(simulation: Simulation) -> None:
    from chalicelib.operations import volume_types

    simulation.fast.availability_zone = 'west'
    simulation.report()
    west = volume_types.create(
        context('admin'),
        name='west',
        description=None,
        is_public=True,
        extra_specs={'RESKEY:availability_zones': 'west,moon'},
    )
    volume = create_volume(CALLER, 1, volume_type=west.id)
    assert volume.availability_zone is None
    simulation.settle()
    assert (volume.reload().host, volume.reload().availability_zone) == (FAST, 'west')


def test_affinity_hints(simulation: Simulation) -> None:
    first = made(simulation, 1)
    volume = create_volume(CALLER, 1, scheduler_hints={'different_host': [first.id]})
    other = create_volume(CALLER, 1, scheduler_hints={'same_host': first.id})
    simulation.settle()
    assert first.host == BIG
    assert (volume.reload().host, other.reload().host) == (FAST, BIG)


def stored_backup(**facts: object) -> Backup:
    usual = {'created_at': base.now(), 'user_id': 'u', 'volume_id': 'v', 'size': 2, 'status': 'available'}
    backup = Backup('project', 'b', **{**usual, **facts})
    backup.save()
    return backup


def test_a_volume_for_a_restore_is_handed_over_to_it(simulation: Simulation) -> None:
    backup = stored_backup()
    volume = create_volume(CALLER, 2, backup_id=backup.id)
    simulation.deliver()
    [execution] = simulation.run_machines()
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
    assert simulation.queue == [{**message, 'related': related}]


def test_a_backup_that_is_busy_by_then_fails_the_volume(simulation: Simulation) -> None:
    backup = stored_backup()
    volume = create_volume(CALLER, 2, backup_id=backup.id)
    backup.update(actions=[Backup.status.set('deleting')])
    simulation.deliver()
    [execution] = simulation.run_machines()
    assert execution.path == [*HAPPY, 'FailCreate']
    assert volume.reload().status == 'error'
    assert 'no longer available' in message_of(volume).user_message
    assert simulation.big.objects == {}


def test_a_reschedule_that_is_repeated_keeps_its_candidate(simulation: Simulation) -> None:
    """Its answer was lost, so Step Functions runs it again."""
    volume = create_volume(CALLER, 5)
    simulation.deliver()
    [execution] = simulation.executions.values()
    simulation.work('schedule', execution.payload)
    failed = {**execution.payload, 'placed': {'host': BIG}, 'error': {'Error': 'BackendFull', 'Cause': 'full'}}
    assert [simulation.work('reschedule', failed) for _ in range(3)] == [{'host': FAST}] * 3
    assert [attempt['host'] for attempt in volume.reload().operation['attempted']] == [BIG]


def test_a_volume_that_was_placed_elsewhere_is_not_completed_by_whoever_made_it_before(simulation: Simulation) -> None:
    volume = create_volume(CALLER, 5)
    simulation.deliver()
    [execution] = simulation.executions.values()
    simulation.work('schedule', execution.payload)
    before = {**execution.payload, 'placed': {'host': BIG}}
    simulation.work('reschedule', {**before, 'error': {'Error': 'States.Timeout', 'Cause': ''}})
    with pytest.raises(errors.StateChanged):
        simulation.work('provision', before)
    assert volume.reload().status == 'creating'
    assert simulation.fast.objects == {}
    simulation.settle()
    simulation.report()
    invariants.check(simulation)


def test_a_backend_that_answers_again_is_not_left_out_until_its_next_report(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was down when the schedule came, and the schedule comes every five minutes."""
    monkeypatch.setattr(report_pools, 'AGAIN', 0)
    for backend in simulation.backends.values():
        backend.fail('get_volume_stats', *[backend.unavailable()] * 3)
    simulation.report()
    volume = create_volume(context(), 1)
    [execution] = simulation.settle()
    assert execution.path == ['Schedule', 'Provision']
    assert volume.reload().status == 'available'
    invariants.check(simulation)
