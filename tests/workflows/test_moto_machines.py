"""The machines in Step Functions' own terms: moto's interpreter runs the files, tasks come through Lambda's Invoke.

The other scenarios run in ``tests/machine.py``, which is faster; these show that both agree.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib import aws, config, errors
from chalicelib.models import Volume
from chalicelib.operations import snapshots, volumes
from chalicelib.rules.executions import execution_name
from tests import invariants
from tests.factories import context, create_snapshot, create_volume
from tests.machine import FOLDER, definition
from tests.simulation import Simulation

REAL = {name: getattr(aws, name) for name in ('start_workflow', 'execution_status')}
ACCOUNT = 'arn:aws:{service}:us-east-1:123456789012:{kind}:test-'

#: Seconds after which an execution counts as hanging.
PATIENCE = 60


@pytest.fixture
def tables(tables_of_moto: None) -> None:
    """Those of moto, like the machines."""


@pytest.fixture
def machines(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulation]:
    """The simulation, with executions in moto."""
    from moto import mock_aws

    monkeypatch.setenv('STATE_MACHINE_PREFIX', ACCOUNT.format(service='states', kind='stateMachine'))
    monkeypatch.setenv('EXECUTION_PREFIX', ACCOUNT.format(service='states', kind='execution'))
    config.settings.cache_clear()
    aws.client.cache_clear()
    for name, function in REAL.items():
        monkeypatch.setattr(aws, name, function)
    _answer_invokes(simulation, monkeypatch)
    with mock_aws(config={'stepfunctions': {'execute_state_machine': True}, 'lambda': {'use_docker': False}}):
        yield simulation
    config.settings.cache_clear()
    aws.client.cache_clear()


def _answer_invokes(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    from moto.awslambda_simple import models as simple
    from moto.core.base_backend import BackendDict

    class Worker(simple.LambdaSimpleBackend):
        def invoke(
            self, function_name: str, qualifier: Any, body: Any, headers: Any, response_headers: dict[str, Any]
        ) -> bytes:
            event = json.loads(body)
            try:
                return json.dumps(simulation.work(event['task'], event['input'])).encode()
            except Exception as error:
                response_headers['x-amz-function-error'] = 'Unhandled'
                trace = traceback.format_exc().splitlines()
                failure = {'errorMessage': str(error), 'errorType': type(error).__name__, 'stackTrace': trace}
                return json.dumps(failure).encode()

    monkeypatch.setattr(simple, 'lambda_simple_backends', BackendDict(Worker, 'lambda'))


def make_machine(name: str) -> None:
    function = 'arn:aws:lambda:us-east-1:123456789012:function:worker'
    text = json.dumps(definition(name)).replace('${VolumeWorkerArn}', function).replace('${BackupWorkerArn}', function)
    role = 'arn:aws:iam::123456789012:role/machines'
    aws.client('stepfunctions').create_state_machine(name=f'test-{name}', definition=text, roleArn=role)


def run(simulation: Simulation, machine: str) -> list[str]:
    """Deliver what is queued and wait for the one execution that it starts; the states it entered."""
    make_machine(machine)
    [message] = simulation.queue
    simulation.deliver(times=2)
    client = aws.client('stepfunctions')
    [execution] = client.list_executions(stateMachineArn=config.settings().state_machine_prefix + machine)['executions']
    name = execution_name(message['action'], message['id'], message['request_id'])
    deadline = time.monotonic() + PATIENCE
    while aws.execution_status(aws.execution_arn(machine, name)) == 'RUNNING' and time.monotonic() < deadline:
        time.sleep(0.01)
    history = client.get_execution_history(executionArn=execution['executionArn'], maxResults=1000)['events']
    return [event['stateEnteredEventDetails']['name'] for event in history if 'stateEnteredEventDetails' in event]


def available_volume(simulation: Simulation) -> Volume:
    """A volume whose making does not matter here."""
    volume = create_volume(context(), 5)
    [message] = simulation.queue
    simulation.queue.clear()
    placed = simulation.work('schedule', message)
    simulation.work('provision', {**message, 'placed': placed})
    return volume.reload()


def test_create_volume_over_two_candidates(machines: Simulation) -> None:
    machines.big.fail('create_volume', RuntimeError('a bug'))
    volume = create_volume(context(), 5)
    path = run(machines, 'create_volume')
    assert path == ['Schedule', 'Provision', 'Reschedule', 'Provision']
    assert volume.reload().status == 'available'


def test_create_volume_without_room(machines: Simulation) -> None:
    volume = create_volume(context(), 500)
    assert run(machines, 'create_volume') == ['Schedule', 'FailCreate']
    assert volume.reload().status == 'error'
    invariants.check(machines)


def test_superseded(machines: Simulation) -> None:
    volume = create_volume(context(), 5)
    volumes.delete(context(), volume.id)
    assert run(machines, 'create_volume') == ['Schedule', 'Superseded']


def test_delete_volume_in_two_calls(machines: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = available_volume(machines)
    volumes.delete(context(), volume.id)
    answers = iter([{'done': False}])
    work = machines.work
    monkeypatch.setattr(machines, 'work', lambda task, payload: next(answers, None) or work(task, payload))
    assert run(machines, 'delete_volume') == ['DeleteVolume', 'IsDeleted', 'DeleteVolume', 'IsDeleted', 'Deleted']
    invariants.check(machines)


def _request(simulation: Simulation, kind: str) -> Callable[[], object]:
    """Return a request, with the fault that awaits it."""
    volume = available_volume(simulation)
    if kind == 'extend_volume':
        simulation.big.fail('extend_volume', RuntimeError('a bug'))
        return lambda: volumes.extend(context(), volume.id, 8)
    if kind == 'create_snapshot':
        simulation.big.fail('create_snapshot', RuntimeError('a bug'))
        return lambda: create_snapshot(context(), volume)
    snapshot = create_snapshot(context(), volume)
    simulation.work('create_snapshot', simulation.queue.pop())
    simulation.big.fail('delete_snapshot', errors.SnapshotIsBusy(id=snapshot.id, reason='a clone'))
    return lambda: snapshots.delete(context(), snapshot.id)


@pytest.mark.parametrize(
    ('machine', 'path'),
    [
        ('extend_volume', ['ExtendVolume', 'FailExtend', 'HasServers', 'Extended']),
        ('create_snapshot', ['CreateSnapshot', 'FailCreateSnapshot']),
        ('delete_snapshot', ['DeleteSnapshot', 'CancelDeleteSnapshot']),
    ],
)
def test_failures(machines: Simulation, machine: str, path: list[str]) -> None:
    _request(machines, machine)()
    assert run(machines, machine) == path
    invariants.check(machines)


def test_files_are_where_they_are_rendered_from() -> None:
    assert len(list(FOLDER.glob('*.asl.yaml'))) >= 5
