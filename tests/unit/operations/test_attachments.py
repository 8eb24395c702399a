"""The attachments API's use cases: who may claim a volume, what its status is, and what is left of a path."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import aws, errors
from chalicelib.models import Attachment, Message, Volume
from chalicelib.operations import attachments, volumes
from chalicelib.rules import states
from tests.chap import CANARY, chap, paths
from tests.factories import context, query, stored_volume
from tests.simulation import BIG, Simulation
from tests.small_dynamodb import SmallDynamoDB

__all__ = ['chap']

HOST = {'host': 'compute-1', 'initiator': 'iqn.1993-08.org.debian:01:aaa', 'ip': '10.0.0.11', 'multipath': False}
OTHER_HOST = {**HOST, 'host': 'compute-2', 'initiator': 'iqn.1993-08.org.debian:01:bbb'}

SERVER, OTHER_SERVER = 'server-1', 'server-2'


@pytest.fixture
def volume(simulation: Simulation) -> Volume:
    """Available, on a backend that has its object."""
    return make_volume(simulation)


def make_volume(simulation: Simulation, **facts: Any) -> Volume:
    from tests.fake_driver import Object

    made = stored_volume(host=BIG, **facts)
    simulation.big.objects[f'volume-{made.id}'] = Object('pool', 1)
    return made


def create(volume: Volume, connector: dict[str, Any] | None = None, **facts: Any) -> Attachment:
    usual = {'volume_id': volume.id, 'instance_id': SERVER, 'connector': connector, 'mode': 'rw'}
    return attachments.create(context(), **{**usual, **facts})


def statuses(volume: Volume) -> tuple[str, str, int]:
    found = volume.reload()
    assert found.attachment_count == len(found.attachments)
    return found.status, found.attach_status, found.attachment_count


def test_the_life_of_an_attachment(chap: Simulation, volume: Volume) -> None:
    made = create(volume)
    assert (made.attach_status, attachments.connection_info(made)) == ('reserved', {})
    assert statuses(volume) == ('reserved', 'reserved', 1)
    assert paths(chap) == []
    updated = attachments.update(context(), made.id, {**HOST, 'mountpoint': '/dev/vdb'})
    assert (updated.attach_status, updated.attached_host, updated.mountpoint) == ('attaching', 'compute-1', '/dev/vdb')
    assert statuses(volume) == ('attaching', 'attaching', 1)
    assert paths(chap) == [(f'volume-{volume.id}', made.id)]
    attachments.complete(context(), made.id)
    assert statuses(volume) == ('in-use', 'attached', 1)
    stored = attachments.get(context(), made.id)
    assert (stored.attach_status, stored.attach_mode) == ('attached', 'rw')
    assert stored.attached_at
    assert attachments.delete(context(), made.id) == []
    assert statuses(volume) == ('available', 'detached', 0)
    assert paths(chap) == []
    with pytest.raises(errors.AttachmentNotFound):
        attachments.get(context(), made.id)


def test_what_the_host_is_told(chap: Simulation, volume: Volume) -> None:
    made = create(volume, {**HOST, 'enforce_multipath': True})
    info = attachments.connection_info(made)
    assert info == {
        'driver_volume_type': 'iscsi',
        'target_portal': '10.0.0.1:3260',
        'target_iqn': f'iqn.2010-10.org.openstack:volume-{volume.id}',
        'target_lun': 1,
        'target_discovered': False,
        'auth_method': 'CHAP',
        'auth_username': made.id[:8],
        'auth_password': f'{CANARY}-{made.id}',
        'discovery_auth_password': f'{CANARY}-discovery',
        'volume_id': volume.id,
        'attachment_id': made.id,
        'access_mode': 'rw',
        'encrypted': False,
        'cacheable': False,
        'qos_specs': None,
        'enforce_multipath': True,
    }
    assert attachments.connection_info(attachments.get(context(), made.id)) == info


def test_the_same_update_again_gives_the_same_answer(chap: Simulation, volume: Volume) -> None:
    made = create(volume)
    first = attachments.connection_info(attachments.update(context(), made.id, HOST))
    second = attachments.connection_info(attachments.update(context(), made.id, HOST))
    assert first == second
    assert paths(chap) == [(f'volume-{volume.id}', made.id)]
    assert statuses(volume) == ('attaching', 'attaching', 1)


def test_no_secret_is_stored_told_or_logged(
    tables: SmallDynamoDB,
    chap: Simulation,
    volume: Volume,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG, 'chalicelib')
    payloads: list[Any] = []
    work = chap.work
    monkeypatch.setattr(chap, 'work', lambda task, payload: (payloads.append(payload), work(task, payload))[1])
    made = create(volume, HOST)
    attachments.complete(context(), made.id)
    attachments.update(context(), made.id, HOST)
    assert CANARY in str(attachments.connection_info(made))
    for kept in [tables.tables, payloads, caplog.messages]:
        assert CANARY not in repr(kept)
    sealed = attachments.get(context(), made.id).sealed
    assert CANARY in aws.unseal(sealed, made.id)
    with pytest.raises(errors.AwsRefused) as refused:
        aws.unseal(sealed, 'another attachment')
    assert refused.value.facts['code'] == 'InvalidCiphertextException'


@pytest.mark.parametrize('status', sorted(set(states.VOLUME_STATUSES) - {'in-use'}))
def test_a_volume_is_reserved_from_these_statuses_alone(simulation: Simulation, status: str) -> None:
    """Cinder's matrix, measured for volumes without multiattach."""
    volume = make_volume(simulation, status=status)
    if status in {'available', 'downloading'}:
        assert create(volume).attach_status == 'reserved'
        assert statuses(volume)[0] == 'reserved'
    else:
        with pytest.raises(errors.InvalidVolume, match=f'status of: {status}|current status is {status}'):
            create(volume)
        assert statuses(volume) == (status, 'detached', 0)
        assert list(Attachment.scan()) == []


def test_the_words_of_refusals_are_cinders(simulation: Simulation, volume: Volume) -> None:
    create(volume)
    with pytest.raises(errors.InvalidVolume) as refused:
        create(volume, instance_id=OTHER_SERVER)
    assert refused.value.message == (
        f'Invalid volume: Volume {volume.id} status must be available or downloading to reserve, '
        'but the current status is reserved.'
    )
    shared = make_volume(simulation, multiattach=True, status='error')
    with pytest.raises(errors.InvalidVolume, match='can not be created if the volume is in an error state'):
        create(shared)
    shared.update(actions=[Volume.status.set('detaching')])
    with pytest.raises(errors.InvalidVolume, match='must be available or in-use or downloading to reserve'):
        create(shared)


def test_a_second_server_is_refused_while_the_first_is_there(chap: Simulation, volume: Volume) -> None:
    attachments.complete(context(), create(volume, HOST).id)
    with pytest.raises(errors.InvalidVolume, match='current status is in-use'):
        create(volume, OTHER_HOST, instance_id=OTHER_SERVER)
    assert len(paths(chap)) == 1


def test_a_multiattach_volume_goes_to_two_hosts(chap: Simulation) -> None:
    volume = make_volume(chap, multiattach=True)
    first, second = create(volume, HOST), None
    attachments.complete(context(), first.id)
    second = create(volume, instance_id=OTHER_SERVER)
    assert statuses(volume) == ('reserved', 'attached', 2)
    attachments.update(context(), second.id, OTHER_HOST)
    attachments.complete(context(), second.id)
    assert statuses(volume) == ('in-use', 'attached', 2)
    assert len(paths(chap)) == 2
    assert [left.id for left in attachments.delete(context(), first.id)] == [second.id]
    assert statuses(volume) == ('in-use', 'attached', 1)
    assert paths(chap) == [(f'volume-{volume.id}', second.id)]


def test_a_server_on_its_way_to_another_host_has_two_attachments(chap: Simulation, volume: Volume) -> None:
    """Nova's live migration: the volume stays in use until the second host connects, and after the first is gone."""
    source = create(volume, HOST)
    attachments.complete(context(), source.id)
    target = create(volume)
    assert statuses(volume) == ('in-use', 'attached', 2)
    with pytest.raises(errors.ResourceConflict, match='duplicate connectors detected'):
        attachments.update(context(), target.id, HOST)
    attachments.update(context(), target.id, OTHER_HOST)
    assert statuses(volume) == ('attaching', 'attached', 2)
    attachments.complete(context(), target.id)
    attachments.delete(context(), source.id)
    assert statuses(volume) == ('in-use', 'attached', 1)
    assert paths(chap) == [(f'volume-{volume.id}', target.id)]


def test_an_attached_volume_is_not_removed_by_force_while_another_attachment_is_made(
    chap: Simulation, volume: Volume
) -> None:
    attachments.complete(context(), create(volume, HOST).id)
    create(volume, OTHER_HOST)
    with pytest.raises(errors.InvalidVolume):
        volumes.delete(context('admin'), volume.id, force=True)


def test_read_only_by_the_request_or_by_the_volumes_flag(chap: Simulation, volume: Volume) -> None:
    assert create(volume, HOST, mode='ro').attach_mode == 'ro'
    flagged = make_volume(chap, admin_metadata={'readonly': 'True'})
    made = create(flagged, HOST)
    assert (made.attach_mode, attachments.connection_info(made)['access_mode']) == ('ro', 'ro')
    unflagged = make_volume(chap, admin_metadata={'readonly': 'False'})
    assert create(unflagged, HOST, mode='null').attach_mode == 'rw'


@pytest.mark.parametrize('error', [errors.BackendUnavailable, errors.DriverError])
def test_a_path_that_cannot_be_made_leaves_no_new_attachment(
    chap: Simulation, volume: Volume, error: type[errors.DriverError]
) -> None:
    """No caller would know its id; the request can be repeated at once."""
    chap.big.fail('initialize_connection', error(backend='big', reason='no more LUNs'))
    with pytest.raises(error):
        create(volume, HOST)
    assert statuses(volume) == ('available', 'detached', 0)
    assert (list(Attachment.scan()), paths(chap)) == ([], [])
    [message] = Message.scan()
    assert (message.resource_uuid, message.action_id, message.detail_id) == (volume.id, '004', '021')
    assert 'no more LUNs' not in message.user_message
    assert 'no more LUNs' in message.explanation
    assert create(volume, HOST).attach_status == 'attaching'


def test_a_host_without_an_initiator_is_told_so(chap: Simulation, volume: Volume) -> None:
    with pytest.raises(errors.InvalidConnector, match='initiator'):
        create(volume, {'host': 'compute-1'})
    assert statuses(volume) == ('available', 'detached', 0)
    assert list(Message.scan()) == []


def test_an_update_that_fails_still_holds_the_volume_and_may_be_repeated(chap: Simulation, volume: Volume) -> None:
    made = create(volume)
    chap.big.fail('initialize_connection', chap.big.unavailable())
    with pytest.raises(errors.BackendUnavailable):
        attachments.update(context(), made.id, HOST)
    assert statuses(volume) == ('reserved', 'reserved', 1)
    assert attachments.update(context(), made.id, HOST).attach_status == 'attaching'


def test_a_repeated_update_that_fails_leaves_the_path_that_is_in_use(chap: Simulation, volume: Volume) -> None:
    made = create(volume, HOST)
    attachments.complete(context(), made.id)
    chap.big.fail('initialize_connection', chap.big.unavailable())
    with pytest.raises(errors.BackendUnavailable):
        attachments.update(context(), made.id, HOST)
    assert statuses(volume) == ('in-use', 'attached', 1)
    assert paths(chap) == [(f'volume-{volume.id}', made.id)]


def test_update_refuses_a_broken_volume(chap: Simulation, volume: Volume) -> None:
    made = create(volume)
    volume.update(actions=[Volume.status.set('error')])
    with pytest.raises(errors.ResourceConflict) as refused:
        attachments.update(context(), made.id, HOST)
    assert refused.value.message == (
        'Resource conflict: Volume attachments can not be updated if the volume is in an error state. '
        f'The Volume {volume.id} currently has a status of: error '
    )


def test_a_backend_that_fails_keeps_the_attachment_to_be_deleted_again(chap: Simulation, volume: Volume) -> None:
    made = create(volume, HOST)
    chap.big.fail('terminate_connection', chap.big.unavailable())
    with pytest.raises(errors.BackendUnavailable):
        attachments.delete(context(), made.id)
    assert statuses(volume) == ('attaching', 'attaching', 1)
    attachments.delete(context(), made.id)
    assert (statuses(volume), paths(chap)) == (('available', 'detached', 0), [])


def test_a_reservation_is_deleted_without_asking_the_backend(chap: Simulation, volume: Volume) -> None:
    made = create(volume)
    chap.big.fail('terminate_connection', RuntimeError('this must not be called'))
    attachments.delete(context(), made.id)
    assert statuses(volume) == ('available', 'detached', 0)


def test_completing_twice_changes_nothing(chap: Simulation, volume: Volume) -> None:
    made = create(volume, HOST)
    attachments.complete(context(), made.id)
    before = attachments.get(context(), made.id)
    attachments.complete(context(), made.id)
    after = attachments.get(context(), made.id)
    assert (after.revision, after.attached_at) == (before.revision, before.attached_at)


def test_while_an_operation_holds_the_volume_the_status_waits(chap: Simulation, volume: Volume) -> None:
    """A volume that is being backed up returns to the status of its attachments by then."""
    made = create(volume, HOST)
    attachments.complete(context(), made.id)
    volume.update(
        actions=[Volume.status.set('backing-up'), Volume.previous_status.set('in-use'), Volume.in_flight.set('1')]
    )
    attachments.delete(context(), made.id)
    found = volume.reload()
    assert (found.status, found.previous_status, found.attach_status) == ('backing-up', 'available', 'detached')


def test_an_attachment_outlives_a_volume_that_was_removed_by_force(simulation: Simulation, volume: Volume) -> None:
    made = create(volume)
    volume.delete()
    assert attachments.delete(context(), made.id) == []
    assert list(Attachment.scan()) == []


def test_another_project_sees_nothing(simulation: Simulation, volume: Volume) -> None:
    made = create(volume)
    stranger = context(project_id='other')
    for call in (attachments.get, attachments.complete, attachments.delete):
        with pytest.raises(errors.AttachmentNotFound):
            call(stranger, made.id)
    with pytest.raises(errors.AttachmentNotFound):
        attachments.update(stranger, made.id, HOST)
    with pytest.raises(errors.VolumeNotFound):
        attachments.create(stranger, volume_id=volume.id, instance_id=None, connector=None, mode=None)
    assert attachments.list_(stranger, query()) == ([], False)
    assert [one.id for one in attachments.list_(context(), query())[0]] == [made.id]
    assert attachments.get(context('admin', 'other'), made.id).id == made.id


def test_an_administrators_attachment_belongs_to_the_volumes_project(simulation: Simulation, volume: Volume) -> None:
    made = attachments.create(
        context('admin', 'operations'), volume_id=volume.id, instance_id=None, connector=None, mode=None
    )
    assert made.project_id == volume.project_id


def at_the_first(name: str, action: Callable[[], Any]) -> Callable[[str], contextlib.AbstractContextManager[None]]:
    """Wrap calls, and do something once before the first of that name."""
    done: list[str] = []

    def around(called: str) -> contextlib.AbstractContextManager[None]:
        if called == name and not done:
            done.append(called)
            action()
        return contextlib.nullcontext()

    return around


def test_an_attachment_deleted_while_its_path_is_made_leaves_no_path(chap: Simulation, volume: Volume) -> None:
    made = create(volume)
    chap.around = at_the_first('cinderless@big initialize_connection', lambda: attachments.delete(context(), made.id))
    with pytest.raises(errors.AttachmentNotFound):
        attachments.update(context(), made.id, HOST)
    assert (statuses(volume), paths(chap)) == (('available', 'detached', 0), [])


def test_an_attachment_connected_while_it_is_deleted_leaves_no_path(
    chap: Simulation, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The delete has read a reservation that has no path; before it is gone, its host connects."""
    made = create(volume)
    commit, done = attachments._commit, []

    def late(*arguments: Any) -> None:
        if not done:
            done.append(True)
            attachments.update(context(), made.id, HOST)
        commit(*arguments)

    monkeypatch.setattr(attachments, '_commit', late)
    with pytest.raises(errors.ServiceUnavailable, match='is being connected just now; try again'):
        attachments.delete(context(), made.id)
    assert (statuses(volume)[0], len(paths(chap))) == ('attaching', 1)
    attachments.delete(context(), made.id)
    assert (statuses(volume), paths(chap)) == (('available', 'detached', 0), [])


def test_a_worker_that_answers_too_late_leaves_neither_attachment_nor_path(
    chap: Simulation, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API has given up on it; the path was made and recorded meanwhile."""
    invoke = chap.invoke

    def slow(function: str, task: str, payload: dict[str, Any]) -> Any:
        answer = invoke(function, task, payload)
        if task == 'initialize_attachment':
            raise errors.BackendUnavailable(backend=task, reason='no answer within 27 s; repeat the request')
        return answer

    monkeypatch.setattr(aws, 'invoke', slow)
    with pytest.raises(errors.BackendUnavailable):
        create(volume, HOST)
    assert (statuses(volume), paths(chap), list(Attachment.scan())) == (('available', 'detached', 0), [], [])


@pytest.mark.parametrize('connector', [None, OTHER_HOST], ids=['reserve', 'connect'])
def test_of_two_hosts_at_once_one_wins(
    chap: Simulation, volume: Volume, monkeypatch: pytest.MonkeyPatch, connector: dict[str, Any] | None
) -> None:
    """Both have read an available volume; the second writes first."""
    commit, winners = attachments._commit, []

    def late(*arguments: Any) -> None:
        monkeypatch.setattr(attachments, '_commit', commit)
        winners.append(create(volume, connector, instance_id=OTHER_SERVER))
        commit(*arguments)

    monkeypatch.setattr(attachments, '_commit', late)
    with pytest.raises(errors.InvalidVolume, match='to reserve, but the current status is'):
        create(volume, HOST)
    assert [one.id for one in Attachment.scan()] == [winners[0].id]
    assert len(paths(chap)) == (1 if connector else 0)


def test_a_volume_that_never_comes_to_rest_asks_the_caller_to_repeat(
    simulation: Simulation, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        attachments, '_commit', lambda volume, *_: (_ for _ in ()).throw(errors.StateChanged(
            resource='volume', id=volume.id, status='available', expected='it')),
    )  # fmt: skip
    with pytest.raises(errors.ServiceUnavailable, match='too many requests'):
        create(volume)
