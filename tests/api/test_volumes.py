"""Volumes: create, change, delete, summary, metadata, actions, as a client writes and reads them."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

import pytest

from chalicelib.models import Volume
from tests.api.front_door import Caller, Worker

BAD = ('badRequest', 400)


def volume(caller: Caller, **facts: Any) -> Any:
    return caller.post('/volumes', {'volume': {'size': 1, **facts}}, at='3.71')


def stored(record: Any) -> Any:
    return type(record).find(record.project_id, record.id)


def test_create_an_empty_volume(member: Caller, project: str) -> None:
    answer = volume(member, name='  n ', description=' d\te ', metadata={'a/b c:d.e': ''}, availability_zone='nova')
    made = answer.body['volume']
    assert answer.status == 202
    assert (made['name'], made['description'], made['metadata'], made['status'], made['size']) == (
        'n', 'd\te', {'a/b c:d.e': ''}, 'creating', 1,
    )  # fmt: skip
    assert made['volume_type'] == '__DEFAULT__'
    assert Volume.find(project, made['id']).user_id == 'user-member'


@pytest.mark.parametrize(
    ('sent', 'kept'),
    [
        ({'display_name': 'dn'}, 'dn'),
        ({'display_name': 'dn', 'name': 'n'}, 'n'),
        ({'name': 'é中😀'}, 'é中😀'),
        ({'name': ''}, ''),
        ({'name': None}, None),
        ({}, None),
    ],
)
def test_the_name_of_a_new_volume(member: Caller, sent: dict[str, Any], kept: str | None) -> None:
    assert volume(member, **sent).body['volume']['name'] == kept


@pytest.mark.parametrize(('size', 'kept'), [('1', 1), (2, 2), ('10', 10)])
def test_sizes_may_be_texts(member: Caller, size: Any, kept: int) -> None:
    assert volume(member, size=size).body['volume']['size'] == kept


@pytest.mark.parametrize(
    ('size', 'message'),
    [
        ('01', 'Invalid input received: Invalid volume size provided for create request: 01 (size argument must be '),
        ('0', 'Invalid input received: Invalid volume size provided for create request: 0 (size argument must be '),
        (0, 'Invalid input for field/attribute size. Value: 0. 0 is less than the minimum of 1'),
        (1.5, "Invalid input for field/attribute size. Value: 1.5. 1.5 is not of type 'integer', 'string', 'null'"),
        (True, "Invalid input for field/attribute size. Value: True. True is not of type 'integer', 'string', 'null'"),
        ('9' * 40, 'Invalid input received: The size 99999999999999999999999999999999 is greater than the maximum'),
        (None, 'The server could not comply with the request since it is either malformed or otherwise incorrect.'),
    ],
)
def test_sizes_that_are_none(member: Caller, size: Any, message: str) -> None:
    name, code, said = volume(member, size=size).fault
    assert (name, code) == BAD
    assert said.startswith(message)


def test_unknown_members_are_ignored_before_3_53(member: Caller) -> None:
    body = {'volume': {'size': 1, 'foo': 1, 'status': 'error'}}
    assert member.post('/volumes', body, at='3.52').body['volume']['status'] == 'creating'
    assert member.post('/volumes', body, at='3.53').status == 400


@pytest.mark.parametrize('value', [True, 'yes', '1'])
def test_multiattach_is_a_matter_of_the_type(member: Caller, value: Any) -> None:
    assert volume(member, multiattach=value).fault[2].startswith('multiattach parameter has been removed.')
    assert volume(member, multiattach=False).status == 202


def test_a_volume_from_each_source(member: Caller, make: Any) -> None:
    source, snapshot, backup = make.volume(size=2), make.snapshot(make.volume(size=3)), make.backup()
    for key, id, size in (
        ('source_volid', source.id, 2), ('snapshot_id', snapshot.id, 3), ('backup_id', backup.id, 1),
    ):  # fmt: skip
        made = member.post('/volumes', {'volume': {key: id}}, at='3.71').body['volume']
        assert (made['size'], made['status']) == (size, 'creating')


def test_two_sources(member: Caller, make: Any) -> None:
    answer = volume(member, snapshot_id=make.snapshot().id, source_volid=make.volume().id)
    message = 'Invalid input received: May specify only one of backup, imageRef, snapshot, source volume'
    assert answer.fault == (*BAD, message)


def test_groups_do_not_exist(member: Caller) -> None:
    assert volume(member, group_id=str(uuid.uuid4())).fault[:2] == ('itemNotFound', 404)


def test_an_image_needs_an_id(member: Caller) -> None:
    message = 'Invalid image identifier or unable to access requested image.'
    assert volume(member, imageRef='cirros').fault == (*BAD, message)


def test_a_type_by_its_name(member: Caller, make: Any) -> None:
    kind = make.type()
    made = volume(member, volume_type=kind.name).body['volume']
    assert (made['volume_type'], made['volume_type_id']) == (kind.name, kind.id)
    missing = volume(member, volume_type='nope').fault
    assert missing == ('itemNotFound', 404, 'Volume type with name nope could not be found.')


def test_hints_reach_the_scheduler(member: Caller, project: str) -> None:
    hints = {'same_host': [str(uuid.uuid4())], 'custom': 'x'}
    body = {'volume': {'size': 1}, 'OS-SCH-HNT:scheduler_hints': hints}
    made = member.post('/volumes', body).body['volume']
    assert Volume.find(project, made['id']).operation_facts()['scheduler_hints'] == hints


def test_change_name_and_metadata(member: Caller, make: Any) -> None:
    record = make.volume(name='old', description='d', metadata={'a': '1', 'b': '2'})
    body = {'volume': {'display_name': ' new ', 'metadata': {'a': '3'}}}
    changed = member.put(f'/volumes/{record.id}', body, at='3.71').body['volume']
    assert (changed['name'], changed['description'], changed['metadata']) == ('new', 'd', {'a': '3'})


@pytest.mark.parametrize(('at', 'status'), [('3.52', 200), ('3.53', 400)])
def test_a_change_of_nothing(member: Caller, make: Any, at: str, status: int) -> None:
    assert member.put(f'/volumes/{make.volume().id}', {'volume': {}}, at=at).status == status


def test_delete_and_its_obstacles(member: Caller, make: Any) -> None:
    record = make.volume()
    make.snapshot(record)
    path = f'/volumes/{record.id}'
    assert member.delete(path).fault[2].startswith('Invalid volume: Volume status must be available or error or')
    assert member.delete(f'{path}?cascade=maybe').fault == (*BAD, "Value 'maybe' for 'cascade' is not a boolean.")
    assert member.delete(f'{path}?cascade=true').status == 202
    assert stored(record).status == 'deleting'


def test_force_is_the_administrators_from_3_23(member: Caller, admin: Caller, make: Any) -> None:
    record = make.volume(status='creating')
    path = f'/volumes/{record.id}?force=true'
    refused = member.delete(path, at='3.71').fault
    assert refused == ('forbidden', 403, "Policy doesn't allow volume:force_delete to be performed.")
    assert admin.delete(path, at='3.22').status == 400
    assert admin.delete(path, at='3.23').status == 202


@pytest.mark.parametrize(('at', 'metadata'), [('3.12', False), ('3.35', False), ('3.36', True)])
def test_summary(member: Caller, make: Any, at: str, metadata: bool) -> None:
    make.volume(size=2, metadata={'k': 'v'})
    make.volume(size=3, metadata={'k': 'w'})
    shown = member.get('/volumes/summary', at=at).body['volume-summary']
    assert (shown['total_count'], shown['total_size']) == (2, 5)
    assert (sorted(shown['metadata']['k']) == ['v', 'w']) if metadata else ('metadata' not in shown)


def test_metadata_one_by_one_and_all(member: Caller, make: Any) -> None:
    path = f'/volumes/{make.volume(metadata={"a": "1"}).id}/metadata'
    assert member.post(path, {'metadata': {'b': '2'}}).body == {'metadata': {'a': '1', 'b': '2'}}
    assert member.put(f'{path}/b', {'meta': {'b': '3'}}).body == {'meta': {'b': '3'}}
    assert member.get(f'{path}/b').body == {'meta': {'b': '3'}}
    gone = member.delete(f'{path}/a')
    assert (gone.status, gone.text) == (200, '')
    assert member.put(path, {'metadata': {'c': '4'}}).body == {'metadata': {'c': '4'}}
    assert member.get(path).body == {'metadata': {'c': '4'}}
    for answer in member.get(f'{path}/a'), member.delete(f'{path}/a'):
        assert answer.fault[2].endswith('has no metadata with key a.')
    assert member.put(f'{path}/x', {'meta': {'y': '1'}}).fault == (*BAD, 'Request body and URI mismatch')


def test_a_key_may_be_written_with_percent_signs(member: Caller, make: Any) -> None:
    path = f'/volumes/{make.volume(metadata={"a/b c:d.e": "1"}).id}/metadata'
    assert member.get(f'{path}/a%2Fb%20c%3Ad.e').body == {'meta': {'a/b c:d.e': '1'}}
    assert member.delete(f'{path}/a%2Fb%20c:d.e').status == 200
    assert member.get(path).body == {'metadata': {}}


@pytest.mark.parametrize(('at', 'tagged'), [('3.14', False), ('3.15', True)])
def test_the_etag_of_metadata(member: Caller, make: Any, at: str, tagged: bool) -> None:
    path = f'/volumes/{make.volume(metadata={"a": "b"}).id}/metadata'
    tag = hashlib.md5(json.dumps({'metadata': {'a': 'b'}}).encode()).hexdigest()
    assert member.get(path, at=at).headers.get('etag') == (tag if tagged else None)
    late = member.put(path, {'metadata': {}}, at=at, headers={'If-Match': '"stale"'})
    assert (late.status, late.text) == ((412, '') if tagged else (200, late.text))


def test_if_match_names_the_metadata_as_it_is(member: Caller, make: Any) -> None:
    path = f'/volumes/{make.volume(metadata={"a": "b"}).id}/metadata'
    tag = member.get(path, at='3.71').headers['etag']
    change = {'meta': {'a': 'c'}}
    assert member.put(f'{path}/a', change, at='3.71', headers={'If-Match': f'"x", "{tag}"'}).status == 200
    assert member.put(f'{path}/a', change, at='3.71', headers={'If-Match': f'"{tag}"'}).status == 412
    assert member.put(f'{path}/a', change, at='3.71', headers={'If-Match': '*'}).status == 200


def test_image_metadata(member: Caller, make: Any) -> None:
    path = f'/volumes/{make.volume().id}'
    sent = member.act(path, 'os-set_image_metadata', {'metadata': {'a': '1', 'b': '2'}})
    assert (sent.status, sent.body) == (200, {'metadata': {'a': '1', 'b': '2'}})
    unset = member.act(path, 'os-unset_image_metadata', {'key': 'a'})
    assert (unset.status, unset.text) == (200, '')
    assert member.act(path, 'os-show_image_metadata').body == {'metadata': {'b': '2'}}
    assert member.act(path, 'os-unset_image_metadata', {'key': 'a'}).status == 404
    too_long = member.act(path, 'os-set_image_metadata', {'metadata': {'a': 'x' * 65536}})
    assert too_long.fault == (*BAD, 'Invalid input received: Value has 65536 bytes, more than 65535.')


def test_encryption(member: Caller, make: Any) -> None:
    key = str(uuid.uuid4())
    path = f'/volumes/{make.volume(encryption_key_id=key).id}/encryption'
    assert member.get(path).body == {'encryption_key_id': key}
    bare = member.get(f'{path}/encryption_key_id')
    assert (bare.text, bare.headers['content-type']) == (key, 'text/html')
    assert member.get(f'{path}/nope').fault[:2] == ('itemNotFound', 404)
    assert member.get(f'/volumes/{make.volume().id}/encryption').body == {'encryption_key_id': None}


def test_extend(member: Caller, make: Any) -> None:
    record = make.volume()
    assert member.act(f'/volumes/{record.id}', 'os-extend', {'new_size': '4'}).status == 202
    assert stored(record).status == 'extending'
    smaller = member.act(f'/volumes/{make.volume(size=2).id}', 'os-extend', {'new_size': 1})
    assert smaller.fault[2].startswith('Invalid input received: New size for extend must be greater')


def test_extend_in_use_from_3_42(member: Caller, make: Any) -> None:
    record, _ = make.attached()
    early = member.act(f'/volumes/{record.id}', 'os-extend', {'new_size': 2}, at='3.41').fault[2]
    assert early == (
        f"Invalid volume: Volume {record.id} status must be '{{'status': 'available'}}' to extend, currently in-use."
    )
    assert member.act(f'/volumes/{record.id}', 'os-extend', {'new_size': 2}, at='3.42').status == 202


def test_the_legacy_way_to_attach_and_back(member: Caller, worker: Worker, make: Any) -> None:
    record = make.volume()
    path = f'/volumes/{record.id}'
    connector = {'host': 'c1', 'initiator': 'iqn.1993-08.org.debian:01:a'}
    assert member.act(path, 'os-reserve').status == 202
    info = member.act(path, 'os-initialize_connection', {'connector': connector})
    assert (info.status, info.body['connection_info']['driver_volume_type']) == (200, 'iscsi')
    server = str(uuid.uuid4())
    attach = {'instance_uuid': server, 'mountpoint': '/dev/vdb', 'mode': 'rw'}
    assert member.act(path, 'os-attach', attach).status == 202
    shown = member.get(path).body['volume']
    assert (shown['status'], shown['attachments'][0]['server_id']) == ('in-use', server)
    assert member.act(path, 'os-begin_detaching').status == 202
    assert member.act(path, 'os-roll_detaching').status == 202
    assert member.act(path, 'os-begin_detaching').status == 202
    assert member.act(path, 'os-terminate_connection', {'connector': connector}).status == 202
    assert member.act(path, 'os-detach', {}).status == 202
    assert member.get(path).body['volume']['status'] == 'available'
    assert [task for task, _ in worker.calls] == [
        'initialize_connection', 'terminate_connection', 'terminate_connection',
    ]  # fmt: skip


def test_unreserve_is_silent(member: Caller, make: Any) -> None:
    record = make.volume(status='attaching')
    for _ in range(2):
        assert member.act(f'/volumes/{record.id}', 'os-unreserve', {'x': 1}).status == 202
    assert stored(record).status == 'available'


def test_a_connector_names_a_host(member: Caller, make: Any) -> None:
    for name in 'os-initialize_connection', 'os-terminate_connection':
        answer = member.act(f'/volumes/{make.volume().id}', name, {'connector': 'host1'})
        assert answer.fault[2].startswith('Invalid input received: Connector must be an object that names the host')


def test_force_detach(admin: Caller, make: Any) -> None:
    record, attachment = make.attached()
    body = {'attachment_id': attachment.id, 'connector': {'host': 'c1'}}
    assert admin.act(f'/volumes/{record.id}', 'os-force_detach', body).status == 202
    assert stored(record).status == 'available'


def test_flags(member: Caller, make: Any) -> None:
    record = make.volume()
    path = f'/volumes/{record.id}'
    assert member.act(path, 'os-set_bootable', {'bootable': 'True'}).status == 200
    assert member.act(path, 'os-update_readonly_flag', {'readonly': True}).status == 202
    shown = member.get(path).body['volume']
    assert (shown['bootable'], shown['metadata']) == ('true', {'readonly': 'True'})


@pytest.mark.parametrize(
    ('body', 'status', 'message'),
    [
        ({'status': 'ERROR'}, 202, None),
        ({'migration_status': 'none'}, 202, None),
        ({'status': 'in-use'}, 400, 'Cannot reset-state to in-use because volume does not have any attachments.'),
        ({'status': 'deleting'}, 400, 'Cannot reset-state to deleting'),
        ({}, 400, "Must specify 'status', 'attach_status' or 'migration_status' for update."),
        ({'status': 'nope'}, 400, "Volume status: nope is invalid, valid statuses are: ('creating', 'available',"),
        ({'attach_status': 'x'}, 400, 'Volume attach status: x is invalid, valid statuses are: '),
    ],
)
def test_reset_status(admin: Caller, make: Any, body: dict[str, str], status: int, message: str | None) -> None:
    answer = admin.act(f'/volumes/{make.volume().id}', 'os-reset_status', body)
    assert answer.status == status
    if message:
        assert answer.fault[2].startswith(message)


def test_force_delete(admin: Caller, make: Any) -> None:
    record = make.volume(status='error_deleting')
    assert admin.act(f'/volumes/{record.id}', 'os-force_delete', {}).status == 202
    assert stored(record).status == 'deleting'
