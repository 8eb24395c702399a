"""The states of delete_volume: the snapshots (for a cascade), the object, the record with its quota.

Payload of every task: action, resource, project_id, id, request_id.
"""

from __future__ import annotations

import contextlib

from chalicelib import errors
from chalicelib.models import Snapshot, Volume, base
from chalicelib.operations import groups, reservations, transfers, volumes
from chalicelib.operations.outcomes import Outcome
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, function_time, postponing
from chalicelib.tasks.snapshots import remove_snapshot, status_back
from chalicelib.tasks.work import Payload, SnapshotWork, VolumeWork, workflow_of


def delete_volume(payload: Payload) -> dict[str, bool]:
    """Remove the volume; {'done': False} when its snapshots took all the time there was."""
    work = VolumeWork.take(payload)
    if work.record.operation_facts().get('cascade'):
        if not _delete_snapshots(work):
            return {'done': False}
        work = VolumeWork.take(payload)
    volume = work.record
    reservations.mark_removal(volume, work.is_ours)
    if volume.host:  # one that was never placed is removed with its group
        backends.end_exports(volume)
        backends.driver(volume).delete_volume(backends.volume_ref(volume))
    transfers.forget_offers(volume)
    work.end(Outcome.removed())
    groups.settle_group_of(volume)
    return {'done': True}


def _delete_snapshots(work: VolumeWork) -> bool:
    """Remove the volume's snapshots while there is time; whether all are gone."""
    for snapshot in volumes.snapshots_of(work.record):
        if not function_time.has_time():
            return False
        taken = _taken(snapshot, work.record)
        remove_snapshot(SnapshotWork(taken, workflow_of(taken), work.payload))
    return True


def _taken(snapshot: Snapshot, volume: Volume) -> Snapshot:
    """The snapshot, in status deleting for this request; raises SnapshotIsBusy for one that is in use.

    The request has taken as many as one transaction holds.
    """
    if snapshot.owner == volume.owner:
        return snapshot
    row, owner, operation = volumes.taken_along(volume, str(volume.owner))
    try:
        base.begin(snapshot, row, owner, operation, condition=volumes.snapshot_is_removable())
    except errors.StateChanged as changed:
        raise errors.SnapshotIsBusy(id=snapshot.id, reason=f'it is in status {changed.facts["status"]}') from None
    return snapshot


def cancel_delete(payload: Payload) -> None:
    """Busy on its backend: restore the statuses of volume and snapshots, and write a user message."""
    work = VolumeWork.take(payload)
    work.report(Action.VOLUME_DELETE, Detail.VOLUME_IS_BUSY)
    for one in _snapshots_in_work(work):
        _end_snapshot(one, status_back(one.record))
    work.end(status_back(work.record))
    groups.settle_group_of(work.record)


def fail_delete(payload: Payload) -> None:
    """Report why the volume is still there; a backend that does not answer only postpones the removal."""
    work = VolumeWork.take(payload)
    if postponing.postpone(work, Action.VOLUME_DELETE, Detail.VOLUME_DELETE_ERROR):
        return
    work.report(Action.VOLUME_DELETE, Detail.VOLUME_DELETE_ERROR)
    for one in _snapshots_in_work(work):
        one.report(Action.SNAPSHOT_DELETE, Detail.SNAPSHOT_DELETE_ERROR)
        _end_snapshot(one, one.workflow.failed)
    work.end(Outcome.removal_failed(work.workflow.failed))
    groups.settle_group_of(work.record)


def _snapshots_in_work(work: VolumeWork) -> list[SnapshotWork]:
    """Return the snapshots that are removed with the volume and still exist."""
    left = [one for one in volumes.snapshots_of(work.record) if one.owner == work.record.owner]
    return [SnapshotWork(one, workflow_of(one), work.payload) for one in left]


def _end_snapshot(work: SnapshotWork, status: str) -> None:
    with contextlib.suppress(*base.moved_on(Snapshot)):
        work.end(status)
