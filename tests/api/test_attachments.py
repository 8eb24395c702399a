"""The attachments API, from reservation to the end, as Nova drives it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.api.front_door import Caller, Worker

CONNECTOR = {'host': 'c1', 'initiator': 'iqn.1993-08.org.debian:01:a', 'ip': '10.0.0.2', 'mountpoint': '/dev/vdb'}


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
    connected = member.put(own, {'attachment': {'connector': CONNECTOR}}, at='3.71').body['attachment']
    assert (connected['status'], connected['connection_info']['driver_volume_type']) == ('attaching', 'iscsi')
    done = member.act(own, 'os-complete', at='3.71')
    assert (done.status, done.text) == (204, '')
    assert member.get(path).body['volume']['status'] == 'in-use'
    gone = member.delete(own, at='3.71')
    assert (gone.status, gone.body) == (200, {'attachments': []})
    assert member.get(path).body['volume']['status'] == 'available'
    assert member.get(own, at='3.71').status == 404


def test_reserve_and_connect_at_once(member: Caller, worker: Worker, make: Any) -> None:
    made = reserve(member, make.volume(), connector=CONNECTOR, mode='ro').body['attachment']
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
