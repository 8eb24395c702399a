"""Snapshots and backups as a client writes and reads them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from chalicelib.backup import layout
from tests.api.front_door import Caller, FrontDoor

BAD = ('badRequest', 400)

FORCE_REFUSED = (
    "Since microversion 3.66 the 'force' flag is invalid for this request.  For backward compatability, however, "
    "when the 'force' flag is passed with a value evaluating to True, it is silently ignored."
)


def stored(record: Any) -> Any:
    return type(record).find(record.project_id, record.id)


def snapshot(caller: Caller, volume: Any, at: str = '3.71', **facts: Any) -> Any:
    return caller.post('/snapshots', {'snapshot': {'volume_id': volume.id, **facts}}, at=at)


def backup(caller: Caller, volume: Any, at: str = '3.71', **facts: Any) -> Any:
    return caller.post('/backups', {'backup': {'volume_id': volume.id, **facts}}, at=at)


def test_take_a_snapshot(member: Caller, make: Any) -> None:
    volume = make.volume(size=3)
    answer = snapshot(member, volume, name=' s ', metadata={'a': 'b'})
    made = answer.body['snapshot']
    assert answer.status == 202
    assert (made['name'], made['size'], made['status'], made['volume_id'], made['metadata']) == (
        's', 3, 'creating', volume.id, {'a': 'b'},
    )  # fmt: skip


@pytest.mark.parametrize(
    ('at', 'force', 'status'),
    [
        ('3.65', {}, 400),
        ('3.65', {'force': True}, 202),
        ('3.65', {'force': 'false'}, 400),
        ('3.66', {}, 202),
        ('3.66', {'force': 'yes'}, 202),
        ('3.66', {'force': False}, 400),
    ],
)
def test_a_snapshot_of_a_volume_in_use(member: Caller, make: Any, at: str, force: dict[str, Any], status: int) -> None:
    volume, _ = make.attached()
    answer = snapshot(member, volume, at=at, **force)
    assert answer.status == status
    if at == '3.66' and status == 400:
        assert answer.fault == (*BAD, FORCE_REFUSED)


@pytest.mark.parametrize('send', [snapshot, backup])
def test_who_may_not_see_the_volume_is_told_that_there_is_none(
    send: Any, nobody: Caller, reader: Caller, stranger: Caller, make: Any
) -> None:
    volume = make.volume()
    missing = ('itemNotFound', 404, f'Volume {volume.id} could not be found.')
    assert send(nobody, volume).fault == missing
    assert send(stranger, volume).fault == missing
    assert send(reader, volume).status == 403


def test_a_snapshot_of_null(member: Caller) -> None:
    answer = member.post('/snapshots', {'snapshot': {'volume_id': None}})
    assert answer.fault == ('itemNotFound', 404, 'Volume None could not be found.')


def test_change_and_delete_a_snapshot(member: Caller, make: Any) -> None:
    record = make.snapshot(name='old')
    path = f'/snapshots/{record.id}'
    assert member.put(path, {'snapshot': {}}).status == 400
    changed = member.put(path, {'snapshot': {'display_name': 'new', 'description': 'd'}}).body['snapshot']
    assert (changed['name'], changed['description']) == ('new', 'd')
    assert member.delete(path).status == 202
    assert stored(record).status == 'deleting'
    assert member.delete(path).fault[:2] == BAD


def test_metadata_of_a_snapshot(member: Caller, make: Any) -> None:
    path = f'/snapshots/{make.snapshot(metadata={"a": "1"}).id}/metadata'
    assert member.post(path, {'metadata': {'b': '2'}}).body == {'metadata': {'a': '1', 'b': '2'}}
    assert member.post(path, {'metadata': {'a/b': '2'}}).status == 400  # unlike a volume's keys
    assert member.put(f'{path}/b', {'meta': {'b': '3'}}).body == {'meta': {'b': '3'}}
    assert member.put(f'{path}/x', {'meta': {'y': '3'}}).fault == (*BAD, 'Request body and URI mismatch')
    assert member.get(f'{path}/b').body == {'meta': {'b': '3'}}
    gone = member.delete(f'{path}/b')
    assert (gone.status, gone.text) == (200, '')
    assert member.get(f'{path}/b').fault[2].endswith('has no metadata with key b.')
    assert member.put(path, {'metadata': {}}).body == {'metadata': {}}
    assert 'etag' not in member.get(path, at='3.71').headers


def test_actions_on_a_snapshot(member: Caller, admin: Caller, make: Any) -> None:
    record = make.snapshot(status='creating', progress='0%')
    path = f'/snapshots/{record.id}'
    sent = member.act(path, 'os-update_snapshot_status', {'status': 'creating', 'progress': '40%'})
    assert (sent.status, stored(record).progress) == (202, '40%')
    for progress in '101%', 'x', '40':
        answer = member.act(path, 'os-update_snapshot_status', {'status': 'creating', 'progress': progress})
        assert answer.fault == (*BAD, 'Invalid input received: progress must be an integer percentage')
    assert admin.act(path, 'os-reset_status', {'status': 'Error'}).status == 202
    assert stored(record).status == 'error'
    assert admin.act(path, 'os-reset_status', {'status': 'x'}).fault[2].startswith('Snapshot status: x is invalid')
    assert admin.act(path, 'os-force_delete').status == 202


def test_make_a_backup(member: Caller, make: Any) -> None:
    volume = make.volume(size=2)
    answer = backup(member, volume, name='b', metadata={'a': 'b'}, container='c')
    assert answer.status == 202
    assert set(answer.body['backup']) == {'id', 'name', 'links'}
    shown = member.get(f'/backups/{answer.body["backup"]["id"]}', at='3.71').body['backup']
    assert (shown['size'], shown['status'], shown['container'], shown['metadata'], shown['is_incremental']) == (
        2, 'creating', 'c', {'a': 'b'}, False,
    )  # fmt: skip


@pytest.mark.parametrize(('member_of', 'at'), [('metadata', '3.42'), ('availability_zone', '3.50')])
def test_members_of_a_backup_that_came_later(member: Caller, make: Any, member_of: str, at: str) -> None:
    value: Any = {} if member_of == 'metadata' else 'nova'
    message = f"Additional properties are not allowed ('{member_of}' was unexpected)"
    assert backup(member, make.volume(), at=at, **{member_of: value}).fault[2].endswith(message)
    later = f'3.{int(at[2:]) + 1}'
    assert backup(member, make.volume(), at=later, **{member_of: value}).status == 202


def test_an_incremental_backup_needs_one_before(member: Caller, make: Any) -> None:
    volume = make.volume()
    assert backup(member, volume, incremental=True).fault[2].startswith('Invalid backup: No backups available')
    make.backup(volume)
    made = backup(member, volume, incremental=True).body['backup']
    assert member.get(f'/backups/{made["id"]}').body['backup']['is_incremental'] is True


@pytest.mark.parametrize(('at', 'status'), [('3.8', 404), ('3.9', 200)])
def test_change_a_backup(member: Caller, make: Any, at: str, status: int) -> None:
    record = make.backup(name='old')
    answer = member.put(f'/backups/{record.id}', {'backup': {'name': 'new'}}, at=at)
    assert answer.status == status
    assert stored(record).name == ('new' if status == 200 else 'old')


def test_a_change_of_nothing(member: Caller, make: Any) -> None:
    path = f'/backups/{make.backup(metadata={"a": "b"}).id}'
    for body in {'backup': {}}, {'backup': None}:
        assert member.put(path, body, at='3.71').status == 200
    assert member.get(path, at='3.71').body['backup']['metadata'] == {'a': 'b'}


@pytest.mark.parametrize('body', [{'restore': None}, {'restore': {}}, {'restore': {'name': 'r', 'volume_id': None}}])
def test_restore_to_a_new_volume(member: Caller, make: Any, body: dict[str, Any]) -> None:
    record = make.backup()
    answer = member.post(f'/backups/{record.id}/restore', body)
    restored = answer.body['restore']
    assert (answer.status, restored['backup_id']) == (202, record.id)
    name = 'r' if (body['restore'] or {}).get('name') else f'restore_backup_{record.id}'
    assert restored['volume_name'] == name
    assert member.get(f'/volumes/{restored["volume_id"]}').body['volume']['name'] == name
    assert member.get(f'/backups/{record.id}').body['backup']['status'] == 'restoring'


def test_restore_over_a_volume(member: Caller, make: Any) -> None:
    record, target = make.backup(), make.volume(name='t')
    answer = member.post(f'/backups/{record.id}/restore', {'restore': {'volume_id': target.id}})
    assert answer.body['restore'] == {'backup_id': record.id, 'volume_id': target.id, 'volume_name': 't'}
    assert (stored(record).status, stored(target).status) == ('restoring', 'restoring-backup')


def test_delete_and_reset_a_backup(member: Caller, admin: Caller, make: Any) -> None:
    record = make.backup(status='creating')
    path = f'/backups/{record.id}'
    assert member.delete(path).fault[:2] == BAD
    refused = admin.act(path, 'os-reset_status', {'status': 'creating'}).fault
    assert refused == (*BAD, "Backup status: creating is invalid, valid statuses are: ['available', 'error'].")
    assert admin.act(path, 'os-reset_status', {'status': 'error'}).status == 202
    assert member.delete(path).status == 202
    assert admin.act(path, 'os-force_delete').status == 202


def test_strangers_see_neither(stranger: Caller, door: FrontDoor, make: Any) -> None:
    for path in f'/snapshots/{make.snapshot().id}', f'/backups/{make.backup().id}':
        assert stranger.get(path).status == 404
        assert stranger.delete(path).status == 404
        assert door.caller('admin', uuid.uuid4().hex).get(path).status == 200


def test_a_record_goes_out_and_comes_in(admin: Caller, member: Caller, make: Any) -> None:
    root = {'manifest_key': 'backups/l/b', 'root_hash': '0' * 64, 'name': 'n'}
    record = make.backup(**root, location={'bucket': 'other', 'region': 'eu-west-1', 'prefix': 'p/c/'})
    path = f'/backups/{record.id}/export_record'
    assert member.get(path).status == 403
    answer = admin.get(path)
    assert answer.status == 200
    body = answer.body['backup-record']
    assert set(body) == {'backup_service', 'backup_url'}
    assert member.post('/backups/import_record', {'backup-record': body}).status == 403
    assert admin.post('/backups/import_record', {'backup-record': body}).status == 400
    record.delete()
    imported = admin.post('/backups/import_record', {'backup-record': body})
    assert (imported.status, imported.body['backup']['id'], imported.body['backup']['name']) == (201, record.id, None)
    shown = admin.get(f'/backups/{record.id}').body['backup']
    assert shown['status'] == 'creating'
    assert not [name for name in shown if name.startswith('cinderless:')], 'strict clients import records too'
    wrong = {**body, 'backup_url': 'no base64'}
    assert admin.post('/backups/import_record', {'backup-record': wrong}).status == 400


def test_progress_is_told_to_those_who_ask(member: Caller, make: Any) -> None:
    """Strict clients, such as Tempest, refuse an answer with a member that is not Cinder's."""
    backup = make.backup(status='creating', progress={'total': 1000, 'started': 1000})
    for path in f'/backups/{backup.id}', '/backups/detail':
        body = member.get(path).body
        assert 'cinderless:progress' not in body.get('backup', body.get('backups', [{}])[0])
    shown = member.get(f'/backups/{backup.id}?progress=1').body['backup']['cinderless:progress']
    assert (shown['bytes_done'], shown['bytes_total']) == (0, 1000)


def test_the_method_is_shown_to_those_who_ask(member: Caller, make: Any) -> None:
    backup = make.backup(status='available', method='changed_blocks')
    for path in f'/backups/{backup.id}', '/backups/detail':
        body = member.get(path).body
        assert 'cinderless:method' not in body.get('backup', body.get('backups', [{}])[0])
    assert member.get(f'/backups/{backup.id}?method=1').body['backup']['cinderless:method'] == 'changed_blocks'
    unfinished = make.backup(status='creating')
    assert 'cinderless:method' not in member.get(f'/backups/{unfinished.id}?method=1').body['backup']


def test_a_backup_in_a_cheaper_class(member: Caller, make: Any) -> None:
    body = {'volume_id': make.volume().id, 'cinderless:storage_class': 'STANDARD_IA'}
    made = member.post('/backups', {'backup': body}).body['backup']
    shown = member.get(f'/backups/{made["id"]}').body['backup']
    assert shown['cinderless:storage_class'] == 'STANDARD_IA'
    body = {'volume_id': make.volume().id, 'cinderless:storage_class': 'DEEP_ARCHIVE'}
    assert member.post('/backups', {'backup': body}).status == 400


def act(caller: Caller, record: Any, name: str, inside: Any) -> Any:
    return caller.post(f'/backups/{record.id}/action', {f'cinderless:{name}': inside})


def test_scrub_and_drill(member: Caller, make: Any) -> None:
    """One at a time; what the last one found is shown with the backup."""
    record = make.backup(scrub={'result': 'passed', 'checked_at': '2026-11-22T00:00:00.000000'})
    assert act(member, record, 'scrub', {'sample': 10}).status == 202
    shown = member.get(f'/backups/{record.id}').body['backup']
    assert (shown['status'], shown['cinderless:check']) == ('available', 'scrub')
    assert (shown['cinderless:scrub']['result'], 'cinderless:drill' in shown) == ('passed', False)
    assert act(member, record, 'drill', None).fault[2].endswith('and no other check of it under way')
    drilled = make.backup()
    assert act(member, drilled, 'drill', None).status == 202
    assert [one['name'] for one in member.get('/volumes').body['volumes'] if one['name'] == f'drill-{drilled.id}']


@pytest.mark.parametrize('inside', [{'sample': 0}, {'sample': 101}, {'sample': '10'}, {'part': 1}, []])
def test_a_scrub_that_makes_no_sense(member: Caller, make: Any, inside: Any) -> None:
    assert act(member, make.backup(), 'scrub', inside).status == 400


def test_copies_go_where_the_deployer_says(member: Caller, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from chalicelib.operations import backup_copies

    record = make.backup(name='n', manifest_key='backups/l/b', root_hash='0' * 64, lineage='l')
    assert act(member, record, 'copy', {'target': 'dr'}).fault[2].endswith('for copies of backups: none is set up.')
    text = '{"dr": {"bucket": "elsewhere", "region": "eu-west-1", "kms_key": "k"}}'
    known = backup_copies.settings()._replace(backup_targets=text)
    monkeypatch.setattr(backup_copies, 'settings', lambda: known)
    answer = act(member, record, 'copy', {'target': 'dr', 'name': ' c '})
    assert answer.status == 202
    shown = member.get(f'/backups/{answer.body["backup"]["id"]}').body['backup']
    assert (shown['name'], shown['status'], shown['cinderless:copied_from']) == ('c', 'creating', record.id)
    assert shown['cinderless:location']['bucket'] == 'elsewhere'
    assert shown['is_incremental'] is False


def test_a_locked_backup(member: Caller, admin: Caller, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from chalicelib.operations import backups

    volume, until = make.volume(), '2099-01-31T00:00:00Z'
    lock = {'cinderless:locked_until': until}
    assert backup(member, volume, **lock).fault[2].endswith('the bucket has no Object Lock.')
    known = backups.settings()._replace(backup_lock_days=36_500)
    monkeypatch.setattr(backups, 'settings', lambda: known)
    made = backup(member, volume, **lock).body['backup']
    shown = member.get(f'/backups/{made["id"]}').body['backup']
    assert shown['cinderless:locked_until'] == '2099-01-31T00:00:00.000000'
    record = make.backup(locked_until='2099-01-31T00:00:00.000000', manifest_key='backups/l/b')
    refused = 'is locked until 2099-01-31T00:00:00 UTC, and cannot be removed before.'
    assert member.delete(f'/backups/{record.id}').fault[2].endswith(refused)
    assert admin.post(f'/backups/{record.id}/action', {'os-force_delete': {}}).fault[2].endswith(refused)


@pytest.mark.parametrize('container', ['c', 'a/b', 'backups', '\u00e9' * 200, '\u65e5' * 170, '', None], ids=ascii)
def test_containers_that_fit_into_a_key(member: Caller, make: Any, container: str | None) -> None:
    assert backup(member, make.volume(), container=container).status == 202


@pytest.mark.parametrize(
    'container',
    [
        '\u65e5' * 171,
        '\U0001f4be' * 255,
        'a\x01b',
        'a\nb',
        '/a',
        'a/',
        'a//b',
        '.',
        '..',
        'a/../b',
        *(f'a/{kind}/b' for kind in sorted(layout.KINDS)),
        'a/packs',
    ],
    ids=ascii,
)
def test_containers_that_do_not(member: Caller, make: Any, container: str) -> None:
    """S3 limits keys in bytes, and lists them as XML, which has no control characters.

    A container within the keys of another would be listed, and so collected, as part of it.
    """
    answer = backup(member, make.volume(), container=container)
    assert (answer.status, 'container' in answer.fault[2]) == (400, True)
