"""The states of extend_volume.

Payload of every task: action, resource, project_id, id, request_id.
"""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.models import Volume
from chalicelib.operations import compute, holds, messages, scheduling
from chalicelib.rules import states
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, placement
from chalicelib.tasks.ownership import Payload, failure, ours, owned, row_of


def extend_volume(payload: Payload) -> dict[str, Any]:
    """Claim the growth on the volume's pool, grow the object, and make size and quota follow in one transaction.

    Return what Nova is to be told: its servers see the new size when they look again.
    """
    volume = owned(Volume, payload)
    new_size = int(volume.operation_facts()['new_size'])
    driver = backends.driver(volume)
    if volume.attachments and not driver.capabilities.online_extend:
        raise errors.NoValidBackend(reason='The backend cannot extend a volume while it is attached: detach it first.')
    _claim(volume, new_size)
    driver.extend_volume(backends.volume_ref(volume), new_size)
    servers = compute.servers_of(volume)
    holds.end(volume, ours(volume), states.PREVIOUS, actions=[Volume.size.set(new_size)], grown=True)
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
    holds.end(volume, ours(volume), states.PREVIOUS, keep_gb=int(volume.size))


def fail_extend(payload: Payload) -> None:
    """Say why the volume could not be grown; quota and room go back to what its size says."""
    volume = owned(Volume, payload)
    _tell(volume, payload, Detail.DRIVER_FAILED_EXTEND)
    holds.end(volume, ours(volume), row_of(volume).failed, keep_gb=int(volume.size))


def _tell(volume: Volume, payload: Payload, detail: Detail) -> None:
    error, reason = failure(payload)
    messages.create(volume, payload['request_id'], Action.EXTEND_VOLUME, detail, cause=reason, error=error)
