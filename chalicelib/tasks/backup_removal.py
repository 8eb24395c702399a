"""The states of delete_backup: out of reach at once, out of the tables, and out of the repository after a grace time.

Payload of every task: project_id, id (of the backup), request_id; after the first also ``left``: where its data is.
"""

from __future__ import annotations

import contextlib
from typing import Any

from chalicelib import errors
from chalicelib.backup import engine
from chalicelib.config import settings
from chalicelib.models import Backup
from chalicelib.models.lease import Lease
from chalicelib.operations import backup_reservations
from chalicelib.operations.backup_reservations import Outcome
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backup_data, backup_sources, function_time, postponing
from chalicelib.tasks.work import BackupWork, Payload, fail_reason

#: Seconds that the workflow waits beyond the collector's grace time, at most: clocks differ.
WAIT_MARGIN = 3600

#: Seconds that a collector holds its lease beyond its function's own time.
LEASE_MARGIN = 60


def delete_manifest(payload: Payload) -> dict[str, Any]:
    """Put the backup out of reach, which cancels one that is still made, and clean up what it left on its backend.

    Data that the backup does not own stays: only the record is removed, and there is nothing to sweep.
    """
    backup = BackupWork.take(payload, 'delete').record
    backup_sources.clean(backup)
    backup_sources.drop_kept(backup)
    left = {'lineage': backup.lineage, 'container': backup.container, 'location': backup.location}
    if not backup_reservations.owns_data(backup):
        return {**left, 'seconds': 0, 'lineage': None}
    engine.delete_backup(backup_data.repository(backup), str(backup.lineage), name_in_repository(backup))
    grace = settings().backup_grace
    return {**left, 'seconds': grace + min(WAIT_MARGIN, grace // 2)}


def name_in_repository(backup: Backup) -> str:
    """The id that its manifest bears."""
    return str(backup.manifest_key).rpartition('/')[2] if backup.manifest_key else backup.id


def delete_backup(payload: Payload) -> None:
    """Remove record and quota, and the parent's count of it, together. A record that is gone is not an error."""
    with contextlib.suppress(errors.BackupCanceled):
        work = BackupWork.take(payload, 'delete')
        counted = work.record.manifest_key is not None and not work.record.location
        work.end(Outcome(work.workflow.done, dependents=-1 if counted else 0))


def collect_backup(payload: Payload) -> dict[str, Any]:
    """Sweep what no backup of the lineage needs, shard by shard, from the cursor on. Raises LeaseLost."""
    left = payload['left']
    if left['lineage'] is None:
        return {**left, 'done': True}
    lease = Lease.acquire(f'collect:{left["lineage"]}', function_time.seconds_left() + LEASE_MARGIN)
    try:
        found = engine.collect(
            backup_data.repository(_backup_of(payload)),
            left['lineage'],
            lease=lease,
            grace=settings().backup_grace,
            seconds_left=function_time.seconds_left,
            cursor=left.get('cursor'),
        )
    finally:
        lease.release()
    return {**left, 'done': found.done, 'cursor': found.cursor}


def _backup_of(payload: Payload) -> Backup:
    """Enough of the record, which is gone, to find its repository."""
    left = payload['left']
    return Backup(payload['project_id'], payload['id'], container=left['container'], location=left['location'])


def fail_delete_backup(payload: Payload) -> None:
    """Record why the backup still exists; a backend or repository that does not answer only postpones its removal."""
    work, detail = BackupWork.take(payload, 'delete'), Detail.BACKUP_DELETE_DRIVER_ERROR
    if postponing.postpone(work, Action.BACKUP_DELETE, detail):
        return
    work.report(Action.BACKUP_DELETE, detail)
    reason = Backup.fail_reason.set(fail_reason(payload))
    work.end(Outcome(work.workflow.failed, keeps_source=True), [reason])
