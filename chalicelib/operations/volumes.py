"""Volumes: find, list, describe, remove, extend. How a new one is accepted is in ``volume_creation``."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Attachment, Snapshot, Volume, base
from chalicelib.operations import (
    backup_reservations,
    common,
    exports,
    keys,
    quotas,
    reservations,
    services,
    volume_types,
)
from chalicelib.operations.outcomes import Outcome
from chalicelib.operations.volume_creation import create, dry_run
from chalicelib.rules import extra_specs, states, workflows

#: Since this microversion an attached volume may be extended.
EXTEND_ATTACHED = (3, 42)

#: Filters whose name is not an attribute's.
MATCHERS: Mapping[str, common.Matcher] = {
    # Some statuses are shown under another word: both match.
    'status': lambda volume, value: any(
        common.equals(status, value) for status in {volume.status, states.SHOWN_AS.get(volume.status, volume.status)}
    ),
    'host': lambda volume, value: common.is_at(volume.host, str(value)),
    'glance_metadata': lambda volume, value: common.equals(volume.volume_image_metadata, value),
    'use_quota': lambda volume, value: common.equals(volume.consumes_quota, value),
    'no_migration_targets': lambda volume, _: not (volume.migration_status or '').startswith('target:'),
}


def get(context: Context, id: str) -> Volume:
    """Return the volume, of the caller's project or (administrators) of any. Raises VolumeNotFound."""
    return common.find(context, Volume, id)


def show(context: Context, id: str) -> Volume:
    """Return the volume as ``get`` does, for a view of it alone: its type's name is read in the same call."""
    along = () if volume_types.are_shown() else ('VolumeType',)
    with common.reading_with(context, Volume, id, along=along):
        volume = get(context, id)
        volume_types.refresh_name(volume.volume_type_id)
    return volume


def list_(context: Context, query: common.ListQuery) -> tuple[list[Volume], bool]:
    """Return one page of volumes, newest first unless the query sorts otherwise, and whether more follow."""
    return common.list_records(context, Volume, query, MATCHERS)


def count(context: Context, query: common.ListQuery) -> int:
    """Return the number of volumes that the query matches."""
    return common.count(context, Volume, query, MATCHERS)


def summary(context: Context, all_tenants: bool) -> dict[str, Any]:
    """Return {count, size (GiB), metadata: {key: values}} over the project's volumes, or all (administrators)."""
    volumes = list(base.every(Volume, None if all_tenants and context.is_admin else context.project_id))
    metadata: dict[str, list[str]] = {}
    for volume in volumes:
        for key, value in volume.metadata.items():
            if value not in metadata.setdefault(key, []):
                metadata[key].append(value)
    return {'count': len(volumes), 'size': sum(int(volume.size) for volume in volumes), 'metadata': metadata}


def update(context: Context, id: str, changes: Mapping[str, Any]) -> Volume:
    """Change name, description, metadata or bootable."""
    volume = get(context, id)
    actions = [common.set_or_remove(getattr(Volume, key), value) for key, value in changes.items()]
    try:
        base.update(volume, [*actions, *base.touched(Volume)], Volume.status != states.MAINTENANCE)
    except errors.StateChanged:
        raise errors.InvalidVolume(reason='The volume cannot be updated during maintenance.') from None
    return volume


def set_bootable(context: Context, id: str, bootable: bool) -> None:
    """Set whether a server may boot from the volume."""
    update(context, id, {'bootable': bootable})


def set_readonly(context: Context, id: str, readonly: bool) -> None:
    """Make later attachments read-only, or no longer; the volume must be available. Exports made before end first."""
    volume = get(context, id)
    _check_readonly_status(volume)
    volume = exports.end_all(volume)
    change = functools.partial(_flagged, readonly=readonly)
    common.change_map(volume, 'admin_metadata', change, _check_readonly)


def _flagged(known: dict[str, Any], readonly: bool) -> dict[str, Any]:
    return {**known, 'readonly': str(readonly)}


def _check_readonly(volume: Volume) -> None:
    """The check of one write: exports of the mode that the flag had before would outlive the change."""
    _check_readonly_status(volume)
    if volume.exports or volume.attachments:
        raise errors.InvalidVolume(reason=f'Volume {volume.id} has connections; detach it first.')


def _check_readonly_status(volume: Volume) -> None:
    if volume.status != states.AVAILABLE:
        raise errors.InvalidVolume(
            reason=f'Volume {volume.id} status must be available to update readonly flag, '
            f'but current status is: {volume.status}.'
        )


def set_metadata(context: Context, id: str, metadata: Mapping[str, str], replace: bool = False) -> dict[str, Any]:
    """Add or change metadata (``replace``: and forget what is not named); return all."""
    check = functools.partial(_check_metadata, 'Updating')
    return common.change_map(
        get(context, id), 'metadata', lambda known: dict(metadata) if replace else {**known, **metadata}, check
    )


def delete_metadata(context: Context, id: str, key: str) -> None:
    """Forget one item; raises VolumeMetadataNotFound."""
    missing = errors.VolumeMetadataNotFound(id=id, key=key)
    check = functools.partial(_check_metadata, 'Deleting')
    common.change_map(get(context, id), 'metadata', functools.partial(common.without, key, missing), check)


def _check_metadata(verb: str, volume: Volume) -> None:
    if volume.status in states.FIXED_METADATA:
        raise errors.InvalidVolume(
            reason=f'{verb} volume metadata is not allowed for volumes in {volume.status} status.'
        )


def set_image_metadata(context: Context, id: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Add or change what is known of the image on it; return all."""
    check = functools.partial(_check_metadata, 'Updating')
    return common.change_map(get(context, id), 'volume_image_metadata', lambda known: {**known, **metadata}, check)


def unset_image_metadata(context: Context, id: str, key: str) -> None:
    """Forget one item of what is known of the image; raises GlanceMetadataNotFound."""
    missing = errors.GlanceMetadataNotFound(id=id)
    check = functools.partial(_check_metadata, 'Deleting')
    common.change_map(get(context, id), 'volume_image_metadata', functools.partial(common.without, key, missing), check)


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


def is_not_migrating() -> Condition:
    """The condition that a volume is not being migrated."""
    named = sorted(status for status in states.NOT_MIGRATING if status)
    condition: Condition = Volume.migration_status.does_not_exist() | Volume.migration_status.is_in(*named)
    return condition


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


#: A transaction has at most 100 writes.
MOST_SNAPSHOTS = 99


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


def snapshots_of(volume: Volume) -> list[Snapshot]:
    """Return the volume's snapshots in its project, oldest first."""
    found = [one for one in base.every(Snapshot, volume.project_id) if one.volume_id == volume.id]
    return sorted(found, key=lambda snapshot: snapshot.created_at)


def extend(context: Context, id: str, new_size: int) -> None:
    """Accept an extension to ``new_size`` GiB: status and quota in one transaction. An attached volume needs 3.42."""
    with common.reading_with(context, Volume, id, *quotas.keys(context.project_id), along=('VolumeType', 'Service')):
        volume = get(context, id)
        growth = new_size - int(volume.size)
        if growth <= 0:
            raise errors.InvalidInput(
                reason=f'New size for extend must be greater than current size. '
                f'(current: {volume.size}, extended: {new_size}).'
            )
        services.refuse_frozen(volume.host)
        kind = volume_types.of(volume)
        if kind:
            extra_specs.check_size(kind.extra_specs, kind.name, new_size)
        attached = volume.status == states.IN_USE and context.microversion >= EXTEND_ATTACHED
        action = 'extend_attached' if attached else 'extend'
        deltas = {'gigabytes': growth} if volume.consumes_quota else {}
        add_writes_to = functools.partial(_add_extension_to, context, volume, action, new_size)
        quotas.commit(
            volume.project_id, deltas, add_writes_to, type_id=volume.volume_type_id, reserved=deltas, largest=new_size
        )
        common.send(context, action, volume)


def _add_extension_to(
    context: Context, volume: Volume, action: str, new_size: int, transaction: base.Transaction
) -> None:
    row = workflows.VOLUME[action]
    operation = common.operation(row, new_size=new_size)
    growth = new_size - int(volume.size) if volume.consumes_quota else 0
    actions = [*base.begin_actions(Volume, row, context.request_id, operation), Volume.reserved_gb.set(growth)]
    condition = base.is_allowed(Volume, row) & (Volume.size == volume.size) & (Volume.reserved_gb == 0)
    transaction.update(volume, actions, condition, lambda: _not_extendable(volume, row))


def _not_extendable(volume: Volume, row: workflows.Workflow) -> Exception:
    status = volume.reload().status
    expected = {'status': next(iter(row.allowed))}
    return errors.InvalidVolume(reason=f"Volume {volume.id} status must be '{expected}' to extend, currently {status}.")


#: Administrative metadata of an extension that waits for a server (Cinder's NFS-like drivers).
WAITING = ('extend_new_size', 'extend_reservations')


def complete_extension(context: Context, id: str, failed: bool) -> None:
    """Complete an extension that waits for a server (3.71). No driver here leaves one waiting; as in Cinder, a volume
    whose extension does not wait is refused.
    """
    volume = get(context, id)
    row = workflows.VOLUME['extend_attached' if volume.attachment_count else 'extend']
    known = volume.admin_metadata
    if volume.status != row.running:
        raise errors.InvalidVolume(reason='Volume is not being extended.')
    if any(key not in known for key in WAITING):
        raise errors.InvalidVolume(reason='Required volume admin metadata is malformed or missing.')
    grown = [] if failed else [Volume.size.set(int(known['extend_new_size']))]
    left = {key: value for key, value in known.items() if key not in WAITING}
    actions = [Volume.admin_metadata.set(left), *grown]
    outcome = Outcome.ended(row.failed) if failed else Outcome(row.done, grown=True)
    reservations.end(volume, Volume.status == row.running, outcome, actions=actions)


def reset_status(
    context: Context, id: str, status: str | None, attach_status: str | None, migration_status: str | None
) -> None:
    """Set statuses of a volume for an administrator; an operation in progress cannot change the volume any more.

    Cinder changes the statuses only. Here the same transaction releases what a status reset interrupts (quota, a
    source, capacity in transit), and a volume declared detached loses its exports before its attachments.
    """
    volume, gone = get(context, id), list[Attachment]()
    _check_reset(volume, status)
    held = Volume.status == volume.status
    if attach_status == states.DETACHED and (volume.attachments or volume.exports):
        volume, gone = _end_exports(volume)
        held = Volume.revision == volume.revision
    actions = [*_words(attach_status, migration_status), *(_NO_ATTACHMENTS if gone else [])]
    remove = functools.partial(_add_attachments_removal_to, volume, gone)
    if status:
        reservations.end(volume, held, Outcome.ended(status), actions=actions, add_to=remove)
        backup_reservations.release_from(volume)
    elif actions:
        with base.Transaction() as transaction:
            transaction.update(volume, [*actions, *base.touched(Volume)], Volume.id.exists() & held)
            remove(transaction)


#: The actions that record a volume without attachments.
_NO_ATTACHMENTS = (Volume.attachments.set({}), Volume.attachment_count.set(0))


def _words(attach_status: str | None, migration_status: str | None) -> list[Action]:
    migration = None if migration_status == 'none' else migration_status
    return [
        *([Volume.attach_status.set(attach_status)] if attach_status else []),
        *([common.set_or_remove(Volume.migration_status, migration)] if migration_status else []),
    ]


def _end_exports(volume: Volume) -> tuple[Volume, list[Attachment]]:
    """End every export; a backend that fails leaves all as it is. Return the volume and its attachments as they are."""
    known = list(Attachment.batch_get([(volume.project_id, id) for id in volume.attachments], consistent_read=True))
    attached = [exports.supersede(attachment) for attachment in known]
    return exports.end(volume, None), attached


def _add_attachments_removal_to(volume: Volume, gone: list[Attachment], transaction: base.Transaction) -> None:
    for attachment in gone:
        transaction.delete(attachment, Attachment.attempt == attachment.attempt, lambda: base.state_changed(volume))


def _check_reset(volume: Volume, status: str | None) -> None:
    if status == states.DELETING:
        raise errors.Invalid('Cannot reset-state to deleting')
    if status == states.IN_USE and not volume.attachments:
        raise errors.Invalid('Cannot reset-state to in-use because volume does not have any attachments.')


__all__ = [
    'complete_extension',
    'count',
    'create',
    'delete',
    'delete_metadata',
    'dry_run',
    'extend',
    'get',
    'is_not_migrating',
    'list_',
    'remove',
    'reset_status',
    'set_bootable',
    'set_image_metadata',
    'set_metadata',
    'set_readonly',
    'snapshot_is_removable',
    'snapshots_of',
    'summary',
    'taken_along',
    'unset_image_metadata',
    'update',
]
