"""No body can fill a record beyond its bounds, and a record filled to them can still be used and removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.api.formats import FORMATS
from chalicelib.api.parameters import BOUND
from chalicelib.api.resource import Route
from chalicelib.api.resources import routes
from chalicelib.models import Backup, Volume, VolumeType, base
from chalicelib.operations import volume_types as operations_of_types
from chalicelib.rules import bounds
from tests.api.front_door import Caller
from tests.api.records import Records
from tests.api.test_routes import name

WITH_BODY = [route for route in routes() if route.schema is not None]

#: Formats whose check has no limit of its own.
OPEN_FORMATS = frozenset({'type_name', 'reason', 'base64'})


def unbounded(schema: Any, path: str = '') -> Iterator[str]:
    """The members of a schema that take a value of any size."""
    if not isinstance(schema, dict) or BOUND in schema:
        return
    for part in ('anyOf', 'oneOf'):
        for number, inner in enumerate(schema.get(part, [])):
            yield from unbounded(inner, f'{path}|{number}')
    for key, inner in schema.get('properties', {}).items():
        yield from unbounded(inner, f'{path}/{key}')
    types = schema.get('type', [])
    types = [types] if isinstance(types, str) else types
    limits = {'maxLength', 'enum', 'maximum'}  # maximum: a number in a text, see parameters.size
    if 'string' in types and not (limits & set(schema) or _is_limited(schema.get('format'))):
        yield f'{path}: a text'
    if 'array' in types and 'maxItems' not in schema:
        yield f'{path}: a list'
    if 'object' in types and 'properties' not in schema and 'maxProperties' not in schema:
        yield f'{path}: a map'
    if schema.get('patternProperties') and 'maxProperties' not in schema:
        yield f'{path}: keys'


def _is_limited(format: str | None) -> bool:
    return format in FORMATS and format not in OPEN_FORMATS


@pytest.mark.parametrize('route', WITH_BODY, ids=name)
def test_each_member_of_each_body_has_a_bound(route: Route) -> None:
    assert route.schema is not None
    assert list(unbounded(route.schema.schema)) == []


@pytest.mark.parametrize(
    'schema',
    [
        {'type': 'string'},
        {'type': ['object', 'null']},
        {'type': 'array', 'items': {}},
        {'properties': {'a': {'type': 'string'}}},
        {'patternProperties': {'x': {}}},
        {'oneOf': [{'type': 'string', 'format': 'base64'}]},
    ],
)
def test_the_walk_sees_what_has_none(schema: Any) -> None:
    assert list(unbounded(schema))


def full_metadata(bound: bounds.Bound, key: str = 'key') -> dict[str, str]:
    """As many entries as the bound allows, and as many bytes."""
    assert bound.entries is not None
    room = bound.size // bound.entries - 8
    made = {f'{number:03}': 'x' * min(255, room - 5) for number in range(bound.entries)}
    assert bounds.size_of(made) <= bound.size
    return made


def test_1500_entries_are_refused_at_once_and_one_by_one(member: Caller, make: Records) -> None:
    """Steps of a fault: 1,500 entries made every later write of the volume fail."""
    volume = make.volume()
    for start in range(0, 1500, 100):
        sent = {f'key{number}': 'v' * 255 for number in range(start, start + 100)}
        answer = member.post(f'/volumes/{volume.id}/metadata', {'metadata': sent})
        assert answer.status in (200, 400)
        if answer.status == 400:
            assert answer.fault[2] == (
                'Invalid input received: volume metadata may have at most 128 entries; '
                'with this request it would have 200.'
            )
    assert member.act(f'/volumes/{volume.id}', 'os-reserve', {}).status == 202
    assert member.act(f'/volumes/{volume.id}', 'os-unreserve', {}).status == 202
    assert member.delete(f'/volumes/{volume.id}').status == 202


@pytest.mark.parametrize(
    ('connector', 'limit'),
    [
        ({'host': 'h' * 100_000}, '1024 bytes in one text'),
        ({'h' * 2000: 1}, '1024 bytes in one text'),
        ({'host': 'a', 'wwpns': ['5' * 16] * 3000}, '16384 bytes'),
        ({'host': 'a', **{str(number): 1 for number in range(64)}}, '64 entries'),
    ],
)
def test_a_connector_has_bounds_wherever_it_is_sent(
    connector: dict[str, Any], limit: str, member: Caller, make: Records
) -> None:
    volume = make.volume()
    body = {'attachment': {'volume_uuid': volume.id, 'connector': connector}}
    sent = (
        member.post('/attachments', body, at='3.27'),
        member.act(f'/volumes/{volume.id}', 'os-initialize_connection', {'connector': connector}),
        member.act(f'/volumes/{volume.id}', 'os-terminate_connection', {'connector': connector}),
    )
    for answer in sent:
        assert answer.status == 400
        assert f'attachment connector may have at most {limit}' in answer.fault[2]
    assert Volume.find(volume.project_id, volume.id).status == 'available'


def test_hints_and_references_have_bounds(admin: Caller) -> None:
    hints = {'query': 'x' * 9000}
    answer = admin.post('/volumes', {'volume': {'size': 1}, 'OS-SCH-HNT:scheduler_hints': hints})
    assert (answer.status, '8192 bytes' in answer.fault[2]) == (400, True)
    ref = {'source-name': 'x' * 2000}
    answer = admin.post('/os-volume-manage', {'volume': {'host': 'host@lvm#pool', 'ref': ref}})
    assert (answer.status, '1024 bytes in one text' in answer.fault[2]) == (400, True)


def test_a_volume_filled_to_its_bounds_goes_through_each_action(
    member: Caller, admin: Caller, make: Records, project: str
) -> None:
    metadata = full_metadata(bounds.METADATA)
    made = member.post('/volumes', {'volume': {'size': 1, 'name': 'ü' * 255, 'description': '𝄞' * 255}})
    assert made.status == 202
    volume = make.volume(name='𝄞' * 255, description='𝄞' * 255)
    path = f'/volumes/{volume.id}'
    assert member.put(f'{path}/metadata', {'metadata': metadata}).status == 200
    image = {'large': 'x' * 32_000}
    assert member.act(path, 'os-set_image_metadata', {'metadata': image}).status == 200
    admin_metadata = full_metadata(bounds.BOUNDS['volume']['admin_metadata'])
    Volume.find(project, volume.id).update(actions=[Volume.admin_metadata.set(admin_metadata)])
    size = len(json.dumps(Volume.find(project, volume.id).attribute_values, default=str))
    assert size > 60_000
    assert member.act(path, 'os-extend', {'new_size': 2}).status == 202
    assert admin.act(path, 'os-reset_status', {'status': 'available'}).status == 202
    connector = {'host': 'h' * 255, 'initiator': 'iqn.2026-11.example:' + 'i' * 200, 'mountpoint': '/' * 255}
    body = {'attachment': {'volume_uuid': volume.id, 'connector': connector}}
    attachment = member.post('/attachments', body, at='3.27')
    assert attachment.status == 200
    id = attachment.body['attachment']['id']
    assert member.act(f'/attachments/{id}', 'os-complete', {}, at='3.44').status == 204
    assert member.delete(f'/attachments/{id}', at='3.27').status == 200
    snapshot = {'volume_id': volume.id, 'metadata': full_metadata(bounds.BOUNDS['snapshot']['metadata'])}
    taken = member.post('/snapshots', {'snapshot': snapshot})
    assert taken.status == 202
    taken_path = f'/snapshots/{taken.body["snapshot"]["id"]}'
    assert admin.act(taken_path, 'os-reset_status', {'status': 'available'}).status == 202
    assert admin.act(path, 'os-reset_status', {'status': 'available'}).status == 202
    offer = member.post('/volume-transfers', {'transfer': {'volume_id': volume.id}}, at='3.59')
    assert offer.status == 202, offer.text
    assert member.delete(f'/volume-transfers/{offer.body["transfer"]["id"]}', at='3.59').status == 202
    assert member.delete(path + '?cascade=true').status == 202


def test_a_backup_filled_to_its_bounds_can_be_removed(
    member: Caller, admin: Caller, make: Records, project: str
) -> None:
    backup = {'volume_id': make.volume().id, 'metadata': full_metadata(bounds.METADATA), 'description': '𝄞' * 255}
    made = member.post('/backups', {'backup': backup}, at='3.43')
    assert made.status == 202
    path = f'/backups/{made.body["backup"]["id"]}'
    too_many = {f'n{number}': '' for number in range(129)}
    assert member.put(path, {'backup': {'metadata': too_many}}, at='3.43').status == 400
    record = Backup.find(project, made.body['backup']['id'])
    base.update(record, [Backup.fail_reason.set('𝄞' * 100_000)])  # whatever text a library raises
    assert len(str(record.reload().fail_reason).encode()) == 4096
    assert admin.act(path, 'os-reset_status', {'status': 'error'}).status == 202
    assert member.delete(path).status == 202


def test_a_volume_has_at_most_64_attachments(member: Caller, make: Records) -> None:
    volume = make.volume(multiattach=True)
    for number in range(65):
        body = {'host_name': f'{number:02}' + 'h' * 60, 'mountpoint': '/dev/vdb'}
        answer = member.act(f'/volumes/{volume.id}', 'os-attach', body)
        assert answer.status == (202 if number < 64 else 400), answer.text
    assert 'volume attachments may have at most 64 entries' in answer.fault[2]
    first = next(iter(volume.reload().attachments))
    assert member.delete(f'/attachments/{first}', at='3.27').status == 200
    assert member.act(f'/volumes/{volume.id}', 'os-attach', body).status == 202


def test_a_map_beyond_its_bound_from_before_can_be_made_smaller(member: Caller, make: Records, project: str) -> None:
    volume = make.volume()
    before = {f'k{number}': 'v' for number in range(200)}
    Volume.find(project, volume.id).update(actions=[Volume.metadata.set(before)])
    path = f'/volumes/{volume.id}/metadata'
    assert member.delete(f'{path}/k0').status == 200
    assert member.post(path, {'metadata': {'k0': 'v'}}).status == 400
    assert member.put(path, {'metadata': {'k0': 'v'}}).status == 200


def test_a_private_type_has_a_bound_of_projects(admin: Caller, make: Records) -> None:
    kind = make.type(is_public=False)
    most = bounds.BOUNDS['volume_type']['projects'].entries
    assert most is not None
    projects = [f'{number:032x}' for number in range(most)]
    base.update(kind, [VolumeType.projects.set(projects), *base.touched(VolumeType)])
    operations_of_types.forget()
    answer = admin.act(f'/types/{kind.id}', 'addProjectAccess', {'project': 'one-too-many'})
    assert (answer.status, f'projects may have at most {most} entries' in answer.fault[2]) == (400, True)
    assert admin.act(f'/types/{kind.id}', 'removeProjectAccess', {'project': projects[0]}).status == 202
    assert admin.delete(f'/types/{kind.id}').status == 202


def test_the_cloud_has_a_bound_of_types(admin: Caller, make: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    make.type()
    monkeypatch.setattr(bounds, 'VOLUME_TYPES', 1)
    answer = admin.post('/types', {'volume_type': {'name': 'one-too-many'}})
    assert (answer.status, 'at most 1 entries' in answer.fault[2]) == (400, True)


def test_quotas_and_groups_have_bounds(admin: Caller, project: str) -> None:
    many = {f'volumes_{number}': 1 for number in range(2001)}
    answer = admin.put(f'/os-quota-sets/{project}', {'quota_set': many})
    assert (answer.status, 'limits may have at most 2000 entries' in answer.fault[2]) == (400, True)
    group = {'name': 'g', 'group_type': 't', 'volume_types': [f'{number}' for number in range(257)]}
    answer = admin.post('/groups', {'group': group}, at='3.13')
    assert (answer.status, 'at most 256 entries' in answer.fault[2]) == (400, True)


@pytest.mark.parametrize(
    ('path', 'name', 'entries'),
    [('types', 'extra_specs', 256), ('group_types', 'group_specs', 256), ('qos-specs', 'specs', 256)],
)
def test_specs_have_bounds(path: str, name: str, entries: int, admin: Caller, make: Records) -> None:
    specs = {f'k{number:04}': 'v' * 200 for number in range(entries)}
    word = {'types': 'volume_type', 'group_types': 'group_type', 'qos-specs': 'qos_specs'}[path]
    inside = {'name': 'full', **(specs if path == 'qos-specs' else {name: specs})}
    made = admin.post(f'/{path}', {word: inside}, at='3.11')
    assert made.status in (200, 202), made.text
    id = made.body[word]['id']
    more = {'too-many': 'v'}
    answer = (
        admin.put(f'/qos-specs/{id}', {'qos_specs': more})
        if path == 'qos-specs'
        else admin.post(f'/{path}/{id}/{name}', {name: more}, at='3.11')
    )
    assert answer.status == 400
    assert f'{word} {name} may have at most {entries} entries' in answer.fault[2]
    assert admin.delete(f'/{path}/{id}', at='3.11').status == 202
