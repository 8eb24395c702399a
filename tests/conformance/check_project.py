"""A project of its own per check, what is in it, and valid requests for the entries of the surface."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

from tests.api.front_door import Answer, Caller, FrontDoor
from tests.api.records import Records
from tests.conformance.facts import Entry, version

CONNECTOR = {'host': 'compute1', 'initiator': 'iqn.1993-08.org.debian:01:aaa', 'ip': '10.0.0.2', 'multipath': False}

#: Role of the facts -> role of the token; each on the project but the last two.
ROLES = {
    'admin': 'admin',
    'member': 'member',
    'reader': 'reader',
    'member_of_other_project': 'member',
    'token_without_reader_role': '',
}


class World:
    """One project; creates what a request needs on first use."""

    def __init__(self, door: FrontDoor) -> None:
        self.door = door
        self.project, self.other_project = uuid.uuid4().hex, uuid.uuid4().hex
        self.make = Records(self.project)
        self._made: dict[str, Any] = {}

    def caller(self, role: str) -> Caller:
        """Return a caller by its name in the facts: admin, member, reader, ..."""
        other = role in ('other', 'member_of_other_project')
        return self.door.caller(ROLES.get(role, 'member'), self.other_project if other else self.project)

    def one(self, kind: str) -> Any:
        """The one resource of a kind that this check is about."""
        if kind not in self._made:
            self._made[kind] = MAKERS[kind](self)
        return self._made[kind]

    def set(self, kind: str, record: Any) -> Any:
        self._made[kind] = record
        return record


def _volume(world: World) -> Any:
    return world.make.volume(
        name='test_volume', metadata={'k': 'v'}, volume_image_metadata={'k': 'v'},
        encryption_key_id=world.make.key(), description='this is a test volume',
    )  # fmt: skip


def _transfer(world: World) -> Any:
    transfer, auth_key = world.make.transfer()
    world.set('auth_key', auth_key)
    return transfer


def _replicated(world: World) -> None:
    kind = world.make.group_type(group_specs={'group_replication_enabled': '<is> True'})
    world.set('groups', world.make.group(group_type_id=kind.id, replication_status='enabled'))


#: Kind -> its default maker.
MAKERS: dict[str, Callable[[World], Any]] = {
    'volumes': _volume,
    'snapshots': lambda world: world.make.snapshot(metadata={'k': 'v'}),
    'backups': lambda world: world.make.backup(encryption_key_id=world.make.key()),
    'attachments': lambda world: world.make.attachment(world.one('volumes')),
    'messages': lambda world: world.make.message(),
    'volume-transfers': _transfer,
    'group_types': lambda world: world.make.group_type(group_specs={'k': 'v'}),
    'groups': lambda world: world.make.group(),
    'group_snapshots': lambda world: world.make.group_snapshot(),
    'consistencygroups': lambda world: world.one('groups'),
    'cgsnapshots': lambda world: world.one('group_snapshots'),
    'os-volume-transfer': lambda world: world.one('volume-transfers'),
    'types': lambda world: world.make.type(extra_specs={'k': 'v', 'multiattach': '<is> False'}),
    'qos-specs': lambda world: world.make.qos_specs(specs={'k': 'v'}),
    'pools': lambda world: world.make.pool(f'{world.one("services").host}#pool'),
    'services': lambda world: world.make.service(f'h{uuid.uuid4().hex[:8]}@lvm'),
}

#: Segment of a path -> the value of the variable after it; a kind of MAKERS otherwise.
PATH_VALUES: dict[str, Callable[[World], str]] = {
    'metadata': lambda world: 'k',
    'extra_specs': lambda world: 'multiattach',
    'group_specs': lambda world: 'k',
    'encryption': lambda world: 'encryption_key_id',
    'os-quota-sets': lambda world: world.project,
    'default-types': lambda world: world.project,
    'clusters': lambda world: world.one('services').host,
    'os-hosts': lambda world: world.one('services').host,
    'capabilities': lambda world: world.one('pools').id.partition('#')[0],
    'os-quota-class-sets': lambda world: f'class-{world.project}',
    'extensions': lambda world: 'backups',
}


#: Prefix of a path -> variables below it that have another value.
UNDER: tuple[tuple[str, dict[str, Callable[[World], str]]], ...] = (
    ('/types/', {'encryption': lambda world: 'cipher'}),
)  # fmt: skip


def path_of(world: World, path: str) -> str:
    """The path with its variables filled in."""
    parts = path.split('/')
    for place, part in enumerate(parts):
        if part.startswith('{'):
            special = next((values for start, values in UNDER if path.startswith(start)), {})
            before = parts[place - 1]
            parts[place] = special[before](world) if before in special else path_value(world, before)
    return '/'.join(parts)


def path_value(world: World, before: str) -> str:
    if before in PATH_VALUES:
        return PATH_VALUES[before](world)
    return str(world.one(before).id) if before in MAKERS else str(uuid.uuid4())


#: Name of a member of a body, with all it is in where that matters -> a value that is valid.
VALUES: dict[str, Callable[[World], Any]] = {
    'volume_id': lambda world: world.one('volumes').id,
    'volume_uuid': lambda world: world.one('volumes').id,
    'snapshot_id': lambda world: world.one('snapshots').id,
    'size': lambda world: 1,
    'new_size': lambda world: 2,
    'connector': lambda world: CONNECTOR,
    'auth_key': lambda world: world.one('auth_key'),
    'group_id': lambda world: world.one('groups').id,
    'consistencygroup_id': lambda world: world.one('groups').id,
    'source_group_id': lambda world: world.one('groups').id,
    'group_snapshot_id': lambda world: world.one('group_snapshots').id,
    'mountpoint': lambda world: '/dev/vdb',
    'instance_uuid': lambda world: str(uuid.uuid4()),
    'image_id': lambda world: str(uuid.uuid4()),
    'bootable': lambda world: True,
    'readonly': lambda world: True,
    'status': lambda world: 'available',
    'progress': lambda world: '50%',
    'key': lambda world: 'k',
    'name': lambda world: f'n-{uuid.uuid4().hex[:8]}',
    'host': lambda world: world.one('services').host,
    'ref': lambda world: {'source-name': 'legacy'},
    'new_type': lambda world: world.one('types').id,
    'new_volume': lambda world: world.make.volume().id,
    'binary': lambda world: 'cinder-volume',
    'level': lambda world: 'WARNING',
    'prefix': lambda world: 'chalicelib',
    'disabled_reason': lambda world: 'r',
    'provider': lambda world: 'luks',
    'cipher': lambda world: 'aes-xts-plain64',
    'key_size': lambda world: 256,
    'control_location': lambda world: 'front-end',
    'default_type.volume_type': lambda world: world.one('types').id,
    'keys': lambda world: ['k'],
    'qos_specs': lambda world: {'k': 'w'},
    '<other key>': lambda world: {'k': 'v'},
    'project': lambda world: uuid.uuid4().hex,
    'quota_set': lambda world: {'volumes': 20},
    'quota_class_set': lambda world: {'volumes': 20},
    'metadata': lambda world: {'k': 'w'},
    'meta': lambda world: {'k': 'w'},
    'extra_specs': lambda world: {'multiattach': '<is> False'},
    '<key>': lambda world: {'multiattach': '<is> False'},
}

#: Members that Cinder requires though its schema does not.
NEEDED = {
    'POST /volumes': ('volume.size',),
    'POST /volumes/{id}/action os-reset_status': ('os-reset_status.status',),
    'PUT /backups/{id}': ('backup.name',),
    'PUT /types/{id}': ('volume_type.name',),
    'PUT /os-services/enable': ('host',),
    'PUT /os-services/freeze': ('host',),
    'PUT /os-services/thaw': ('host',),
    'PUT /os-services/failover_host': ('host',),
    'PUT /os-services/set-log': ('level',),
    'PUT /os-services/get-log': ('binary', 'prefix'),
    'PUT /os-services/disable': ('host',),
    'PUT /os-services/disable-log-reason': ('host', 'disabled_reason'),
    'PUT /consistencygroups/{id}': ('consistencygroup.name',),
    'POST /attachments': ('attachment.connector',),
    'POST /types/{type_id}/encryption': ('encryption.cipher', 'encryption.key_size'),
    'PUT /types/{type_id}/encryption/{id}': (
        'encryption.provider',
        'encryption.key_size',
        'encryption.control_location',
    ),
    'PUT /default-types/{id}': ('default_type',),
    'POST /qos-specs': ('qos_specs.name', 'qos_specs.<other key>'),
    'POST /types': ('volume_type.extra_specs', 'volume_type.description'),
    'POST /os-volume-manage': ('volume.host',),
    'POST /manageable_volumes': ('volume.host',),
    'POST /volumes/{id}/action revert': ('revert.snapshot_id',),
}


def body_of(world: World, entry: Entry, at: str) -> Any:
    """A valid body: what the entry requires, one way of what it requires one of."""
    fields = [field for field in entry['request_fields'] if version(field.get('min_version')) <= version(at)]
    if not fields:
        return None
    wanted = {field['name'] for field in fields if field.get('required')} | set(NEEDED.get(entry['id'], ()))
    for field in fields:
        choices = [*field.get('any_of_required', ()), *_changed(field, at)]
        wanted |= {f'{field["name"]}.{name}' for name in (choices[0] if choices else ())}
    body: dict[str, Any] = {}
    for field in fields:
        if field['name'] in wanted or field['name'] == '<key>':
            _put(body, field, world)
    return body


def _changed(field: dict[str, Any], at: str) -> list[list[str]]:
    rules = [rule for rule in field.get('changes', ()) if version(rule['from_version']) <= version(at)]
    return [names for rule in rules for names in rule.get('any_of_required', ())]


def _put(body: dict[str, Any], field: dict[str, Any], world: World) -> None:
    *parents, last = field['name'].split('.')
    for parent in parents:
        body = body.setdefault(parent, {})
        if not isinstance(body, dict):
            return
    if last == '<other key>':
        body.update(VALUES[last](world))
    elif last == '<key>':
        body.update(VALUES[last](world)) if not parents else None
    elif name := next((name for name in (field['name'], last) if name in VALUES), None):
        body[last] = VALUES[name](world)
    elif 'object' in str(field.get('type')):
        body[last] = {}
    else:
        body[last] = None if field.get('type') is None else 'x'


#: Bodies that a schema's required members do not make, or whose names mean something else than elsewhere.
BODIES: dict[str, Callable[[World], Any]] = {
    'POST /types/{id}/action removeProjectAccess': lambda world: {
        'removeProjectAccess': {'project': world.one('project')}
    },
    'PUT /clusters/enable': lambda world: {'name': world.one('services').host},
    'PUT /clusters/disable': lambda world: {'name': world.one('services').host, 'disabled_reason': 'r'},
    'POST /workers/cleanup': lambda world: {},
    'POST /backups/import_record': lambda world: _exported(world),
    'POST /groups/action create-from-src': lambda world: {
        'create-from-src': {'source_group_id': world.one('groups').id}
    },
    'POST /groups': lambda world: {
        'group': {'group_type': world.one('group_types').id, 'volume_types': [world.make.default_type().id]}
    },
    'POST /group_types': lambda world: {'group_type': {'name': uuid.uuid4().hex, 'group_specs': {'k': 'v'}}},
    'PUT /group_types/{id}': lambda world: {'group_type': {'name': uuid.uuid4().hex}},
    'POST /consistencygroups': lambda world: {'consistencygroup': {'volume_types': world.make.default_type().id}},
    'POST /consistencygroups/create_from_src': lambda world: {
        'consistencygroup-from-src': {'source_cgid': world.one('groups').id}
    },
    'POST /group_types/{group_type_id}/group_specs': lambda world: {'group_specs': {'k': 'v'}},
    'PUT /group_types/{group_type_id}/group_specs/{id}': lambda world: {'k': 'z'},
}

#: What the facts' request had in its query.
QUERIES: dict[str, Callable[[World], str]] = {
    'GET /scheduler-stats/get_pools': lambda world: '?detail=true',
    'GET /qos-specs/{id}/associate': lambda world: f'?vol_type_id={world.one("types").id}',
    'GET /qos-specs/{id}/disassociate': lambda world: f'?vol_type_id={world.one("types").id}',
    **{
        f'GET /{collection}{detail}': lambda world: f'?host={world.one("services").host}'
        for collection in ('os-volume-manage', 'manageable_volumes', 'os-snapshot-manage', 'manageable_snapshots')
        for detail in ('', '/detail')
    },
}


def ready(world: World, entry: Entry) -> None:
    """Bring the entry's resource into a state in which the request succeeds."""
    for pattern, prepare in PREPARE:
        if re.fullmatch(pattern, entry['id']):
            prepare(world)


def _attached(world: World) -> None:
    volume, attachment = world.make.attached(name='test_volume', metadata={'k': 'v'},
                                             encryption_key_id=world.make.key(),
                                             volume_image_metadata={'k': 'v'})  # fmt: skip
    world.set('volumes', volume)
    world.set('attachments', attachment)


#: Pattern of an entry's id -> what must be so before its request.
PREPARE: tuple[tuple[str, Callable[[World], Any]], ...] = (
    (r'GET /volumes(/detail|/{id})?', _attached),
    (r'.* os-(begin_detaching|detach|force_detach)', _attached),
    (r'.* os-(attach|unreserve)', lambda world: world.set('volumes', world.make.volume(status='attaching'))),
    # A backup of a volume without encryption: it is restored to a new volume of the default type.
    (r'POST /backups/{id}/restore', lambda world: world.set('backups', world.make.backup())),
    (r'.* os-roll_detaching', lambda world: world.set('volumes', world.make.volume(status='detaching'))),
    (r'.* os-update_snapshot_status', lambda world: world.set('snapshots', world.make.snapshot(status='creating'))),
    (r'.*(os-volume-type-access|addProjectAccess)', lambda world: world.set('types', _private(world))),
    (r'.* removeProjectAccess', lambda world: _granted(world)),
    (r'GET /(snapshots|backups|messages)(/detail)?', lambda world: [world.one(kind) for kind in
                                                                  ('snapshots', 'backups', 'messages')]),
    (r'GET /attachments(/detail)?', lambda world: world.one('attachments')),
    (r'POST /(?:os-)?volume-transfers?', lambda world: world.set('volumes', world.make.volume())),
    (r'.* /(os-volume-transfer|volume-transfers)(/.*)?', lambda world: world.one('volume-transfers')),
    (r'POST /(groups/action create-from-src|group_snapshots|cgsnapshots|consistencygroups/create_from_src)',
     lambda world: world.set('groups', world.make.group(volumes=1))),
    (r'GET /(groups|consistencygroups)(/detail)?', lambda world: world.one('groups')),
    (r'GET /(group_snapshots|cgsnapshots)(/detail)?', lambda world: world.one('group_snapshots')),
    (r'GET /group_types', lambda world: world.one('group_types')),
    (r'POST /groups/{id}/action (.*_replication.*)', _replicated),
    (r'GET /os-services', lambda world: world.one('services')),
    (r'PUT /os-services/thaw', lambda world: world.set('services', world.make.service(
        f'h{uuid.uuid4().hex[:8]}@lvm', frozen=True, disabled=True))),
    (r'GET /(clusters|os-hosts)(/.*)?', lambda world: world.one('services')),
    (r'GET /os-hosts/{id}', lambda world: world.make.volume(host=f'{world.one("services").host}#pool')),
    (r'GET /scheduler-stats/get_pools', lambda world: world.one('pools')),
    (r'PUT /os-services.*', lambda world: world.one('services')),
    (r'GET /attachments/{id}', _attached),
    (r'GET /qos-specs(/{id}/(dis)?associat.*)?', lambda world: associated(world)),
    (r'(GET|DELETE) /default-types.*', lambda world: world.caller('admin').put(
        f'/default-types/{world.project}', {'default_type': {'volume_type': world.one('types').id}}, at='3.62')),
    (r'.*(os-volume-manage|manageable_volumes).*', lambda world: world.one('services')),
    (r'.*(os-snapshot-manage|manageable_snapshots).*', lambda world: world.set('volumes', _served(world))),
    (r'.* os-unmanage', lambda world: world.set('volumes', world.make.volume())),
    (r'.* os-extend_volume_completion', lambda world: world.set('volumes', _extending(world))),
    (r'.* revert', lambda world: world.set('volumes', _snapshotted(world))),
    (r'(GET|PUT|DELETE) /types/{type_id}/encryption.*', lambda world: _encrypted(world)),
)  # fmt: skip


def _served(world: World) -> Any:
    """A volume whose backend's service is up."""
    return world.make.volume(host=f'{world.one("services").host}#pool')


def _extending(world: World) -> Any:
    waiting = {'extend_new_size': '2', 'extend_reservations': '[]'}
    return world.make.volume(status='extending', admin_metadata=waiting)


def _snapshotted(world: World) -> Any:
    volume = world.make.volume()
    world.set('snapshots', world.make.snapshot(volume))
    return volume


def _exported(world: World) -> Any:
    """The record of a backup that is not there any more."""
    backup = world.make.backup(manifest_key='backups/a/manifest', root_hash='0' * 64)
    exported = world.caller('admin').get(f'/backups/{backup.id}/export_record').body
    backup.delete()
    return exported


def _encrypted(world: World) -> None:
    facts = {'provider': 'luks', 'cipher': 'aes-xts-plain64', 'key_size': 256, 'control_location': 'front-end'}
    world.caller('admin').post(f'/types/{world.one("types").id}/encryption', {'encryption': facts})


def associated(world: World) -> None:
    """QoS specs that the type names."""
    path = f'/qos-specs/{world.one("qos-specs").id}/associate?vol_type_id={world.one("types").id}'
    world.caller('admin').get(path)


def _private(world: World) -> Any:
    private = world.make.type(is_public=False)
    private.update(actions=[type(private).projects.set([world.other_project])])
    _forget_types()
    return private


def _granted(world: World) -> None:
    private = world.set('types', world.make.type(is_public=False))
    project = uuid.uuid4().hex
    private.update(actions=[type(private).projects.set([project])])
    _forget_types()
    world.set('project', project)


def _forget_types() -> None:
    from chalicelib.operations import volume_types

    volume_types.forget()


def send(world: World, entry: Entry, role: str, at: str) -> Answer:
    """A valid request of this entry."""
    ready(world, entry)
    body = BODIES[entry['id']](world) if entry['id'] in BODIES else body_of(world, entry, at)
    path = path_of(world, entry['path']) + QUERIES.get(entry['id'], lambda _: '')(world)
    return world.caller(role).request(entry['method'], path, body, at=at)
