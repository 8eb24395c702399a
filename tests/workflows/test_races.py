"""Two requests at once: in every interleaving the outcome is that of one after the other, and the loser hears why."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pynamodb.connection import Connection

from chalicelib import errors
from chalicelib.models import Pool, Snapshot, Volume, base
from chalicelib.operations import quotas, snapshots, volumes
from tests import invariants
from tests.factories import context, create_snapshot, create_volume
from tests.machine import Execution
from tests.workflows.crashes import Scenario, Stage
from tests.world import BIG, World

Request = Callable[[Volume, Snapshot], object]

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
    'metadata': lambda volume, _: volumes.set_metadata(context(), volume.id, {'key': 'value'}, False),
    'reset': lambda volume, _: volumes.reset_status(context('admin'), volume.id, 'available', None, None),
}


def prepare(world: World) -> tuple[Volume, Snapshot]:
    volume = create_volume(context(), 5)
    world.settle()
    snapshot = create_snapshot(context(), volume)
    world.settle()
    return volume, snapshot


def outcome(request: Request, volume: Volume, snapshot: Snapshot, codes: list[int]) -> None:
    """Note 200, or the code of the refusal."""
    try:
        request(volume, snapshot)
        codes.append(200)
    except errors.CinderlessError as error:
        codes.append(error.code)


@contextlib.contextmanager
def intruding(at: int, intruder: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Run the intruder to its end just before the DynamoDB call with this number."""
    call, seen, inside = Connection._make_api_call, [], []

    def around(connection: Connection, operation: str, *arguments: Any, **facts: Any) -> Any:
        if not inside:
            seen.append(operation)
            if len(seen) - 1 == at:
                inside.append(True)
                intruder()
                inside.clear()
        return call(connection, operation, *arguments, **facts)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, '_make_api_call', around)
        yield seen


@pytest.mark.parametrize('second', REQUESTS)
@pytest.mark.parametrize('first', ['delete', 'cascade', 'extend', 'snapshot', 'clone', 'delete snapshot'])
def test_any_two_requests_in_every_interleaving(
    first: str, second: str, tables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(Scenario('pair', prepare, lambda world, made: None), monkeypatch)
    volume, snapshot = stage.prepared
    calls = 1
    at = 0
    while at < calls:
        world = stage.world_again()
        codes: list[int] = []
        intruder = functools.partial(outcome, REQUESTS[second], volume, snapshot, codes)
        with intruding(at, intruder, monkeypatch) as seen:
            outcome(REQUESTS[first], volume, snapshot, codes)
        calls = len(seen)
        world.settle()
        assert all(code == 200 or 400 <= code < 500 for code in codes), (at, seen, codes)
        invariants.check(world)
        at += 1


def test_two_executions_of_one_request_in_every_interleaving(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second execution of the same request runs whole inside the first, at each of its calls."""
    scenario = Scenario('twice', lambda world: create_volume(context(), 5).reload(), lambda world, _: None)
    stage = Stage(scenario, monkeypatch)
    [done] = stage.world.executions.values()
    calls, at = 1, 0
    while at < calls:
        world = stage.world_again()
        create_volume(context(), 5)
        world.deliver()
        [execution] = world.executions.values()
        twin = Execution(execution.machine, execution.payload, world.work)
        with intruding(at, twin.run, monkeypatch) as seen:
            assert execution.run() == 'SUCCEEDED'
        assert twin.path == done.path
        invariants.check(world)
        calls, at = len(seen), at + 1


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """moto's read-modify-writes are not atomic between threads; DynamoDB's are."""
    from moto.core.botocore_stubber import BotocoreStubber

    lock, process = threading.RLock(), BotocoreStubber.process_request

    def locked(stubber: Any, request: Any) -> Any:
        with lock:
            return process(stubber, request)

    monkeypatch.setattr(BotocoreStubber, 'process_request', locked)


def in_parallel(count: int, work: Callable[[int], object]) -> list[object]:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(work, range(count)))


def test_parallel_requests_at_the_limit_of_the_quota(world: World, threads: None) -> None:
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
    world.settle()
    invariants.check(world)


def test_parallel_schedulers_never_over_commit(world: World, threads: None) -> None:
    """Pools of 20 and 100 GiB hold ten and two volumes of 10 GiB: the other four find no room."""
    for number in range(16):
        create_volume(context(project_id=f'p{number}'), 10)
    world.deliver()
    waiting = list(world.executions.values())
    in_parallel(len(waiting), lambda number: waiting[number].run())
    found = [volume.status for volume in Volume.scan()]
    assert (found.count('available'), found.count('error')) == (12, 4)
    invariants.check(world)


def test_reports_and_claims_at_once(world: World, threads: None) -> None:
    """Reports that were asked for before claims were made, and arrive after them, give nothing away."""
    for number in range(8):
        create_volume(context(project_id=f'p{number}'), 5)
    world.deliver()
    waiting = list(world.executions.values())
    in_parallel(16, lambda number: world.report() if number % 2 else waiting[number // 2].run())
    assert Pool.get(base.GLOBAL, BIG).claimable_gb <= 60
    world.report()
    assert sum(pool.claimable_gb for pool in Pool.scan()) == 80
    invariants.check(world)
