"""No over-commit on the real store: 200 creates at once, for pools that hold 150."""

from __future__ import annotations

import concurrent.futures
import os
import threading
from collections.abc import Iterator

import pytest

from chalicelib.models import TABLES, Message, Pool, Volume
from local import dynamodb
from tests.factories import context, create_volume
from tests.simulation import Simulation
from tests.system.cloud import ROOT
from tests.system.crash import connect_anew

CREATES, PLACES, THREADS = 200, 150, 16


@pytest.fixture
def real_tables(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every table is on DynamoDB Local. Without Java the local cloud itself would run on moto."""
    engine = dynamodb.engine(ROOT, '', tmp_path_factory.mktemp('engine') / 'log')
    assert engine is not None, 'make setup brings DynamoDB Local'
    engine.start()
    engine.wait()
    monkeypatch.setenv('AWS_ENDPOINT_URL_DYNAMODB', engine.url)
    assert os.environ['AWS_ACCESS_KEY_ID']
    connect_anew()
    try:
        for table in TABLES:
            table.create_table(billing_mode='PAY_PER_REQUEST', wait=True)
        yield
    finally:
        engine.stop()
        monkeypatch.undo()
        connect_anew()


def test_two_hundred_creates_for_a_hundred_and_fifty_places(real_tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = Simulation()
    simulation.fast.pools = {'a': 40, 'b': 10}
    simulation.big.pools = {'pool': 100}
    lock = threading.RLock()
    simulation.around = lambda _: lock  # the backends in memory are not made for threads
    simulation.install(monkeypatch)
    simulation.report()
    for number in range(CREATES):
        create_volume(context(project_id=f'p{number // 10}'), 1)
    simulation.deliver()
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda execution: execution.run(), list(simulation.executions.values())))
    statuses = [volume.status for volume in Volume.scan()]
    assert (statuses.count('available'), statuses.count('error')) == (PLACES, CREATES - PLACES)
    assert {pool.id: (pool.claimable_gb, pool.allocated_gb, pool.volume_count) for pool in Pool.scan()} == {
        'cinderless@fast#a': (0, 40, 40),
        'cinderless@fast#b': (0, 10, 10),
        'cinderless@big#pool': (0, 100, 100),
    }
    told = list(Message.scan())
    assert len(told) == CREATES - PLACES
    assert all('CapacityFilter removed' in one.explanation or 'candidate' in one.explanation for one in told)
    assert sum(len(backend.objects) for backend in simulation.backends.values()) == PLACES
    assert [backend.violations for backend in simulation.backends.values()] == [[], []]
