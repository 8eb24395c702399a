"""Volumes: list, describe, count. How they are created, extended, removed and reset is in the modules named here."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Volume, base
from chalicelib.operations import common, exports, volume_types
from chalicelib.operations.extensions import complete_extension, extend
from chalicelib.operations.volume_creation import create, dry_run
from chalicelib.operations.volume_records import get, is_not_migrating, snapshots_of
from chalicelib.operations.volume_removal import delete, remove, snapshot_is_removable, taken_along
from chalicelib.operations.volume_resets import reset_status
from chalicelib.rules import states

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
