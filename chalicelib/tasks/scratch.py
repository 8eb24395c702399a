"""The scratch volume of a restore drill: placed and made like any other, seen by its project, removed at the end."""

from __future__ import annotations

from chalicelib import errors
from chalicelib.models import Volume
from chalicelib.operations import backup_checks, common, moves
from chalicelib.rules import workflows
from chalicelib.tasks import backends, placement
from chalicelib.tasks.create_volume import model_actions
from chalicelib.tasks.work import Payload, VolumeWork


def take(payload: Payload) -> VolumeWork:
    """Return the work on the scratch volume, while the drill owns it. Raises BackupCanceled."""
    volume = _find(payload)
    if volume is None:
        raise errors.BackupCanceled(id=payload['id'])
    return VolumeWork.beside(volume, workflows.VOLUME['drill'], payload)


def _find(payload: Payload) -> Volume | None:
    id = backup_checks.scratch_id(payload['id'], payload['request_id'])
    return Volume.find_or_none(payload['project_id'], id)


def prepare_scratch(payload: Payload) -> None:
    """Claim capacity for the scratch volume, and make it, empty. Raises NoValidBackend."""
    work = take(payload)
    if not work.record.host:
        placement.place(work)
        work = take(payload)
    volume = work.record
    work.update(model_actions(backends.driver(volume).create_volume(backends.volume_ref(volume, new=True))))


def discard(payload: Payload) -> None:
    """Have the scratch volume removed, with its exports; one that is gone, or being removed, is not an error."""
    volume = _find(payload)
    if volume is None:
        return
    if volume.operation_facts().get('action') == 'force_delete':
        common.enqueue(volume, 'force_delete', payload['request_id'])  # on its way, but perhaps for this message
    else:
        moves.discard(volume)
