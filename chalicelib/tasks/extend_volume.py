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
from chalicelib.operations import compute, holds, messages, scheduling
from chalicelib.rules import states
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, pending_copies, placement, postponing
from chalicelib.tasks.ownership import Payload, failure, ours, owned, row_of

logger = logging.getLogger(__name__)

#: The event for Nova of a volume that has not grown: none.
SILENT = {'event': 'volume-extended', 'servers': [], 'told': True}


def extend_volume(payload: Payload) -> dict[str, Any]:
    """Claim the growth on the volume's pool, grow the object, and make size and quota follow in one transaction.

    Return the event for Nova: its servers see the new size when they look again.
    """
    volume = owned(Volume, payload)
    pending_copies.await_none(volume)
    new_size, driver = _new_size(volume), backends.driver(volume)
    if volume.attachments and not driver.capabilities.online_extend:
        raise errors.NoValidBackend(reason='The backend cannot extend a volume while it is attached: detach it first.')
    if not _is_finishing(volume):
        _claim(volume, new_size)
    return _grown(volume, driver)


def _is_finishing(volume: Volume) -> bool:
    """Whether the backend had another size before the work began (operations/extensions.py): its report counts it."""
    return volume.operation_facts().get('action') == 'finish_extend'


def _new_size(volume: Volume) -> int:
    return int(volume.operation_facts()['new_size'])


def _grown(volume: Volume, driver: Driver) -> dict[str, Any]:
    """Grow the object, which may be done already, and record it."""
    new_size = _new_size(volume)
    driver.extend_volume(backends.volume_ref(volume), new_size)
    servers, counted = compute.servers_of(volume), _is_finishing(volume)
    kept = new_size if counted else None
    size = [Volume.size.set(new_size)]
    holds.end(volume, ours(volume), states.PREVIOUS, actions=size, grown=True, keep_gb=kept, leaves=counted)
    return {'event': 'volume-extended', 'servers': servers, 'told': not servers}


def _claim(volume: Volume, new_size: int) -> None:
    """Have the scheduler agree, and claim the growth, unless an earlier run has. Raises NoValidBackend."""
    if new_size <= int(volume.claimed_gb or 0):
        return
    placement.check(volume, scheduling.spec_of(volume, 'extend_volume', new_size=new_size), str(volume.host))
    try:
        holds.claim_growth(volume, new_size, ours(volume))
    except holds.NoRoom:
        raise errors.NoValidBackend(
            reason=f'There is no room for {new_size - int(volume.size)} GiB more where the volume is.'
        ) from None


def cancel_extend(payload: Payload) -> None:
    """No room: nothing was touched, so the volume is as before, and a message says why it has not grown."""
    volume = owned(Volume, payload)
    _tell(volume, payload, Detail.NO_BACKEND_AVAILABLE)
    before = volume.operation_facts().get('found', states.PREVIOUS)
    holds.end(volume, ours(volume), before, keep_gb=int(volume.size))


def fail_extend(payload: Payload) -> dict[str, Any]:
    """Find out what became of the object, and make the record say so; a backend that does not answer is asked later.

    One that has its old size leaves the volume as it was, one that has grown is recorded. Else it is error_extending;
    quota and room go back to what its size says. Return the event for Nova.
    """
    volume = owned(Volume, payload)
    if postponing.postpone(volume, payload, ours(volume), Action.EXTEND_VOLUME, Detail.DRIVER_FAILED_EXTEND):
        return SILENT
    size = _size_of(volume)
    if size is not None and size > int(volume.size):
        with contextlib.suppress(errors.DriverError):
            return _grown(volume, backends.driver(volume))
    status = states.PREVIOUS if size == int(volume.size) else row_of(volume).failed
    _tell(volume, payload, Detail.DRIVER_FAILED_EXTEND)
    holds.end(volume, ours(volume), status, keep_gb=int(volume.size))
    return SILENT


def _size_of(volume: Volume) -> int | None:
    """GiB that the volume has on its backend; None when that cannot be known."""
    try:
        return backends.driver(volume).get_volume_size(backends.volume_ref(volume))
    except errors.CinderlessError as error:
        logger.warning('the size of volume %s is unknown: %s', volume.id, error.message)
        return None


def _tell(volume: Volume, payload: Payload, detail: Detail) -> None:
    error, reason = failure(payload)
    messages.create(volume, payload['request_id'], Action.EXTEND_VOLUME, detail, cause=reason, error=error)
