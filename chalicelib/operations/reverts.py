"""Set a volume back to its latest snapshot (3.40)."""

from __future__ import annotations

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Snapshot, Volume, base
from chalicelib.operations import common, exports, volumes
from chalicelib.rules import workflows


def revert(context: Context, id: str, snapshot_id: str | None) -> None:
    """Accept the revert: volume and snapshot change their status together.

    Raises Invalid for a snapshot that is not the latest, or of another size; Conflict for statuses that do not allow
    it.
    """
    volume = volumes.get(context, id)
    snapshot = _latest(volume)
    if snapshot.id != snapshot_id:
        raise errors.Invalid(f'Specified snapshot {snapshot_id} is None or not the latest one of volume {id}.')
    if snapshot.volume_size != volume.size:
        raise errors.Invalid(f'{_cannot(volume, snapshot)} The volume size must be equal to the snapshot size.')
    if volume.status in workflows.VOLUME['revert'].allowed:
        volume = exports.end_all(volume)
    with base.Transaction() as transaction:
        _add_revert_to(transaction, volume, snapshot, context.request_id)
    common.send(context, 'revert', volume)


def _latest(volume: Volume) -> Snapshot:
    taken = volumes.snapshots_of(volume)
    if not taken:
        raise errors.Invalid(f'Volume {volume.id} has no snapshots.')
    return taken[-1]


def _cannot(volume: Volume, snapshot: Snapshot) -> str:
    return f"Can't revert volume {volume.id} to its latest snapshot {snapshot.id}."


def _busy(volume: Volume, snapshot: Snapshot, which: str) -> errors.Conflict:
    return errors.Conflict(
        f"Invalid {which.lower()}: {_cannot(volume, snapshot)} {which}'s status must be 'available'."
    )


def _add_revert_to(transaction: base.Transaction, volume: Volume, snapshot: Snapshot, request_id: str) -> None:
    row, other = workflows.VOLUME['revert'], workflows.SNAPSHOT['restore']
    operation = common.operation(row, snapshot_id=snapshot.id)
    free = volumes.is_not_migrating() & (Volume.reader_count == 0) & (Volume.snapshot_count == volume.snapshot_count)
    transaction.update(
        volume,
        base.begin_actions(Volume, row, request_id, operation),
        base.is_allowed(Volume, row) & free & (Volume.size == snapshot.volume_size) & exports.are_none(),
        lambda: _busy(volume, snapshot, 'Volume'),
    )
    follows = common.operation(other, volume_id=volume.id, volume_project_id=volume.project_id)
    transaction.update(
        snapshot,
        base.begin_actions(Snapshot, other, request_id, follows),
        base.is_allowed(Snapshot, other),
        lambda: _busy(volume, snapshot, 'Snapshot'),
    )


def end(volume: Volume, status: str) -> None:
    """End the revert: the volume's status, and the snapshot's if it is still held for it, in one transaction."""
    held = base.owned_by(Volume, workflows.VOLUME['revert'], str(volume.owner))
    with base.Transaction() as transaction:
        transaction.update(volume, base.end_actions(volume, status), held)
        snapshot = _held(volume)
        if snapshot is not None:
            row = workflows.SNAPSHOT['restore']
            ours = base.owned_by(Snapshot, row, str(volume.owner))
            transaction.update(snapshot, base.end_actions(snapshot, row.done), ours)


def _held(volume: Volume) -> Snapshot | None:
    snapshot = Snapshot.find_or_none(volume.project_id, volume.operation_facts()['snapshot_id'])
    return snapshot if snapshot and snapshot.owner == volume.owner else None
