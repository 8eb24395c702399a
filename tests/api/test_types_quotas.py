"""Volume types, quotas, limits: what operators set and users see."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.api.front_door import Caller, FrontDoor
from tests.api.memory import empty

BAD = ('badRequest', 400)


def create(caller: Caller, **facts: Any) -> Any:
    return caller.post('/types', {'volume_type': {'name': f't-{uuid.uuid4().hex}', **facts}})


def test_create_show_change_delete(admin: Caller, member: Caller) -> None:
    made = create(admin, description='d', extra_specs={'a': 'b', 'multiattach': '<is> True'})
    body = made.body['volume_type']
    assert (made.status, body['is_public'], body['os-volume-type-access:is_public']) == (200, True, True)
    path = f'/types/{body["id"]}'
    assert 'qos_specs_id' in admin.get(path).body['volume_type']
    shown = member.get(path).body['volume_type']
    assert 'qos_specs_id' not in shown
    assert shown['extra_specs'] == {'multiattach': '<is> True'}  # 'a' may name a backend
    changed = admin.put(path, {'volume_type': {'description': 'e', 'is_public': 'no'}}).body['volume_type']
    assert (changed['description'], changed['is_public']) == ('e', False)
    assert 'os-volume-type-access:is_public' not in changed
    assert member.get(path).status == 404
    gone = admin.delete(path)
    assert (gone.status, gone.text) == (202, '')


@pytest.mark.parametrize(
    ('body', 'message'),
    [
        ({}, 'Specify volume type name, description, is_public or a combination thereof.'),
        ({'name': None}, 'Specify volume type name, description, is_public or a combination thereof.'),
        ({'name': '  '}, 'Volume type name can not be empty.'),
    ],
)
def test_a_change_of_nothing(admin: Caller, make: Any, body: dict[str, Any], message: str) -> None:
    assert admin.put(f'/types/{make.type().id}', {'volume_type': body}).fault == (*BAD, message)


def test_names_are_unique_and_not_blank(admin: Caller, make: Any) -> None:
    kind = make.type()
    taken = create(admin, name=kind.name).fault
    assert taken == ('conflictingRequest', 409, f'Volume Type {kind.name} already exists.')
    assert create(admin, name='').fault[2].endswith("'' should be non-empty")
    assert create(admin, name=' ').fault[:2] == BAD


def test_the_default_type(member: Caller) -> None:
    assert member.get('/types/default').body['volume_type']['name'] == '__DEFAULT__'


def test_who_sees_private_types(admin: Caller, member: Caller, stranger: Caller, make: Any, project: str) -> None:
    kind = make.type(is_public=False)
    path = f'/types/{kind.id}'
    granted = admin.act(path, 'addProjectAccess', {'project': project})
    assert (granted.status, granted.text) == (202, '')
    assert member.get(path).status == 200
    assert stranger.get(path).fault == ('itemNotFound', 404, f'Volume type {kind.id} could not be found.')
    rows = admin.get(f'{path}/os-volume-type-access').body
    assert rows == {'volume_type_access': [{'volume_type_id': kind.id, 'project_id': project}]}
    assert admin.act(path, 'addProjectAccess', {'project': project}).status == 409
    assert admin.act(path, 'removeProjectAccess', {'project': project}).status == 202
    assert admin.act(path, 'removeProjectAccess', {'project': project}).status == 404


@pytest.mark.parametrize(
    ('query', 'public', 'private'),
    [
        ('', True, False),
        ('?is_public=true', True, False),
        ('?is_public=0', False, True),
        ('?is_public=None', True, True),
    ],
)
def test_administrators_choose_what_is_listed(
    admin: Caller, make: Any, query: str, public: bool, private: bool
) -> None:
    ids = {make.type().id: public, make.type(is_public=False).id: private}
    path = f'/types{query}{"&" if query else "?"}limit=1000'
    listed = {item['id'] for item in admin.get(path).body['volume_types']}
    assert {id: id in listed for id in ids} == ids


def test_filters_of_types(admin: Caller, member: Caller, make: Any) -> None:
    kind = make.type(extra_specs={'multiattach': '<is> True', 'tier': uuid.uuid4().hex})
    path = f"/types?extra_specs={{'tier':'{kind.extra_specs['tier']}'}}"
    assert [item['id'] for item in admin.get(path, at='3.71').body['volume_types']] == [kind.id]
    assert member.get(path, at='3.71').body == {'volume_types': []}, 'a filter by a hidden spec finds nothing'
    assert member.get("/types?extra_specs={'multiattach':'<is> True'}", at='3.71').body['volume_types']
    assert member.get('/types?foo=bar', at='3.51').status == 200
    assert admin.get('/types?is_public=zz').fault == (*BAD, 'Invalid is_public filter [zz]')
    assert member.get('/types?is_public=zz', at='3.71').status == 200
    assert member.get('/types?extra_specs=zz', at='3.71').fault[:2] == BAD  # Cinder answers 500
    assert member.get('/types?foo=bar', at='3.71').fault[2] == 'Invalid filters foo are found in query options.'
    assert 'volume_type_links' in member.get('/types?limit=1').body


def test_extra_specs(admin: Caller, member: Caller, make: Any) -> None:
    path = f'/types/{make.type().id}/extra_specs'
    sent = admin.post(path, {'extra_specs': {'a': 'b', 'multiattach': '<is> False'}})
    assert (sent.status, sent.body) == (200, {'extra_specs': {'a': 'b', 'multiattach': '<is> False'}})
    assert admin.put(f'{path}/a', {'a': 'c'}).body == {'a': 'c'}
    assert admin.put(f'{path}/x', {'a': 'c'}).fault == (*BAD, 'Request body and URI mismatch')
    assert admin.put(f'{path}/a', {'a': 'c', 'b': 'd'}).fault == (*BAD, 'Request body contains too many items')
    assert admin.get(f'{path}/a').body == {'a': 'c'}
    assert member.get(path).body == {'extra_specs': {'multiattach': '<is> False'}}
    assert member.get(f'{path}/a').status == 404
    assert member.post(path, {'extra_specs': {}}).status == 403
    assert admin.delete(f'{path}/a').status == 202
    assert admin.delete(f'{path}/a').status == 404


def test_limits_of_the_project_and_its_use(member: Caller, nobody: Caller) -> None:
    member.post('/volumes', {'volume': {'size': 2}})
    limits = member.get('/limits').body['limits']
    assert limits['rate'] == []
    assert limits['absolute'] == {
        'maxTotalVolumes': 10, 'totalVolumesUsed': 1,
        'maxTotalVolumeGigabytes': 1000, 'totalGigabytesUsed': 2,
        'maxTotalSnapshots': 10, 'totalSnapshotsUsed': 0,
        'maxTotalBackups': 10, 'totalBackupsUsed': 0,
        'maxTotalBackupGigabytes': 1000, 'totalBackupGigabytesUsed': 0,
    }  # fmt: skip
    assert not [name for name in nobody.get('/limits').body['limits']['absolute'] if name.startswith('total')]


@pytest.mark.parametrize(('role', 'at', 'theirs'), [('admin', '3.38', False), ('admin', '3.39', True),
                                                    ('member', '3.71', False)])  # fmt: skip
def test_limits_of_another_project(
    door: FrontDoor, member: Caller, project: str, role: str, at: str, theirs: bool
) -> None:
    member.post('/volumes', {'volume': {'size': 2}})
    asks = door.caller(role, uuid.uuid4().hex)
    absolute = asks.get(f'/limits?project_id={project}', at=at).body['limits']['absolute']
    assert absolute['totalVolumesUsed'] == (1 if theirs else 0)


def test_a_new_deployment_has_quotas_of_the_default_type(admin: Caller, project: str) -> None:
    empty()
    changed = admin.put(f'/os-quota-sets/{project}', {'quota_set': {'gigabytes___DEFAULT__': 5}})
    assert (changed.status, changed.body['quota_set']['gigabytes___DEFAULT__']) == (200, 5)


def test_quotas_of_a_project(admin: Caller, member: Caller, stranger: Caller, project: str) -> None:
    path = f'/os-quota-sets/{project}'
    shown = member.get(path).body['quota_set']
    assert (shown['volumes'], shown['volumes___DEFAULT__'], shown['id']) == (10, -1, project)
    changed = admin.put(path, {'quota_set': {'volumes': 20, 'gigabytes___DEFAULT__': 5, 'id': project}})
    assert changed.body['quota_set']['volumes'] == 20
    assert 'id' not in changed.body['quota_set']
    usage = member.get(f'{path}?usage=True').body['quota_set']
    assert usage['gigabytes___DEFAULT__'] == {'limit': 5, 'in_use': 0, 'reserved': 0}
    assert stranger.get(path).fault[1] == 403
    assert member.get(f'{path}/defaults').body['quota_set']['volumes'] == 10
    gone = admin.delete(path)
    assert (gone.status, gone.text) == (200, '')
    assert member.get(path).body['quota_set']['volumes'] == 10


@pytest.mark.parametrize(
    ('quota', 'message'),
    [
        ({'nope': 1}, 'Invalid input received: Bad key(s) in quota set: nope'),
        ({'volumes': '5000'}, 'The server could not comply with the request since it is either malformed or otherw'),
        ({'volumes': True}, 'The server could not comply with the request since it is either malformed or otherwise'),
        ({'volumes': -2}, 'volumes must be >= -1'),
        ({'volumes': 2**31}, 'volumes must be <= 2147483647'),
        ({}, 'Invalid input for field/attribute quota_set. Value: {}. {} should be non-empty'),
    ],
)
def test_quotas_that_are_none(admin: Caller, project: str, quota: dict[str, Any], message: str) -> None:
    name, code, said = admin.put(f'/os-quota-sets/{project}', {'quota_set': quota}).fault
    assert (name, code) == BAD
    assert said.startswith(message)


def test_quota_classes(admin: Caller, member: Caller) -> None:
    path = f'/os-quota-class-sets/{uuid.uuid4().hex}'
    assert admin.get(path).body['quota_class_set']['volumes'] == 10
    changed = admin.put(path, {'quota_class_set': {'volumes': '12', 'gigabytes': -1}}).body['quota_class_set']
    assert (changed['volumes'], changed['gigabytes'], changed['volumes___DEFAULT__']) == (12, -1, -1)
    assert admin.get(path).body['quota_class_set']['volumes'] == 12
    assert member.get(path).status == 403
    assert admin.put(path, {'quota_class_set': {'volumes': ''}}).fault[:2] == BAD
    assert admin.put(path, {'quota_class_set': {'volumes': '9' * 400}}).fault[:2] == BAD
