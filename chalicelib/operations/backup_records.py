"""A backup's record, taken to another deployment: what finds its data again when tables are lost or far away.

The record (Cinder's ``backup_url``) is base64 of JSON: Cinder's own fields of the backup, and ``repository``, which
names bucket, region and folder. It holds no key: the repository stores the wrapped data key beside the data, and the
importing deployment must be allowed to read the bucket and to use its KMS key.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib import bounded_http, errors
from chalicelib.context import Context
from chalicelib.models import Backup, base, claims
from chalicelib.operations import backups, common, quotas
from chalicelib.rules import bounds, states, workflows

#: Named in a record; a reader refuses another.
RECORD_VERSION = 1

#: The volume of a backup that was imported (Cinder's): which one it was is known elsewhere.
NO_VOLUME = '00000000-0000-0000-0000-000000000000'

#: Our attribute -> Cinder's name in a record.
FIELDS = {
    'id': 'id',
    'user_id': 'user_id',
    'project_id': 'project_id',
    'volume_id': 'volume_id',
    'snapshot_id': 'snapshot_id',
    'name': 'display_name',
    'description': 'display_description',
    'metadata': 'metadata',
    'size': 'size',
    'object_count': 'object_count',
    'container': 'container',
    'availability_zone': 'availability_zone',
    'parent_id': 'parent_id',
    'data_timestamp': 'data_timestamp',
    'created_at': 'created_at',
    'encryption_key_id': 'encryption_key_id',
    'status': 'status',
    'service': 'service',
}

_BUCKET = re.compile(r'[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]')
_REGION = re.compile(r'[a-z0-9-]{0,32}')
_PREFIX = re.compile(r'([^/\0]{1,255}/){0,8}')
_MANIFEST = re.compile(r'backups/[A-Za-z0-9_-]{1,64}/[A-Za-z0-9_-]{1,64}')


def export(context: Context, id: str) -> dict[str, str]:
    """Return {'backup_service', 'backup_url'} of an available backup."""
    backup = backups.get(context, id)
    if backup.status != states.AVAILABLE:
        raise errors.InvalidBackup(
            reason=f'Backup status must be available and not {backup.status}.',
        )
    facts = {name: getattr(backup, attribute) for attribute, name in FIELDS.items()}
    facts |= {'version': RECORD_VERSION, 'repository': _repository(backup)}
    text = json.dumps(facts, default=str)
    return {'backup_service': str(backup.service), 'backup_url': base64.b64encode(text.encode()).decode()}


def _repository(backup: Backup) -> dict[str, Any]:
    return {
        **backups.location_of(backup),
        'lineage': backup.lineage,
        'manifest_key': backup.manifest_key,
        'root_hash': backup.root_hash,
    }


@claims.made_once('Backup')
def import_(context: Context, service: str, url: str) -> Backup:
    """Accept a record: the backup is ``creating`` until its manifest was found and verified.

    Raises InvalidInput for a text that is not a record, InvalidBackup for a backup that exists here already.
    """
    facts = decode(url)
    _check_new(facts['id'])
    backup = _record(context, facts, service)
    quotas.commit(
        context.project_id,
        {'backups': 1, 'backup_gigabytes': int(backup.size)},
        lambda transaction: transaction.put(backup, Backup.id.does_not_exist(), _exists),
    )
    common.send(context, 'import', backup)
    return backup


def decode(url: str) -> dict[str, Any]:
    """Read a record; every field that is used is checked. Raises InvalidInput."""
    try:
        facts = bounded_http.parsed(base64.b64decode(url))
    except ValueError:
        raise errors.InvalidInput(reason="Can't parse backup record.") from None
    if not isinstance(facts, dict) or not facts.get('id'):
        raise errors.InvalidInput(reason='Provided backup record is missing an id')
    wrong = [name for name, check in _CHECKS.items() if not check(facts)]
    if wrong:
        raise errors.InvalidInput(reason=f'Provided backup record has no usable {", ".join(wrong)}')
    return facts


def _is(pattern: re.Pattern[str], name: str, facts: dict[str, Any]) -> bool:
    repository = facts.get('repository')
    value = repository.get(name) if isinstance(repository, dict) else None
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_uuid(facts: dict[str, Any]) -> bool:
    try:
        return bool(str(uuid.UUID(facts['id'])) == facts['id'])
    except (ValueError, TypeError, AttributeError):
        return False


def _has_size(facts: dict[str, Any]) -> bool:
    size = facts.get('size')
    return isinstance(size, int) and not isinstance(size, bool) and size > 0


#: What a record must hold -> whether it does.
_CHECKS: Mapping[str, Callable[[dict[str, Any]], bool]] = {
    'version': lambda facts: facts.get('version') == RECORD_VERSION,
    'id': _is_uuid,
    'size': _has_size,
    'metadata': lambda facts: isinstance(facts.get('metadata'), dict),
    'repository.bucket': functools.partial(_is, _BUCKET, 'bucket'),
    'repository.region': functools.partial(_is, _REGION, 'region'),
    'repository.prefix': functools.partial(_is, _PREFIX, 'prefix'),
    'repository.manifest_key': functools.partial(_is, _MANIFEST, 'manifest_key'),
    'repository.root_hash': functools.partial(_is, re.compile(r'[0-9a-f]{64}'), 'root_hash'),
}


def _check_new(id: str) -> None:
    try:
        Backup.find_anywhere(id)
    except errors.BackupNotFound:
        return
    raise _exists()


def _exists() -> errors.InvalidBackup:
    return errors.InvalidBackup(reason='Backup already exists in database.')


def _record(context: Context, facts: dict[str, Any], service: str) -> Backup:
    """The record as it is first written; ``operation`` keeps what it becomes once the data is found."""
    row, repository = workflows.BACKUP['import'], facts['repository']
    return Backup(
        context.project_id,
        facts['id'],
        created_at=base.now(),
        user_id=context.user_id,
        volume_id=NO_VOLUME,
        size=facts['size'],
        service=service,
        location={name: repository[name] for name in ('bucket', 'region', 'prefix')},
        lineage=repository['manifest_key'].split('/')[1],
        status=row.running,
        owner=context.request_id,
        in_flight='1',
        deadline=base.first_deadline(row),
        operation=common.operation(row, record=_taken_over(facts)),
    )


def _taken_over(facts: dict[str, Any]) -> dict[str, Any]:
    """What the backup is once its data was found, by our names; texts as long as the API takes them."""
    texts = ('name', 'description', 'container', 'availability_zone', 'data_timestamp', 'encryption_key_id')
    described = {name: str(facts[FIELDS[name]])[:255] for name in texts if facts.get(FIELDS[name]) is not None}
    metadata = {str(key)[:255]: str(value)[:255] for key, value in facts['metadata'].items()}
    repository = {name: facts['repository'][name] for name in ('manifest_key', 'root_hash')}
    return {**described, **repository, 'metadata': bounds.fitting('backup', 'metadata', metadata)}
