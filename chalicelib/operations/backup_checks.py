"""Checks of a backup, an extension of Cinder's API: the scrub reads its data in the repository and proves it; the drill
restores it to a scratch volume, and compares what a reader finds there with the hashes of the backup.

A backup under check stays ``available``. A restore or removal does not wait: it ends the check, and the record keeps
the result of the previous one. The record holds each result with its date.
"""

from __future__ import annotations

import uuid
from typing import Any

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Backup, Volume, VolumeType, base
from chalicelib.operations import backups, common, quotas, volume_types
from chalicelib.rules import workflows

#: What a check may find: all is well; data is not what was stored; or it could not be carried out.
PASSED, DAMAGED, FAILED = 'passed', 'damaged', 'failed'

#: Messages of what is damaged that a record keeps, of at most so many characters.
KEPT, LONGEST = 5, 300


def scrub(context: Context, id: str, *, sample: int = 100) -> None:
    """Accept a scrub: read and verify ``sample`` percent of the backup's blocks, a new random sample each time."""
    backup = backups.get(context, id)
    if _is_asked(context, backup, 'scrub'):
        return
    with base.Transaction() as transaction:
        _add_check_to(context, backup, 'scrub', transaction, sample=sample)
    common.send(context, 'scrub', backup)


def drill(context: Context, id: str) -> None:
    """Accept that the backup is restored to a scratch volume, which is in the project's quota until it is removed.

    Raises InvalidBackup, OverQuota.
    """
    backup = backups.get(context, id)
    if _is_asked(context, backup, 'drill'):
        return
    volume_types.again(lambda: _accept_drill(context, backup))
    common.send(context, 'drill', backup)


def _accept_drill(context: Context, backup: Backup) -> None:
    """Record the drill; raises TypeChanged when its scratch volume's type has changed since it was read."""
    source = Volume.find_or_none(backup.project_id, backup.volume_id)
    kind = volume_types.of(source) if source else volume_types.default(context)
    scratch = _scratch(context, backup, source, kind)

    def add_writes_to(transaction: base.Transaction) -> None:
        if kind is not None:
            volume_types.add_check_to(transaction, kind)
        _add_check_to(context, backup, 'drill', transaction)
        transaction.put(scratch, Volume.id.does_not_exist())

    deltas = {'volumes': 1, 'gigabytes': int(backup.size)}
    quotas.commit(backup.project_id, deltas, add_writes_to, type_id=scratch.volume_type_id)


def _is_asked(context: Context, backup: Backup, kind: str) -> bool:
    """Whether this very request was accepted before: a schedule's run may come twice."""
    found = getattr(backup, kind) or {}
    return context.request_id in {backup.owner, found.get('request_id')}


def _add_check_to(context: Context, backup: Backup, kind: str, transaction: base.Transaction, **facts: Any) -> None:
    row = workflows.BACKUP[kind]
    actions = base.begin_actions(Backup, row, context.request_id, common.operation(row, **facts))
    free = base.is_allowed(Backup, row) & Backup.in_flight.does_not_exist()
    busy = errors.InvalidBackup(reason='Backup status must be available, and no other check of it under way')
    transaction.update(backup, actions, free, lambda: busy)


def _scratch(context: Context, backup: Backup, source: Volume | None, kind: VolumeType | None) -> Volume:
    """The volume to restore to, as it is first written: of the type and in the zone of the one that was backed up."""
    row = workflows.VOLUME['drill']
    of = {'backup_id': backup.id, 'backup_project_id': backup.project_id}
    return Volume(
        backup.project_id,
        scratch_id(backup.id, context.request_id),
        created_at=base.now(),
        user_id=context.user_id,
        name=f'drill-{backup.id}',
        description='scratch volume of a restore drill, removed when that is done',
        size=int(backup.size),
        availability_zone=source.availability_zone if source else backup.availability_zone,
        volume_type_id=kind.id if kind else None,
        status=row.running,
        owner=context.request_id,
        in_flight='1',
        deadline=base.after(row.deadline),
        operation=common.operation(row, **of),
    )


def scratch_id(backup_id: str, request_id: str) -> str:
    """One request has one scratch volume, however often its work is repeated."""
    return str(uuid.uuid5(uuid.UUID(backup_id), request_id))


def end(backup: Backup, kind: str, result: str, **found: Any) -> None:
    """Record the result and release the backup. Raises BackupCanceled when the check no longer owns it."""
    row, owner = workflows.BACKUP[kind], str(backup.owner)
    facts = {'result': result, 'checked_at': base.now(), 'request_id': owner, **found}
    ended = [*base.end_actions(backup, row.done), getattr(Backup, kind).set(facts)]
    try:
        base.update(backup, ended, base.owned_by(Backup, row, owner))
    except (errors.StateChanged, errors.NotFound):
        raise errors.BackupCanceled(id=backup.id) from None


def under_way(backup: Backup) -> str | None:
    """The check that is under way: scrub, drill, or None."""
    action = (backup.operation or {}).get('action')
    return str(action) if action in ('scrub', 'drill') else None


def counted() -> dict[str, Any]:
    """What was found before the first call."""
    return {'checked': 0, 'damaged': 0, 'damage': []}


def added(before: dict[str, Any], checked: int, damaged: int, damage: list[str]) -> dict[str, Any]:
    """What was found so far and by one more call; a record keeps few messages."""
    kept = [*before['damage'], *(message[:LONGEST] for message in damage)][:KEPT]
    return {'checked': before['checked'] + checked, 'damaged': before['damaged'] + damaged, 'damage': kept}


def verdict(found: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(result, what a record keeps of it)."""
    facts = {f'blocks_{name}': found[name] for name in ('checked', 'damaged')}
    return (DAMAGED if found['damaged'] else PASSED), {**facts, 'damage': found['damage']}
