"""Extensions of volumes: accepted, completed by a server, and finished when one ended halfway.

An extension ends halfway when it was given up although its backend carried it out, or when a backend lost it again.
Data is never cut off: the smaller side follows the larger one. A larger object makes record and quota follow; a smaller
one grows to the record's size. Both are the work of extend_volume.
"""

from __future__ import annotations

import functools

from chalicelib import errors
from chalicelib.context import Context, new_request_id
from chalicelib.models import Volume, base
from chalicelib.operations import common, quotas, reservations, services, volume_types
from chalicelib.operations.outcomes import Outcome
from chalicelib.operations.volume_records import get
from chalicelib.rules import extra_specs, states, workflows
from chalicelib.rules.policies import authorize

#: What follows an extension that ended halfway.
ROW = workflows.VOLUME['finish_extend']

#: Since this microversion an attached volume may be extended.
EXTEND_ATTACHED = (3, 42)

#: Administrative metadata of an extension that waits for a server (Cinder's NFS-like drivers).
WAITING = ('extend_new_size', 'extend_reservations')


def extend(context: Context, id: str, new_size: int) -> None:
    """Accept an extension to ``new_size`` GiB: status and quota in one transaction. An attached volume needs 3.42."""
    with common.reading_with(context, Volume, id, *quotas.keys(context.project_id), along=('VolumeType', 'Service')):
        volume = get(context, id)
        growth = new_size - int(volume.size)
        if growth <= 0:
            raise errors.InvalidInput(
                reason=f'New size for extend must be greater than current size. '
                f'(current: {volume.size}, extended: {new_size}).'
            )
        services.refuse_frozen(volume.host)
        kind = volume_types.of(volume)
        if kind:
            extra_specs.check_size(kind.extra_specs, kind.name, new_size)
        attached = volume.status == states.IN_USE and context.microversion >= EXTEND_ATTACHED
        if attached:
            authorize(context, 'volume:extend_attached_volume', find=lambda: volume)
        action = 'extend_attached' if attached else 'extend'
        deltas = {'gigabytes': growth} if volume.consumes_quota else {}
        add_writes_to = functools.partial(_add_growth_to, context, volume, action, new_size)
        quotas.commit(
            volume.project_id, deltas, add_writes_to, type_id=volume.volume_type_id, reserved=deltas, largest=new_size
        )
        common.send(context, action, volume)


def _add_growth_to(context: Context, volume: Volume, action: str, new_size: int, transaction: base.Transaction) -> None:
    row = workflows.VOLUME[action]
    operation = common.operation(row, new_size=new_size)
    growth = new_size - int(volume.size) if volume.consumes_quota else 0
    reserved = [Volume.reserved_gb.set(growth), *volume.end_of_move()]
    actions = [*base.begin_actions(Volume, row, context.request_id, operation), *reserved]
    condition = base.is_allowed(Volume, row) & (Volume.size == volume.size) & (Volume.reserved_gb == 0)
    transaction.update(volume, actions, condition, lambda: _not_extendable(volume, row))


def _not_extendable(volume: Volume, row: workflows.Workflow) -> Exception:
    status = volume.reload().status
    expected = {'status': next(iter(row.allowed))}
    return errors.InvalidVolume(reason=f"Volume {volume.id} status must be '{expected}' to extend, currently {status}.")


def complete_extension(context: Context, id: str, failed: bool) -> None:
    """Complete an extension that waits for a server (3.71). No driver here leaves one waiting; as in Cinder, a volume
    whose extension does not wait is refused.
    """
    volume = get(context, id)
    row = workflows.VOLUME['extend_attached' if volume.attachment_count else 'extend']
    known = volume.admin_metadata
    if volume.status != row.running:
        raise errors.InvalidVolume(reason='Volume is not being extended.')
    if any(key not in known for key in WAITING):
        raise errors.InvalidVolume(reason='Required volume admin metadata is malformed or missing.')
    grown = [] if failed else [Volume.size.set(int(known['extend_new_size']))]
    left = {key: value for key, value in known.items() if key not in WAITING}
    actions = [Volume.admin_metadata.set(left), *grown]
    outcome = Outcome.ended(row.failed) if failed else Outcome(row.done, grown=True)
    reservations.end(volume, Volume.status == row.running, outcome, actions=actions)


def finish(volume: Volume, found_gb: int) -> None:
    """Begin what makes a volume and its object of ``found_gb`` GiB one size; the reconciler starts it.

    Raises StateChanged when the volume was changed since it was read, OverQuota.
    """
    growth = max(found_gb - int(volume.size), 0) if volume.consumes_quota else 0
    deltas = {'gigabytes': growth} if growth else {}
    add_writes_to = functools.partial(_add_extension_to, volume, max(found_gb, int(volume.size)), growth)
    quotas.commit(volume.project_id, deltas, add_writes_to, type_id=volume.volume_type_id, reserved=deltas)


def _add_extension_to(volume: Volume, new_size: int, growth: int, transaction: base.Transaction) -> None:
    operation = common.operation(ROW, new_size=new_size, found=volume.status)
    previous = _status_by_attachments(volume) if volume.status == ROW.failed else None
    actions = base.begin_actions(Volume, ROW, new_request_id(), operation, previous)
    unchanged = base.is_allowed(Volume, ROW) & (Volume.revision == volume.revision) & (Volume.reserved_gb == 0)
    transaction.update(volume, [*actions, Volume.reserved_gb.set(growth)], unchanged)


def _status_by_attachments(volume: Volume) -> str:
    return states.status_after_detach([link['attach_status'] for link in volume.attachments.values()])
