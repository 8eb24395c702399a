"""Removal of volumes, with their snapshots where a cascade is requested."""

from __future__ import annotations

import functools
from typing import Any

from pynamodb.expressions.condition import Condition

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Snapshot, Volume, base
from chalicelib.operations import backup_reservations, common, keys, reservations, services, uploads
from chalicelib.operations.outcomes import Outcome
from chalicelib.operations.volume_records import get, is_not_migrating, snapshots_of
from chalicelib.rules import states, workflows


def delete(context: Context, id: str, *, cascade: bool = False, force: bool = False) -> None:
    """Accept the removal of a volume; one that was never placed is gone at once.

    ``cascade`` removes its snapshots first. ``force`` (administrators) takes it out of any status; everything else must
    hold all the same: not attached, not migrating, in no group, no snapshots, no readers.
    """
    with common.reading_with(context, Volume, id, along=('Service',)):
        remove(context, get(context, id), 'force_delete' if force else 'delete', cascade=cascade)


def remove(context: Context, volume: Volume, action: str, *, cascade: bool = False) -> None:
    """Accept the removal of a volume: delete, force_delete, or unmanage, which leaves its data on the backend.

    A volume in ``error_managing`` loses only its record, whatever the action: the service does not own its data.
    """
    if not volume.host and volume.group_id is not None:
        raise _not_removable(volume, action == 'force_delete')
    if not volume.host:
        return _forget(volume)
    services.refuse_frozen(volume.host)
    snapshots = _removable_snapshots(volume, action == 'force_delete') if cascade else []
    if volume.status == states.ERROR_MANAGING:
        action = 'drop_managed'
    if action == 'force_delete':  # no other removal ends an upload
        uploads.abandon(volume)
    _begin_removal(context, volume, action, cascade, snapshots)
    keys.release(volume.encryption_key_id)
    return common.send(context, action, volume)


def _begin_removal(context: Context, volume: Volume, action: str, cascade: bool, snapshots: list[Snapshot]) -> None:
    """Enter the status of the removal, together with the snapshots that go with the volume.

    From then on no request can use one of them. A transaction takes ``MOST_SNAPSHOTS``; the workflow takes the rest.
    """
    row, request_id = workflows.VOLUME[action], context.request_id
    operation = common.operation(row, cascade=cascade)
    condition = _is_removable(cascade) & Volume.host.exists()
    also, force = [Volume.terminated_at.set(base.now())], action == 'force_delete'
    if not snapshots:
        try:
            return base.begin(volume, row, request_id, operation, also=also, condition=condition)
        except errors.StateChanged:
            raise _not_removable(volume, force) from None
    with base.Transaction() as transaction:
        transaction.update(
            volume,
            [*base.begin_actions(Volume, row, request_id, operation), *also],
            base.is_allowed(Volume, row) & condition,
            lambda: _not_removable(volume, force),
        )
        for snapshot in snapshots[:MOST_SNAPSHOTS]:
            transaction.update(
                snapshot,
                base.begin_actions(Snapshot, *taken_along(volume, request_id)),
                (Snapshot.status == snapshot.status) & snapshot_is_removable(),
                functools.partial(_kept_by, snapshot),
            )
    return None


def taken_along(volume: Volume, request_id: str) -> tuple[workflows.Workflow, str, dict[str, Any]]:
    """Return row, owner and operation of a snapshot that is removed with its volume."""
    row = workflows.SNAPSHOT['delete_with_volume']
    follows = {'volume_id': volume.id, 'volume_project_id': volume.project_id}
    return row, request_id, common.operation(row, **follows)


def snapshot_is_removable() -> Condition:
    """The condition, beside the status, that a snapshot may be removed."""
    condition: Condition = Snapshot.group_snapshot_id.does_not_exist() & (Snapshot.reader_count == 0)
    return condition


def _forget(volume: Volume) -> None:
    """Remove a volume that no backend knows; work that is under way for it finds it gone."""
    try:
        reservations.end(volume, Volume.host.does_not_exist() & Volume.group_id.does_not_exist(), Outcome.removed())
    except errors.StateChanged:
        raise errors.InvalidVolume(
            reason=f'Volume {volume.id} is being placed on a backend right now; try again.'
        ) from None
    backup_reservations.release_from(volume)
    keys.release(volume.encryption_key_id)


def _is_removable(cascade: bool) -> Condition:
    condition: Condition = (
        (Volume.attach_status != states.ATTACHED)
        & is_not_migrating()
        & Volume.group_id.does_not_exist()
        & (Volume.reader_count == 0)
    )
    return condition if cascade else condition & (Volume.snapshot_count == 0)


def _not_removable(volume: Volume, force: bool) -> errors.Invalid:
    volume = volume.reload()
    if volume.reader_count:
        return errors.InvalidVolume(
            reason=f'Volume {volume.id} is being read by {volume.reader_count} clone or backup; '
            'try again when that is done.'
        )
    status = '' if force else f'status must be {" or ".join(states.DELETABLE)} and '
    return errors.InvalidVolume(
        reason=f'Volume {status}must not be migrating, attached, belong to a group, have snapshots, '
        'awaiting a transfer, or be disassociated from snapshots after volume transfer.'
    )


#: A transaction has at most 100 writes: the volume, its snapshots, the mark of the request's key, and the log.
MOST_SNAPSHOTS = 97


def _removable_snapshots(volume: Volume, force: bool) -> list[Snapshot]:
    """Return the volume's snapshots; raise InvalidVolume when one could not be removed along with it."""
    found = snapshots_of(volume)
    if len(found) < volume.snapshot_count:
        raise _not_removable(volume, force)
    for snapshot in found:
        deletable = force or snapshot.status in workflows.SNAPSHOT['delete_with_volume'].allowed
        if not deletable or snapshot.group_snapshot_id or snapshot.reader_count:
            raise _kept_by(snapshot)
    return found


def _kept_by(snapshot: Snapshot) -> errors.InvalidVolume:
    try:
        snapshot = snapshot.reload()
    except errors.SnapshotNotFound:
        return errors.InvalidVolume(reason=f'Snapshot {snapshot.id} was removed by another request; try again.')
    return errors.InvalidVolume(
        reason=f'Snapshot {snapshot.id} in status {snapshot.status} cannot be removed with its volume.'
    )
