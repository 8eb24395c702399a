"""The appliance's driver and agent, with a real tgtd, under the contract of all drivers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.drivers.appliance_client import Client
from tests.contract import calls, driver_model
from tests.contract.agent import Agent
from tests.contract.driver_suite import Backend
from tests.contract.group_suite import GroupContract
from tests.contract.iscsi_backends import TestAttached, TestChanges, TestDriver, TestOpened, TestPaths, TestRestore

__all__ = ['TestAttached', 'TestChanges', 'TestDriver', 'TestOpened', 'TestPaths', 'TestRestore']


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


def test_calls(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    attempt = Client._attempt

    def written_down(self: Client, method: str, path: str, *rest: Any) -> dict[str, Any]:
        sent.append(f'{method} {path}')
        return attempt(self, method, path, *rest)

    monkeypatch.setattr(Client, '_attempt', written_down)
    calls.check('appliance', backend, {'initiator': 'iqn.2026-01.org.example:calls'}, sent)
