"""Groups, their types and snapshots, and the legacy consistency groups, as clients use them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.api.front_door import Answer, Caller


def act(caller: Caller, group: Any, name: str, body: Any = None, at: str = '3.71') -> Answer:
    return caller.act(f'/groups/{group.id}', name, body or {}, at=at)


def test_group_types(admin: Caller, member: Caller) -> None:
    name = uuid.uuid4().hex
    made = admin.post('/group_types', {'group_type': {'name': name, 'group_specs': {'k': 'v'}}}, at='3.11')
    assert made.status == 202
    id = made.body['group_type']['id']
    assert made.body['group_type'] == {
        'id': id, 'name': name, 'description': None, 'is_public': True, 'group_specs': {'k': 'v'},
    }  # fmt: skip
    assert 'group_specs' not in member.get(f'/group_types/{id}', at='3.11').body['group_type']
    assert member.get(f'/group_types/{id}', at='3.10').status == 404
    assert admin.post('/group_types', {'group_type': {'name': name}}, at='3.11').status == 409
    assert admin.put(f'/group_types/{id}', {'group_type': {'description': 'e'}}, at='3.11').status == 200
    specs = f'/group_types/{id}/group_specs'
    assert admin.post(specs, {'group_specs': {'a': 'b'}}, at='3.11').status == 202
    assert admin.put(f'{specs}/a', {'a': 'c'}, at='3.11').body == {'a': 'c'}
    assert admin.put(f'{specs}/a', {'b': 'c'}, at='3.11').status == 400
    assert admin.get(specs, at='3.11').body == {'group_specs': {'k': 'v', 'a': 'c'}}
    assert admin.delete(f'{specs}/a', at='3.11').status == 202
    assert admin.get(f'{specs}/a', at='3.11').status == 404
    assert admin.delete(f'/group_types/{id}', at='3.11').status == 202
    assert admin.get('/group_types/default', at='3.11').status == 404


def test_a_group_and_its_versions(member: Caller, admin: Caller, make: Any) -> None:
    kind, volume_type = make.group_type(), make.default_type()
    body = {'group': {'name': ' g ', 'group_type': kind.id, 'volume_types': [volume_type.id]}}
    assert member.post('/groups', body, at='3.12').status == 404
    made = member.post('/groups', body, at='3.13')
    assert (made.status, made.body['group']['name'], set(made.body['group'])) == (202, 'g', {'id', 'name'})
    id = made.body['group']['id']
    shown = {at: set(member.get(f'/groups/{id}', at=at).body['group']) for at in ('3.13', '3.14', '3.38', '3.71')}
    assert shown['3.14'] - shown['3.13'] == {'group_snapshot_id', 'source_group_id'}
    assert shown['3.38'] - shown['3.14'] == {'replication_status'}
    assert shown['3.71'] == shown['3.38']
    assert 'project_id' in admin.get(f'/groups/{id}', at='3.58').body['group']


def test_volumes_of_groups_are_listed_on_request(member: Caller, make: Any) -> None:
    group = make.group(volumes=2)
    for path in (f'/groups/{group.id}', '/groups/detail'):
        assert 'volumes' not in member.get(path, at='3.25').text.replace('volume_types', '')
        assert 'volumes' not in member.get(f'{path}?list_volume=true', at='3.24').text.replace('volume_types', '')
    shown = member.get(f'/groups/{group.id}?list_volume=true', at='3.25').body['group']['volumes']
    assert len(shown) == 2
    assert member.get('/groups/detail?list_volume=yes', at='3.25').body['groups'][0]['volumes'] == shown
    assert member.get('/groups/detail?list_volume=perhaps', at='3.25').status == 400


def test_a_volume_in_a_group(member: Caller, make: Any) -> None:
    group = make.group()
    body = {'volume': {'size': 1, 'group_id': group.id, 'volume_type': group.volume_type_ids[0]}}
    made = member.post('/volumes', body, at='3.13')
    assert (made.status, made.body['volume']['group_id']) == (202, group.id)
    assert group.reload().volume_count == 1
    other = make.type()
    refused = member.post('/volumes', {'volume': {**body['volume'], 'volume_type': other.id}}, at='3.13')
    assert refused.status == 400
    unknown = member.post('/volumes', {'volume': {**body['volume'], 'group_id': str(uuid.uuid4())}}, at='3.13')
    assert unknown.status == 404


def test_update(member: Caller, make: Any) -> None:
    group, volume = make.group(), make.volume()
    joined = member.put(f'/groups/{group.id}', {'group': {'name': 'n', 'add_volumes': volume.id}}, at='3.13')
    assert (joined.status, volume.reload().group_id, group.reload().name) == (202, group.id, 'n')
    left = member.put(f'/groups/{group.id}', {'group': {'remove_volumes': f' {volume.id} ,'}}, at='3.13')
    assert (left.status, volume.reload().group_id) == (202, None)
    assert member.put(f'/groups/{group.id}', {'group': {}}, at='3.13').status == 400


def test_delete(member: Caller, make: Any) -> None:
    group = make.group(volumes=1)
    assert act(member, group, 'delete', {'delete-volumes': False}).fault == (
        'badRequest', 400,
        f'Invalid Group: Group {group.id} still contains volumes. The delete-volumes flag is required to delete it.',
    )  # fmt: skip
    assert act(member, group, 'delete', {'delete-volumes': True}).status == 202
    assert group.reload().status == 'deleting'


def test_group_snapshots(member: Caller, make: Any) -> None:
    group = make.group(volumes=2)
    body = {'group_snapshot': {'group_id': group.id, 'name': 's'}}
    made = member.post('/group_snapshots', body, at='3.14')
    assert (made.status, set(made.body['group_snapshot'])) == (202, {'id', 'name', 'group_type_id'})
    listed = member.get('/group_snapshots/detail?name=s', at='3.14').body['group_snapshots']
    assert [one['status'] for one in listed] == ['creating']
    parts = member.get('/snapshots/detail', at='3.14').body['snapshots']
    assert {part['group_snapshot_id'] for part in parts} == {made.body['group_snapshot']['id']}
    assert member.post('/group_snapshots', {'group_snapshot': {'group_id': make.group().id}}, at='3.14').status == 400


def test_create_from_source(member: Caller, make: Any) -> None:
    taken = make.group_snapshot()
    body = {'create-from-src': {'name': 'copy', 'group_snapshot_id': taken.id}}
    made = member.post('/groups/action', body, at='3.14')
    assert (made.status, made.body['group']['name']) == (202, 'copy')
    [copied] = [one for one in member.get('/volumes/detail', at='3.71').body['volumes'] if one['status'] == 'creating']
    assert copied['group_id'] == made.body['group']['id']
    both = {'create-from-src': {'group_snapshot_id': taken.id, 'source_group_id': taken.group_id}}
    assert member.post('/groups/action', both, at='3.14').status == 400
    assert member.post(f'/groups/{taken.group_id}/action', body, at='3.14').status == 400


def test_replication_is_answered_truthfully(member: Caller, make: Any) -> None:
    plain = make.group()
    assert act(member, plain, 'enable_replication').fault == (
        'badRequest', 400, f'Invalid group type: Group {plain.id} is not a replication group type.',
    )  # fmt: skip
    kind = make.group_type(group_specs={'group_replication_enabled': '<is> True'})
    group = make.group(group_type_id=kind.id, replication_status='enabled')
    assert act(member, group, 'list_replication_targets').body == {'replication_targets': []}
    assert act(member, group, 'failover_replication', {'secondary_backend_id': 'b'}).status == 202
    assert group.reload().replication_status == 'failover-error'
    assert 'does not replicate groups' in member.get('/messages', at='3.71').text
    assert act(member, group, 'enable_replication').status == 400
    assert act(member, group, 'enable_replication', at='3.37').status == 404


def test_reset_status(admin: Caller, member: Caller, make: Any) -> None:
    group, taken = make.group(status='error'), make.group_snapshot(status='error')
    assert act(member, group, 'reset_status', {'status': 'available'}).status == 403
    assert act(admin, group, 'reset_status', {'status': 'in-use'}).status == 400
    assert act(admin, group, 'reset_status', {'status': 'available'}).status == 202
    assert admin.act(f'/group_snapshots/{taken.id}', 'reset_status', {'status': 'available'}, at='3.19').status == 202
    assert (group.reload().status, taken.reload().status) == ('available', 'available')


def test_legacy_consistency_groups(member: Caller, make: Any) -> None:
    volume_type = make.default_type()
    made = member.post('/consistencygroups', {'consistencygroup': {'volume_types': f'{volume_type.name},'}})
    assert made.status == 202
    id = made.body['consistencygroup']['id']
    shown = member.get(f'/consistencygroups/{id}').body['consistencygroup']
    assert (shown['status'], shown['volume_types']) == ('creating', [volume_type.id])
    assert member.get(f'/groups/{id}', at='3.13').status == 200
    group = make.group(volumes=1)
    assert member.put(f'/consistencygroups/{group.id}/update', {'consistencygroup': {'name': 'n'}}).status == 202
    assert group.reload().name == 'n'
    assert member.put(f'/consistencygroups/{group.id}', {'consistencygroup': {}}).status == 400
    taken = member.post('/cgsnapshots', {'cgsnapshot': {'consistencygroup_id': group.id}})
    assert taken.status == 202
    cgsnapshot = member.get('/cgsnapshots/detail').body['cgsnapshots'][0]
    assert cgsnapshot['consistencygroup_id'] == group.id
    old = {'consistencygroup-from-src': {'source_cgid': group.id, 'cgsnapshot_id': cgsnapshot['id']}}
    assert member.post('/consistencygroups/create_from_src', old).status == 400
    assert member.post(f'/consistencygroups/{group.id}/delete', {'consistencygroup': {'force': True}}).status == 400


@pytest.mark.parametrize(
    ('path', 'body'),
    [
        ('/groups', {'group': {'group_type': 'x', 'volume_types': []}}),
        ('/groups', {'group': {'group_type': 'x', 'volume_types': ['a', 'a']}}),
        ('/groups', {'group': {'group_type': 'x', 'volume_types': 'a'}}),
        ('/groups', {'group': {'volume_types': ['a']}}),
        ('/groups/action', {'create-from-src': {}}),
        ('/groups/action', {'delete': {}}),
        ('/group_snapshots', {'group_snapshot': {'group_id': 'x'}}),
        ('/consistencygroups', {'consistencygroup': {'volume_types': ['a']}}),
        ('/consistencygroups', {'consistencygroup': {'volume_types': ' , '}}),
        ('/consistencygroups/create_from_src', {'consistencygroup-from-src': {}}),
        ('/cgsnapshots', {'cgsnapshot': {'consistencygroup_id': 1}}),
    ],
)
def test_bodies_that_make_no_sense(member: Caller, path: str, body: Any) -> None:
    assert member.post(path, body, at='3.71').status == 400


def test_all_tenants_and_other_projects(member: Caller, door: Any, stranger: Caller, make: Any) -> None:
    """Administrators of any project see them; callers of other projects get an empty list and a 404."""
    taken, kind = make.group_snapshot(), make.group_type()
    boss = door.caller('admin', uuid.uuid4().hex)
    for path, id in (('/groups', taken.group_id), ('/group_snapshots', taken.id)):
        assert id in boss.get(f'{path}?all_tenants=1', at='3.71').text
        assert stranger.get(f'{path}?all_tenants=1', at='3.71').body[path[1:]] == []
        assert (boss.get(f'{path}/{id}', at='3.71').status, stranger.get(f'{path}/{id}', at='3.71').status) == (
            200,
            404,
        )
    assert boss.delete(f'/group_types/{kind.id}', at='3.71').status == 202


def test_who_may_read_a_group_but_not_copy_it_made_a_bad_request(reader: Caller, nobody: Caller, make: Any) -> None:
    body = {'create-from-src': {'source_group_id': make.group(volumes=1).id}}
    refused = reader.post('/groups/action', body, at='3.14').fault
    assert refused == ('badRequest', 400, "Invalid input received: Policy doesn't allow group:create to be performed.")
    assert nobody.post('/groups/action', body, at='3.14').status == 403


def test_copy_of_a_group(member: Caller, make: Any) -> None:
    group = make.group(volumes=1)
    made = member.post('/groups/action', {'create-from-src': {'source_group_id': group.id}}, at='3.14')
    assert made.status == 202
    shown = member.get(f'/groups/{made.body["group"]["id"]}', at='3.14').body['group']
    assert (shown['source_group_id'], shown['status']) == (group.id, 'creating')
