"""What users see when ONTAP fails under a workflow: a retry, the next candidate, or a status with a message."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import certificate
from chalicelib.drivers import ontap_client
from chalicelib.drivers.base import Driver
from chalicelib.models import Message, Volume
from chalicelib.operations import qos_specs, volume_types, volumes
from tests import machine
from tests.factories import context, create_volume
from tests.fake_driver import Backend, FakeBackends
from tests.ontap.cluster import Cluster
from tests.ontap.disks import NoDisks
from tests.ontap.driver_fixture import driver
from tests.ontap.server import Double, Fault
from tests.simulation import BIG, Simulation

CALLER = context()
ONTAP = 'cinderless@ontap#fast'
PASSING = [Fault.GARBAGE, Fault.BUSY, Fault.DROP, Fault.LOSE]


class Mixed(FakeBackends):
    """Strict backends in memory, and one ONTAP."""

    def __init__(self, known: dict[str, Backend], double: Double, options: dict[str, Any]) -> None:
        super().__init__({**known, 'cinderless@ontap': Backend('cinderless@ontap', {})})
        self.ontap = driver(double, pools=['fast'], **options)

    def driver(self, host: str) -> Driver:  # type: ignore[override]
        return self.ontap if host.startswith('cinderless@ontap') else super().driver(host)

    def report(self, host: str) -> dict[str, Any]:
        return self.driver(host).get_volume_stats()


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    monkeypatch.setattr(ontap_client, 'PAUSES', (0.0, 0.0))
    certificate.ensure(tmp_path)
    with Double(Cluster(NoDisks()), tmp_path) as running:
        yield running


@pytest.fixture
def mixed(simulation: Simulation, double: Double, monkeypatch: pytest.MonkeyPatch) -> Simulation:
    """ONTAP has the most free capacity, another backend has some."""
    monkeypatch.setattr(machine, 'definition', machine.impatient)
    use(simulation, double, monkeypatch)
    return simulation


def use(simulation: Simulation, double: Double, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    from chalicelib.tasks import backends

    simulation.backends.pop('cinderless@fast', None)
    simulation.big.pools['pool'] = 20
    mixed = Mixed(simulation.backends, double, options)
    monkeypatch.setattr(backends, 'configured', lambda: mixed)
    simulation.report()


def ended(simulation: Simulation, volume: Volume) -> tuple[str, str | None]:
    simulation.settle()
    found = volume.reload()
    return found.status, found.host


def names(double: Double) -> list[str]:
    return [lun['name'].rpartition('/')[2] for lun in double.cluster.luns]


@pytest.mark.parametrize('fault', PASSING)
def test_what_passes_is_retried(mixed: Simulation, double: Double, fault: Fault) -> None:
    double.fail('POST', '/storage/luns', fault)
    volume = create_volume(CALLER, 5)
    assert ended(mixed, volume) == ('available', ONTAP)
    assert names(double) == [f'volume-{volume.id}']


@pytest.mark.parametrize('fault', PASSING)
def test_what_does_not_pass_leaves_the_volume_to_the_next_candidate(
    mixed: Simulation, double: Double, fault: Fault
) -> None:
    double.fail('POST', '/storage/luns', *[fault] * 9)
    volume = create_volume(CALLER, 5)
    assert ended(mixed, volume) == ('available', BIG)
    assert names(double) == []


def test_so_does_a_full_one(mixed: Simulation, double: Double) -> None:
    double.cluster.volumes[1]['space']['size'] = 2**30
    volume = create_volume(CALLER, 5)
    assert ended(mixed, volume) == ('available', BIG)


def test_so_does_one_whose_certificate_changed(
    mixed: Simulation, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(mixed, double, monkeypatch)
    driver_of = Mixed(mixed.backends, double, {'fingerprint': 'ab' * 32})
    monkeypatch.setattr('chalicelib.tasks.backends.configured', lambda: driver_of)
    assert ended(mixed, create_volume(CALLER, 5)) == ('available', BIG)


def test_without_another_candidate_the_user_is_told_why(mixed: Simulation, double: Double) -> None:
    double.fail('POST', '/storage/luns', *[Fault.GARBAGE] * 9)
    volume = create_volume(CALLER, 50)
    assert ended(mixed, volume) == ('error', None)
    [message] = [one for one in Message.query(volume.project_id) if one.resource_uuid == volume.id]
    assert 'gave no answer in time' in message.user_message
    assert 'without JSON of ONTAP' in message.explanation


@pytest.mark.parametrize('consumer', ['back-end', 'both', 'front-end'])
def test_the_qos_specs_of_a_type_reach_the_backend_that_enforces_them(
    mixed: Simulation, double: Double, consumer: str
) -> None:
    admin = context('admin')
    kind = volume_types.create(admin, name='limited', description=None, is_public=True, extra_specs={})
    specs = qos_specs.create(admin, name='limits', consumer=consumer, specs={'maxIOPSperGiB': '100'})
    qos_specs.associate(admin, specs.id, kind.id)
    volume = create_volume(CALLER, 5, volume_type=kind.id)
    assert ended(mixed, volume) == ('available', ONTAP)
    limits = [policy['fixed'] for policy in double.cluster.policies]
    assert limits == ([] if consumer == 'front-end' else [{'max_throughput_iops': 500}])


def test_a_volume_that_is_in_use_there_stays_available_and_the_user_is_told(mixed: Simulation, double: Double) -> None:
    volume = create_volume(CALLER, 5)
    assert ended(mixed, volume) == ('available', ONTAP)
    disks = double.cluster.disks
    assert isinstance(disks, NoDisks)
    ref = {'initiator': 'iqn.2026-01.org.example:h'}
    from chalicelib.tasks import backends

    ours = backends.configured().driver(ONTAP)
    ours.initialize_connection(backends.volume_ref(volume.reload()), ref, 'e')
    disks.logged_in = [ref['initiator']]
    volumes.delete(context(), volume.id)
    assert ended(mixed, volume)[0] == 'available'
    [message] = [one for one in Message.query(volume.project_id) if one.resource_uuid == volume.id]
    assert 'it is connected to a server' in message.user_message
    assert ref['initiator'] not in message.user_message
    assert ref['initiator'] in message.explanation
