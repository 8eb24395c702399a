"""Default types of projects."""

from __future__ import annotations

import uuid
from typing import Any

from tests.api.front_door import Caller

AT = '3.62'


def choose(admin: Caller, project: str, kind: str) -> Any:
    return admin.put(f'/default-types/{project}', {'default_type': {'volume_type': kind}}, at=AT)


def test_set_show_list_unset(admin: Caller, make: Any, project: str) -> None:
    kind, other = make.type(), make.type()
    path = f'/default-types/{project}'
    assert admin.get(path, at=AT).fault[2] == f'Default type for project {project} not found.'
    assert choose(admin, project, kind.name).body == {
        'default_type': {'project_id': project, 'volume_type_id': kind.id}
    }
    assert choose(admin, project, other.id).status == 200
    assert admin.get(path, at=AT).body['default_type']['volume_type_id'] == other.id
    assert {'project_id': project, 'volume_type_id': other.id} in admin.get('/default-types', at=AT).body[
        'default_types'
    ]
    assert [admin.delete(path, at=AT).status for _ in range(2)] == [204, 404]


def test_they_came_with_a_version(admin: Caller) -> None:
    assert admin.get('/default-types', at='3.61').status == 404


def test_an_unknown_type_is_a_fault_of_the_body(admin: Caller, project: str) -> None:
    assert choose(admin, project, str(uuid.uuid4())).status == 400


def test_a_volume_without_a_type_gets_the_projects_own(
    admin: Caller, member: Caller, stranger: Caller, make: Any, project: str
) -> None:
    kind = make.type()
    choose(admin, project, kind.id)
    assert member.get('/types/default').body['volume_type']['id'] == kind.id
    assert member.post('/volumes', {'volume': {'size': 1}}).body['volume']['volume_type'] == kind.name
    assert stranger.get('/types/default').body['volume_type']['name'] == '__DEFAULT__'


def test_a_projects_default_stays(admin: Caller, make: Any, project: str) -> None:
    kind = make.type()
    choose(admin, project, kind.id)
    assert 'default volume type' in admin.delete(f'/types/{kind.id}').fault[2]
    admin.delete(f'/default-types/{project}', at=AT)
    assert admin.delete(f'/types/{kind.id}').status == 202


def test_a_private_default_out_of_reach_does_not_count(admin: Caller, member: Caller, make: Any, project: str) -> None:
    choose(admin, project, make.type(is_public=False).id)
    assert member.get('/types/default').body['volume_type']['name'] == '__DEFAULT__'
