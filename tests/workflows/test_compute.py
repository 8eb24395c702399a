"""Nova: notified of volumes that grew or were reimaged, and queried before an attachment is removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.clients.glance import Images
from chalicelib.clients.nova import Compute
from chalicelib.models import Attachment, Message, Volume
from chalicelib.operations import attachments, cloud, images, legacy_attachments, volumes
from tests import fake_glance, invariants
from tests.data_backends import Data
from tests.factories import context, create_volume
from tests.fake_nova import FakeNova, NoTokens, serving
from tests.simulation import Simulation

SERVER = 'c2a4f3f2-6d3a-4e5e-9f0e-0d7c5b7b6a11'
CONNECTOR = {'host': 'compute', 'initiator': 'iqn.x:1', 'ip': '10.0.0.1'}


@pytest.fixture
def nova(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNova]:
    with serving(FakeNova()) as running:
        monkeypatch.setattr(cloud, 'compute', lambda: Compute(running.url, NoTokens()))
        yield running
    assert running.violations == []


def attached(
    simulation: Simulation, nova: FakeNova | None = None, server: str | None = SERVER
) -> tuple[Volume, Attachment]:
    """A volume that a server uses, and its attachment."""
    volume = create_volume(context(), 1)
    simulation.settle()
    made = attachments.create(context(), volume_id=volume.id, instance_id=server, connector=CONNECTOR, mode=None)
    attachments.complete(context(), made.id)
    if nova is not None and server is not None:
        nova.servers[server] = {volume.id: made.id}
    return volume.reload(), made.reload()


def messages() -> list[tuple[str, str]]:
    return [(one.action_id, one.detail_id) for one in Message.scan()]


class TestExtend:
    def test_nova_is_told_of_an_attached_volume(self, simulation: Simulation, nova: FakeNova) -> None:
        volume, _ = attached(simulation, nova)
        volumes.extend(context(), volume.id, 2)
        [execution] = simulation.settle()
        assert execution.path == ['ExtendVolume', 'HasServers', 'NotifyCompute', 'Extended']
        assert nova.notified == [('volume-extended', SERVER, volume.id)]
        assert (volume.reload().status, volume.reload().size) == ('in-use', 2)
        assert messages() == []

    def test_and_of_no_other(self, simulation: Simulation, nova: FakeNova) -> None:
        volume = create_volume(context(), 1)
        simulation.settle()
        volumes.extend(context(), volume.id, 2)
        other, _ = attached(simulation, server=None)
        volumes.extend(context(), other.id, 2)
        simulation.settle()
        assert nova.requests == []

    @pytest.mark.parametrize('fault', [500, 503, 403, 400])
    def test_a_nova_that_does_not_listen(self, simulation: Simulation, nova: FakeNova, fault: int) -> None:
        """The volume grows even so, and a message reports that the server was not notified."""
        volume, _ = attached(simulation, nova)
        volumes.extend(context(), volume.id, 2)
        nova.faults = [fault] * 200
        [execution] = simulation.settle()
        assert execution.path[-2:] == ['FailNotifyCompute', 'Extended']
        assert (volume.reload().status, volume.reload().size) == ('in-use', 2)
        assert messages() == [('007', '009')]
        invariants.check(simulation)

    def test_one_that_listens_later(self, simulation: Simulation, nova: FakeNova) -> None:
        volume, _ = attached(simulation, nova)
        volumes.extend(context(), volume.id, 2)
        nova.faults = [503, 500]
        simulation.settle()
        assert nova.notified == [('volume-extended', SERVER, volume.id)]
        assert messages() == []

    def test_a_server_that_is_gone(self, simulation: Simulation, nova: FakeNova) -> None:
        volume, _ = attached(simulation)
        volumes.extend(context(), volume.id, 2)
        simulation.settle()
        assert (nova.notified, messages()) == ([], [])

    def test_a_cloud_without_nova(self, simulation: Simulation) -> None:
        volume, _ = attached(simulation)
        volumes.extend(context(), volume.id, 2)
        [execution] = simulation.settle()
        assert execution.path == ['ExtendVolume', 'HasServers', 'Extended']


@pytest.mark.parametrize('down', [False, True])
def test_a_reimaged_volume(simulation: Simulation, nova: FakeNova, monkeypatch: pytest.MonkeyPatch, down: bool) -> None:
    Data(simulation, monkeypatch)
    volume = create_volume(context(), 1)
    simulation.settle()
    attachments.create(context(), volume_id=volume.id, instance_id=SERVER, connector=None, mode=None)
    nova.servers[SERVER] = {}
    with fake_glance.serving(fake_glance.FakeGlance()) as glance:
        monkeypatch.setattr(cloud, 'images', lambda: Images(glance.url, NoTokens()))
        images.reimage(context(), volume.id, glance.add(b'image'), reserved=True)
        nova.faults = [500] * 200 if down else []
        simulation.settle()
    assert volume.reload().status == 'reserved'
    assert nova.notified == ([] if down else [('volume-reimaged', SERVER, volume.id)])
    assert messages() == ([('016', '028')] if down else [])


#: Every call that takes a server's path or attachment away.
CALLS: dict[str, Callable[[Any, Volume, Attachment], Any]] = {
    'attachment delete': lambda caller, volume, made: attachments.delete(caller, made.id),
    'os-detach': lambda caller, volume, made: legacy_attachments.detach(caller, volume.id, made.id),
    'os-detach, the only one': lambda caller, volume, made: legacy_attachments.detach(caller, volume.id, None),
    'os-terminate_connection': lambda caller, volume, made: legacy_attachments.terminate_connection(
        caller, volume.id, CONNECTOR
    ),
    'os-force_detach': lambda caller, volume, made: legacy_attachments.force_detach(
        caller, volume.id, made.id, CONNECTOR
    ),
}


@pytest.mark.parametrize('name', CALLS)
class TestWhoMayDetach:
    """CVE-2023-2088."""

    @pytest.mark.parametrize('role', ['member', 'admin'])
    def test_no_user_while_a_server_uses_it(self, simulation: Simulation, nova: FakeNova, name: str, role: str) -> None:
        volume, made = attached(simulation, nova)
        with pytest.raises(errors.ConflictNovaUsingAttachment, match=f'instance {SERVER} using the Compute API'):
            CALLS[name](context(role), volume, made)
        assert volume.reload().status == 'in-use'
        assert simulation.big.paths == {f'volume-{volume.id}': {made.id}}

    def test_a_service(self, simulation: Simulation, nova: FakeNova, name: str) -> None:
        volume, made = attached(simulation, nova)
        CALLS[name](context(service_roles=frozenset({'service'})), volume, made)
        assert nova.requests == []

    def test_a_users_own_role_service_is_not_enough(self, simulation: Simulation, nova: FakeNova, name: str) -> None:
        volume, made = attached(simulation, nova)
        caller = context(roles=frozenset({'member', 'service'}))
        with pytest.raises(errors.ConflictNovaUsingAttachment):
            CALLS[name](caller, volume, made)

    def test_one_that_no_server_uses(self, simulation: Simulation, nova: FakeNova, name: str) -> None:
        """The server is gone, does not know the volume, or uses another attachment of it."""
        volume, made = attached(simulation)
        nova.servers[SERVER] = {volume.id: 'another'}
        CALLS[name](context(), volume, made)
        other, unknown = attached(simulation)
        nova.servers.clear()
        CALLS[name](context(), other, unknown)

    def test_without_a_server(self, simulation: Simulation, nova: FakeNova, name: str) -> None:
        volume, made = attached(simulation, server=None)
        CALLS[name](context(), volume, made)
        assert nova.requests == []

    @pytest.mark.parametrize('fault', [500, 403, 401])
    def test_it_fails_closed(self, simulation: Simulation, nova: FakeNova, name: str, fault: int) -> None:
        volume, made = attached(simulation, nova)
        nova.faults = [fault] * 3
        with pytest.raises(errors.ServiceUnavailable):
            CALLS[name](context(), volume, made)
        assert simulation.big.paths == {f'volume-{volume.id}': {made.id}}


def test_a_reservation_may_be_deleted(simulation: Simulation, nova: FakeNova) -> None:
    volume = create_volume(context(), 1)
    simulation.settle()
    made = attachments.create(context(), volume_id=volume.id, instance_id=SERVER, connector=None, mode=None)
    nova.servers[SERVER] = {volume.id: made.id}
    attachments.delete(context(), made.id)
    assert nova.requests == []
