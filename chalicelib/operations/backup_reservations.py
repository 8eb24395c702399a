"""Resources that a backup reserves while it is made. They are released exactly once, with the status that ends it.

* of its source: the status ``backing-up``, for as long as the source is not frozen; and one of its readers
  (``reading``), for as long as anything temporary may be left on the backend, so that the source cannot be removed;
* of its parent: one of its dependents (Cinder's has_dependent_backups), from when it is available until it is removed;
* of its project's quota: one backup, and its size.

The second of two requests finds the condition of its transaction lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from chalicelib import errors
from chalicelib.config import settings
from chalicelib.models import Backup, Snapshot, Volume, base
from chalicelib.operations import common, keys, quotas
from chalicelib.operations.reservations import SOURCES
from chalicelib.rules import workflows
from chalicelib.rules.states import REMOVED
from chalicelib.rules.workflows import Workflow

Source = Volume | Snapshot

_ROWS = {'volume': workflows.VOLUME['backup'], 'snapshot': workflows.SNAPSHOT['backup']}


def owns_data(backup: Backup) -> bool:
    """Whether removing the record deletes its data, and the key that opens it.

    So it is for a backup that was made or copied here, or imported from this deployment's bucket. Another deployment
    owns the data in its bucket, and the data of a failed import is unknown. A record imported under another id is the
    second record of a backup that may still exist here.
    """
    if not backup.location or backup.copied_from:
        return True
    own = str(backup.manifest_key).rpartition('/')[2] == backup.id
    return own and bool(backup.location['bucket'] == settings().backup_bucket)


def source_of(backup: Backup) -> Source | None:
    """Return what the backup reads; None when it reads nothing any more, or the source is gone."""
    reading = backup.reading
    if not reading:
        return None
    return SOURCES[reading['resource']].find_or_none(reading['project_id'], reading['id'])


def restore_source_status(backup: Backup, found: Source | None) -> None:
    """Restore the status of the source (as ``source_of`` found it), unless the backup does not hold it any more."""
    if found is not None and _is_held(found, backup):
        row, kind = _ROWS[found.resource], type(found)
        with contextlib.suppress(*base.moved_on(kind)):
            base.update(found, base.end_actions(found, row.done), base.owned_by(kind, row, _holder(backup)))


def _holder(backup: Backup) -> str:
    """The request that put the source in ``backing-up``."""
    return str(backup.reading['request_id'])


def _is_held(found: Source, backup: Backup) -> bool:
    return found.status == _ROWS[found.resource].running and found.owner == _holder(backup)


def release_source(backup: Backup) -> None:
    """Give the source back whatever becomes of the backup; nothing temporary is left on the backend."""
    common.with_newest(backup, _release_source)


def _release_source(backup: Backup) -> None:
    if not backup.reading:
        return
    actions = [Backup.reading.remove(), *base.touched(Backup)]
    with base.Transaction() as transaction:
        transaction.update(backup, actions, Backup.reading.exists())
        _add_reader_release_to(transaction, source_of(backup), backup)


class Outcome(NamedTuple):
    """How work on a backup ends: a status or REMOVED, and what becomes of what the work has reserved.

    ``keeps_source``: something temporary may be left on the backend. ``dependents`` is added to the parent's number.
    ``source``: as it was just read, if it was.
    """

    status: str
    keeps_source: bool = False
    dependents: int = 0
    source: Source | None = None


def end(
    backup: Backup,
    row: Workflow,
    outcome: Outcome,
    *,
    actions: Iterable[Action] = (),
    also: Callable[[base.Transaction], None] | None = None,
) -> None:
    """End what is under way: the status, and all that the backup has reserved for it, in one transaction.

    ``also`` adds further writes to it. Raises BackupCanceled when another request owns the backup by now.
    """
    final = list(actions)

    def attempt(newest: Backup) -> None:
        if newest.status != row.running or newest.owner != backup.owner:
            raise errors.BackupCanceled(id=backup.id)
        source = outcome.source if newest is backup else None
        _end(newest, outcome, final, None if outcome.keeps_source else source or source_of(newest), also)

    try:
        common.with_newest(backup, attempt)
    except errors.BackupNotFound:
        raise errors.BackupCanceled(id=backup.id) from None


def _end(
    backup: Backup,
    outcome: Outcome,
    actions: list[Action],
    found: Source | None,
    also: Callable[[base.Transaction], None] | None,
) -> None:
    ours = (Backup.status == backup.status) & (Backup.owner == backup.owner) & (Backup.revision == backup.revision)

    def add_writes_to(transaction: base.Transaction) -> None:
        if outcome.status == REMOVED:
            transaction.delete(backup, ours)
            if owns_data(backup) or backup.key_imported:
                keys.add_removal_to(transaction, backup.project_id, backup.encryption_key_id)
        else:
            read = [] if outcome.keeps_source or not backup.reading else [Backup.reading.remove()]
            final = [*base.end_actions(backup, outcome.status), *read, *actions]
            transaction.update(backup, final, ours)
        _add_reader_release_to(transaction, found, backup)
        _add_dependents_to(transaction, backup, outcome.dependents)
        if also:
            also(transaction)

    removed = {'backups': -1, 'backup_gigabytes': -int(backup.size)}
    quotas.commit(backup.project_id, removed if outcome.status == REMOVED else {}, add_writes_to)


def _add_reader_release_to(transaction: base.Transaction, found: Source | None, backup: Backup) -> None:
    """Take the backup off its source's readers, and with the last of it the source's status."""
    if found is None or not found.reader_count:
        return
    row, kind = _ROWS[found.resource], type(found)
    condition = kind.reader_count >= 1
    if _is_held(found, backup):
        condition &= base.owned_by(kind, row, _holder(backup))
        actions = base.end_actions(found, row.done)
    else:
        actions = base.touched(kind)
    transaction.update(found, [kind.reader_count.add(-1), *actions], condition)


def _add_dependents_to(transaction: base.Transaction, backup: Backup, change: int) -> None:
    """Change the parent's number of dependents; a parent that is gone needs none."""
    if not change or backup.parent_id is None:
        return
    with contextlib.suppress(errors.BackupNotFound):
        parent = Backup.find(backup.project_id, backup.parent_id)
        if change < 0 and not parent.num_dependent_backups:
            return  # imported after its child
        actions = [Backup.num_dependent_backups.add(change), *base.touched(Backup)]
        transaction.update(parent, actions, Backup.id.exists())


def add_restore_to(
    transaction: base.Transaction, backup: Backup, volume: Volume, request_id: str, row: Workflow, **facts: str
) -> None:
    """Add to a transaction that the backup is held for its restore to the volume. Raises InvalidBackup."""
    actions = base.begin_actions(Backup, row, request_id, common.operation(row, **facts))
    transaction.update(
        backup,
        [*actions, Backup.restore_volume_id.set(volume.id)],
        base.is_allowed(Backup, row),
        lambda: errors.InvalidBackup(reason='Backup status must be available'),
    )


def add_awaiting_restore_to(transaction: base.Transaction, backup: Backup, volume: Volume, request_id: str) -> None:
    """Add to a transaction that the backup waits for a volume that is made for its restore."""
    awaited = {'volume_id': volume.id, 'volume_project_id': volume.project_id}
    add_restore_to(transaction, backup, volume, request_id, workflows.BACKUP['await_volume'], **awaited)


def is_awaited(volume: Volume, request_id: str) -> Condition:
    """The condition that a backup waits for this volume to be made, to be restored to it."""
    ours = base.owned_by(Backup, workflows.BACKUP['restore'], request_id)
    condition: Condition = ours & (Backup.restore_volume_id == volume.id)
    return condition


def backup_of(volume: Volume) -> Backup:
    """Return the backup that a volume is made from. Raises BackupNotFound."""
    if volume.backup_id is None:
        raise errors.BackupNotFound(id='-')
    return Backup.locate(volume.project_id, volume.backup_id)


def release_from(volume: Volume) -> None:
    """Set the backup that waits for the volume to available: another request has ended the volume's creation."""
    if volume.backup_id is not None and volume.owner is not None:
        with contextlib.suppress(errors.BackupNotFound):
            end_waiting(backup_of(volume), volume, volume.owner)


def end_waiting(backup: Backup, volume: Volume, request_id: str) -> None:
    """Set a backup to available whose volume will not be created, unless the backup does not wait for the volume."""
    actions = [*base.end_actions(backup, workflows.BACKUP['restore'].done), Backup.restore_volume_id.remove()]
    with contextlib.suppress(*base.moved_on(Backup)):
        base.update(backup, actions, is_awaited(volume, request_id))
