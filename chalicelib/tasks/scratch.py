"""The scratch volume of a restore drill: placed and made like any other, seen by its project, removed at the end."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.models import Volume, base
from chalicelib.operations import backup_checks, common, moves
from chalicelib.rules import workflows
from chalicelib.tasks import backends, placement
from chalicelib.tasks.create_volume import model_actions
from chalicelib.tasks.ownership import ours

Payload = dict[str, Any]


def owned(payload: Payload) -> Volume:
    """The scratch volume, while the drill has it. Raises BackupCanceled."""
    try:
        volume = Volume.find(payload['project_id'], backup_checks.scratch_id(payload['id'], payload['request_id']))
    except errors.VolumeNotFound:
        raise errors.BackupCanceled(id=payload['id']) from None
    if volume.status != workflows.VOLUME['drill'].running or volume.owner != payload['request_id']:
        raise errors.BackupCanceled(id=payload['id'])
    return volume


def prepare_scratch(payload: Payload) -> None:
    """Claim room for the scratch volume, and make it, empty. Raises NoValidBackend."""
    volume = owned(payload)
    if not volume.host:
        placement.place(volume, ours(volume))
        volume = owned(payload)
    update = backends.driver(volume).create_volume(backends.volume_ref(volume, new=True))
    base.update(volume, [*model_actions(update), *base.touched(Volume)], ours(volume))


def discard(payload: Payload) -> None:
    """Have the scratch volume removed, with its paths; one that is gone, or going, is no error."""
    try:
        volume = Volume.find(payload['project_id'], backup_checks.scratch_id(payload['id'], payload['request_id']))
    except errors.VolumeNotFound:
        return
    if volume.operation_facts().get('action') == 'force_delete':
        common.enqueue(volume, 'force_delete', payload['request_id'])  # on its way, but perhaps for this message
    else:
        moves.discard(volume)
