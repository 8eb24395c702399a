"""The appliance's driver and agent, with a real tgtd, under the contract of all drivers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.agent import HOST, Agent
from tests.contract.driver_suite import AttachedContract, Backend, DriverContract, IscsiContract


@pytest.fixture(scope='module')
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with Agent(tmp_path_factory.mktemp('agent')) as running:
        yield running


@pytest.fixture
def backend(agent: Agent) -> Backend:
    return Backend(agent.driver(), f'{HOST}#fast', f'{HOST}#slow', too_large=1000)


class TestDriver(DriverContract):
    pass


class TestPaths(IscsiContract):
    pass


class TestAttached(AttachedContract):
    pass
