"""The states of delete_volume: its snapshots (when it goes with them), the object, the record with its quota.

Payload of every task: action, resource, project_id, id, request_id.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

from chalicelib import errors
from chalicelib.models import Snapshot, Volume, base
from chalicelib.operations import groups, holds, messages, volumes
from chalicelib.rules import states, workflows
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, clock, postponing
from chalicelib.tasks.ownership import Payload, failure, ours, owned
from chalicelib.tasks.snapshots import remove_snapshot, status_back


def delete_volume(payload: Payload) -> dict[str, bool]:
    """Remove the volume; {'done': False} when its snapshots took all the time there was."""
    volume = owned(Volume, payload)
    if volume.operation_facts().get('cascade'):
        if not _delete_snapshots(volume):
            return {'done': False}
        volume = owned(Volume, payload)
    holds.mark_removal(volume, ours(volume))
    if volume.host:  # one that was never placed goes with its group
        backends.end_exports(volume)
        backends.driver(volume).delete_volume(backends.volume_ref(volume))
    holds.end(volume, ours(volume), states.REMOVED)
    groups.settle_group_of(volume)
    return {'done': True}


def _delete_snapshots(volume: Volume) -> bool:
    """Remove the volume's snapshots while there is time; whether all are gone."""
    for snapshot in volumes.snapshots_of(volume):
        if not clock.has_time():
            return False
        remove_snapshot(_taken(snapshot, volume))
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
    """Busy on its backend: volume and snapshots are as good as before, and a message says so."""
    volume = owned(Volume, payload)
    _tell(volume, payload, Detail.VOLUME_IS_BUSY)
    _end_snapshots(volume, status_back)
    holds.end(volume, ours(volume), status_back(volume))
    groups.settle_group_of(volume)


def fail_delete(payload: Payload) -> None:
    """Say why the volume is still there. Its room stays in transit: it is unknown what the backend has freed.

    A backend that does not answer only postpones the removal.
    """
    volume = owned(Volume, payload)
    if postponing.postpone(volume, payload, ours(volume), Action.VOLUME_DELETE, Detail.VOLUME_DELETE_ERROR):
        return
    _tell(volume, payload, Detail.VOLUME_DELETE_ERROR)
    _end_snapshots(volume, functools.partial(_failed, payload))
    holds.end(volume, ours(volume), workflows.VOLUME['delete'].failed, in_transit=True)
    groups.settle_group_of(volume)


def _failed(payload: Payload, snapshot: Snapshot) -> str:
    """Say why a snapshot that was to go with its volume is still there; return its status."""
    error, reason = failure(payload)
    detail = Detail.SNAPSHOT_DELETE_ERROR
    messages.create(snapshot, payload['request_id'], Action.SNAPSHOT_DELETE, detail, cause=reason, error=error)
    return workflows.SNAPSHOT['delete'].failed


def _tell(volume: Volume, payload: Payload, detail: Detail) -> None:
    error, reason = failure(payload)
    messages.create(volume, payload['request_id'], Action.VOLUME_DELETE, detail, cause=reason, error=error)


def _end_snapshots(volume: Volume, status: Callable[[Snapshot], str]) -> None:
    """Let go of the snapshots that were to go with the volume and are still there."""
    for snapshot in volumes.snapshots_of(volume):
        if snapshot.owner == volume.owner:
            with contextlib.suppress(*base.moved_on(Snapshot)):
                base.update(snapshot, base.end_actions(snapshot, status(snapshot)), ours(snapshot))
