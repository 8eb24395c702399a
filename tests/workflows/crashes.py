"""Kill the process before and after each of its calls, let the service recover, and look what is left.

A call is whatever leaves the process: DynamoDB, the queue, a machine, a worker, a backend's verb.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pynamodb.connection import Connection

from tests import invariants
from tests.machine import TaskFailed
from tests.world import Killed, World, clear, forget

#: Rounds of delivery and reconciliation within which everything must be at rest.
ROUNDS = 6


@dataclasses.dataclass
class Crasher:
    """Kills at the given call, before or after it had its effect; records the names of all calls."""

    index: int | None = None
    side: str = 'before'
    calls: list[str] = dataclasses.field(default_factory=list)

    @contextlib.contextmanager
    def around(self, name: str) -> Iterator[None]:
        index = len(self.calls)
        self.calls.append(name)
        if (index, 'before') == (self.index, self.side):
            raise Killed(name)
        yield
        if (index, 'after') == (self.index, self.side):
            raise Killed(name)


@dataclasses.dataclass(frozen=True)
class Scenario:
    """``prepare`` runs undisturbed; what ``request`` asks for is killed somewhere on its way."""

    name: str
    prepare: Callable[[World], Any]
    request: Callable[[World, Any], Any]


def play(scenario: Scenario, crasher: Crasher, monkeypatch: pytest.MonkeyPatch, *, execution_survives: bool) -> World:
    """Play a scenario once, from empty tables, with a crash; return the world after its recovery."""
    clear()
    forget()
    world = World()
    world.install(monkeypatch)
    world.report()
    prepared = scenario.prepare(world)
    world.settle()
    if execution_survives:
        monkeypatch.setattr(world, 'work', _dying_lambda(world.work))
    with _standing_around(world, crasher, monkeypatch), contextlib.suppress(Killed):
        scenario.request(world, prepared)
        world.settle()
    crasher_calls = list(crasher.calls)
    recover(world)
    crasher.calls = crasher_calls
    invariants.check(world)
    return world


def recover(world: World) -> None:
    """Deliver, run and reconcile as the schedules do, in new processes."""
    for _ in range(ROUNDS):
        forget()
        world.settle()
        world.reconcile()
    world.settle()
    world.report()


def _dying_lambda(work: Callable[..., Any]) -> Callable[..., Any]:
    """A worker whose death Step Functions sees as an error, and may retry."""

    def dying(task: str, payload: Any) -> Any:
        try:
            return work(task, payload)
        except Killed as killed:
            raise TaskFailed('Lambda.Unknown', f'killed at {killed}') from None

    return dying


@contextlib.contextmanager
def _standing_around(world: World, crasher: Crasher, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    call = Connection._make_api_call

    def around(connection: Connection, operation: str, *arguments: Any, **facts: Any) -> Any:
        with crasher.around(f'dynamodb {operation}'):
            return call(connection, operation, *arguments, **facts)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, '_make_api_call', around)
        patch.setattr(world, 'around', crasher.around)
        yield
