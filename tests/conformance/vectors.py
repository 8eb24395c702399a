"""Single requests with recorded answers: the vector's name, path and body select the situation to build."""

from __future__ import annotations

import functools
import json
import re
import uuid
from collections.abc import Callable
from typing import Any

from tests.api.front_door import Answer, FrontDoor
from tests.conformance.check_project import World, associated, path_value
from tests.conformance.facts import Checks, vectors

UUID = re.compile(r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}')

#: The projects of the facts.
MINE, OTHERS = '1' * 32, '2' * 32

#: A page of the facts is full with a thousand; in here with less.
FACTS_PAGE = 1000

Vector = dict[str, Any]


def checks(door: FrontDoor, page: int) -> Checks:
    for index, vector in enumerate(vectors()):
        name = f'vector {index} {vector["name"]} ({vector["role"]}, {vector["version"]})'
        yield name, functools.partial(_wrong, door, page, vector)


def _wrong(door: FrontDoor, page: int, vector: Vector) -> str | None:
    world = World(door)
    for pattern, prepare in SITUATIONS:
        if match := re.fullmatch(pattern, vector['name']):
            prepare(world, *match.groups())
    answer = _send(world, vector)
    if vector['status'] >= 500:  # Cinder's own mistakes are not copied
        return None if answer.status < 500 else f'answers {answer.status}'
    if answer.status != vector['status']:
        return f'{answer.status}, not {vector["status"]}: {answer.text[:300]}'
    return _differs(vector, answer, page)


def _send(world: World, vector: Vector) -> Answer:
    path = _path(world, vector)
    headers = dict(vector.get('request_headers', {}))
    prefix = '' if vector['path'] == '' else '/v3'
    caller = world.caller(vector['role'])
    body = vector['request']
    if isinstance(body, dict):
        body = _with_ids(world, body, '')
    return caller.request(vector['method'], path or '/', body, at=vector['version'], headers=headers, prefix=prefix)


def _path(world: World, vector: Vector) -> str:
    """The path with ids of this world; an unknown id stays unknown."""
    path, question, query = vector['path'].partition('?')
    if not re.search('unknown (volume|backup)', vector['name']):
        parts = path.split('/')
        path = '/'.join(path_value(world, parts[i - 1]) if part == '{id}' else part for i, part in enumerate(parts))
    whole = (path + question + query).replace('{id}', str(uuid.uuid4()))
    return whole.replace(MINE, world.project).replace(OTHERS, world.other_project)


#: Member of a body that holds an id -> the kind that it is of.
REFERENCES = {
    'volume_id': 'volumes', 'volume_uuid': 'volumes', 'source_volid': 'volumes', 'snapshot_id': 'snapshots',
    'backup_id': 'backups',
}  # fmt: skip


def _with_ids(world: World, value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {key: _with_ids(world, inner, key) for key, inner in value.items()}
    if isinstance(value, str) and UUID.fullmatch(value) and name in REFERENCES:
        return world.one(REFERENCES[name]).id
    return world.one('host') if name == 'host' and value == 'h1' else value


def _differs(vector: Vector, answer: Answer, page: int) -> str | None:
    for part in (_fault, _keys, _counts, _echo, _headers):
        complaint = part(vector, answer, page)
        if complaint:
            return complaint
    return None


def _fault(vector: Vector, answer: Answer, page: int) -> str | None:
    if not vector.get('error'):
        return None
    wanted, found = _masked(json.dumps(vector['error'])), _masked(json.dumps(answer.body))
    return None if wanted == found else f'it shows {found}, not {wanted}'


def _masked(text: str) -> str:
    """Without ids, and without figures and names of the shared database of the facts."""
    text = UUID.sub('<id>', text)
    text = re.sub(r'(usage is|has been consumed|quota is \d+G and) ?\d*', r'\1', text)
    text = re.sub(r'and \d+G has', 'and G has', text)
    return re.sub(r'\b[tq]\d{3}\b', '<name>', text)


def _keys(vector: Vector, answer: Answer, page: int) -> str | None:
    if 'response_keys' not in vector:
        return None
    wanted, found = set(vector['response_keys']), set(answer.body)
    return None if wanted == found else f'has {sorted(found)}, not {sorted(wanted)}'


def _counts(vector: Vector, answer: Answer, page: int) -> str | None:
    for name, count in vector.get('counts', {}).items():
        found = len(answer.body[name])
        limit = re.search(r'limit=(\d+)', vector['path'])
        exact = count == 0 or bool(limit and count == int(limit[1]))
        wanted = page if count == FACTS_PAGE else count
        if found != wanted if exact or count == FACTS_PAGE else not found:
            return f'{found} {name}, not {wanted}'
    return None


def _echo(vector: Vector, answer: Answer, page: int) -> str | None:
    if 'echo' not in vector:
        return None
    (found,) = answer.body.values()
    wrong = {key: found.get(key) for key, value in vector['echo'].items() if found.get(key) != value}
    return f'echoes {wrong}' if wrong else None


def _headers(vector: Vector, answer: Answer, page: int) -> str | None:
    for name, value in vector.get('response_headers', {}).items():
        if answer.headers.get(name.lower()) != value:
            return f'{name} is {answer.headers.get(name.lower())}, not {value}'
    return None


def _in_use(world: World) -> None:
    volume, attachment = world.make.attached()
    world.set('volumes', volume)
    world.set('attachments', attachment)


def _status(kind: str) -> Callable[[World, str], None]:
    def prepare(world: World, status: str) -> None:
        if status == 'in-use':
            return _in_use(world)
        world.set(kind, getattr(world.make, kind[:-1])(status=status))
        return None

    return prepare


def _quota(world: World, resource: str, limit: int = 0) -> None:
    """A project that has a little already and may have no more of this."""
    from chalicelib.models import Quota, base
    from chalicelib.operations import quotas

    used = {'volumes': 1, 'gigabytes': 1, 'backup_gigabytes': 1, f'gigabytes_{world.make.default_type().id}': 1}
    record = Quota(world.project, quotas.PROJECT, created_at=base.now(), limits={resource: limit}, usage=used)
    record.save()


def _volumes(world: World) -> None:
    """Create enough volumes for more than one page, with the values that the facts filter by."""
    for number in range(12):
        name = f'lst{number}' if number < 3 else f'v{number}'
        world.make.volume(name=name, metadata={'k': 'v'}, bootable=number < 3)


def _many(kind: str) -> Callable[..., None]:
    def prepare(world: World, *_: str) -> None:
        for _ in range(3):
            getattr(world.make, kind)()

    return prepare


def _used_type(world: World) -> None:
    from chalicelib.models import Quota, base

    kind = world.one('types')
    Quota(world.project, 'quota', created_at=base.now(), usage={f'volumes_{kind.id}': 1}).save()


def _usage(world: World) -> None:
    from chalicelib.models import Quota, base

    Quota(world.project, 'quota', created_at=base.now(), usage={'volumes': 34}).save()


def _duplicate(world: World) -> None:
    from chalicelib.models import Name

    name = next(v['request']['volume_type']['name'] for v in vectors() if v['name'] == 'duplicate type')
    if Name.count('-', Name.id == f'volume_type:{name}') == 0:
        world.make.type(name=name)


def _duplicate_qos(world: World) -> None:
    from chalicelib.models import Name

    name = next(v['request']['qos_specs']['name'] for v in vectors() if v['name'] == 'duplicate qos')
    if Name.count('-', Name.id == f'qos_specs:{name}') == 0:
        world.make.qos_specs(name=name)


def _service(world: World, binary: str) -> None:
    service = world.make.service('h1', id=f'{binary}:h1', binary=binary)
    world.set('services', service)
    world.set('host', 'h1')


def _pool(world: World) -> None:
    from chalicelib.models import Pool, base
    from chalicelib.operations import pools

    report = {'total_capacity_gb': 10, 'free_capacity_gb': 10, 'storage_protocol': 'iSCSI'}
    Pool(
        base.GLOBAL, 'x', created_at=base.now(), availability_zone='nova', report=report, reported_at=base.now(),
        claimable_gb=10,
    ).save()  # fmt: skip
    pools.forget()


def _other_snapshot(world: World) -> None:
    world.set('snapshots', world.make.snapshot(world.make.volume()))


def _snapshot(world: World, *_: str) -> None:
    world.set('snapshots', world.make.snapshot(world.one('volumes')))


#: Pattern of a vector's name -> the situation: what the request finds.
SITUATIONS: tuple[tuple[str, Callable[..., Any]], ...] = (
    (r'delete volume in (.*)', _status('volumes')),
    (r'delete volume with snapshot.*', _snapshot),
    (r'delete volume awaiting transfer', lambda world: _status('volumes')(world, 'awaiting-transfer')),
    (r'force param ignored.*', lambda world: _status('volumes')(world, 'creating')),
    (r'(?:update no valid field|update unknown field).*', lambda world: world.set('volumes', world.make.volume(
        name='test_volume', description='this is a test volume'))),
    (r'list volumes .*', _volumes),
    (r'accept xml', _many('volume')),
    (r'size=2147483647', lambda world: _quota(world, 'gigabytes', -1)),
    (r'list snapshots .*', _many('snapshot')),
    (r'list backups .*', _many('backup')),
    (r'list types \?limit=1', lambda world: world.one('types')),
    (r'metadata index.*|put metadata if-match ok', lambda world: world.set('volumes', world.make.volume(
        metadata={'a': 'b'}))),
    (r'snapshot in error', lambda world: _status('snapshots')(world, 'error')),
    (r'snapshot in-use.*|snapshot force.*|extend in-use.*|backup in-use.*', _in_use),
    (r'over volumes quota', lambda world: _quota(world, 'volumes')),
    (r'over snapshots quota', lambda world: _quota(world, 'snapshots')),
    (r'over backups quota', lambda world: _quota(world, 'backups')),
    (r'over backup gigabytes', lambda world: _quota(world, 'backup_gigabytes')),
    (r'list groups .*', _many('group')),
    (r'list group_snapshots .*', _many('group_snapshot')),
    (r'group delete with volumes', lambda world: world.set('groups', world.make.group(volumes=1))),
    (r'list (?:os )?transfers .*', _many('transfer')),
    (r'transfer volume not available', lambda world: _status('volumes')(world, 'error')),
    (r'transfer no_snapshots.*', lambda world: world.set('volumes', world.make.volume())),
    (r'extend over gigabytes', lambda world: _quota(world, 'gigabytes')),
    (r'backup_id at .*', lambda world: world.set('backups', world.make.backup())),
    (r'backup incremental', lambda world: world.make.backup(world.one('volumes'))),
    (r'backup snapshot of other volume', _other_snapshot),
    (r'attachment second reserve.*', lambda world: world.make.attachment(world.one('volumes'))),
    (r'attachment on error volume', lambda world: _status('volumes')(world, 'error')),
    (r'attachment update error volume', lambda world: [world.one('attachments'), world.one('volumes').update(
        actions=[type(world.one('volumes')).status.set('error')])]),
    (r'duplicate type', _duplicate),
    (r'delete type in use|extra spec on used type', _used_type),
    (r'duplicate qos', lambda world: _duplicate_qos(world)),
    (r'delete qos in use.*', lambda world: associated(world)),
    (r'quota below used', _usage),
    (r'service missing host|disable service', lambda world: _service(world, 'cinder-scheduler')),
    (r'get_pools name filter', _pool),
    (r'encryption of unencrypted volume', lambda world: world.set('volumes', world.make.volume())),
    (r'os-complete value id', _in_use),
)  # fmt: skip
