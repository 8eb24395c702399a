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
from tests.simulation import Simulation


def abort(simulation: Simulation) -> None:
    """Stop every execution that runs."""
    for execution in simulation.executions.values():
        if execution.status == 'RUNNING':
            execution.status = 'ABORTED'


def test_nothing_is_overdue_before_its_first_deadline(simulation: Simulation) -> None:
    create_volume(context(), 1)
    simulation.queue.clear()
    reconcile.run({})
    assert simulation.executions == {}


def test_first_deadline_is_short_whatever_the_work_takes(simulation: Simulation) -> None:
    volume = create_volume(context(), 1)
    assert base.after(0) < volume.deadline < base.after(base.START_DEADLINE + 1)
    assert workflows.VOLUME['create'].deadline > base.START_DEADLINE


def test_work_whose_message_was_lost_is_started_under_its_own_name(simulation: Simulation) -> None:
    create_volume(context(), 1)
    [message] = simulation.queue
    simulation.queue.clear()
    simulation.reconcile()
    assert len(simulation.executions) == 1
    simulation.queue.append(message)
    simulation.deliver()
    assert len(simulation.executions) == 1


def test_work_that_runs_is_left_to_it_until_the_rows_deadline(simulation: Simulation) -> None:
    volume = create_volume(context(), 1)
    simulation.deliver()
    simulation.reconcile()
    assert len(simulation.executions) == 1
    assert volume.reload().deadline > base.after(workflows.VOLUME['create'].deadline - 60)


def test_work_whose_execution_died_is_started_anew_under_another_name(simulation: Simulation) -> None:
    volume = create_volume(context(), 1)
    simulation.deliver()
    abort(simulation)
    simulation.reconcile()
    assert len(simulation.executions) == 2
    simulation.settle()
    assert volume.reload().status == 'available'
    invariants.check(simulation)


def test_work_that_dies_three_times_is_given_up(simulation: Simulation) -> None:
    volume = create_volume(context(), 1)
    simulation.deliver()
    for _ in range(reconcile.ATTEMPTS):
        abort(simulation)
        simulation.reconcile()
    assert len(simulation.executions) == reconcile.ATTEMPTS
    assert volume.reload().status == 'error'
    [message] = Message.scan()
    assert 'could not finish this' in message.user_message
    invariants.check(simulation)


@pytest.mark.parametrize(
    ('requested', 'status'),
    [
        (lambda volume: volumes.delete(context(), volume.id), 'error_deleting'),
        (lambda volume: volumes.extend(context(), volume.id, 9), 'available'),
    ],
    ids=['delete', 'extend'],
)
def test_giving_up_ends_in_the_rows_failure(simulation: Simulation, requested: Any, status: str) -> None:
    volume = create_volume(context(), 1)
    simulation.settle()
    requested(volume)
    simulation.deliver()
    for _ in range(reconcile.ATTEMPTS):
        abort(simulation)
        simulation.reconcile()
    assert volume.reload().status == status
    invariants.check(simulation)


def test_giving_up_a_snapshot(simulation: Simulation) -> None:
    volume = create_volume(context(), 1)
    simulation.settle()
    snapshot = create_snapshot(context(), volume)
    simulation.deliver()
    for _ in range(reconcile.ATTEMPTS):
        abort(simulation)
        simulation.reconcile()
    assert snapshot.reload().status == 'error'
    invariants.check(simulation)


def test_a_worker_out_of_reach_is_asked_again_by_the_next_call(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chalicelib import aws, errors

    volume = create_volume(context(), 1)
    simulation.deliver()
    for _ in range(reconcile.ATTEMPTS - 1):
        abort(simulation)
        simulation.reconcile()
    abort(simulation)
    with monkeypatch.context() as patch:
        patch.setattr(
            aws, 'invoke', lambda *_: (_ for _ in ()).throw(errors.BackendUnavailable(backend='w', reason='r'))
        )
        simulation.reconcile()
    assert volume.reload().status == 'creating'
    simulation.reconcile()
    assert volume.reload().status == 'error'


def test_an_execution_that_failed_is_taken_up_at_once(simulation: Simulation) -> None:
    """EventBridge reports it; the reconciler does not wait for the deadline."""
    volume = create_volume(context(), 1)
    simulation.deliver()
    [(arn, execution)] = simulation.executions.items()
    abort(simulation)
    detail = {'executionArn': arn, 'status': 'ABORTED', 'input': json.dumps(execution.payload)}
    reconcile.run({'source': 'aws.states', 'detail': detail})
    assert len(simulation.executions) == 2
    simulation.settle()
    assert volume.reload().status == 'available'


@pytest.mark.parametrize(
    'payload', [{}, {'resource': 'planet'}, {'resource': 'volume', 'project_id': 'p', 'id': 'gone'}]
)
def test_an_execution_without_a_record_is_no_business_of_ours(simulation: Simulation, payload: dict[str, str]) -> None:
    reconcile.run({'detail': {'executionArn': 'arn', 'input': json.dumps(payload)}})
    assert simulation.executions == {}


def test_one_record_that_cannot_be_brought_on_keeps_no_other_waiting(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = create_volume(context(), 1), create_volume(context(), 1)
    simulation.queue.clear()
    follow = reconcile._follow_execution

    def failing(record: Any, row: Any) -> None:
        if record.id == first.id:
            raise RuntimeError('a bug')
        follow(record, row)

    monkeypatch.setitem(reconcile._FOLLOW, WaitsFor.EXECUTION, failing)  # type: ignore[index]
    simulation.reconcile()
    simulation.settle()
    assert (first.reload().status, second.reload().status) == ('creating', 'available')


def test_a_call_does_a_bounded_amount_of_work(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, 'LIMIT', 3)
    for _ in range(5):
        create_volume(context(), 1)
    simulation.queue.clear()
    simulation.reconcile()
    assert len(simulation.executions) == 3
    simulation.settle()
    simulation.reconcile()
    assert len(simulation.executions) == 5


def test_a_status_that_waits_for_its_user_is_left_alone(simulation: Simulation) -> None:
    volume = stored_volume(
        status='attaching', in_flight='1', deadline=base.after(-1), owner='req', operation={'action': 'reserve'}
    )
    simulation.reconcile()
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


def test_a_volume_held_for_a_backup_waits_as_long_as_that_is_under_way(simulation: Simulation) -> None:
    volume = backing_up({'status': 'creating', 'in_flight': '1', 'deadline': base.after(2 * 24 * 3600)})
    simulation.reconcile()
    assert volume.reload().status == 'backing-up'
    assert volume.reload().deadline > base.now()


def test_a_volume_left_behind_by_its_backup_gets_its_status_back(simulation: Simulation) -> None:
    volume = backing_up({'status': 'available'})
    simulation.reconcile()
    volume = volume.reload()
    assert (volume.status, volume.in_flight, volume.operation) == ('in-use', None, None)


def test_snapshots_of_a_cascade_need_no_volume_to_be_brought_on(simulation: Simulation) -> None:
    """The cascade was accepted, and the volume was forced out of its status since."""
    volume = create_volume(context(), 1)
    simulation.settle()
    snapshot = create_snapshot(context(), volume)
    simulation.settle()
    volumes.delete(context(), volume.id, cascade=True)
    assert snapshot.reload().status == 'deleting'
    volumes.reset_status(context('admin'), volume.id, 'available', None, None)
    simulation.queue.clear()
    simulation.reconcile()
    simulation.settle()
    assert list(Snapshot.scan()) == []
    invariants.check(simulation)


def test_a_missing_record_of_another_kind_is_not_taken_for_work_that_has_ended(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the record's own absence proves that there is nothing left to do."""
    create_volume(context(), 1)
    simulation.queue.clear()

    def of_a_missing_type(_: object) -> None:
        raise errors.VolumeTypeNotFound(id='some-type')

    monkeypatch.setattr(reconcile, '_continue_work', of_a_missing_type)
    simulation.reconcile()
    assert 'could not be continued' in caplog.text
    assert 'some-type' in caplog.text
