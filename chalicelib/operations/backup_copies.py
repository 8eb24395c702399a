"""Copies of backups in other buckets and regions, an extension of Cinder's API.

The deployer names the places (``BackupTargets``); a user chooses one by its name. A copy is a backup of its own,
restored and removed as any other: its data is the same, byte for byte, with the data key wrapped by the KMS key of the
target.
"""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Mapping
from typing import NamedTuple

from chalicelib import aws, errors
from chalicelib.config import settings
from chalicelib.context import Context
from chalicelib.models import Backup, base, claims
from chalicelib.operations import backups, cloud, common, keys, progress, quotas
from chalicelib.rules import states, workflows


class Target(NamedTuple):
    """A place for copies. ``prefix`` is empty, or ends in '/'."""

    bucket: str
    region: str
    kms_key: str
    prefix: str = ''


def targets() -> Mapping[str, Target]:
    """The places that the deployer names, by name."""
    return {
        name: Target(**facts) for name, facts in json.loads(aws.document(settings().backup_targets) or '{}').items()
    }


@claims.made_once('Backup')
def create(
    context: Context,
    id: str,
    *,
    target: str,
    name: str | None,
    description: str | None,
    schedule_id: str | None = None,
) -> Backup:
    """Accept a copy of an available backup to the place ``target``; return its record, which is ``creating``.

    An existing copy that lacks the key of its encrypted volume is completed, and stays ``available``.

    Raises InvalidInput for a place that is not named, InvalidBackup for a backup that is not available or has its copy
    there already, OverQuota.
    """
    source, place = backups.get(context, id), place_of(target)
    if source.status != states.AVAILABLE:
        raise errors.InvalidBackup(reason=f'Backup status must be available and not {source.status}.')
    existing = Backup.find_or_none(source.project_id, id_of(source, place))
    if existing is not None and _lacks_key(existing):
        return _again(context, source, existing, place)
    copy = _record(context, source, place)
    copy.name, copy.description = name if name is not None else source.name, description
    copy.schedule_id = schedule_id
    key = backups.key_for(context, copy, source)
    add_writes_to = functools.partial(_add_copy_to, copy, key)
    with keys.discarding(key):
        quotas.commit(copy.project_id, {'backups': 1, 'backup_gigabytes': int(copy.size)}, add_writes_to)
    common.send(context, 'copy', copy)
    return copy


def _lacks_key(copy: Backup) -> bool:
    """Whether a restore of the copy elsewhere would write bytes that cannot be opened."""
    built_in = copy.encryption_key_id is not None and cloud.barbican() is None
    return built_in and not copy.key_stored and copy.status == states.AVAILABLE


def _again(context: Context, source: Backup, copy: Backup, place: Target) -> Backup:
    row = workflows.BACKUP['copy_again']
    busy = errors.InvalidBackup(reason=f'Backup {copy.id} is being checked or copied: copy it again later.')
    started = [
        *base.begin_actions(Backup, row, context.request_id, common.operation(row, **_origin(source, place))),
        Backup.progress.set(progress.begun(int(source.size))),
    ]
    free = base.is_allowed(Backup, row) & Backup.in_flight.does_not_exist()
    with base.Transaction() as transaction:
        transaction.update(copy, started, free, lambda: busy)
    common.send(context, 'copy_again', copy)
    return copy


def _origin(source: Backup, place: Target) -> dict[str, str]:
    """What the work needs to know of the source, and the key that wraps the copy's data key."""
    return {'source_id': source.id, 'source_project_id': source.project_id, 'kms_key': place.kms_key}


def place_of(name: str) -> Target:
    """Raises InvalidInput for one that is not named."""
    known = targets()
    if name not in known:
        named = ', '.join(sorted(known)) or 'none is set up'
        raise errors.InvalidInput(reason=f'There is no place {name!r} for copies of backups: {named}.')
    return known[name]


def _record(context: Context, source: Backup, place: Target) -> Backup:
    """The copy's record as it is first written. Its id follows from what it is a copy of, and where: there is one."""
    row = workflows.BACKUP['copy']
    same = (
        *('volume_id', 'snapshot_id', 'metadata', 'size', 'container', 'availability_zone', 'data_timestamp'),
        *('service', 'lineage', 'manifest_key', 'root_hash'),
    )
    return Backup(
        source.project_id,
        id_of(source, place),
        **{attribute: getattr(source, attribute) for attribute in same},
        created_at=base.now(),
        user_id=context.user_id,
        copied_from=source.id,
        location={'bucket': place.bucket, 'region': place.region, 'prefix': _prefix(source, place)},
        status=row.running,
        owner=context.request_id,
        in_flight='1',
        deadline=base.first_deadline(row),
        operation=common.operation(row, **_origin(source, place)),
        progress=progress.begun(int(source.size)),
    )


def id_of(source: Backup, place: Target) -> str:
    """The id of a backup's copy in a place, be it there or not."""
    return str(uuid.uuid5(uuid.UUID(source.id), f'{place.region}/{place.bucket}/{_prefix(source, place)}'))


def _prefix(source: Backup, place: Target) -> str:
    return place.prefix + backups.repository_prefix(source)


def _add_copy_to(copy: Backup, key: keys.NewKey | None, transaction: base.Transaction) -> None:
    if key:
        key.add_to(transaction)
    exists = errors.InvalidBackup(reason=f'Backup {copy.copied_from} is copied there already: it is backup {copy.id}.')
    transaction.put(copy, Backup.id.does_not_exist(), lambda: exists)
