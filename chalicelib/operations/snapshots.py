"""Snapshots: find, list, describe, take, remove."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Mapping
from typing import Any

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import GroupSnapshot, Snapshot, Volume, base, claims
from chalicelib.operations import common, quotas, reservations, services, volumes
from chalicelib.rules import states, workflows

#: Since this microversion a snapshot of an attached volume needs no ``force``.
SNAPSHOT_IN_USE = (3, 66)


#: Filters whose name is not an attribute's, or whose value is not the attribute's whole value.
MATCHERS: Mapping[str, common.Matcher] = {
    'host': lambda snapshot, value: common.is_at(snapshot.host, str(value)),
    'use_quota': lambda snapshot, value: common.equals(snapshot.consumes_quota, value),
}


#: The filter that is a column of the volume.
ZONE = 'availability_zone'


def get(context: Context, id: str) -> Snapshot:
    """Return the snapshot, of the caller's project or (administrators) of any. Raises SnapshotNotFound."""
    return common.find(context, Snapshot, id)


def list_(context: Context, query: common.ListQuery) -> tuple[list[Snapshot], bool]:
    """Return one page of snapshots, newest first unless the query sorts otherwise, and whether more follow."""
    return common.list_records(context, Snapshot, query, _matchers(context, query))


def count(context: Context, query: common.ListQuery) -> int:
    """Return the number of snapshots that the query matches."""
    return common.count(context, Snapshot, query, _matchers(context, query))


def _matchers(context: Context, query: common.ListQuery) -> Mapping[str, common.Matcher]:
    """Return the matchers; a snapshot is in its volume's zone, which is read only for lists that filter by it."""
    if ZONE not in {name.rstrip('~') for name in query.filters}:
        return MATCHERS
    everywhere = query.all_tenants and context.is_admin
    volumes_read = base.every(Volume, None if everywhere else context.project_id)
    zones = {volume.id: volume.availability_zone for volume in volumes_read}
    zone_of = functools.partial(_zone, zones)
    return {
        **MATCHERS,
        ZONE: lambda snapshot, value: common.equals(zone_of(snapshot), value),
        f'{ZONE}~': lambda snapshot, value: common.contains(zone_of(snapshot), str(value)),
    }


def _zone(zones: Mapping[str, str | None], snapshot: Snapshot) -> str | None:
    """The zone of a snapshot's volume; one that was transferred without its snapshots is in another project."""
    if snapshot.volume_id in zones:
        return zones[snapshot.volume_id]
    try:
        return str(snapshot.find_volume().availability_zone)
    except errors.VolumeNotFound:
        return None


@claims.made_once('Snapshot')
def create(
    context: Context,
    volume_id: str,
    *,
    name: str | None,
    description: str | None,
    metadata: Mapping[str, str],
    force: bool,
) -> Snapshot:
    """Accept a snapshot: one transaction of record, quota and the volume's counter.

    The volume must be available; with ``force``, or since 3.66, it may be in use.
    """
    with common.reading_with(context, Volume, volume_id, *quotas.keys(context.project_id), along=('Service',)):
        volume = volumes.get(context, volume_id)
        allowed = states.READABLE if force or context.microversion >= SNAPSHOT_IN_USE else (states.AVAILABLE,)
        _check_volume(volume, allowed)
        services.refuse_frozen(volume.host)
        snapshot = new_record(context, volume)
        snapshot.name, snapshot.description, snapshot.metadata = name, description, dict(metadata or {})
        add_writes_to = functools.partial(_add_snapshot_to, snapshot, volume, allowed)
        deltas = {'snapshots': 1, 'gigabytes': int(volume.size)}
        quotas.commit(volume.project_id, deltas, add_writes_to, type_id=volume.volume_type_id)
        common.send(context, 'create', snapshot, volume)
        return snapshot


def check_obstacles(volume: Volume) -> None:
    """Raise InvalidVolume for a volume that cannot be snapshotted, whatever the status wished for."""
    for reason, is_met in _OBSTACLES:
        if is_met(volume):
            raise errors.InvalidVolume(reason=reason)


def _check_volume(volume: Volume, allowed: tuple[str, ...]) -> None:
    check_obstacles(volume)
    if volume.status not in allowed:
        raise errors.InvalidVolume(
            reason=f'Volume {volume.id} status must be {", ".join(allowed)}, but current status is: {volume.status}.'
        )


#: What forbids a snapshot whatever the status, in Cinder's order and words.
_OBSTACLES: tuple[tuple[str, Any], ...] = (
    (
        'The snapshot cannot be created because volume has not been scheduled to any host.',
        lambda volume: not volume.host,
    ),
    (
        'The snapshot cannot be created when the volume is in maintenance mode.',
        lambda volume: volume.status == states.MAINTENANCE,
    ),
    (
        'Snapshot cannot be created while volume is migrating.',
        lambda volume: volume.migration_status not in states.NOT_MIGRATING,
    ),
    (
        'The snapshot cannot be created when the volume is in error status.',
        lambda volume: volume.status == states.ERROR,
    ),
)


def new_record(context: Context, volume: Volume) -> Snapshot:
    """Return the record of a snapshot that is to be taken, not written yet."""
    row = workflows.SNAPSHOT['create']
    return Snapshot(
        volume.project_id,
        str(uuid.uuid4()),
        created_at=base.now(),
        user_id=context.user_id,
        volume_id=volume.id,
        volume_size=volume.size,
        volume_type_id=volume.volume_type_id,
        encryption_key_id=volume.encryption_key_id,
        host=volume.host,
        progress='0%',
        status=row.running,
        owner=context.request_id,
        in_flight='1',
        deadline=base.first_deadline(row),
        operation=common.operation(row),
    )


def in_group(context: Context, volume: Volume, group_snapshot: GroupSnapshot) -> Snapshot:
    """Return the record of a volume's part of a group snapshot, which alone drives it."""
    snapshot = new_record(context, volume)
    snapshot.name, snapshot.description = group_snapshot.name, group_snapshot.description
    snapshot.group_snapshot_id = group_snapshot.id
    snapshot.operation = common.operation(workflows.SNAPSHOT['create_in_group'])
    snapshot.in_flight = snapshot.deadline = None
    return snapshot


def _add_snapshot_to(
    snapshot: Snapshot, volume: Volume, allowed: tuple[str, ...], transaction: base.Transaction
) -> None:
    transaction.put(snapshot, Snapshot.id.does_not_exist())
    condition = Volume.status.is_in(*allowed) & volumes.is_not_migrating() & (Volume.size == volume.size)
    condition &= reservations.has_type(volume)
    actions = [Volume.snapshot_count.add(1), *base.touched(Volume)]
    transaction.update(volume, actions, condition, lambda: _volume_changed(volume, allowed))


def _volume_changed(volume: Volume, allowed: tuple[str, ...]) -> errors.InvalidVolume:
    _check_volume(volume.reload(), allowed)
    return errors.InvalidVolume(reason=f'Volume {volume.id} was changed by another request; try again.')


def update(context: Context, id: str, changes: Mapping[str, Any]) -> Snapshot:
    """Change name or description."""
    snapshot = get(context, id)
    actions = [common.set_or_remove(getattr(Snapshot, key), value) for key, value in changes.items()]
    base.update(snapshot, [*actions, *base.touched(Snapshot)])
    return snapshot


def set_metadata(context: Context, id: str, metadata: Mapping[str, str], replace: bool = False) -> dict[str, Any]:
    """Add or change metadata (``replace``: and forget what is not named); return all."""
    return common.change_map(
        get(context, id),
        'metadata',
        lambda known: dict(metadata) if replace else {**known, **metadata},
        common.any_status,
    )


def delete_metadata(context: Context, id: str, key: str) -> None:
    """Forget one item; raises SnapshotMetadataNotFound."""
    missing = errors.SnapshotMetadataNotFound(id=id, key=key)
    common.change_map(get(context, id), 'metadata', functools.partial(common.without, key, missing), common.any_status)


def delete(context: Context, id: str, *, force: bool = False) -> None:
    """Accept the removal of a snapshot in no group snapshot and without readers; ``force``: in any status."""
    with common.reading_with(context, Snapshot, id, along=('Service',)):
        remove(context, get(context, id), 'force_delete' if force else 'delete')


def remove(context: Context, snapshot: Snapshot, action: str) -> None:
    """Accept the removal of a snapshot: delete, force_delete, or unmanage, which leaves its data on the backend."""
    services.refuse_frozen(snapshot.host)
    row = workflows.SNAPSHOT[action]
    operation = common.operation(row)
    try:
        base.begin(snapshot, row, context.request_id, operation, condition=volumes.snapshot_is_removable())
    except errors.StateChanged:
        raise _not_removable(snapshot, action == 'force_delete') from None
    common.send(context, action, snapshot)


def _not_removable(snapshot: Snapshot, force: bool) -> errors.Invalid:
    snapshot = snapshot.reload()
    if snapshot.reader_count:
        return errors.InvalidSnapshot(
            reason=f'Snapshot {snapshot.id} is being read by {snapshot.reader_count} volume or backup; '
            'try again when that is done.'
        )
    status = '' if force else 'status must be available or error and '
    return errors.InvalidSnapshot(reason=f'Snapshot {status}must not be part of a group.')


def reset_status(context: Context, id: str, status: str) -> None:
    """Set the status for an administrator; an operation in progress cannot change the record any more."""
    snapshot = get(context, id)
    base.update(snapshot, base.end_actions(snapshot, status))


def update_status(context: Context, id: str, status: str, progress: str | None) -> None:
    """Record the status that Nova reports of a snapshot that a server's agent makes or removes."""
    snapshot = get(context, id)
    if snapshot.status not in states.REPORTABLE:
        raise errors.Invalid(f'Snapshot status {snapshot.status} not allowed for update_snapshot_status')
    if status not in states.REPORTABLE[snapshot.status]:
        raise errors.Invalid(
            f'Provided snapshot status {status} not allowed for snapshot with status {snapshot.status}.'
        )
    shown = [Snapshot.progress.set(progress)] if progress else []
    final = base.touched(Snapshot) if status == snapshot.status else base.end_actions(snapshot, status)
    base.update(snapshot, [*shown, *final], Snapshot.status == snapshot.status)
