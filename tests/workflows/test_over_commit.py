"""No over-commit: whatever the order in which creates reach the store, a pool promises no more than it has.

Every create runs in a thread of its own and stops at each call to DynamoDB; a seeded generator selects the thread to
resume. So one seed replays one interleaving, and no two threads ever run at once.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import TABLES, Message, Pool, Volume
from chalicelib.models.connection import connection
from chalicelib.operations import pools
from tests import invariants, small_dynamodb
from tests.factories import context, create_volume
from tests.simulation import Simulation
from tests.small_dynamodb import SmallDynamoDB

CREATES = 12

#: Interleavings: SEEDS tests of ROUNDS each.
SEEDS, ROUNDS = 10, 102


class Turns:
    """Lets one of several threads run at a time, and has another one drawn at each call to DynamoDB."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._gates: dict[int, threading.Semaphore] = {}
        self._back = threading.Semaphore(0)

    def run(self, works: list[Callable[[], None]]) -> None:
        """Run all works to their end."""
        threads = {index: threading.Thread(target=self._work, args=(index, work)) for index, work in enumerate(works)}
        self._gates = {index: threading.Semaphore(0) for index in threads}
        for thread in threads.values():
            thread.start()
        while threads:
            drawn = self._chance.choice(list(threads))
            self._gates[drawn].release()
            self._back.acquire()
            if drawn not in self._gates:
                threads.pop(drawn).join()

    def _work(self, index: int, work: Callable[[], None]) -> None:
        threading.current_thread().name = str(index)
        self._gates[index].acquire()
        try:
            work()
        finally:
            del self._gates[index]
            self._back.release()

    def give_way(self) -> None:
        name = threading.current_thread().name
        if name.isdigit():
            self._back.release()
            self._gates[int(name)].acquire()


class OfThisProcess(threading.local):
    """The pools that each thread remembers, as each Lambda function's process does."""

    def __init__(self) -> None:
        self._found: list[Any] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def __getitem__(self, index: int) -> Any:
        return self._found[index]

    def __setitem__(self, index: slice, value: list[Any]) -> None:
        self._found[index] = value

    def clear(self) -> None:
        self._found.clear()


@contextlib.contextmanager
def taking_turns(store: SmallDynamoDB, chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> Iterator[Turns]:
    turns = Turns(chance)

    def stopping(operation: str, request: dict[str, Any]) -> Any:
        turns.give_way()
        return store.call(operation, request)

    with monkeypatch.context() as patch:
        patch.setattr(connection().client, '_make_api_call', stopping)
        patch.setattr(pools, '_known', OfThisProcess())
        yield turns


@pytest.fixture
def payloads(simulation: Simulation) -> list[dict[str, Any]]:
    """Twelve volumes that wait for a place: the payloads of their executions."""
    for number in range(CREATES):
        create_volume(context(project_id=f'p{number}'), 1)
    simulation.deliver()
    return [execution.payload for execution in simulation.executions.values()]


def stored() -> SmallDynamoDB:
    """All that is in the tables."""
    store = small_dynamodb.empty(TABLES)
    for name, table in store.tables.items():
        table.items = {table.key_of(item): item for item in connection().scan(name)['Items']}
    return store


def scheduling(simulation: Simulation, payload: dict[str, Any], refused: list[str]) -> Callable[[], None]:
    def work() -> None:
        try:
            simulation.work('schedule', payload)
        except errors.NoValidBackend as error:
            refused.append(error.message)

    return work


def resized(store: SmallDynamoDB, chance: random.Random, count: int) -> None:
    """Give the volumes sizes that fit together about as often as not: there are pools of 20 and 100 GiB."""
    volumes = store.tables[Volume.Meta.table_name].items
    for key, volume in list(volumes.items()):
        volumes[key] = {**volume, 'size': {'N': str(chance.choice((1, 5, 10, 20, 25, 50, 240 // count)))}}


@pytest.mark.parametrize('seed', range(SEEDS))
def test_creates_in_any_order(
    seed: int, simulation: Simulation, payloads: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stored()
    outcomes = set()
    for turn in range(ROUNDS):
        chance = random.Random(f'{seed}/{turn}')
        store, refused = before.copy(), []
        count = chance.randint(2, CREATES)
        asked = chance.sample(payloads, count)
        resized(store, chance, count)
        with taking_turns(store, chance, monkeypatch) as turns:
            turns.run([scheduling(simulation, payload, refused) for payload in asked])
            judge([payload['id'] for payload in asked], refused, f'seed {seed}, turn {turn}')
        outcomes.add(bool(refused))
    assert outcomes == {True, False}


def judge(asked: list[str], refused: list[str], where: str) -> None:
    """Check that no pool promised more than it has; each refused volume fits nowhere, and has the reason."""
    volumes = [volume for volume in Volume.scan() if volume.id in asked]
    free = {}
    for pool in Pool.scan():
        mine = sum(volume.size for volume in volumes if volume.host == pool.id)
        total = pool.report['total_capacity_gb']
        assert mine <= total, where
        assert (pool.allocated_gb, pool.claimable_gb, pool.in_transit_gb) == (mine, total - mine, mine), where
        free[pool.id] = total - mine
    homeless = [volume for volume in volumes if volume.host is None]
    assert len(homeless) == len(refused), where
    for volume in homeless:
        assert volume.size > max(free.values()), where
        assert volume.operation['explanation'], where
    assert all('2 pools: not enough free space' in one or 'filled by other volumes' in one for one in refused), where


def test_a_refusal_is_explained_in_full_to_administrators(simulation: Simulation) -> None:
    volume = create_volume(context(), 500)
    simulation.settle()
    invariants.check(simulation)
    [message] = Message.scan()
    assert message.resource_uuid == volume.id
    assert 'cinderless@' not in message.user_message
    assert '2 pools: not enough free space for 500 GiB' in message.user_message
    assert 'CapacityFilter removed cinderless@big#pool, cinderless@fast#pool' in message.explanation
