"""The states of revert_to_snapshot: by the driver, else by copying the snapshot's data over the volume.

Payload of every task: action, resource, project_id, id (of the volume), request_id; after the first also ``copied``.
"""

from __future__ import annotations

import logging
import uuid
from typing import Any

from chalicelib import errors
from chalicelib.drivers.base import SnapshotRef
from chalicelib.models import Snapshot, Volume, base
from chalicelib.operations import messages, reverts
from chalicelib.rules import workflows
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, begun, copying, pending_copies, postponing
from chalicelib.tasks.create_volume import model_actions
from chalicelib.tasks.ownership import Payload, failure, ours, owned

logger = logging.getLogger(__name__)


def revert_to_snapshot(payload: Payload) -> dict[str, Any]:
    """Bring the snapshot's data back; {'done', 'next'}: the byte to go on from when time ran short."""
    volume = owned(Volume, payload)
    pending_copies.await_none(volume)
    driver, frozen = backends.driver(volume), _snapshot(volume)
    if driver.capabilities.revert:
        update = driver.revert_to_snapshot(backends.volume_ref(volume), frozen)
        base.update(volume, [*model_actions(update), *base.touched(Volume)], ours(volume))
        return {'done': True, 'next': 0}
    start = (payload.get('copied') or {}).get('next', 0)
    path = _path_id(payload)
    with (
        driver.open_snapshot(frozen, path) as source,
        driver.open_volume(backends.volume_ref(volume), path, 'rw') as target,
    ):
        begun.note(volume, ours(volume))
        return copying.copy(source, target, start, zeroed=False)


def _snapshot(volume: Volume) -> SnapshotRef:
    snapshot = Snapshot.find(volume.project_id, volume.operation_facts()['snapshot_id'])
    return backends.snapshot_ref(snapshot, volume)


def _path_id(payload: Payload) -> str:
    """The name of this revert's paths: a late task of another one must not take them away."""
    return str(uuid.uuid5(uuid.UUID(payload['id']), payload['request_id']))


def complete_revert(payload: Payload) -> None:
    """Take the paths away; volume and snapshot are available, together."""
    volume = owned(Volume, payload)
    _close(volume, payload)
    reverts.end(volume, workflows.VOLUME['revert'].done)


def fail_revert(payload: Payload) -> None:
    """Say why; the snapshot is untouched, and available again. A backend that does not answer is asked later.

    The volume is as it was, when the driver has refused or nothing was copied yet; else it may hold a mixture: error.
    """
    volume = owned(Volume, payload)
    error, reason = failure(payload)
    if postponing.postpone(volume, payload, ours(volume), Action.VOLUME_REVERT, Detail.VOLUME_REVERT_POSTPONED):
        return
    untouched = _is_untouched(volume, error)
    try:
        _close(volume, payload)
    except (errors.DriverError, errors.SnapshotNotFound) as left:
        logger.warning('a path to volume %s may be left: %s', volume.id, left.message)
    messages.create(
        volume,
        payload['request_id'],
        Action.VOLUME_REVERT,
        Detail.VOLUME_REVERT_REFUSED if untouched else Detail.VOLUME_REVERT_ERROR,
        cause=reason,
        error=error,
    )
    reverts.end(volume, workflows.VOLUME['revert'].done if untouched else workflows.VOLUME['revert'].failed)


def _is_untouched(volume: Volume, error: str) -> bool:
    """Whether the volume surely has the data that it had before the revert."""
    by_driver = backends.driver(volume).capabilities.revert
    return begun.is_refusal(error) if by_driver else not begun.has(volume)


def _close(volume: Volume, payload: Payload) -> None:
    """Take away what the copy opened; a driver that reverts by itself has opened nothing."""
    driver, path = backends.driver(volume), _path_id(payload)
    if driver.capabilities.revert:
        return
    driver.close_volume(backends.volume_ref(volume), path)
    driver.close_snapshot(_snapshot(volume), path)
