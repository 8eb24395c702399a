"""The states of create_snapshot and delete_snapshot.

Payload of every task: action, resource, project_id, id, request_id.
"""

from __future__ import annotations

from chalicelib import errors
from chalicelib.models import Snapshot, Volume, base
from chalicelib.operations import common, holds, messages, quotas, scheduling
from chalicelib.rules import states, workflows
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, placement, postponing
from chalicelib.tasks.ownership import Payload, failure, ours, owned


def create_snapshot(payload: Payload) -> None:
    """Freeze the volume's data under the snapshot's name and make the record available, in one write."""
    snapshot = owned(Snapshot, payload)
    volume = snapshot.find_volume()
    # As in Cinder, the scheduler must find room for the volume's size; unlike a claim, that ends with the question.
    placement.check(snapshot, scheduling.spec_of(volume, 'create_snapshot'), str(volume.host))
    update = backends.driver(volume).create_snapshot(backends.snapshot_ref(snapshot, volume))
    made = [Snapshot.provider_id.set(update['provider_id'])] if update.get('provider_id') else []
    final = [*base.end_actions(snapshot, workflows.SNAPSHOT['create'].done), Snapshot.progress.set('100%')]
    base.update(snapshot, [*final, *made], ours(snapshot))


def fail_create_snapshot(payload: Payload) -> None:
    """Say why there is no snapshot; its removal gives the quota back, and removes what may be left of it."""
    snapshot = owned(Snapshot, payload)
    error, reason = failure(payload)
    messages.create(
        snapshot,
        payload['request_id'],
        Action.SNAPSHOT_CREATE,
        Detail.SNAPSHOT_CREATE_ERROR,
        cause=reason,
        error=error,
    )
    base.update(snapshot, base.end_actions(snapshot, workflows.SNAPSHOT['create'].failed), ours(snapshot))


def delete_snapshot(payload: Payload) -> None:
    """Remove the snapshot from its backend, then its record, its quota and the volume's count of it together."""
    remove_snapshot(owned(Snapshot, payload))


def remove_snapshot(snapshot: Snapshot) -> None:
    """Remove a snapshot whose status the running request holds."""
    volume = snapshot.find_volume()
    backends.driver(volume).delete_snapshot(backends.snapshot_ref(snapshot, volume))
    forget_snapshot(snapshot, volume)


def forget_snapshot(snapshot: Snapshot, volume: Volume) -> None:
    """Remove the record, its quota and the volume's count of it, while the running request holds the status.

    A retype of the volume may give the snapshot another type meanwhile: it is then read again.
    """
    for _ in range(common.CONTENDED):
        try:
            return _forget(snapshot, volume)
        except errors.StateChanged:
            found, known = snapshot.reload(), snapshot.volume_type_id
            if found.volume_type_id == known:
                raise
            snapshot = found
    raise base.state_changed(snapshot)


def _forget(snapshot: Snapshot, volume: Volume) -> None:
    deltas = {'snapshots': -1, 'gigabytes': -int(snapshot.volume_size)} if snapshot.consumes_quota else {}

    def build(transaction: base.Transaction) -> None:
        transaction.delete(snapshot, ours(snapshot) & holds.has_type(snapshot), lambda: base.state_changed(snapshot))
        actions = [Volume.snapshot_count.add(-1), *base.touched(Volume)]
        transaction.update(volume, actions, Volume.snapshot_count >= 1, lambda: base.state_changed(volume))

    quotas.commit(snapshot.project_id, deltas, build, type_id=snapshot.volume_type_id)


def cancel_delete_snapshot(payload: Payload) -> None:
    """Busy on its backend: the snapshot is as good as before, and a message says so."""
    snapshot = owned(Snapshot, payload)
    error, reason = failure(payload)
    _tell(snapshot, payload, Detail.SNAPSHOT_IS_BUSY, reason, error)
    base.update(snapshot, base.end_actions(snapshot, status_back(snapshot)), ours(snapshot))


def fail_delete_snapshot(payload: Payload) -> None:
    """Say why the snapshot is still there; a backend that does not answer only postpones its removal."""
    snapshot = owned(Snapshot, payload)
    if postponing.postpone(snapshot, payload, ours(snapshot), Action.SNAPSHOT_DELETE, Detail.SNAPSHOT_DELETE_ERROR):
        return
    error, reason = failure(payload)
    _tell(snapshot, payload, Detail.SNAPSHOT_DELETE_ERROR, reason, error)
    base.update(snapshot, base.end_actions(snapshot, workflows.SNAPSHOT['delete'].failed), ours(snapshot))


def _tell(snapshot: Snapshot, payload: Payload, detail: Detail, reason: str, error: str) -> None:
    messages.create(snapshot, payload['request_id'], Action.SNAPSHOT_DELETE, detail, cause=reason, error=error)


def status_back(record: Volume | Snapshot) -> str:
    """The status after a removal that was called off: available (as in Cinder), but what was in error stays so."""
    before = record.previous_status or ''
    return before if states.is_error(before) else states.AVAILABLE
