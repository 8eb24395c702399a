"""The reconciler: what it starts, what it leaves alone, and when it gives up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import Backup, Message, Snapshot, Volume, base
from chalicelib.operations import volumes
from chalicelib.rules import workflows
from chalicelib.rules.workflows import WaitsFor
from chalicelib.tasks import reconcile
from tests import invariants
from tests.factories import context, create_snapshot, create_volume, stored_volume
from tests.world import World


def abort(world: World) -> None:
    """Stop every execution that runs."""
    for execution in world.executions.values():
        if execution.status == 'RUNNING':
            execution.status = 'ABORTED'


def test_nothing_is_overdue_before_its_first_deadline(world: World) -> None:
    create_volume(context(), 1)
    world.queue.clear()
    reconcile.run({})
    assert world.executions == {}


def test_first_deadline_is_short_whatever_the_work_takes(world: World) -> None:
    volume = create_volume(context(), 1)
    assert base.after(0) < volume.deadline < base.after(base.START_DEADLINE + 1)
    assert workflows.VOLUME['create'].deadline > base.START_DEADLINE


def test_work_whose_message_was_lost_is_started_under_its_own_name(world: World) -> None:
    create_volume(context(), 1)
    [message] = world.queue
    world.queue.clear()
    world.reconcile()
    assert len(world.executions) == 1
    world.queue.append(message)
    world.deliver()
    assert len(world.executions) == 1


def test_work_that_runs_is_left_to_it_until_the_rows_deadline(world: World) -> None:
    volume = create_volume(context(), 1)
    world.deliver()
    world.reconcile()
    assert len(world.executions) == 1
    assert volume.reload().deadline > base.after(workflows.VOLUME['create'].deadline - 60)


def test_work_whose_execution_died_is_started_anew_under_another_name(world: World) -> None:
    volume = create_volume(context(), 1)
    world.deliver()
    abort(world)
    world.reconcile()
    assert len(world.executions) == 2
    world.settle()
    assert volume.reload().status == 'available'
    invariants.check(world)


def test_work_that_dies_three_times_is_given_up(world: World) -> None:
    volume = create_volume(context(), 1)
    world.deliver()
    for _ in range(reconcile.ATTEMPTS):
        abort(world)
        world.reconcile()
    assert len(world.executions) == reconcile.ATTEMPTS
    assert volume.reload().status == 'error'
    [message] = Message.scan()
    assert 'could not finish this' in message.user_message
    invariants.check(world)


@pytest.mark.parametrize(
    ('ask', 'status'),
    [
        (lambda volume: volumes.delete(context(), volume.id), 'error_deleting'),
        (lambda volume: volumes.extend(context(), volume.id, 9), 'available'),
    ],
    ids=['delete', 'extend'],
)
def test_giving_up_ends_in_the_rows_failure(world: World, ask: Any, status: str) -> None:
    volume = create_volume(context(), 1)
    world.settle()
    ask(volume)
    world.deliver()
    for _ in range(reconcile.ATTEMPTS):
        abort(world)
        world.reconcile()
    assert volume.reload().status == status
    invariants.check(world)


def test_giving_up_a_snapshot(world: World) -> None:
    volume = create_volume(context(), 1)
    world.settle()
    snapshot = create_snapshot(context(), volume)
    world.deliver()
    for _ in range(reconcile.ATTEMPTS):
        abort(world)
        world.reconcile()
    assert snapshot.reload().status == 'error'
    invariants.check(world)


def test_a_worker_out_of_reach_is_asked_again_by_the_next_call(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from chalicelib import aws, errors

    volume = create_volume(context(), 1)
    world.deliver()
    for _ in range(reconcile.ATTEMPTS - 1):
        abort(world)
        world.reconcile()
    abort(world)
    with monkeypatch.context() as patch:
        patch.setattr(
            aws, 'invoke', lambda *_: (_ for _ in ()).throw(errors.BackendUnavailable(backend='w', reason='r'))
        )
        world.reconcile()
    assert volume.reload().status == 'creating'
    world.reconcile()
    assert volume.reload().status == 'error'


def test_an_execution_that_failed_is_taken_up_at_once(world: World) -> None:
    """EventBridge tells of it; nobody waits for the deadline."""
    volume = create_volume(context(), 1)
    world.deliver()
    [(arn, execution)] = world.executions.items()
    abort(world)
    detail = {'executionArn': arn, 'status': 'ABORTED', 'input': json.dumps(execution.payload)}
    reconcile.run({'source': 'aws.states', 'detail': detail})
    assert len(world.executions) == 2
    world.settle()
    assert volume.reload().status == 'available'


@pytest.mark.parametrize(
    'payload', [{}, {'resource': 'planet'}, {'resource': 'volume', 'project_id': 'p', 'id': 'gone'}]
)
def test_an_execution_without_a_record_is_no_business_of_ours(world: World, payload: dict[str, str]) -> None:
    reconcile.run({'detail': {'executionArn': 'arn', 'input': json.dumps(payload)}})
    assert world.executions == {}


def test_one_record_that_cannot_be_brought_on_keeps_no_other_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = create_volume(context(), 1), create_volume(context(), 1)
    world.queue.clear()
    follow = reconcile._follow_execution

    def failing(record: Any, row: Any) -> None:
        if record.id == first.id:
            raise RuntimeError('a bug')
        follow(record, row)

    monkeypatch.setitem(reconcile._FOLLOW, WaitsFor.EXECUTION, failing)  # type: ignore[index]
    world.reconcile()
    world.settle()
    assert (first.reload().status, second.reload().status) == ('creating', 'available')


def test_a_call_does_a_bounded_amount_of_work(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, 'LIMIT', 3)
    for _ in range(5):
        create_volume(context(), 1)
    world.queue.clear()
    world.reconcile()
    assert len(world.executions) == 3
    world.settle()
    world.reconcile()
    assert len(world.executions) == 5


def test_a_status_that_waits_for_its_user_is_left_alone(world: World) -> None:
    volume = stored_volume(
        status='attaching', in_flight='1', deadline=base.after(-1), owner='req', operation={'action': 'reserve'}
    )
    world.reconcile()
    volume = volume.reload()
    assert (volume.status, volume.in_flight) == ('attaching', None)


def backing_up(backup_facts: dict[str, Any]) -> Volume:
    volume = stored_volume(
        status='backing-up',
        previous_status='in-use',
        in_flight='1',
        deadline=base.after(-1),
        owner='req',
        operation={'action': 'backup', 'backup_id': 'b'},
    )
    Backup('project', 'b', created_at=base.now(), user_id='u', volume_id=volume.id, size=1, **backup_facts).save()
    return volume


def test_a_volume_held_for_a_backup_waits_as_long_as_that_is_under_way(world: World) -> None:
    volume = backing_up({'status': 'creating', 'in_flight': '1', 'deadline': base.after(2 * 24 * 3600)})
    world.reconcile()
    assert volume.reload().status == 'backing-up'
    assert volume.reload().deadline > base.now()


def test_a_volume_left_behind_by_its_backup_gets_its_status_back(world: World) -> None:
    volume = backing_up({'status': 'available'})
    world.reconcile()
    volume = volume.reload()
    assert (volume.status, volume.in_flight, volume.operation) == ('in-use', None, None)


def test_snapshots_of_a_cascade_need_no_volume_to_be_brought_on(world: World) -> None:
    """The cascade was accepted, and the volume was forced out of its status since."""
    volume = create_volume(context(), 1)
    world.settle()
    snapshot = create_snapshot(context(), volume)
    world.settle()
    volumes.delete(context(), volume.id, cascade=True)
    assert snapshot.reload().status == 'deleting'
    volumes.reset_status(context('admin'), volume.id, 'available', None, None)
    world.queue.clear()
    world.reconcile()
    world.settle()
    assert list(Snapshot.scan()) == []
    invariants.check(world)


def test_a_missing_record_of_another_kind_is_not_taken_for_work_that_has_ended(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the record's own absence says that there is nothing left to do."""
    create_volume(context(), 1)
    world.queue.clear()

    def of_a_missing_type(_: object) -> None:
        raise errors.VolumeTypeNotFound(id='some-type')

    monkeypatch.setattr(reconcile, '_bring_on', of_a_missing_type)
    world.reconcile()
    assert 'could not be continued' in caplog.text
    assert 'some-type' in caplog.text
