"""The states of create_snapshot and delete_snapshot.

Payload of every task: action, resource, project_id, id, request_id.
"""

from __future__ import annotations

from pynamodb.expressions.update import Action as Write

from chalicelib import errors
from chalicelib.drivers.base import ModelUpdate
from chalicelib.models import Snapshot, Volume, base
from chalicelib.operations import common, quotas, reservations, scheduling
from chalicelib.rules import states
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, placement, postponing
from chalicelib.tasks.work import Payload, SnapshotWork

#: Progress of a snapshot that is on its backend.
WHOLE = '100%'


def create_snapshot(payload: Payload) -> None:
    """Freeze the volume's data under the snapshot's name and make the record available, in one write."""
    work = SnapshotWork.take(payload)
    snapshot, volume = work.record, work.record.find_volume()
    # As in Cinder, the scheduler must find capacity for the volume's size; unlike a claim, that ends with the question.
    placement.check(snapshot, scheduling.spec_of(volume, 'create_snapshot'), str(volume.host))
    update = backends.driver(volume).create_snapshot(backends.snapshot_ref(snapshot, volume))
    work.end(work.workflow.done, [Snapshot.progress.set(WHOLE), *snapshot_actions(update)])


def snapshot_actions(update: ModelUpdate) -> list[Write]:
    """Return the actions that record a driver's facts about its snapshot."""
    return [Snapshot.provider_id.set(update['provider_id'])] if update.get('provider_id') else []


def fail_create_snapshot(payload: Payload) -> None:
    """Report why there is no snapshot; its removal releases the quota, and removes what may be left of it."""
    SnapshotWork.take(payload).fail(Action.SNAPSHOT_CREATE, Detail.SNAPSHOT_CREATE_ERROR)


def delete_snapshot(payload: Payload) -> None:
    """Remove the snapshot from its backend, then its record, its quota and the volume's count of it together."""
    remove_snapshot(SnapshotWork.take(payload))


def remove_snapshot(work: SnapshotWork) -> None:
    """Remove a snapshot whose status the running request owns."""
    volume = work.record.find_volume()
    backends.driver(volume).delete_snapshot(backends.snapshot_ref(work.record, volume))
    forget_snapshot(work, volume)


def forget_snapshot(work: SnapshotWork, volume: Volume) -> None:
    """Remove the record, its quota and the volume's count of it, while the running request owns the status.

    A retype of the volume may give the snapshot another type meanwhile: it is then read again.
    """
    for _ in range(common.CONTENDED):
        try:
            return _forget(work, volume)
        except errors.StateChanged:
            found, known = work.record.reload(), work.record.volume_type_id
            if found.volume_type_id == known:
                raise
            work = SnapshotWork(found, work.workflow, work.payload)
    raise base.state_changed(work.record)


def _forget(work: SnapshotWork, volume: Volume) -> None:
    snapshot = work.record
    deltas = {'snapshots': -1, 'gigabytes': -int(snapshot.volume_size)} if snapshot.consumes_quota else {}

    def add_writes_to(transaction: base.Transaction) -> None:
        same = work.is_ours & reservations.has_type(snapshot)
        transaction.delete(snapshot, same)
        actions = [Volume.snapshot_count.add(-1), *base.touched(Volume)]
        transaction.update(volume, actions, Volume.snapshot_count >= 1)

    quotas.commit(snapshot.project_id, deltas, add_writes_to, type_id=snapshot.volume_type_id)


def cancel_delete_snapshot(payload: Payload) -> None:
    """Busy on its backend: restore the snapshot's status, and write a user message."""
    work = SnapshotWork.take(payload)
    work.report(Action.SNAPSHOT_DELETE, Detail.SNAPSHOT_IS_BUSY)
    work.end(status_back(work.record))


def fail_delete_snapshot(payload: Payload) -> None:
    """Report why the snapshot is still there; a backend that does not answer only postpones its removal."""
    work = SnapshotWork.take(payload)
    postponing.postpone_or_fail(work, Action.SNAPSHOT_DELETE, Detail.SNAPSHOT_DELETE_ERROR)


def status_back(record: Volume | Snapshot) -> str:
    """The status after a removal that was called off: available (as in Cinder), but what was in error stays so."""
    before = record.previous_status or ''
    return before if states.is_error(before) else states.AVAILABLE
