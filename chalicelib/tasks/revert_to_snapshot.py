"""The states of revert_to_snapshot: by the driver, else by copying the snapshot's data over the volume.

Payload of every task: action, resource, project_id, id (of the volume), request_id; after the first also ``copied``.
"""

from __future__ import annotations

import logging
from typing import Any

from chalicelib import errors
from chalicelib.drivers.base import SnapshotRef
from chalicelib.models import Snapshot, Volume
from chalicelib.operations import reverts
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, copying, pending_copies, postponing
from chalicelib.tasks.create_volume import model_actions
from chalicelib.tasks.work import Payload, VolumeWork, failure, is_refusal

logger = logging.getLogger(__name__)


def revert_to_snapshot(payload: Payload) -> dict[str, Any]:
    """Restore the snapshot's data; return {'done', 'next'}: the byte to continue from when time ran short."""
    work = VolumeWork.take(payload)
    volume = work.record
    pending_copies.await_none(volume)
    driver, frozen = backends.driver(volume), _snapshot(volume)
    if driver.capabilities.revert:
        work.update(model_actions(driver.revert_to_snapshot(backends.volume_ref(volume), frozen)))
        return {'done': True, 'next': 0}
    start = (payload.get('copied') or {}).get('next', 0)
    path = work.export_id
    with (
        driver.open_snapshot(frozen, path) as source,
        driver.open_volume(backends.volume_ref(volume), path, 'rw') as target,
    ):
        work.mark_writing()
        return copying.copy(source, target, start, zeroed=False)


def _snapshot(volume: Volume) -> SnapshotRef:
    snapshot = Snapshot.find(volume.project_id, volume.operation_facts()['snapshot_id'])
    return backends.snapshot_ref(snapshot, volume)


def complete_revert(payload: Payload) -> None:
    """End the exports; set volume and snapshot to available together."""
    work = VolumeWork.take(payload)
    _close(work)
    reverts.end(work.record, work.workflow.done)


def fail_revert(payload: Payload) -> None:
    """Report why; the snapshot is untouched, and available again. A backend that does not answer is called later.

    The volume is as it was, when the driver has refused or nothing was copied yet; else it may hold a mixture: error.
    """
    work = VolumeWork.take(payload)
    if postponing.postpone(work, Action.VOLUME_REVERT, Detail.VOLUME_REVERT_POSTPONED):
        return
    untouched = _is_untouched(work)
    try:
        _close(work)
    except (errors.DriverError, errors.SnapshotNotFound) as left:
        logger.warning('a path to volume %s may be left: %s', work.record.id, left.message)
    work.report(Action.VOLUME_REVERT, Detail.VOLUME_REVERT_REFUSED if untouched else Detail.VOLUME_REVERT_ERROR)
    reverts.end(work.record, work.workflow.done if untouched else work.workflow.failed)


def _is_untouched(work: VolumeWork) -> bool:
    """Whether the volume surely has the data that it had before the revert."""
    by_driver = backends.driver(work.record).capabilities.revert
    return is_refusal(failure(work.payload)[0]) if by_driver else not work.has_written


def _close(work: VolumeWork) -> None:
    """Close what the copy opened; a driver with its own revert has opened nothing."""
    volume = work.record
    driver = backends.driver(volume)
    if driver.capabilities.revert:
        return
    driver.close_volume(backends.volume_ref(volume), work.export_id)
    driver.close_snapshot(_snapshot(volume), work.export_id)
