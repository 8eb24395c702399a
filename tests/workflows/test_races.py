"""Two requests at once: every interleaving has the outcome of a sequence, and the loser gets the reason."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pynamodb.connection import Connection

from chalicelib import errors
from chalicelib.models import Pool, Snapshot, Volume, base, reading
from chalicelib.operations import moves, quotas, reverts, snapshots, volume_types, volumes
from tests import invariants
from tests.factories import context, create_snapshot, create_volume
from tests.machine import Execution
from tests.simulation import BIG, Killed, Simulation
from tests.workflows.crashes import Crasher, Scenario, Stage, recover
from tests.workflows.test_crashes import SCENARIOS

Request = Callable[[Volume, Snapshot], object]

#: As the number of a call: no intrusion.
NEVER = -1

#: Requests on a volume and its one snapshot.
REQUESTS: dict[str, Request] = {
    'delete': lambda volume, _: volumes.delete(context(), volume.id),
    'cascade': lambda volume, _: volumes.delete(context(), volume.id, cascade=True),
    'force delete': lambda volume, _: volumes.delete(context('admin'), volume.id, force=True),
    'extend': lambda volume, _: volumes.extend(context(), volume.id, 8),
    'snapshot': lambda volume, _: create_snapshot(context(), volume),
    'clone': lambda volume, _: create_volume(context(), 5, source_volid=volume.id),
    'from snapshot': lambda _, snapshot: create_volume(context(), 5, snapshot_id=snapshot.id),
    'delete snapshot': lambda _, snapshot: snapshots.delete(context(), snapshot.id),
    'revert': lambda volume, snapshot: reverts.revert(context(), volume.id, snapshot.id),
    'retype': lambda volume, _: moves.retype(context(), volume.id, 'other', 'never'),
    'metadata': lambda volume, _: volumes.set_metadata(context(), volume.id, {'key': 'value'}, False),
    'reset': lambda volume, _: volumes.reset_status(context('admin'), volume.id, 'available', None, None),
}


def prepare(simulation: Simulation) -> tuple[Volume, Snapshot]:
    simulation.big.revert = True
    volume_types.create(context('admin'), name='other', description=None, is_public=True, extra_specs={})
    volume = create_volume(context(), 5)
    simulation.settle()
    snapshot = create_snapshot(context(), volume)
    simulation.settle()
    return volume, snapshot


def outcome(request: Request, volume: Volume, snapshot: Snapshot, codes: list[int]) -> None:
    """Note 200, or the code of the refusal."""
    try:
        request(volume, snapshot)
        codes.append(200)
    except errors.CinderlessError as error:
        codes.append(error.code)


@contextlib.contextmanager
def crashing(crasher: Crasher) -> Iterator[None]:
    """Let the crasher see the DynamoDB calls as well."""
    call = Connection._make_api_call

    def around(connection: Connection, operation: str, *arguments: Any, **facts: Any) -> Any:
        with crasher.around(f'dynamodb {operation}'):
            return call(connection, operation, *arguments, **facts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, '_make_api_call', around)
        yield


@contextlib.contextmanager
def intruding(at: int, intruder: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Run the intruder to its end just before the DynamoDB call with this number."""
    call, seen, inside = Connection._make_api_call, [], []

    def around(connection: Connection, operation: str, *arguments: Any, **facts: Any) -> Any:
        if not inside:
            seen.append(operation)
            if len(seen) - 1 == at:
                inside.append(True)
                with reading.together():  # another process, which has fetched nothing
                    intruder()
                inside.clear()
        return call(connection, operation, *arguments, **facts)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, '_make_api_call', around)
        yield seen


@pytest.mark.parametrize('second', REQUESTS)
@pytest.mark.parametrize('first', ['delete', 'cascade', 'extend', 'snapshot', 'clone', 'delete snapshot', 'revert'])
def test_any_two_requests_in_every_interleaving(
    first: str, second: str, tables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(Scenario('pair', prepare, lambda simulation, made: None), monkeypatch)
    for at in range(meet(stage, first, second, NEVER, monkeypatch)):
        meet(stage, first, second, at, monkeypatch)


def meet(stage: Stage, first: str, second: str, at: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Serve the second request inside the first, at the call with this number; the number of calls there were."""
    simulation = stage.world_again()
    volume, snapshot = stage.prepared
    codes: list[int] = []
    intruder = functools.partial(outcome, REQUESTS[second], volume, snapshot, codes)
    with intruding(at, intruder, monkeypatch) as seen:
        outcome(REQUESTS[first], volume, snapshot, codes)
    simulation.settle()
    simulation.reconcile()  # a snapshot that was held for a revert is released when that is called off
    simulation.settle()
    assert all(code == 200 or 400 <= code < 500 for code in codes), (at, seen, codes)
    invariants.check(simulation)
    return len(seen)


def test_two_executions_of_one_request_in_every_interleaving(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second execution of the same request runs whole inside the first, at each of its calls."""
    scenario = Scenario('twice', lambda simulation: create_volume(context(), 5).reload(), lambda simulation, _: None)
    stage = Stage(scenario, monkeypatch)
    [done] = stage.simulation.executions.values()
    for at in range(run_with_twin(stage, NEVER, [], monkeypatch)):
        run_with_twin(stage, at, done.path, monkeypatch)


def run_with_twin(stage: Stage, at: int, path: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a second execution of a request inside the first; the second takes this path."""
    simulation = stage.world_again()
    create_volume(context(), 5)
    simulation.deliver()
    [execution] = simulation.executions.values()
    twin = Execution(execution.machine, execution.payload, simulation.work)
    with intruding(at, twin.run, monkeypatch) as seen:
        assert execution.run() == 'SUCCEEDED'
    assert twin.path == path
    invariants.check(simulation)
    return len(seen)


class Twice:
    """Runs a task a second time, with the same input, inside the first, and may kill it at one of its calls."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation, self.work = simulation, simulation.work
        self.task: tuple[str, Any] | None = None

    def run(self, task: str, payload: Any) -> Any:
        self.task = (task, payload)
        return self.work(task, payload)

    def again(self, crasher: Crasher) -> None:
        if self.task is None:
            return
        before, self.simulation.around = self.simulation.around, crasher.around
        with contextlib.suppress(errors.CinderlessError, Killed), crashing(crasher):
            self.work(*self.task)
        self.simulation.around = before


def interleave(stage: Stage, at: int, crasher: Crasher, monkeypatch: pytest.MonkeyPatch) -> int:
    """Play a scenario whose tasks are run twice at the call with this number; the number of calls there were."""
    simulation = stage.world_again()
    twice = Twice(simulation)
    monkeypatch.setattr(simulation, 'work', twice.run)
    stage.scenario.request(simulation, stage.prepared)
    simulation.deliver()
    with intruding(at, lambda: twice.again(crasher), monkeypatch) as seen:
        simulation.run_machines()
    recover(simulation)
    invariants.check(simulation)
    return len(seen)


@pytest.mark.parametrize('scenario', SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_task_beside_itself_in_every_interleaving(
    scenario: Scenario, tables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(scenario, monkeypatch)
    for at in range(interleave(stage, NEVER, Crasher(), monkeypatch)):
        interleave(stage, at, Crasher(), monkeypatch)


@pytest.mark.parametrize('killed_at', range(1, 4))
@pytest.mark.parametrize('name', ['create', 'clone', 'delete', 'extend'])
def test_every_task_beside_one_that_dies_halfway(
    name: str, killed_at: int, tables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The results of the second request are kept; the dead task is not resumed."""
    [scenario] = [one for one in SCENARIOS if one.name == name]
    stage = Stage(scenario, monkeypatch)
    for at in range(interleave(stage, NEVER, Crasher(), monkeypatch)):
        interleave(stage, at, Crasher(killed_at), monkeypatch)


@pytest.mark.parametrize('name', ['create', 'delete', 'extend'])
def test_an_administrators_reset_in_the_middle_of_the_work_is_the_last_word(
    name: str, tables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    [scenario] = [one for one in SCENARIOS if one.name == name]
    stage = Stage(scenario, monkeypatch)
    for at in range(reset_during(stage, NEVER, monkeypatch)):
        reset_during(stage, at, monkeypatch)


def reset_during(stage: Stage, at: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Reset the volume at the call with this number; its record stays, and what it holds is right."""
    simulation = stage.world_again()
    made = stage.scenario.request(simulation, stage.prepared) or stage.prepared
    simulation.deliver()
    reset = functools.partial(volumes.reset_status, context('admin'), made.id, 'error', None, None)
    with intruding(at, reset, monkeypatch) as seen:
        simulation.run_machines()
    if at != NEVER:
        assert made.reload().status == 'error'
        recover(simulation)
        assert invariants.miscounted(simulation) == []
    return len(seen)


def in_parallel(count: int, work: Callable[[int], object]) -> list[object]:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(work, range(count)))


def test_parallel_requests_at_the_limit_of_the_quota(simulation: Simulation) -> None:
    quotas.update('project', {'volumes': 7})

    def ask(_: int) -> int:
        try:
            create_volume(context(), 1)
        except errors.VolumeLimitExceeded:
            return 413
        return 202

    answers = in_parallel(20, ask)
    assert (answers.count(202), answers.count(413)) == (7, 13)
    assert quotas.usages('project')['volumes'] == {'limit': 7, 'in_use': 7, 'reserved': 0}
    simulation.settle()
    invariants.check(simulation)


def test_parallel_schedulers_never_over_commit(simulation: Simulation) -> None:
    """Pools of 20 and 100 GiB hold ten and two volumes of 10 GiB: the other four find no capacity."""
    for number in range(16):
        create_volume(context(project_id=f'p{number}'), 10)
    simulation.deliver()
    waiting = list(simulation.executions.values())
    in_parallel(len(waiting), lambda number: waiting[number].run())
    found = [volume.status for volume in Volume.scan()]
    assert (found.count('available'), found.count('error')) == (12, 4)
    invariants.check(simulation)


def test_reports_and_claims_at_once(simulation: Simulation) -> None:
    """Reports requested before the claims and received after them release no capacity."""
    for number in range(8):
        create_volume(context(project_id=f'p{number}'), 5)
    simulation.deliver()
    waiting = list(simulation.executions.values())
    in_parallel(16, lambda number: simulation.report() if number % 2 else waiting[number // 2].run())
    assert Pool.get(base.GLOBAL, BIG).claimable_gb <= 60
    simulation.report()
    assert sum(pool.claimable_gb for pool in Pool.scan()) == 80
    invariants.check(simulation)
