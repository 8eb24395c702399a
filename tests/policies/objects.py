"""One object of each kind in the owner's project, and a valid request for every route about it."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from chalicelib.api.resource import Route
from chalicelib.api.schema import at
from chalicelib.models import Volume, base
from tests.api.records import HOST, Records

#: Part of every name and description of the owner's objects.
MARK = 'mark-of-the-owner'

#: Collections whose objects belong to a project.
OWNED = frozenset({
    'volumes', 'snapshots', 'backups', 'attachments', 'groups', 'group_snapshots', 'consistencygroups', 'cgsnapshots',
    'messages', 'volume-transfers', 'os-volume-transfer', 'backup-schedules', 'operations',
})  # fmt: skip

#: Members of bodies that name an object of a project -> its collection.
NAMED = {
    'volume_id': 'volumes', 'volume_uuid': 'volumes', 'source_volid': 'volumes', 'snapshot_id': 'snapshots',
    'backup_id': 'backups', 'group_id': 'groups', 'consistencygroup_id': 'consistencygroups',
    'source_group_id': 'groups', 'group_snapshot_id': 'group_snapshots', 'source_cgid': 'consistencygroups',
    'cgsnapshot_id': 'cgsnapshots', 'add_volumes': 'volumes', 'remove_volumes': 'volumes', 'new_volume': 'volumes',
}  # fmt: skip

#: Values of members that a schema does not determine.
VALUES: dict[str, Any] = {
    'connector': {'initiator': 'iqn.2004-10.com.example:x', 'ip': '127.0.0.1', 'host': 'compute-1'},
    'cron': '0 3 * * *',
    'host': HOST,
    'size': 2,
    'new_size': 2,
    'metadata': {'k': 'v'},
    'meta': {'k': 'v'},
    'extra_specs': {'k': 'v'},
    'group_specs': {'k': 'v'},
    'key': 'k',
    'keys': ['k'],
    'project': 'e' * 32,
    'new_type': '__DEFAULT__',
    'volume_type': '__DEFAULT__',
    'status': 'available',
    'image_id': '70a599e0-31e7-49b7-b260-868f441e862b',
    'auth_key': 'a' * 16,
    'ref': {'source-name': 'x'},
    'mountpoint': '/dev/vdb',
    'instance_uuid': '70a599e0-31e7-49b7-b260-868f441e862b',
}


#: Bodies that a schema does not determine; ids are replaced by their collections' names in braces.
BODIES: dict[tuple[str, str | None], Any] = {
    ('/types', None): {'volume_type': {'name': 'new'}},
    ('/types/{id}', None): {'volume_type': {'description': 'new'}},
    ('/types/{id}/encryption/{key}', None): {'encryption': {'cipher': 'aes'}},
    ('/os-quota-sets/{id}', None): {'quota_set': {'volumes': 7}},
    ('/os-quota-class-sets/{id}', None): {'quota_class_set': {'volumes': 7}},
    ('/os-services/confirm-reconciliation', None): {'host': HOST.partition('#')[0]},
    ('/backups/import_record', None): {'backup-record': {'backup_service': 's', 'backup_url': 'eA=='}},
    ('/groups/action', 'create-from-src'): {'create-from-src': {'source_group_id': '{groups}'}},
    ('/groups', None): {'group': {'group_type': '{group_types}', 'volume_types': ['__DEFAULT__']}},
    ('/consistencygroups', None): {'consistencygroup': {'volume_types': '__DEFAULT__'}},
}


class Objects(NamedTuple):
    """``ids``: collection -> id of the owner's object, or of an object without an owner."""

    project: str
    ids: Mapping[str, str]

    def values(self) -> set[str]:
        """What only callers who may see the objects read."""
        return {MARK, *(id for collection, id in self.ids.items() if collection in OWNED)}


def make(project: str) -> Objects:
    records = Records(project)
    named = {'name': MARK, 'description': MARK}
    volume = records.volume(**named, metadata={'k': MARK}, size=1)
    attached, attachment = records.attached(**named)
    group = records.group(volumes=1)
    group.update(actions=[type(group).name.set(MARK), type(group).description.set(MARK)])
    frozen = records.group_snapshot(records.group(volumes=1), name=MARK)
    consistent = records.group_type(
        name='default_cgsnapshot_type', group_specs={'consistent_group_snapshot_enabled': '<is> True'}
    )
    consistency_group = records.group(volumes=1, group_type_id=consistent.id)
    offered = records.volume(**named)
    transfer, _ = records.transfer(offered, name=MARK)
    kind, private = records.type(extra_specs={'k': 'v'}), records.type(name=f'private {MARK}', is_public=False)
    records.service()
    records.pool()
    ids = {
        'volumes': volume.id, 'attached': attached.id, 'attachments': attachment.id,
        'snapshots': records.snapshot(volume, **named, metadata={'k': MARK}).id,
        'backups': records.backup(volume, **named).id, 'groups': group.id, 'group_snapshots': frozen.id,
        'consistencygroups': consistency_group.id, 'cgsnapshots': records.group_snapshot(consistency_group).id,
        'messages': records.message(user_message=MARK).id,
        'volume-transfers': transfer.id, 'os-volume-transfer': transfer.id,
        'backup-schedules': _schedule(project, volume), 'operations': _operation(project, volume),
        'types': kind.id, 'private type': private.id, 'group_types': consistent.id,
        'qos-specs': records.qos_specs(specs={'k': 'v'}).id, 'os-hosts': HOST.partition('#')[0],
        'capabilities': HOST.partition('#')[0], 'extensions': 'os-hosts', 'clusters': 'x',
        'os-quota-sets': project, 'os-quota-class-sets': 'default', 'default-types': project,
        'scheduler-stats': 'x', 'key': records.key(),
    }  # fmt: skip
    return Objects(project, ids)


def _schedule(project: str, volume: Volume) -> str:
    from chalicelib.models import BackupSchedule

    facts: dict[str, Any] = {'created_at': base.now(), 'user_id': 'u', 'name': MARK, 'cron': '0 3 * * *'}
    facts |= {'volume_id': volume.id, 'keep': {}, 'next_run_at': base.after(9e5)}
    made = BackupSchedule(project, str(uuid.uuid4()), **facts)
    made.save()
    return str(made.id)


def _operation(project: str, volume: Volume) -> str:
    from chalicelib.models import Operation

    first = {'resource': 'volume', 'project_id': project, 'id': volume.id, 'action': 'extend'}
    facts: dict[str, Any] = {'created_at': base.now(), 'user_id': 'u', 'action': 'extend', 'resource_name': MARK}
    facts |= {'resource_type': 'volume', 'resource_id': volume.id, 'first': first, 'last': first}
    made = Operation(project, f'req-{uuid.uuid4()}', **facts)
    made.save()
    return str(made.id)


def path_of(route: Route, objects: Objects, other: Mapping[str, str] | None = None) -> str:
    """Return the route's path with the ids of objects; ``other`` replaces ids of collections."""
    collection = route.path.split('/')[1]
    id = {**objects.ids, **(other or {})}.get(collection, 'x')
    return re.sub(r'{(\w+)}', lambda found: id if found[1] == 'id' else 'k', route.path)


def body_of(route: Route, ids: Mapping[str, str]) -> str | None:
    """Return a valid body in which members name the objects ``ids``; None for a route without a body."""
    if (route.path, route.action) in BODIES and route.method != 'GET':
        text = json.dumps(BODIES[route.path, route.action])
        return re.sub(r'{(\w+)}', lambda found: ids[found[1]], text)
    if route.schema is None:
        return json.dumps({route.action: None}) if route.action else None
    schema = at(route.schema.schema, route.until)
    return json.dumps(_value('', schema, ids))


def _value(name: str, schema: Any, ids: Mapping[str, str]) -> Any:
    if name in NAMED:
        return ids[NAMED[name]]
    if name in VALUES:
        return VALUES[name]
    for alternatives in ('oneOf', 'anyOf'):
        if alternatives in schema and 'properties' not in schema:
            return _value(name, schema[alternatives][-1], ids)
    if 'enum' in schema:
        return schema['enum'][0]
    kind = schema.get('type', 'null')
    kind = kind if isinstance(kind, str) else kind[0]
    if kind == 'object':
        return _members(schema, ids)
    return {
        'string': lambda: 'x' * max(1, schema.get('minLength', 1)),
        'integer': lambda: max(1, schema.get('minimum', 1)),
        'number': lambda: 1,
        'boolean': lambda: True,
        'array': lambda: [_value(name, schema.get('items', {}), ids)],
        'null': lambda: None,
    }[kind]()


def _members(schema: Any, ids: Mapping[str, str]) -> dict[str, Any]:
    """The required members, those of the first alternative, and those that name an object."""
    alternative = next(
        (part['required'] for part in schema.get('anyOf', schema.get('oneOf', ())) if 'required' in part), ()
    )
    wanted = {*schema.get('required', ()), *alternative}
    properties = schema.get('properties', {})
    found = {
        name: _value(name, properties.get(name, {}), ids) for name in properties if name in wanted or name in NAMED
    }
    return found or ({'k': 'v'} if 'patternProperties' in schema else {})
