"""The service in one process: tables in a dict, two strict backends, a queue, and workflows that a test runs."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib.context import implied_roles
from local import recorder, workers
from tests import moto_dynamodb, small_dynamodb
from tests.fake_driver import Backend, FakeBackends
from tests.machine import Execution
from tests.small_dynamodb import SmallDynamoDB
from tests.unreliable import Unreliable

for name, value in (('ACCESS_KEY_ID', 'test'), ('SECRET_ACCESS_KEY', 'test'), ('DEFAULT_REGION', 'us-east-1')):
    os.environ.setdefault(f'AWS_{name}', value)

#: Prefix of the ARNs of state machines and executions.
STATES = 'arn:aws:states:us-east-1:123456789012'

FAST, BIG = 'cinderless@fast#pool', 'cinderless@big#pool'


class LambdaContext:
    """A function with time left."""

    milliseconds = 600_000

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


class Killed(BaseException):
    """The process is gone: nothing that it runs may catch this."""


class Simulation:
    """The environment of the code under test. ``around`` runs before and after each of its calls."""

    def __init__(self) -> None:
        self.backends = {
            'cinderless@fast': Backend('cinderless@fast', {'pool': 20}),
            'cinderless@big': Backend('cinderless@big', {'pool': 100}),
        }
        self.queue: list[dict[str, Any]] = []
        self.executions: dict[str, Execution] = {}
        self.lambda_context = LambdaContext()
        self.sending_fails = False
        #: Roles of every user on every project.
        self.roles = implied_roles(['member'])
        #: Seconds that executions have waited between retries, in all.
        self.seconds = 0.0
        self.around: Callable[[str], contextlib.AbstractContextManager[None]] = lambda _: contextlib.nullcontext()
        for backend in self.backends.values():
            backend.around = lambda name: self.around(name)

    @property
    def fast(self) -> Backend:
        return self.backends['cinderless@fast']

    @property
    def big(self) -> Backend:
        return self.backends['cinderless@big']

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from chalicelib import aws
        from chalicelib.operations import cloud
        from chalicelib.tasks import backends

        monkeypatch.setattr(aws, 'enqueue', self.enqueue)
        monkeypatch.setattr(aws, 'start_workflow', self.start_workflow)
        monkeypatch.setattr(aws, 'execution_status', self.execution_status)
        monkeypatch.setattr(aws, 'invoke', self.invoke)
        monkeypatch.setattr(backends, 'configured', lambda: FakeBackends(self.backends))
        monkeypatch.setattr(cloud, 'roles_of', lambda user_id, project_id: self.roles)

    def enqueue(self, message: dict[str, Any]) -> None:
        from chalicelib import errors

        recorder.heard('sqs', 'SendMessage', QueueUrl='/cinderless-work')
        with self.around('sqs SendMessage'):
            if self.sending_fails:
                raise errors.ServiceUnavailable(reason='the queue is out of reach')
            self.queue.append(message)

    def start_workflow(self, machine: str, name: str, payload: dict[str, Any]) -> str:
        from chalicelib import aws

        arn = aws.execution_arn(machine, name)
        recorder.heard('sfn', 'StartExecution', stateMachineArn=f'{STATES}:stateMachine:cinderless-{machine}')
        with self.around('states StartExecution'):
            self.executions.setdefault(arn, Execution(machine, payload, self.work, self.wait))
        return arn

    def wait(self, seconds: float) -> None:
        self.seconds += seconds

    def execution_status(self, arn: str) -> str | None:
        recorder.heard('sfn', 'DescribeExecution', executionArn=f'{STATES}:execution:cinderless-{arn}')
        with self.around('states DescribeExecution'):
            found = self.executions.get(arn)
            return found.status if found else None

    def invoke(self, function: str, task: str, payload: dict[str, Any], *, seconds: float = 27) -> Any:
        for worker in workers.workers_of(task):
            recorder.heard('lambda', 'Invoke', FunctionName=f'cinderless-{worker}')
        with self.around('lambda Invoke'):
            return self.hop(task, payload)

    def hop(self, task: str, payload: dict[str, Any]) -> Any:
        """Call a worker in another process: JSON both ways, an error by its class's name and its text alone."""
        from chalicelib import aws

        try:
            return json.loads(json.dumps(self.work(task, json.loads(json.dumps(payload)))))
        except Exception as error:
            raise aws._task_error(task, {'errorType': type(error).__name__, 'errorMessage': str(error)}) from error

    def work(self, task: str, payload: Any) -> Any:
        """Run a task as a worker does."""
        from chalicelib import tasks
        from chalicelib.models import claims

        with claims.in_force(None):  # another process
            return tasks.run({'task': task, 'input': payload}, self.lambda_context)

    def deliver(self, times: int = 1) -> dict[str, Any]:
        """Deliver the queue to start_workflow, ``times`` times; a batch whose function dies stays queued."""
        from chalicelib.tasks import start

        batch, answer = list(self.queue), {}
        for _ in range(times):
            answer = start.run(_event(batch))
        self.queue = self.queue[len(batch) :]
        return answer

    def run_machines(self) -> list[Execution]:
        """Run all executions that were started; a worker that is killed takes its execution down with it."""
        waiting = [execution for execution in self.executions.values() if execution.status == 'RUNNING']
        for execution in waiting:
            execution.run()
        return waiting

    def settle(self) -> list[Execution]:
        """Deliver and run until nothing is left to do; the executions that ran."""
        ran: list[Execution] = []
        while self.queue or any(one.status == 'RUNNING' for one in self.executions.values()):
            self.deliver()
            ran += self.run_machines()
        return ran

    def reconcile(self) -> None:
        """Call the reconciler when every deadline has passed."""
        from chalicelib.models import base, reading
        from chalicelib.tasks import reconcile

        with pytest.MonkeyPatch.context() as patch, reading.together():
            patch.setattr(base, 'now', lambda: base.after(24 * 3600))
            reconcile.run({})

    def report(self) -> None:
        """Have every backend report, as the schedule does."""
        from chalicelib.models import reading
        from chalicelib.operations import pools
        from chalicelib.tasks import report_pools

        with reading.together():  # a function of its own, also when a task is under way
            report_pools.run({})
        pools.forget()


def _event(messages: list[dict[str, Any]]) -> dict[str, Any]:
    import json

    return {
        'Records': [{'messageId': str(number), 'body': json.dumps(message)} for number, message in enumerate(messages)]
    }


def forget() -> None:
    """Be a new process: forget every cache."""
    from chalicelib import aws
    from chalicelib.models import reading
    from chalicelib.operations import pools, volume_types

    for module in (pools, reading, volume_types):
        module.forget()
    aws.forget_documents()


@pytest.fixture(autouse=True)
def own_settings() -> Iterator[None]:
    """No test works with settings that an earlier one read in an environment of its own."""
    yield
    config = sys.modules.get('chalicelib.config')
    if config is not None and config.settings.cache_info().currsize:
        config.settings.cache_clear()


@pytest.fixture
def tables() -> Iterator[SmallDynamoDB]:
    """Yield empty tables in a dict; moto answers all other AWS calls."""
    from moto import mock_aws

    from chalicelib.models import TABLES

    with mock_aws(), small_dynamodb.serving(small_dynamodb.empty(TABLES)) as store:
        forget()
        yield store
        forget()


@pytest.fixture
def unreliable(tables: SmallDynamoDB, monkeypatch: pytest.MonkeyPatch) -> Unreliable:
    """The empty tables behind a bad network; collisions and repetitions do not wait."""
    from chalicelib.models import connection

    store = Unreliable(tables)
    monkeypatch.setattr(connection.connection().client, '_make_api_call', store.call)
    monkeypatch.setattr(connection, 'JITTER_CAP', 0)
    return store


@pytest.fixture
def tables_of_moto() -> Iterator[None]:
    """Create moto's tables, empty. Another fixture of this process may have created them already."""
    from moto import mock_aws

    from chalicelib.models import TABLES

    with mock_aws():
        for table in TABLES:
            if not table.exists():
                table.create_table(billing_mode='PAY_PER_REQUEST')
        moto_dynamodb.clear()
        forget()
        yield
        forget()


@pytest.fixture
def simulation(tables: SmallDynamoDB, monkeypatch: pytest.MonkeyPatch) -> Simulation:
    """The service with both backends reported: fast has 20 GiB, big 100."""
    made = Simulation()
    made.install(monkeypatch)
    made.report()
    return made
