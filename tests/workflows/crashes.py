"""Kill the process at each of its calls, let the service recover, and look what is left.

A call is whatever leaves the process: DynamoDB, the queue, a machine, a worker, a backend's verb. What matters is the
state that a crash leaves, so only calls that change something count: a crash around a read leaves what the call before
it left. Killed before each of them, and after the last, covers every such state.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from pynamodb.connection import Connection

from chalicelib import errors
from chalicelib.models import TABLES, Backup, Group, GroupSnapshot, Pool, Snapshot, Volume
from chalicelib.models.connection import connection
from tests import invariants, small_dynamodb
from tests.machine import TaskFailed
from tests.simulation import Killed, Simulation, forget

#: Rounds of delivery and reconciliation within which everything must be at rest.
ROUNDS = 8

#: Calls that change nothing.
READS = (
    'Query', 'GetItem', 'BatchGetItem', 'Scan', 'DescribeTable', 'DescribeExecution',
    'get_volume_stats', 'inventory', 'list_exports', 'list_idle_access',
)  # fmt: skip


@dataclasses.dataclass
class Crasher:
    """Kills before the call with this number among those that change something; records the names of all."""

    index: int | None = None
    calls: list[str] = dataclasses.field(default_factory=list)
    #: What the request may raise for it.
    raised: tuple[type[Exception], ...] = ()

    @contextlib.contextmanager
    def around(self, name: str) -> Iterator[None]:
        if not name.endswith(READS):
            if len(self.calls) == self.index:
                self.calls.append(f'{name}, killed')
                raise Killed(name)
            self.calls.append(name)
        yield

    def dynamodb(self, name: str, send: Callable[[], Any]) -> Any:
        """One call of DynamoDB's."""
        with self.around(name):
            return send()


@dataclasses.dataclass
class LostAnswer(Crasher):
    """Carries the call with this number out and loses its answer.

    ``gives_up``: the caller gets an error; else the SDK repeats the call, and the caller gets the answer to that.
    """

    gives_up: bool = False

    def __post_init__(self) -> None:
        self.raised = (errors.ServiceUnavailable, errors.BackendUnavailable) if self.gives_up else ()

    @contextlib.contextmanager
    def around(self, name: str) -> Iterator[None]:
        is_lost = not name.endswith(READS) and len(self.calls) == self.index
        if not name.endswith(READS):
            self.calls.append(f'{name}, answer lost' if is_lost else name)
        yield
        if is_lost and self.gives_up and not name.startswith('dynamodb'):
            raise _unanswered(name)

    def dynamodb(self, name: str, send: Callable[[], Any]) -> Any:
        is_lost = not name.endswith(READS) and len(self.calls) == self.index
        answer = super().dynamodb(name, send)
        if is_lost and self.gives_up:
            raise EndpointConnectionError(endpoint_url='https://dynamodb')
        return send() if is_lost else answer


@dataclasses.dataclass
class Refusal(Crasher):
    """Has DynamoDB answer the call with this number by an error of the SDK, and does nothing."""

    error: Exception = dataclasses.field(default_factory=RuntimeError)

    def __post_init__(self) -> None:
        self.raised = (errors.ServiceUnavailable, errors.AwsRefused)

    def dynamodb(self, name: str, send: Callable[[], Any]) -> Any:
        if len(self.calls) == self.index and not name.endswith(READS):
            self.calls.append(f'{name}, refused')
            raise self.error
        return super().dynamodb(name, send)


def _unanswered(name: str) -> errors.CinderlessError:
    if name.startswith(('sqs', 'states')):
        return errors.OutcomeUnknown()
    kind = errors.WorkerUnavailable if name.startswith('lambda') else errors.BackendUnavailable
    return kind(backend=name, reason='the answer is lost')


@dataclasses.dataclass(frozen=True)
class Scenario:
    """``prepare`` runs undisturbed; the work that ``request`` starts is killed at some call."""

    name: str
    prepare: Callable[[Simulation], Any]
    request: Callable[[Simulation, Any], Any]


class Stage:
    """A scenario's starting point, made once and put back before each run."""

    def __init__(self, scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
        self.scenario, self.monkeypatch = scenario, monkeypatch
        self.store = small_dynamodb.empty(TABLES)
        monkeypatch.setattr(connection().client, '_make_api_call', self.store.call)
        self.simulation = Simulation()
        self.simulation.install(monkeypatch)
        self.simulation.report()
        self.prepared = scenario.prepare(self.simulation)
        self.simulation.settle()
        self.tables = self.store.copy()
        self.backends = copy.deepcopy({host: vars(backend) for host, backend in self._stores()})

    def _stores(self) -> Iterator[tuple[str, Any]]:
        for host, backend in self.simulation.backends.items():
            backend.around = None  # type: ignore[assignment]  # a closure over the simulation cannot be copied
            yield host, backend

    def world_again(self) -> Simulation:
        """The starting point, in a new process."""
        forget()
        self.store.put_back(self.tables)
        simulation = Simulation()
        for host, facts in copy.deepcopy(self.backends).items():
            vars(simulation.backends[host]).update({**facts, 'around': simulation.backends[host].around})
        simulation.install(self.monkeypatch)
        return simulation

    def play(
        self, *crashers: Crasher, execution_survives: bool = False, then: Callable[[Simulation], None] | None = None
    ) -> Simulation:
        """Run the scenario under the first crasher, its recovery under the others in turn, then to the end.

        ``then`` is what the client does between the crash and the recovery.
        """
        simulation = self.world_again()
        if execution_survives:
            self.monkeypatch.setattr(simulation, 'work', _dying_lambda(simulation.work))
        first, *others = crashers
        with self._standing_around(simulation, first), contextlib.suppress(Killed, *first.raised):
            self.scenario.request(simulation, self.prepared)
            simulation.settle()
        if then is not None:
            forget()
            then(simulation)
        for crasher in others:
            with self._standing_around(simulation, crasher), contextlib.suppress(Killed):
                recover(simulation)
        recover(simulation)
        invariants.check(simulation)
        return simulation

    @contextlib.contextmanager
    def _standing_around(self, simulation: Simulation, crasher: Crasher) -> Iterator[None]:
        call = Connection._make_api_call

        def around(connection: Connection, operation: str, *arguments: Any, **facts: Any) -> Any:
            return crasher.dynamodb(f'dynamodb {operation}', lambda: call(connection, operation, *arguments, **facts))

        with self.monkeypatch.context() as patch:
            patch.setattr(Connection, '_make_api_call', around)
            patch.setattr(simulation, 'around', crasher.around)
            yield


def recover(simulation: Simulation) -> None:
    """Deliver, run, reconcile and report as the schedules do, in new processes, until nothing is under way."""
    for _ in range(ROUNDS):
        forget()
        simulation.settle()
        simulation.reconcile()
        if not simulation.queue and not any(
            record.in_flight for kind in (Volume, Snapshot, Backup, Group, GroupSnapshot) for record in kind.scan()
        ):
            break
    if any(pool.leftovers for pool in Pool.scan()):
        simulation.report()


def outcome(simulation: Simulation) -> collections.Counter[tuple[str, str]]:
    """What is left: how many records of which status, how many objects on the backends, what waits in the queue."""
    kinds = (Volume, Snapshot, Backup, Group, GroupSnapshot)
    found = collections.Counter((kind.__name__, str(record.status)) for kind in kinds for record in kind.scan())
    objects = sum(len(backend.objects) for backend in simulation.backends.values())
    return found + collections.Counter({('objects', ''): objects, ('messages', ''): len(simulation.queue)})


def _dying_lambda(work: Callable[..., Any]) -> Callable[..., Any]:
    """A worker whose death Step Functions sees as an error, and may retry."""

    def dying(task: str, payload: Any) -> Any:
        try:
            return work(task, payload)
        except Killed as killed:
            raise TaskFailed('Lambda.Unknown', f'killed at {killed}') from None

    return dying
