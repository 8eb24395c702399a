"""Copies of a volume that were accepted and are not made yet: clones and snapshots.

Requests are accepted in one order, and their workflows start in another: a queue keeps no order, and a retry is late.
So a workflow that changes a volume's data or size first waits for what was accepted before it. Otherwise a clone or a
snapshot has bytes of both, or a size that its record does not have. A backup holds the volume's status until its own
snapshot is taken, and is not waited for.
"""

from __future__ import annotations

from collections.abc import Iterator

from chalicelib import errors
from chalicelib.models import Snapshot, Volume, base
from chalicelib.rules import states


def await_none(volume: Volume) -> None:
    """Raise ServiceUnavailable, which the state machine retries, while a clone or snapshot of the volume is pending.

    ``volume`` is held by the caller's workflow and was read after that began, so no other copy is accepted.
    """
    pending = next(_pending(volume), None)
    if pending is not None:
        raise errors.ServiceUnavailable(
            reason=f'volume {volume.id} is being copied to {pending.resource} {pending.id}; try again when that is done'
        )


def _pending(volume: Volume) -> Iterator[Volume | Snapshot]:
    """Clones in other projects (an administrator's) are not found: no index has them."""
    if volume.reader_count:
        source = {'resource': 'volume', 'id': volume.id}
        for clone in base.every(Volume, volume.project_id):
            if clone.status == states.CREATING and source.items() <= (clone.reading or {}).items():
                yield clone
    if volume.snapshot_count:
        for snapshot in base.every(Snapshot, volume.project_id):
            if snapshot.status == states.CREATING and snapshot.volume_id == volume.id and not _exists(snapshot):
                yield snapshot


def _exists(snapshot: Snapshot) -> bool:
    """Whether a snapshot is only brought under management: it copies nothing, and is accepted at any time."""
    return (snapshot.operation or {}).get('action') == 'manage'
