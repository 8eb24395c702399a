"""Rebuild a service in another region: from exports of its tables, and from copies of its backups.

Settings are taken over unchanged: types, QoS specs, names, limits. A backup is taken over if it is a copy whose
manifest is in its bucket, with the key of an encrypted volume that the copy carries; the quotas count these backups and
nothing else. Volumes, snapshots and what belongs to them were on the lost backends: they are reported, not restored.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from chalicelib.backup import layout
from chalicelib.errors import IntegrityError
from infra import disaster_keys, exports
from infra.exports import Export, Item, Place
from infra.progress import Progress, silent
from infra.stage import Refused

#: Tables with settings, taken over unchanged.
SETTINGS = ('volume-types', 'qos-specs', 'group-types', 'default-types')

#: Tables of which a part is taken over.
PARTS = ('names', 'quotas', 'backups')

#: Kinds of names that settings have; others belong to lost resources.
NAMES = ('volume_type:', 'group_type:', 'qos_specs:')

#: Ids of quota records with limits: of a project, and of the class of all projects. Others count requests.
LIMITS = ('quota', 'default')

#: Tables whose records are lost with the region -> their word in a report.
LOST = {
    'volumes': 'volumes',
    'snapshots': 'snapshots',
    'attachments': 'attachments',
    'groups': 'groups',
    'group-snapshots': 'group snapshots',
    'backup-schedules': 'backup schedules, which belong to volumes',
    'transfers': 'transfers',
    'secrets': "keys of the built-in key manager, which the lost region's KMS key seals; copies carry those of backups",
}

#: Statuses of a copy whose data is complete.
COMPLETE = ('available', 'restoring')

#: What a plan reports of encrypted backups whose copies were made by an older release, or whose keys are in Barbican.
KEYLESS = (
    'of encrypted volumes are restored without keys, which their copies do not carry: unless Barbican has the keys, '
    'nothing opens the data (while the region answers, copy these backups again)'
)

#: Attributes of a backup that belong to work in progress, or to lost resources.
DROPPED = (
    *('reading', 'restore_volume_id', 'schedule_id', 'operation', 'owner', 'in_flight', 'deadline', 'looks'),
    *('previous_status', 'progress'),
)

#: The counters of backups in a quota: count, and GiB.
COUNT, GIB = 'backups', 'backup_gigabytes'


class Source(NamedTuple):
    """What is left of the lost service: the exports of its tables, and all items of those that are read."""

    exports: Mapping[str, Export]
    items: Mapping[str, Sequence[Item]]


class Plan(NamedTuple):
    """``items``: table -> records that a restore writes. ``lost``: a line for each loss. ``buckets``: of the copies.

    ``keys``: backups whose copies carry the keys of their encrypted volumes.
    """

    exports: Mapping[str, Export]
    items: Mapping[str, Sequence[Item]]
    lost: Sequence[str]
    buckets: Sequence[str]
    keys: Sequence[Item] = ()


#: Whether an object exists: (bucket, key).
Exists = Callable[[str, str], bool]


def read(s3: Any, where: Place, stack: str, before: str = '9') -> Source:
    """Read the exports. Raises Refused if one of a table that is taken over is missing or damaged."""
    found = exports.find(s3, where, stack, before)
    missing = [name for name in (*SETTINGS, *PARTS) if name not in found]
    if missing:
        raise Refused(
            f's3://{where.bucket}/{where.prefix} has no complete export of {", ".join(missing)} of the stack {stack}: '
            'name the bucket, the prefix and the stack of the exports, or a later time'
        )
    wanted = [name for name in (*SETTINGS, *PARTS, 'volumes') if name in found]
    return Source(found, {name: exports.items(s3, found[name]) for name in wanted})


def plan(source: Source, exists: Exists) -> Plan:
    """Return what a restore writes, and what is lost."""
    taken, lost = _backups(source.items['backups'], exists)
    keys = [item for item in taken if _is_encrypted(item) and _has(item, exists, _volume_key_of(item))]
    written: dict[str, Sequence[Item]] = {name: source.items[name] for name in SETTINGS}
    written['names'] = [item for item in source.items['names'] if _id(item).startswith(NAMES)]
    written['quotas'] = list(_quotas(source.items['quotas'], taken))
    written['backups'] = taken
    lines = [f'{export.items} {LOST[name]}' for name, export in source.exports.items() if name in LOST and export.items]
    unknown = [f'an unknown number of {LOST[name]}: no export' for name in LOST if name not in source.exports]
    buckets = sorted({_location(item)['bucket'] for item in taken})
    return Plan(source.exports, written, [*lines, *unknown, *lost, *_since(source.exports)], buckets, keys)


def _backups(items: Iterable[Item], exists: Exists) -> tuple[list[Item], list[str]]:
    """([record to write], [line on those that are lost])."""
    taken: list[Item] = []
    reasons = Counter[str]()
    for item in items:
        if 'location' not in item:
            reasons['without a copy in another bucket'] += 1
        elif item['status']['S'] not in COMPLETE:
            reasons[f'whose copy is {item["status"]["S"]}'] += 1
        elif not _has_manifest(item, exists):
            reasons['whose copy has no manifest in its bucket'] += 1
        else:
            taken.append({**{name: value for name, value in item.items() if name not in DROPPED}, **_AVAILABLE})
            if _is_encrypted(item) and not _has(item, exists, _volume_key_of(item)):
                reasons[KEYLESS] += 1
    copied = {item['copied_from']['S'] for item in taken if 'S' in item.get('copied_from', {})}
    originals = sum(1 for item in items if _id(item) in copied)
    if originals:
        reasons['without a copy in another bucket'] -= originals
        reasons['that have a copy: the copy is restored'] += originals
    return taken, [f'{count} backups {reason}' for reason, count in reasons.items() if count]


_AVAILABLE = {'status': {'S': 'available'}}


def _has_manifest(item: Item, exists: Exists) -> bool:
    key = item.get('manifest_key', {}).get('S')
    return bool(key) and _has(item, exists, str(key))


def _has(item: Item, exists: Exists, key: str) -> bool:
    location = _location(item)
    return exists(location['bucket'], f'{location["prefix"]}{key}')


def _is_encrypted(item: Item) -> bool:
    return bool(item.get('encryption_key_id', {}).get('S'))


def _volume_key_of(item: Item) -> str:
    return layout.volume_key_key(*layout.parse_backup_key(item['manifest_key']['S']))


def _location(item: Item) -> dict[str, str]:
    found: dict[str, str] = json.loads(item['location']['S'])
    return found


def _quotas(items: Iterable[Item], backups: Iterable[Item]) -> Iterator[Item]:
    """Records with limits; their counters are those of the backups that are taken over."""
    count, gib = Counter[str](), Counter[str]()
    for backup in backups:
        count[_project(backup)] += 1
        gib[_project(backup)] += int(backup['size']['N'])
    for item in items:
        if _id(item) in LIMITS:
            project = _project(item)
            used = {COUNT: count[project], GIB: gib[project]} if _id(item) == LIMITS[0] else {}
            usage = {'M': {name: {'N': str(number)} for name, number in used.items()}}
            yield {**item, 'usage': usage, 'reserved': {'M': {}}}


def _since(found: Mapping[str, Export]) -> Iterator[str]:
    times = sorted(export.time for export in found.values())
    yield f'changes since {times[0]}' + (f' (the newest export is of {times[-1]})' if times[0] != times[-1] else '')


def _id(item: Item) -> str:
    return str(item['id']['S'])


def _project(item: Item) -> str:
    return str(item['project_id']['S'])


def check_target(planned: Plan, stack: str, parameters: Mapping[str, str], dynamodb: Any) -> None:
    """Refuse a stack that is in use, or may not read the copies. Raises Refused; changes nothing.

    Records of an interrupted restore are accepted.
    """
    allowed = f'{parameters.get("OtherBackupResources", "")},{parameters.get("BackupTargetResources", "")}'.split(',')
    for bucket in planned.buckets:
        if not {f':::{bucket}', f':::{bucket}/*'} <= {each.strip().partition(':s3')[2] for each in allowed}:
            raise Refused(
                f'the stack {stack} may not read the copies in {bucket}: list the ARNs of the bucket and of its '
                'objects (/*) in OtherBackupResources, its key in OtherBackupKeys, and deploy the stage'
            )
    for name, items in planned.items.items():
        wanted = {_key(item): item for item in items}
        for item in _scan(f'{stack}-{name}', dynamodb):
            if wanted.get(_key(item)) != item:
                raise _in_use(f'{stack}-{name}', item)
    keys = {(_project(item), item['encryption_key_id']['S']) for item in planned.keys}
    for item in _scan(f'{stack}-{disaster_keys.TABLE}', dynamodb):
        if _key(item) not in keys:
            raise _in_use(f'{stack}-{disaster_keys.TABLE}', item)


def _in_use(table: str, item: Item) -> Refused:
    return Refused(
        f'the table {table} has the record {_id(item)}, which is not of these exports: restore into a new stack that '
        'was not used'
    )


def _key(item: Item) -> tuple[str, str]:
    return _project(item), _id(item)


def _scan(table: str, dynamodb: Any) -> Iterator[Item]:
    try:
        for page in dynamodb.get_paginator('scan').paginate(TableName=table, ConsistentRead=True):
            yield from page['Items']
    except dynamodb.exceptions.ResourceNotFoundException:
        raise Refused(f'there is no table {table}: deploy the stage first') from None


def restore(planned: Plan, stack: str, dynamodb: Any, progress: Progress = silent) -> int:
    """Write what the target lacks, and return how many records. May be repeated after an interruption.

    The backups come after the settings and the quotas that count them. Raises Refused for a record that another
    writer has made meanwhile; nothing is overwritten.
    """
    written, done = 0, 0
    with progress('restore', sum(map(len, planned.items.values())), unit='records') as show:
        for name, items in planned.items.items():
            for item in items:
                written += _put(f'{stack}-{name}', item, dynamodb)
                done += 1
                show(done)
    return written


def restore_keys(planned: Plan, manager: disaster_keys.KeyManager) -> tuple[int, list[str]]:
    """Write the keys that the copies carry; return (how many were written, a line for each that does not open).

    May be repeated after an interruption, like ``restore``, which comes after it: a user who sees a backup can use it.
    Raises Refused.
    """
    written, damaged = 0, []
    for item in planned.keys:
        try:
            written += manager.take(item, _location(item))
        except IntegrityError as error:
            damaged.append(f'the key of backup {_id(item)} does not open: {error.message}')
    return written, damaged


def _put(table: str, item: Item, dynamodb: Any) -> int:
    """Write a new record; 0 for one that exists already. Raises Refused for one with another content."""
    key = {name: item[name] for name in ('project_id', 'id')}
    try:
        dynamodb.put_item(TableName=table, Item=item, ConditionExpression='attribute_not_exists(id)')
    except dynamodb.exceptions.ConditionalCheckFailedException:
        if dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True).get('Item') != item:
            raise Refused(f'{table} has got another record {_id(item)} meanwhile: is the stack in use?') from None
        return 0
    except ClientError as error:
        raise Refused(f'{table} cannot be written ({error}): repeat the command, it continues') from None
    return 1


def object_exists(s3: Any) -> Exists:
    """Return a function that lists each folder of documents once."""
    known: dict[tuple[str, str], set[str]] = defaultdict(set)

    def exists(bucket: str, key: str) -> bool:
        folder = f'{key.rsplit("/", 2)[0]}/'
        if (bucket, folder) not in known:
            known[bucket, folder] = set(_list(s3, bucket, folder))
        return key in known[bucket, folder]

    return exists


def _list(s3: Any, bucket: str, folder: str) -> Iterator[str]:
    try:
        for page in s3.get_paginator('list_objects_v2').paginate(Bucket=bucket, Prefix=folder):
            yield from (one['Key'] for one in page.get('Contents', ()))
    except ClientError as error:
        raise Refused(f'the copies in {bucket} cannot be listed: {error}') from None
