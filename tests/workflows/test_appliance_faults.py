"""What users see when an appliance fails under a workflow: a retry, the next candidate, or a status with a message.

The driver's own client talks HTTPS with the agent's own server, which the tests make fail.
"""

from __future__ import annotations

import contextlib
import enum
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import certificate
from appliance.keys import Keys
from appliance.server import Handler, Server, tls_context
from appliance.signing import Verifier
from chalicelib.drivers import appliance_client, pinning
from chalicelib.drivers.appliance import ApplianceDriver
from chalicelib.drivers.base import Driver
from chalicelib.models import Message, Snapshot, Volume
from chalicelib.operations import snapshots, volumes
from tests import machine
from tests.factories import context, create_group, create_group_snapshot, create_snapshot, create_volume
from tests.fake_driver import Backend, FakeBackends
from tests.simulation import BIG, Simulation
from tests.unit.appliance.agent_fixture import GIB, SECRET, Rig
from tests.unit.appliance.fakes import FakeLvm

CALLER = context()
HOST = 'cinderless@appliance#fast'

#: Seconds of the client's patience here.
PATIENCE = 0.4


class Fault(enum.Enum):
    DOWN = 'the connection breaks'
    SLOW = 'nothing is done for longer than anybody waits'
    LATE = 'it is done, and answered after the timeout'
    GARBAGE = 'the answer is not JSON'
    ALIEN = 'the answer is not the one that belongs to the request'


class Faulty(Handler):
    """The agent's handler, with the server's next fault."""

    def do_GET(self) -> None:
        faults: list[Fault] = self.server.faults  # type: ignore[attr-defined]
        fault = faults.pop(0) if faults else None
        if fault in (Fault.DOWN, Fault.SLOW):
            self._outwait(fault)
            self.close_connection = True
            return
        status, document = self._outcome()
        self._outwait(fault)
        if fault is Fault.GARBAGE:
            self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<garbage>')
        else:
            self._send(status, ['another answer'] if fault is Fault.ALIEN else document)  # type: ignore[arg-type]

    do_PUT = do_GET  # noqa: N815
    do_DELETE = do_GET  # noqa: N815

    def _outwait(self, fault: Fault | None) -> None:
        """Until the client has given up, however long this machine takes for that."""
        if fault in (Fault.SLOW, Fault.LATE):
            with contextlib.suppress(OSError):
                self.connection.settimeout(20)
                self.connection.recv(1)


class Agent:
    """``rig`` is what it has; ``faults`` are those of its next requests."""

    def __init__(self, folder: Path) -> None:
        self.rig = Rig(folder, FakeLvm(), contextlib.nullcontext, {'fast': 100 * GIB})
        identity = certificate.ensure(folder)
        self.server = Server(
            ('127.0.0.1', 0), tls_context(*identity), self.rig.appliance, Verifier(Keys(SECRET).requests)
        )
        self.server.RequestHandlerClass = Faulty
        self.faults: list[Fault] = []
        self.server.faults = self.faults  # type: ignore[attr-defined]
        url = f'https://127.0.0.1:{self.server.server_address[1]}'
        self.options = {
            'url': url,
            'fingerprint': certificate.fingerprint(identity[0]),
            'secret': SECRET.decode(),
        }

    def names(self) -> list[str]:
        found: list[str] = self.rig.appliance.list_objects('fast')['objects']
        return found


class Mixed(FakeBackends):
    """Strict backends in memory, and one appliance."""

    def __init__(self, known: dict[str, Backend], options: dict[str, Any]) -> None:
        super().__init__({**known, 'cinderless@appliance': Backend('cinderless@appliance', {})})
        self.options = options

    def driver(self, host: str) -> Driver:  # type: ignore[override]
        ours = host.startswith('cinderless@appliance')
        return ApplianceDriver('appliance', self.options) if ours else super().driver(host)

    def report(self, host: str) -> dict[str, Any]:
        return self.driver(host).get_volume_stats()


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    for name, seconds in (('ATTEMPT', PATIENCE), ('BUDGET', 2 * PATIENCE + 0.2)):
        monkeypatch.setattr(appliance_client, name, seconds)
    monkeypatch.setattr(appliance_client, '_WORTHWHILE', 0.01)
    monkeypatch.setattr(pinning, 'CONNECT', PATIENCE)
    made = Agent(tmp_path)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def mixed(simulation: Simulation, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> Simulation:
    """The appliance has the most free capacity, another backend has some."""
    monkeypatch.setattr(machine, 'definition', machine.impatient)
    simulation.backends.pop('cinderless@fast', None)
    simulation.big.pools['pool'] = 20
    found = Mixed(simulation.backends, agent.options)
    monkeypatch.setattr('chalicelib.tasks.backends.configured', lambda: found)
    simulation.report()
    return simulation


def ended(simulation: Simulation, volume: Volume) -> tuple[str, str | None]:
    simulation.settle()
    found = volume.reload()
    return found.status, found.host


def told(record: Any) -> list[str]:
    return [str(one.user_message) for one in Message.scan() if one.resource_uuid == record.id]


@pytest.mark.parametrize('fault', Fault)
def test_what_passes_is_retried(mixed: Simulation, agent: Agent, fault: Fault) -> None:
    agent.faults += [fault]
    volume = create_volume(CALLER, 5)
    assert ended(mixed, volume) == ('available', HOST)
    assert agent.names() == [f'volume-{volume.id}']


@pytest.mark.parametrize('fault', Fault)
def test_what_does_not_pass_leaves_the_volume_to_the_next_candidate(
    mixed: Simulation, agent: Agent, fault: Fault
) -> None:
    """The machine retries twice, and each try is two attempts; what may be there is removed before the next one."""
    agent.faults += [fault] * 6
    volume = create_volume(CALLER, 5)
    assert ended(mixed, volume) == ('available', BIG)
    assert agent.names() == []


def test_so_does_a_full_one(mixed: Simulation, agent: Agent) -> None:
    agent.rig.capacities['fast'] = 2 * GIB  # type: ignore[index]
    volume = create_volume(CALLER, 6)
    assert ended(mixed, volume) == ('available', BIG)
    assert agent.names() == []


def test_so_does_one_whose_certificate_changed(
    mixed: Simulation, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Mixed(mixed.backends, {**agent.options, 'fingerprint': 'ab' * 32})
    monkeypatch.setattr('chalicelib.tasks.backends.configured', lambda: other)
    assert ended(mixed, create_volume(CALLER, 5)) == ('available', BIG)
    assert agent.names() == []


@pytest.mark.parametrize('fault', [Fault.DOWN, Fault.GARBAGE])
def test_without_another_candidate_the_user_is_told_why(mixed: Simulation, agent: Agent, fault: Fault) -> None:
    agent.faults += [fault] * 6
    volume = create_volume(CALLER, 50)
    assert ended(mixed, volume) == ('error', None)
    [message] = told(volume)
    assert 'gave no answer in time' in message
    [whole] = [one.explanation for one in Message.scan() if one.resource_uuid == volume.id]
    address = f'the agent at 127.0.0.1:{agent.server.server_address[1]}'
    assert (address in message, address in whole) == (False, True)
    assert agent.names() == []


def failing(agent: Agent, act: Callable[[], object], simulation: Simulation) -> None:
    """Do something while the appliance answers nothing."""
    agent.faults += [Fault.DOWN] * 40
    act()
    simulation.settle()
    agent.faults.clear()


def test_verbs_on_a_volume_are_done_when_the_appliance_answers_again(mixed: Simulation, agent: Agent) -> None:
    volume = create_volume(CALLER, 5)
    snapshot = create_snapshot(CALLER, volume) if ended(mixed, volume)[0] == 'available' else None
    assert snapshot is not None
    mixed.settle()
    failing(agent, lambda: volumes.extend(context(), volume.id, 6), mixed)
    assert volume.reload().status == 'extending'
    mixed.reconcile()
    mixed.settle()
    volume = volume.reload()
    assert (volume.status, volume.size) == ('available', 6)
    failing(agent, lambda: snapshots.delete(context(), snapshot.id), mixed)
    assert snapshot.reload().status == 'deleting'
    mixed.reconcile()
    mixed.settle()
    failing(agent, lambda: volumes.delete(context(), volume.id), mixed)
    assert volume.reload().status == 'deleting'
    mixed.reconcile()
    mixed.settle()
    assert len(told(volume)) + len(told(snapshot)) == 3
    assert list(Volume.scan()) == []
    assert agent.names() == []


@pytest.mark.parametrize('fault', [None, Fault.LATE, Fault.DOWN])
def test_a_group_that_asks_for_one_moment_has_a_backend(mixed: Simulation, agent: Agent, fault: Fault | None) -> None:
    """An answer that gets lost on the way changes nothing; a backend that is gone leaves no snapshot."""
    group = create_group(context(), group_specs={'consistent_group_snapshot_enabled': '<is> True'})
    mixed.settle()
    assert (group.reload().status, group.host) == ('available', HOST.partition('#')[0])
    made = [create_volume(CALLER, 5, group_id=group.id) for _ in range(2)]
    assert [ended(mixed, volume) for volume in made] == [('available', HOST)] * 2
    agent.faults += [fault] * (1 if fault is Fault.LATE else 40) if fault else []
    taken = create_group_snapshot(context(), group.reload())
    mixed.settle()
    agent.faults.clear()
    there = {record.status for record in [taken.reload(), *Snapshot.scan()]}
    assert there == {'error' if fault is Fault.DOWN else 'available'}
    frozen = [name for name in agent.names() if name.startswith('snapshot-')]
    assert len(frozen) == (0 if fault is Fault.DOWN else 2)
