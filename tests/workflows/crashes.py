"""Kill the process at each of its calls, let the service recover, and look what is left.

A call is whatever leaves the process: DynamoDB, the queue, a machine, a worker, a backend's verb. What matters is the
state that a crash leaves, so only calls that change something count: a crash around a read leaves what the call before
it left. Killed before each of them, and after the last, covers every such state.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pynamodb.connection import Connection

from chalicelib.models import TABLES, Backup, Group, GroupSnapshot, Pool, Snapshot, Volume
from chalicelib.models.connection import connection
from tests import invariants, small_dynamodb
from tests.machine import TaskFailed
from tests.world import Killed, World, forget

#: Rounds of delivery and reconciliation within which everything must be at rest.
ROUNDS = 8

#: Calls that change nothing.
READS = (
    'Query', 'GetItem', 'BatchGetItem', 'Scan', 'DescribeTable', 'DescribeExecution',
    'get_volume_stats', 'inventory', 'list_exports',
)  # fmt: skip


@dataclasses.dataclass
class Crasher:
    """Kills before the call with this number among those that change something; records the names of all."""

    index: int | None = None
    calls: list[str] = dataclasses.field(default_factory=list)

    @contextlib.contextmanager
    def around(self, name: str) -> Iterator[None]:
        if not name.endswith(READS):
            if len(self.calls) == self.index:
                self.calls.append(f'{name}, killed')
                raise Killed(name)
            self.calls.append(name)
        yield


@dataclasses.dataclass(frozen=True)
class Scenario:
    """``prepare`` runs undisturbed; what ``request`` asks for is killed somewhere on its way."""

    name: str
    prepare: Callable[[World], Any]
    request: Callable[[World, Any], Any]


class Stage:
    """A scenario's starting point, made once and put back before each run."""

    def __init__(self, scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
        self.scenario, self.monkeypatch = scenario, monkeypatch
        self.store = small_dynamodb.empty(TABLES)
        monkeypatch.setattr(connection().client, '_make_api_call', self.store.call)
        self.world = World()
        self.world.install(monkeypatch)
        self.world.report()
        self.prepared = scenario.prepare(self.world)
        self.world.settle()
        self.tables = self.store.copy()
        self.backends = copy.deepcopy({host: vars(backend) for host, backend in self._stores()})

    def _stores(self) -> Iterator[tuple[str, Any]]:
        for host, backend in self.world.backends.items():
            backend.around = None  # type: ignore[assignment]  # a closure over the world cannot be copied
            yield host, backend

    def world_again(self) -> World:
        """The starting point, in a new process."""
        forget()
        self.store.put_back(self.tables)
        world = World()
        for host, facts in copy.deepcopy(self.backends).items():
            vars(world.backends[host]).update({**facts, 'around': world.backends[host].around})
        world.install(self.monkeypatch)
        return world

    def play(self, *crashers: Crasher, execution_survives: bool = False) -> World:
        """Run the scenario under the first crasher, its recovery under the others in turn, then to the end."""
        world = self.world_again()
        if execution_survives:
            self.monkeypatch.setattr(world, 'work', _dying_lambda(world.work))
        first, *others = crashers
        with self._standing_around(world, first), contextlib.suppress(Killed):
            self.scenario.request(world, self.prepared)
            world.settle()
        for crasher in others:
            with self._standing_around(world, crasher), contextlib.suppress(Killed):
                recover(world)
        recover(world)
        invariants.check(world)
        return world

    @contextlib.contextmanager
    def _standing_around(self, world: World, crasher: Crasher) -> Iterator[None]:
        call = Connection._make_api_call

        def around(connection: Connection, operation: str, *arguments: Any, **facts: Any) -> Any:
            with crasher.around(f'dynamodb {operation}'):
                return call(connection, operation, *arguments, **facts)

        with self.monkeypatch.context() as patch:
            patch.setattr(Connection, '_make_api_call', around)
            patch.setattr(world, 'around', crasher.around)
            yield


def recover(world: World) -> None:
    """Deliver, run, reconcile and report as the schedules do, in new processes, until nothing is under way."""
    for _ in range(ROUNDS):
        forget()
        world.settle()
        world.reconcile()
        if not world.queue and not any(
            record.in_flight for kind in (Volume, Snapshot, Backup, Group, GroupSnapshot) for record in kind.scan()
        ):
            break
    if any(pool.leftovers for pool in Pool.scan()):
        world.report()


def _dying_lambda(work: Callable[..., Any]) -> Callable[..., Any]:
    """A worker whose death Step Functions sees as an error, and may retry."""

    def dying(task: str, payload: Any) -> Any:
        try:
            return work(task, payload)
        except Killed as killed:
            raise TaskFailed('Lambda.Unknown', f'killed at {killed}') from None

    return dying
