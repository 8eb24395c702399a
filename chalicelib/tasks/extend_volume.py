"""The states of extend_volume.

Payload of every task: action, resource, project_id, id, request_id.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from chalicelib import errors
from chalicelib.drivers.base import Driver
from chalicelib.models import Volume
from chalicelib.operations import compute, extensions, reservations, scheduling
from chalicelib.operations.outcomes import Outcome
from chalicelib.rules import states
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, pending_copies, placement, postponing
from chalicelib.tasks.work import Payload, VolumeWork

logger = logging.getLogger(__name__)

#: The event that Nova receives about a volume that has grown.
EXTENDED = 'volume-extended'


def extend_volume(payload: Payload) -> dict[str, Any]:
    """Claim the growth on the volume's pool, grow the object, and make size and quota follow in one transaction.

    Return the event for Nova: its servers see the new size when they look again.
    """
    work = VolumeWork.take(payload)
    pending_copies.await_none(work.record)
    driver = backends.driver(work.record)
    if work.record.attachments and not driver.capabilities.online_extend:
        raise errors.NoValidBackend(reason='The backend cannot extend a volume while it is attached: detach it first.')
    if not _is_finishing(work):
        _claim(work)
    return _grown(work, driver)


def _is_finishing(work: VolumeWork) -> bool:
    """Whether the backend had another size before the work began (operations/extensions.py): its report counts it."""
    return work.workflow is extensions.ROW


def _new_size(volume: Volume) -> int:
    return int(volume.operation_facts()['new_size'])


def _grown(work: VolumeWork, driver: Driver) -> dict[str, Any]:
    """Grow the object, which may be done already, and record it."""
    volume, new_size = work.record, _new_size(work.record)
    driver.extend_volume(backends.volume_ref(volume), new_size)
    servers = compute.servers_of(volume)
    work.end(Outcome.extended(new_size if _is_finishing(work) else None), [Volume.size.set(new_size)])
    return compute.event(EXTENDED, servers)


def _claim(work: VolumeWork) -> None:
    """Have the scheduler agree, and claim the growth, unless an earlier run has. Raises NoValidBackend."""
    volume, new_size = work.record, _new_size(work.record)
    if new_size <= int(volume.claimed_gb or 0):
        return
    placement.check(volume, scheduling.spec_of(volume, 'extend_volume', new_size=new_size), str(volume.host))
    try:
        reservations.claim_growth(volume, new_size, work.is_ours)
    except reservations.NoCapacity:
        raise errors.NoValidBackend(
            reason=f'The pool of the volume has no capacity for {new_size - int(volume.size)} GiB more.'
        ) from None


def cancel_extend(payload: Payload) -> None:
    """No capacity: nothing was changed; restore the status, and write a user message with the reason."""
    work = VolumeWork.take(payload)
    work.report(Action.EXTEND_VOLUME, Detail.NO_BACKEND_AVAILABLE)
    before = work.record.operation_facts().get('found', states.PREVIOUS)
    work.end(Outcome.not_extended(work.record, before))


def fail_extend(payload: Payload) -> dict[str, Any]:
    """Find out the object's size, and record the result; a backend that does not answer is called again later.

    One that has its old size leaves the volume as it was, one that has grown is recorded. Else it is error_extending;
    quota and claim follow the volume's size. Return the event for Nova.
    """
    work = VolumeWork.take(payload)
    if postponing.postpone(work, Action.EXTEND_VOLUME, Detail.DRIVER_FAILED_EXTEND):
        return compute.event(EXTENDED)
    volume, size = work.record, _size_of(work.record)
    if size is not None and size > int(volume.size):
        with contextlib.suppress(errors.DriverError):
            return _grown(work, backends.driver(volume))
    status = states.PREVIOUS if size == int(volume.size) else work.workflow.failed
    work.report(Action.EXTEND_VOLUME, Detail.DRIVER_FAILED_EXTEND)
    work.end(Outcome.not_extended(volume, status))
    return compute.event(EXTENDED)


def _size_of(volume: Volume) -> int | None:
    """GiB that the volume has on its backend; None when that cannot be known."""
    try:
        return backends.driver(volume).get_volume_size(backends.volume_ref(volume))
    except errors.CinderlessError as error:
        logger.warning('the size of volume %s is unknown: %s', volume.id, error.message)
        return None
