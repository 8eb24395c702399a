"""The queue's end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chalicelib import aws, tasks
from chalicelib.errors import ServiceUnavailable
from chalicelib.rules import workflows
from chalicelib.rules.executions import run_name
from chalicelib.rules.workflows import MACHINES
from chalicelib.tasks import start
from tests import machine
from tests.simulation import Simulation

MESSAGE = {
    'action': 'create',
    'resource': 'volume',
    'project_id': 'project',
    'id': '0f0e0d0c-0b0a-4908-8706-050403020100',
    'request_id': 'req-00010203-0405-4607-8809-0a0b0c0d0e0f',
}


def batch(*bodies: str) -> dict[str, Any]:
    return {'Records': [{'messageId': f'm{number}', 'body': body} for number, body in enumerate(bodies)]}


def test_name_tells_action_record_and_request(simulation: Simulation) -> None:
    start.run(batch(json.dumps(MESSAGE)))
    [arn] = simulation.executions
    assert arn.endswith('create_volume:create-0f0e0d0c0b0a49088706050403020100-00010203040546078809' + '0a0b0c0d0e0f')
    assert len(arn.rpartition(':')[2]) <= 80


def test_later_attempts_have_names_of_their_own() -> None:
    names = {run_name(MESSAGE, attempt) for attempt in range(4)}
    assert len(names) == 4
    assert all(len(name) <= 80 for name in names)


@pytest.mark.parametrize('resource', workflows.WORKFLOWS)
def test_every_row_with_a_machine_can_be_started(simulation: Simulation, resource: str) -> None:
    rows = {action: row for action, row in workflows.WORKFLOWS[resource].items() if row.machine}
    for action, row in rows.items():
        answer = start.run(batch(json.dumps({**MESSAGE, 'resource': resource, 'action': action})))
        assert answer == {'batchItemFailures': []}
        assert row.machine is not None
        assert list(simulation.executions.values())[-1].machine == row.machine.name


@pytest.mark.parametrize(
    'poison',
    [
        'no JSON',
        '[]',
        '{}',
        json.dumps({**MESSAGE, 'action': 'explode'}),
        json.dumps({**MESSAGE, 'resource': 'planet'}),
        json.dumps({**MESSAGE, 'action': 'reserve'}),
        json.dumps({key: value for key, value in MESSAGE.items() if key != 'id'}),
    ],
)
def test_poison_comes_again_alone(simulation: Simulation, poison: str) -> None:
    answer = start.run(batch(json.dumps(MESSAGE), poison))
    assert answer == {'batchItemFailures': [{'itemIdentifier': 'm1'}]}
    assert len(simulation.executions) == 1


def test_throttling_fails_only_what_it_met(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def throttled(machine: str, name: str, payload: dict[str, Any]) -> str:
        calls.append(name)
        if len(calls) == 2:
            raise ConnectionError('ThrottlingException')
        return name

    monkeypatch.setattr(aws, 'start_workflow', throttled)
    assert start.run(batch(*[json.dumps(MESSAGE)] * 3)) == {'batchItemFailures': [{'itemIdentifier': 'm1'}]}


def test_payload_holds_ids_and_no_more(simulation: Simulation) -> None:
    start.run(batch(json.dumps({**MESSAGE, 'token': 'secret'})))
    [execution] = simulation.executions.values()
    assert execution.payload == {**MESSAGE, 'execution': run_name(MESSAGE)}


def test_payload_has_the_keys_of_related_records(simulation: Simulation) -> None:
    related = [['VolumeType', '-', 't']]
    start.run(batch(json.dumps({**MESSAGE, 'related': related})))
    [execution] = simulation.executions.values()
    assert execution.payload['related'] == related


def test_a_task_that_a_worker_does_not_know_is_retried(simulation: Simulation) -> None:
    """During an update, workers may be older than the state machine or the API that calls them."""
    with pytest.raises(ServiceUnavailable, match="no task 'explode'"):
        tasks.run({'task': 'explode', 'input': {}}, simulation.lambda_context)
    assert all(
        ServiceUnavailable.__name__ in {name for retrier in state['Retry'] for name in retrier['ErrorEquals']}
        for name in MACHINES
        for state in machine.complete(name)['States'].values()
        if state['Type'] == 'Task'
    )


@pytest.mark.parametrize(
    'event',
    [
        {'version': '1.0', 'requestContext': {'functionArn': 'arn:...:cinderless-reconcile'}, 'requestPayload': {}},
        {'version': '0', 'source': 'aws.states', 'detail-type': 'Step Functions Execution Status Change', 'detail': {}},
    ],
)
def test_failed_events_among_moved_dead_letters_are_dropped(simulation: Simulation, event: dict[str, Any]) -> None:
    """Otherwise they would fail five times and be dead letters again."""
    assert start.run(batch(json.dumps(event), json.dumps(MESSAGE))) == {'batchItemFailures': []}
    assert len(simulation.executions) == 1
