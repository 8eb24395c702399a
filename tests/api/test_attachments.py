"""The attachments API, from reservation to the end, as Nova drives it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.api.front_door import Caller, Worker


def connector() -> dict[str, str]:
    """A host of this test's project alone: an initiator that another project uses is refused."""
    name = f'iqn.1993-08.org.debian:01:{uuid.uuid4().hex}'
    return {'host': 'c1', 'initiator': name, 'ip': '10.0.0.2', 'mountpoint': '/dev/vdb'}


def reserve(caller: Caller, volume: Any, at: str = '3.71', **facts: Any) -> Any:
    body = {'volume_uuid': volume.id, 'instance_uuid': str(uuid.uuid4()), **facts}
    return caller.post('/attachments', {'attachment': body}, at=at)


def test_from_reservation_to_the_end(member: Caller, make: Any) -> None:
    volume = make.volume()
    path = f'/volumes/{volume.id}'
    made = reserve(member, volume).body['attachment']
    assert (made['status'], made['attach_mode'], made['attached_at'], made['connection_info']) == (
        'reserved', 'null', '', {},
    )  # fmt: skip
    own = f'/attachments/{made["id"]}'
    assert member.get(own, at='3.71').body['attachment']['connection_info'] is None
    connected = member.put(own, {'attachment': {'connector': connector()}}, at='3.71').body['attachment']
    assert (connected['status'], connected['connection_info']['driver_volume_type']) == ('attaching', 'iscsi')
    done = member.act(own, 'os-complete', at='3.71')
    assert (done.status, done.text) == (204, '')
    assert member.get(path).body['volume']['status'] == 'in-use'
    gone = member.delete(own, at='3.71')
    assert (gone.status, gone.body) == (200, {'attachments': []})
    assert member.get(path).body['volume']['status'] == 'available'
    assert member.get(own, at='3.71').status == 404


def test_reserve_and_connect_at_once(member: Caller, worker: Worker, make: Any) -> None:
    made = reserve(member, make.volume(), connector=connector(), mode='ro').body['attachment']
    assert made['status'] == 'attaching'
    assert made['connection_info']['attachment_id'] == made['id']
    assert [task for task, _ in worker.calls] == ['initialize_attachment']


@pytest.mark.parametrize(('at', 'status'), [('3.53', 400), ('3.54', 200)])
def test_a_mode_may_be_given_from_3_54(member: Caller, make: Any, at: str, status: int) -> None:
    assert reserve(member, make.volume(), at=at, mode='rw').status == status


def test_what_is_refused(member: Caller, make: Any) -> None:
    broken = make.volume(status='error')
    assert 'if the volume is in an error state' in reserve(member, broken).fault[2]
    taken = make.volume()
    attachment = make.attachment(taken)
    assert reserve(member, taken).fault[:2] == ('badRequest', 400)
    own = f'/attachments/{attachment.id}'
    empty = member.put(own, {'attachment': {'connector': {}}}, at='3.71').fault[2]
    assert empty == 'Invalid input for field/attribute connector. Value: {}. {} should be non-empty'
    missing = member.put(own, {'attachment': {}}, at='3.71').fault[2]
    assert missing == "Invalid input for field/attribute attachment. Value: {}. 'connector' is a required property"


def test_lists_and_their_filters(member: Caller, make: Any) -> None:
    first, second = make.attachment(make.volume()), make.attachment(make.volume())
    shown = member.get('/attachments?limit=1', at='3.27').body
    assert set(shown) == {'attachments'}  # no link to a next page here
    brief = {'id': first.id, 'status': 'reserved', 'instance': None, 'volume_id': first.volume_id}
    found = member.get(f'/attachments?volume_id={first.volume_id}', at='3.27').body['attachments']
    assert found == [brief]
    detailed = member.get('/attachments/detail?status=reserved', at='3.71').body['attachments']
    assert {item['id'] for item in detailed} == {first.id, second.id}
    assert set(detailed[0]) == {*brief, 'attached_at', 'detached_at', 'attach_mode', 'connection_info'}
    assert member.get('/attachments?status=attached', at='3.71').body == {'attachments': []}


def test_nobody_else_sees_the_connection(stranger: Caller, nobody: Caller, make: Any) -> None:
    _, attachment = make.attached()
    own = f'/attachments/{attachment.id}'
    for answer in stranger.get(own, at='3.71'), stranger.delete(own, at='3.71'):
        message = f'Volume attachment could not be found with filter: attachment_id = {attachment.id}.'
        assert answer.fault == ('itemNotFound', 404, message)
    assert nobody.delete(own, at='3.71').status == 403


def test_before_3_27_there_are_none(member: Caller) -> None:
    assert member.get('/attachments', at='3.26').fault[:2] == ('itemNotFound', 404)


@pytest.mark.parametrize(('role', 'reads'), [('member', True), ('admin', True), ('reader', False), ('service', False)])
def test_who_reads_the_secrets_of_a_connection(
    door: Any, make: Any, project: str, monkeypatch: pytest.MonkeyPatch, role: str, reads: bool
) -> None:
    """Callers that may connect an attachment read its secrets; Cinder shows them to every role of the project."""
    from chalicelib import aws

    monkeypatch.setattr(aws, 'unseal', lambda sealed, purpose: '{"auth_password": "canary"}')
    info = {'driver_volume_type': 'iscsi', 'target_lun': 1}
    made = make.attachment(make.volume(), connection_info=info, sealed='sealed')
    caller = door.caller(role, project)
    shown = [caller.get(f'/attachments/{made.id}', at='3.71').body['attachment']]
    shown += caller.get('/attachments/detail', at='3.71').body['attachments']
    assert len(shown) == 2
    for one in shown:
        assert one['connection_info'] == {**info, **({'auth_password': 'canary'} if reads else {})}


@pytest.mark.parametrize('task', ['initialize_attachment', 'initialize_connection', 'terminate_connection'])
def test_a_backend_that_is_away_is_a_503_that_says_when_to_repeat(
    member: Caller, make: Any, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    from chalicelib import aws, errors

    def invoke(function: str, name: str, payload: dict[str, Any], **_: Any) -> Any:
        raise errors.BackendUnavailable(backend='b', reason='no route to host')

    volume = make.volume()
    attachment = make.attachment(make.volume(), connector=connector())
    monkeypatch.setattr(aws, 'invoke', invoke)
    answer = {
        'initialize_attachment': lambda: reserve(member, volume, connector=connector()),
        'initialize_connection': lambda: member.act(
            f'/volumes/{volume.id}', 'os-initialize_connection', {'connector': connector()}
        ),
        'terminate_connection': lambda: member.delete(f'/attachments/{attachment.id}', at='3.71'),
    }[task]()
    assert (answer.fault[:2], answer.headers['retry-after']) == (('serviceUnavailable', 503), '5')
    assert member.get(f'/volumes/{volume.id}').body['volume']['status'] == 'available'


def test_the_worker_gets_the_deadline_of_the_request(
    member: Caller, worker: Worker, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted from API Gateway's receipt: 8 s of it passed before this function ran."""
    import time

    from chalicelib import time_left
    from tests.api import front_door

    received = time.time() - 8
    made = front_door.event

    def event(*arguments: Any) -> dict[str, Any]:
        sent = made(*arguments)
        sent['requestContext']['requestTimeEpoch'] = int(received * 1000)
        return sent

    monkeypatch.setattr(front_door, 'event', event)
    reserve(member, make.volume(), connector=connector())
    [(_, payload)] = worker.calls
    expected = received + time_left.GATEWAY - time_left.MARGIN - time_left.OWN_WORK - 0.5
    assert payload['deadline'] == pytest.approx(expected, abs=0.01)


def test_the_initiator_of_a_host_belongs_to_who_may_speak_for_it(
    member: Caller, stranger: Caller, make: Any, worker: Worker
) -> None:
    """A project's own; refused to another; the cloud's own once Nova connects it, and then to no member alone."""
    from tests.api.records import Records

    host, theirs = connector(), Records(stranger.project)
    assert reserve(member, make.volume(), connector=host).status == 200
    refused = reserve(stranger, theirs.volume(), connector=host)
    assert refused.fault[:2] == ('badRequest', 400)
    assert 'is used by others' in refused.fault[2]
    body = {'attachment': {'volume_uuid': theirs.volume().id, 'connector': host}}
    vouched = {'X-Service-Token': f'service@{uuid.uuid4().hex}'}
    assert stranger.post('/attachments', body, at='3.71', headers=vouched).status == 200
    assert reserve(member, make.volume(), connector=host).status == 400
