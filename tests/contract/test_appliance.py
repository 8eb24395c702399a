"""The appliance's driver and agent, with a real tgtd, under the contract of all drivers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract import driver_model
from tests.contract.agent import Agent
from tests.contract.driver_suite import Backend
from tests.contract.group_suite import GroupContract
from tests.contract.iscsi_backends import TestAttached, TestDriver, TestOpened, TestPaths, TestRestore

__all__ = ['TestAttached', 'TestDriver', 'TestOpened', 'TestPaths', 'TestRestore']


@pytest.fixture(scope='module')
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with Agent(tmp_path_factory.mktemp('agent')) as running:
        yield running


@pytest.fixture
def backend(agent: Agent) -> Backend:
    return agent.backend()


class TestGroups(GroupContract):
    pass


def test_model(agent: Agent, backend: Backend) -> None:
    """The agent is killed now and then: between verbs nothing it has answered is ever lost."""

    def restart() -> None:
        agent.kill()
        agent.start()

    driver_model.check(backend, restart)
