"""Every operation in every status: what Cinder answered, and the status it left."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from typing import Any

from chalicelib.rules.states import NOT_EXPORTABLE
from tests.api.front_door import Answer, Caller, FrontDoor
from tests.api.records import Records
from tests.conformance.check_project import CONNECTOR, World
from tests.conformance.facts import Checks, states

Operation = Callable[[Caller, Any], Answer]


def _act(name: str, body: Any = None) -> Operation:
    def send(caller: Caller, record: Any) -> Answer:
        return caller.act(f'/{record.resource}s/{record.id}', name, body, at='3.71')

    return send


def _send(method: str, path: str, body: Callable[[Any], Any] | None = None, at: str = '3.71') -> Operation:
    def send(caller: Caller, record: Any) -> Answer:
        return caller.request(method, path.format(id=record.id), body(record) if body else None, at=at)

    return send


def _snapshot(**more: Any) -> Callable[[Any], Any]:
    return lambda volume: {'snapshot': {'volume_id': volume.id, **more}}


def _attachment(**more: Any) -> Callable[[Any], Any]:
    return lambda volume: {'attachment': {'volume_uuid': volume.id, 'instance_uuid': str(uuid.uuid4()), **more}}


def _revert(caller: Caller, volume: Any) -> Answer:
    """To a snapshot that it has; the facts' volumes had one, too."""
    snapshot = Records(volume.project_id).snapshot(volume)
    return caller.act(f'/volumes/{volume.id}', 'revert', {'snapshot_id': snapshot.id}, at='3.71')


def _retype(caller: Caller, volume: Any) -> Answer:
    other = Records(volume.project_id).type()
    return caller.act(f'/volumes/{volume.id}', 'os-retype', {'new_type': other.id}, at='3.71')


def _migrate(caller: Caller, volume: Any) -> Answer:
    service = Records(volume.project_id).service(f'h{uuid.uuid4().hex[:8]}@lvm')
    return caller.act(f'/volumes/{volume.id}', 'os-migrate_volume', {'host': service.host}, at='3.71')


#: Operation of the facts -> its request; what has no row here is of resources that are not there yet.
OPERATIONS: dict[str, dict[str, Operation]] = {
    'volume': {
        'os-reserve': _act('os-reserve'),
        'os-unreserve': _act('os-unreserve'),
        'os-begin_detaching': _act('os-begin_detaching'),
        'os-roll_detaching': _act('os-roll_detaching'),
        'os-extend': _act('os-extend', {'new_size': 2}),
        'os-update_readonly_flag': _act('os-update_readonly_flag', {'readonly': True}),
        'os-retype': _retype,
        'os-migrate_volume': _migrate,
        'os-volume_upload_image': _act('os-volume_upload_image', {'image_name': 'i'}),
        'os-set_bootable': _act('os-set_bootable', {'bootable': True}),
        'os-reimage': _act('os-reimage', {'image_id': str(uuid.uuid4()), 'reimage_reserved': True}),
        'revert': _revert,
        'os-detach': _act('os-detach', {}),
        'os-initialize_connection': _act('os-initialize_connection', {'connector': CONNECTOR}),
        'os-terminate_connection': _act('os-terminate_connection', {'connector': CONNECTOR}),
        'os-reset_status': _act('os-reset_status', {'status': 'available'}),
        'os-force_delete': _act('os-force_delete'),
        'os-unmanage': _act('os-unmanage'),
        'os-force_detach': _act('os-force_detach', {'connector': CONNECTOR}),
        'create snapshot 3.65': _send('POST', '/snapshots', _snapshot(), '3.65'),
        'create snapshot force 3.65': _send('POST', '/snapshots', _snapshot(force=True), '3.65'),
        'create snapshot 3.66+': _send('POST', '/snapshots', _snapshot()),
        'create backup': _send('POST', '/backups', lambda volume: {'backup': {'volume_id': volume.id}}),
        'create backup force': _send(
            'POST', '/backups', lambda volume: {'backup': {'volume_id': volume.id, 'force': True}}
        ),
        'create transfer': _send('POST', '/volume-transfers', lambda volume: {'transfer': {'volume_id': volume.id}}),
        'create attachment (reserve)': _send('POST', '/attachments', _attachment()),
        'clone (source_volid)': _send('POST', '/volumes', lambda volume: {'volume': {'source_volid': volume.id}}),
        'delete': _send('DELETE', '/volumes/{id}'),
        'set metadata': _send('POST', '/volumes/{id}/metadata', lambda volume: {'metadata': {'k': 'w'}}),
        'delete metadata key': _send('DELETE', '/volumes/{id}/metadata/k'),
        'update': _send('PUT', '/volumes/{id}', lambda volume: {'volume': {'name': 'n'}}),
    },
    'snapshot': {
        'delete': _send('DELETE', '/snapshots/{id}'),
        'os-force_delete': _act('os-force_delete'),
        'os-unmanage': _act('os-unmanage'),
        'os-reset_status': _act('os-reset_status', {'status': 'available'}),
        'os-update_snapshot_status(available)': _act('os-update_snapshot_status', {'status': 'available'}),
        'update': _send('PUT', '/snapshots/{id}', lambda snapshot: {'snapshot': {'name': 'n'}}),
        'create volume from': _send('POST', '/volumes', lambda snapshot: {'volume': {'snapshot_id': snapshot.id}}),
        'backup of snapshot': _send(
            'POST',
            '/backups',
            lambda snapshot: {'backup': {'volume_id': snapshot.volume_id, 'snapshot_id': snapshot.id}},
        ),
    },
    'backup': {
        'delete': _send('DELETE', '/backups/{id}'),
        'os-force_delete': _act('os-force_delete'),
        'restore': _send('POST', '/backups/{id}/restore', lambda backup: {'restore': {}}),
        'export_record': _send('GET', '/backups/{id}/export_record'),
        'update': _send('PUT', '/backups/{id}', lambda backup: {'backup': {'name': 'n'}}),
        'create volume from (3.47)': _send('POST', '/volumes', lambda backup: {'volume': {'backup_id': backup.id}}),
    },
    'group': {
        'delete': _act('delete', {'delete-volumes': False}),
        'delete with delete-volumes': _act('delete', {'delete-volumes': True}),
        'update name': _send('PUT', '/groups/{id}', lambda group: {'group': {'name': 'n'}}),
        'create group snapshot': _send(
            'POST', '/group_snapshots', lambda group: {'group_snapshot': {'group_id': group.id}}
        ),
        'reset_status': _act('reset_status', {'status': 'available'}),
        'create volume in group': _send(
            'POST',
            '/volumes',
            lambda group: {'volume': {'size': 1, 'group_id': group.id, 'volume_type': group.volume_type_ids[0]}},
        ),
    },
}

#: Operations that need something in their group.
FILLED = [OPERATIONS['group']['create group snapshot']]


#: What a worker does before the answer here; when the facts were taken there was none, so nothing changed.
SYNCHRONOUS = [OPERATIONS['volume'][name] for name in ('os-detach', 'os-force_detach')]


#: Where this service differs on purpose (decision 44): no export is made of data that is made, replaced or given away.
DIFFERENT = {
    'os-initialize_connection': (NOT_EXPORTABLE - {'maintenance'}, 400),
}

#: Operation -> the status that it leaves here, where Cinder leaves the record unchanged until a worker begins. A backup
#: is restoring from the acceptance of the volume, so that it is not deleted or restored a second time meanwhile.
LEFT = {'create volume from (3.47)': 'restoring'}


def checks(door: FrontDoor) -> Checks:
    for kind, operations in OPERATIONS.items():
        facts = states()[kind]['operations']
        for name, operation in operations.items():
            statuses, refusal = DIFFERENT.get(name, (frozenset(), 0))
            for status, after in facts[name]['allowed'].items():
                code = refusal if status in statuses else facts[name]['success'][0]
                yield _check(door, kind, name, operation, status, code, LEFT.get(name, after))
            for code, refused in facts[name]['refused'].items():
                for status in refused:
                    yield _check(door, kind, name, operation, status, int(code), 'unchanged')


def _check(door: FrontDoor, kind: str, name: str, operation: Operation, status: str, code: int, after: str) -> Any:
    return f'status {kind} {name} in {status}', functools.partial(_wrong, door, kind, operation, status, code, after)


def _wrong(door: FrontDoor, kind: str, operation: Operation, status: str, code: int, after: str) -> str | None:
    world = World(door)
    record = world.make.group(volumes=1, status=status) if operation in FILLED else _record(world, kind, status)
    answer = operation(world.caller('admin'), record)
    if answer.status != code:
        return f'{answer.status}, not {code}: {answer.text[:200]}'
    if operation in SYNCHRONOUS:
        return None
    now = type(record).find(record.project_id, record.id).status
    expected = status if after == 'unchanged' else after
    return None if now == expected else f'left {now}, not {expected}'


def _record(world: World, kind: str, status: str) -> Any:
    if kind == 'volume' and status in ('in-use', 'detaching'):
        return world.make.attached(status=status, metadata={'k': 'v'})[0]
    facts = {'metadata': {'k': 'v'}} if kind == 'volume' else {}
    return getattr(world.make, kind)(status=status, **facts)
