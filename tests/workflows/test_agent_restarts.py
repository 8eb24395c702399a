"""The agent of an appliance is killed and started again, under every request that an operation makes of it.

The agent is the real one, a process with its tgtd over XFS on loopback, and the driver's own client talks to it. It is
killed before it serves the request, or after it has, so that only its answer is lost. It answers again after some
attempts have failed, as a service that restarts does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from chalicelib import errors
from chalicelib.drivers import appliance_client, pinning
from chalicelib.drivers.base import Driver
from chalicelib.models import Backup, Message, Snapshot, Volume
from chalicelib.operations import attachments, backups, quotas, reverts, snapshots, volumes
from tests.backup_factories import create_backup
from tests.chap import chap
from tests.contract.agent import Agent
from tests.data_backends import Data
from tests.factories import context, create_snapshot, create_volume
from tests.fake_driver import Backend, FakeBackends
from tests.run_statistics import Counting
from tests.simulation import Simulation

__all__ = ['chap']

#: Attempts that fail before the agent is started again.
FAILURES = 3

CONNECTOR = {'host': 'compute-1', 'initiator': 'iqn.1993-08.org.debian:01:aaa', 'ip': '127.0.0.1'}


class Appliance(FakeBackends):
    """The one backend is the agent."""

    def __init__(self, agent: Agent) -> None:
        super().__init__({'cinderless@appliance': Backend('cinderless@appliance', {})})
        self.agent = agent

    def driver(self, host: str) -> Driver:  # type: ignore[override]
        return self.agent.driver()

    def report(self, host: str) -> dict[str, Any]:
        return self.driver(host).get_volume_stats()


class Restart:
    """Kills the agent at the request with this number; ``requests`` counts those of the operation."""

    def __init__(self, agent: Agent, number: int | None, when: Literal['before', 'after']) -> None:
        self.agent, self.number, self.when = agent, number, when
        self.requests = self.failed = 0

    def attempt(self, serve: Callable[[], Any]) -> Any:
        """One attempt of the driver's client."""
        if self.agent.process is None:
            self.failed += 1
            if self.failed > FAILURES:
                self.agent.start()
        dies, self.requests = self.requests == self.number, self.requests + 1
        if dies and self.when == 'before':
            self.agent.kill()
        answer = serve()
        if dies and self.when == 'after':
            self.agent.kill()
            raise errors.BackendUnavailable(backend='appliance', reason='the answer is lost')
        return answer


class Stage(NamedTuple):
    simulation: Simulation
    agent: Agent
    monkeypatch: pytest.MonkeyPatch

    @contextlib.contextmanager
    def restarting(self, restart: Restart) -> Iterator[None]:
        attempt = appliance_client.Client._attempt
        with self.monkeypatch.context() as patch:
            patch.setattr(appliance_client.Client, '_attempt', lambda *given: restart.attempt(lambda: attempt(*given)))
            yield

    def volume(self) -> Volume:
        made = create_volume(context(), 1)
        self.simulation.settle()
        return made.reload()

    def snapshot(self) -> Snapshot:
        taken = create_snapshot(context(), self.volume())
        self.simulation.settle()
        return taken.reload()

    def backup(self) -> Backup:
        made = create_backup(context(), self.volume())
        self.simulation.settle()
        return made.reload()

    def attached(self) -> tuple[Volume, str]:
        volume = self.volume()
        made = attachments.create(context(), volume_id=volume.id, instance_id=None, connector=CONNECTOR, mode='rw')
        attachments.complete(context(), made.id)
        return volume, made.id


def _attach(volume: Volume) -> None:
    attachments.create(context(), volume_id=volume.id, instance_id=None, connector=CONNECTOR, mode='rw')


#: Operation -> (its preparation, its request).
OPERATIONS: dict[str, tuple[Callable[[Stage], Any], Callable[[Any], object]]] = {
    'create': (lambda stage: None, lambda _: create_volume(context(), 1)),
    'create from a snapshot': (Stage.snapshot, lambda one: create_volume(context(), 1, snapshot_id=one.id)),
    'clone': (Stage.volume, lambda one: create_volume(context(), 1, source_volid=one.id)),
    'extend': (Stage.volume, lambda one: volumes.extend(context(), one.id, 2)),
    'extend, attached': (Stage.attached, lambda one: volumes.extend(context(), one[0].id, 2)),
    'snapshot': (Stage.volume, lambda one: create_snapshot(context(), one)),
    'delete a snapshot': (Stage.snapshot, lambda one: snapshots.delete(context(), one.id)),
    'revert': (Stage.snapshot, lambda one: reverts.revert(context(), one.volume_id, one.id)),
    'delete': (Stage.volume, lambda one: volumes.delete(context(), one.id)),
    'cascade': (Stage.snapshot, lambda one: volumes.delete(context(), one.volume_id, cascade=True)),
    'attach': (Stage.volume, _attach),
    'detach': (Stage.attached, lambda one: attachments.delete(context(), one[1])),
    'back up': (Stage.volume, lambda one: create_backup(context(), one)),
    'restore to a new volume': (
        Stage.backup, lambda one: backups.restore(context(), one.id, volume_id=None, name=None),
    ),
    'restore in place': (
        Stage.backup, lambda one: backups.restore(context(), one.id, volume_id=one.volume_id, name=None),
    ),
}  # fmt: skip

#: Operations that a client waits for: they may be refused, and are repeated then.
SYNCHRONOUS = ('attach', 'detach')


@pytest.fixture
def stage(chap: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    simulation = chap  # for the key that seals secrets
    Data(simulation, monkeypatch)
    monkeypatch.setattr(pinning, 'CONNECT', 0.5)
    with Agent(tmp_path, '', 'pool') as agent:
        simulation.backends.clear()
        monkeypatch.setattr('chalicelib.tasks.backends.configured', lambda: Appliance(agent))
        simulation.report()
        quotas.update('project', dict.fromkeys(('volumes', 'snapshots', 'backups'), -1))
        yield Stage(simulation, agent, monkeypatch)


@pytest.mark.parametrize('operation', OPERATIONS)
def test_a_restart_costs_time_and_no_status(operation: str, stage: Stage, counted: Counting) -> None:
    requests = _play(stage, operation, Restart(stage.agent, None, 'before'))
    assert requests > 0
    for number in range(requests):
        for when in ('before', 'after'):
            _play(stage, operation, Restart(stage.agent, number, when))
            counted('restarts of the agent survived', 1)


def _play(stage: Stage, operation: str, restart: Restart) -> int:
    """Run the operation once with new records; return its requests to the agent."""
    prepare, ask = OPERATIONS[operation]
    given = prepare(stage)
    with stage.restarting(restart):
        _asked(stage, operation, lambda: ask(given))
        stage.simulation.settle()
    if stage.agent.process is None:
        stage.agent.start()
    stage.simulation.reconcile()
    stage.simulation.settle()
    records = [*Volume.scan(), *Snapshot.scan(), *Backup.scan()]
    failed = [(one.resource, one.status) for one in records if 'error' in one.status or one.in_flight]
    messages = [one.user_message for one in Message.scan()]
    assert (failed, messages) == ([], []), (operation, restart.number, restart.when)
    return restart.requests


def _asked(stage: Stage, operation: str, ask: Callable[[], object]) -> None:
    """Send the request; repeat a synchronous one after a 503, once the agent answers."""
    try:
        ask()
    except errors.BackendUnavailable:
        assert operation in SYNCHRONOUS
        if stage.agent.process is None:
            stage.agent.start()
        for message in Message.scan():
            message.delete()
        ask()
