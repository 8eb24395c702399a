"""Attach and detach by actions on the volume, as Nova did before the attachments API."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import Attachment, Message, Volume
from chalicelib.operations import attachments
from chalicelib.operations import legacy_attachments as legacy
from chalicelib.rules import states
from tests.chap import CANARY, chap, paths
from tests.factories import context
from tests.simulation import Simulation
from tests.small_dynamodb import SmallDynamoDB
from tests.unit.operations.test_attachments import HOST, OTHER_HOST, make_volume, statuses

__all__ = ['chap']

SERVER, OTHER_SERVER = 'server-1', 'server-2'


@pytest.fixture
def volume(chap: Simulation) -> Volume:
    return make_volume(chap)


def attach(volume: Volume, **facts: Any) -> None:
    usual = {'instance_id': SERVER, 'host_name': None, 'mountpoint': '/dev/vdb', 'mode': 'rw'}
    legacy.attach(context(), volume.id, **{**usual, **facts})


def attached(volume: Volume, connector: dict[str, Any] = HOST, **facts: Any) -> Attachment:
    """What Nova does from the request to the device, and what is left of it."""
    known = {one.id for one in Attachment.scan()}
    legacy.reserve(context(), volume.id)
    legacy.initialize_connection(context(), volume.id, connector)
    attach(volume, **facts)
    [made] = [one for one in Attachment.scan() if one.id not in known]
    return made


def test_from_reserve_to_detach(chap: Simulation, volume: Volume) -> None:
    legacy.reserve(context(), volume.id)
    assert statuses(volume) == ('attaching', 'detached', 0)
    info = legacy.initialize_connection(context(), volume.id, HOST)
    assert (info['driver_volume_type'], info['enforce_multipath']) == ('iscsi', False)
    assert info['data']['auth_password'].startswith(CANARY)
    assert statuses(volume)[0] == 'attaching'
    attach(volume)
    assert statuses(volume) == ('in-use', 'attached', 1)
    [made] = Attachment.scan()
    assert (made.attach_status, made.instance_id, made.mountpoint, made.attach_mode) == (
        'attached', SERVER, '/dev/vdb', 'rw',
    )  # fmt: skip
    assert made.attached_at
    legacy.begin_detaching(context(), volume.id)
    assert statuses(volume)[0] == 'detaching'
    legacy.terminate_connection(context(), volume.id, HOST)
    assert paths(chap) == []
    legacy.detach(context(), volume.id, made.id)
    assert statuses(volume) == ('available', 'detached', 0)
    assert list(Attachment.scan()) == []


def test_nothing_of_a_connection_is_stored(tables: SmallDynamoDB, chap: Simulation, volume: Volume) -> None:
    first = legacy.initialize_connection(context(), volume.id, HOST)
    attach(volume)
    assert legacy.initialize_connection(context(), volume.id, HOST) == first
    assert len(paths(chap)) == 1
    assert CANARY not in repr(tables.tables)


@pytest.mark.parametrize('status', sorted(states.VOLUME_STATUSES))
def test_the_matrix_of_statuses(simulation: Simulation, status: str) -> None:
    """Cinder's, measured: which action takes a volume from which status where."""
    expected = {
        'reserve': {'available': 'attaching'},
        'begin_detaching': {'in-use': 'detaching'},
        'unreserve': {'attaching': 'available'},
        'roll_detaching': {'detaching': 'in-use'},
    }
    for action, moves in expected.items():
        volume = make_volume(simulation, status=status, attach_status='attached' if status == 'in-use' else 'detached')
        refuses = action in {'reserve', 'begin_detaching'} and status not in moves
        try:
            getattr(legacy, action)(context(), volume.id)
        except errors.InvalidVolume:
            assert refuses
        else:
            assert not refuses
        assert volume.reload().status == moves.get(status, status)


def test_refusals_name_the_status(simulation: Simulation) -> None:
    volume = make_volume(simulation, status='error')
    with pytest.raises(errors.InvalidVolume, match='must be available to reserve, but the status is error'):
        legacy.reserve(context(), volume.id)
    with pytest.raises(errors.InvalidVolume, match="must be 'in-use' and attach_status must be 'attached' to detach"):
        legacy.begin_detaching(context(), volume.id)


def test_a_volume_that_is_migrated_is_not_detached(simulation: Simulation) -> None:
    facts = {'status': 'in-use', 'attach_status': 'attached'}
    with pytest.raises(errors.InvalidVolume):
        legacy.begin_detaching(context(), make_volume(simulation, migration_status='migrating', **facts).id)
    legacy.begin_detaching(context(), make_volume(simulation, migration_status='success', **facts).id)


@pytest.mark.parametrize('call', ['initialize_connection', 'attach', 'detach'])
def test_maintenance_is_left_alone(simulation: Simulation, call: str) -> None:
    volume = make_volume(simulation, status='maintenance')
    calls = {
        'initialize_connection': lambda: legacy.initialize_connection(context(), volume.id, HOST),
        'attach': lambda: attach(volume),
        'detach': lambda: legacy.detach(context(), volume.id, None),
    }
    with pytest.raises(errors.InvalidVolume, match='maintenance'):
        calls[call]()


def test_attaching_again_changes_nothing(chap: Simulation, volume: Volume) -> None:
    made = attached(volume)
    attach(volume)
    assert [one.id for one in Attachment.scan()] == [made.id]
    with pytest.raises(errors.InvalidVolume, match='to attach, but the current status is in-use'):
        attach(volume, instance_id=OTHER_SERVER)


def test_a_host_may_attach_without_a_server(chap: Simulation, volume: Volume) -> None:
    made = attached(volume, instance_id=None, host_name='baremetal-1')
    assert (made.instance_id, made.attached_host) == (None, 'baremetal-1')


def test_a_read_only_volume_is_attached_read_only_or_not_at_all(chap: Simulation) -> None:
    volume = make_volume(chap, admin_metadata={'readonly': 'True'})
    legacy.reserve(context(), volume.id)
    with pytest.raises(errors.InvalidAttachmentMode, match="Invalid attaching mode 'rw'"):
        attach(volume)
    assert statuses(volume) == ('available', 'detached', 0)
    [message] = Message.scan()
    assert (message.action_id, message.detail_id) == ('002', '005')
    assert attached(volume, mode='ro').attach_mode == 'ro'


def test_several_attachments_are_told_apart(chap: Simulation) -> None:
    volume = make_volume(chap, multiattach=True)
    first = attached(volume)
    second = attached(volume, OTHER_HOST, instance_id=OTHER_SERVER)
    assert statuses(volume) == ('in-use', 'attached', 2)
    with pytest.raises(errors.InvalidVolume, match='More than one attachment, but no attachment_id provided'):
        legacy.detach(context(), volume.id, None)
    legacy.terminate_connection(context(), volume.id, HOST)
    legacy.detach(context(), volume.id, first.id)
    assert statuses(volume) == ('in-use', 'attached', 1)
    assert len(paths(chap)) == 1
    legacy.terminate_connection(context(), volume.id, OTHER_HOST)
    legacy.detach(context(), volume.id, second.id)
    assert (statuses(volume), paths(chap)) == (('available', 'detached', 0), [])


def test_an_unreserved_volume_with_another_attachment_is_in_use(chap: Simulation) -> None:
    volume = make_volume(chap, multiattach=True)
    attached(volume)
    legacy.reserve(context(), volume.id)
    assert statuses(volume)[0] == 'attaching'
    legacy.unreserve(context(), volume.id)
    assert statuses(volume) == ('in-use', 'attached', 1)


def test_the_only_attachment_takes_every_path_with_it(chap: Simulation, volume: Volume) -> None:
    """A host that never sent os-terminate_connection does not keep its path."""
    attached(volume)
    legacy.detach(context(), volume.id, None)
    assert (statuses(volume), paths(chap)) == (('available', 'detached', 0), [])


def test_detaching_what_is_gone_brings_the_volume_to_rest(chap: Simulation, volume: Volume) -> None:
    made = attached(volume)
    attachments.delete(context(), made.id)
    volume.update(actions=[Volume.status.set('detaching')])
    legacy.detach(context(), volume.id, made.id)
    assert statuses(volume) == ('available', 'detached', 0)
    legacy.detach(context(), volume.id, None)
    assert statuses(volume) == ('available', 'detached', 0)


def test_a_host_that_gives_up_while_connecting(chap: Simulation, volume: Volume) -> None:
    legacy.reserve(context(), volume.id)
    legacy.initialize_connection(context(), volume.id, HOST)
    legacy.terminate_connection(context(), volume.id, HOST)
    assert (statuses(volume), paths(chap)) == (('available', 'detached', 0), [])


def test_terminating_without_a_connector_takes_all_paths(chap: Simulation, volume: Volume) -> None:
    for host in (HOST, OTHER_HOST):
        legacy.initialize_connection(context(), volume.id, host)
    assert len(paths(chap)) == 2
    legacy.terminate_connection(context(), volume.id, None)
    assert paths(chap) == []


def test_force_detach(chap: Simulation, volume: Volume) -> None:
    made = attached(volume)
    legacy.force_detach(context('admin'), volume.id, made.id, HOST)
    assert (statuses(volume), paths(chap)) == (('available', 'detached', 0), [])


def test_a_backend_that_fails_keeps_the_attachment(chap: Simulation, volume: Volume) -> None:
    made = attached(volume)
    chap.big.fail('terminate_connection', chap.big.unavailable())
    with pytest.raises(errors.BackendUnavailable):
        legacy.detach(context(), volume.id, made.id)
    assert statuses(volume) == ('in-use', 'attached', 1)


def test_paths_are_named_by_volume_and_initiator() -> None:
    names = {
        legacy.unrecorded_id('v1', HOST),
        legacy.unrecorded_id('v1', OTHER_HOST),
        legacy.unrecorded_id('v2', HOST),
        legacy.unrecorded_id('v1', {'host': 'compute-1'}),
    }
    assert len(names) == 4
    assert legacy.unrecorded_id('v1', {**HOST, 'ip': 'another'}) in names
