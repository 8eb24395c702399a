"""Attach and detach as Nova did it before the attachments API: reserve, initialize, attach, and back.

    available --os-reserve--> attaching --os-attach--> in-use --os-begin_detaching--> detaching --os-detach--> available

Here the export is made before the attachment exists, so the volume's own record names it (operations/exports.py).
"""

from __future__ import annotations

import uuid
from typing import Any

from pynamodb.expressions.condition import Condition

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Attachment, Volume, base
from chalicelib.operations import attachments, compute, exports, initiators, messages, volumes, workers
from chalicelib.rules import states, workflows
from chalicelib.rules.messages import Action, Detail

#: Namespace of the names of exports that were made before the volume's record named them.
UNRECORDED = uuid.UUID('6f1f5d52-2f0b-5d0e-9d3c-5c1b6b0c7a61')


def reserve(context: Context, volume_id: str) -> None:
    """os-reserve: reserve the volume, so that no other request attaches it."""
    volume = volumes.get(context, volume_id)
    row = workflows.VOLUME['reserve_multiattach' if volume.multiattach else 'reserve']
    attachments.check_not_moving(volume)
    if volume.status == states.AVAILABLE and not volume.attachments:
        volume = exports.end_all(volume)  # what a host that never attached has left
    if not _move(volume, row.running, base.is_allowed(Volume, row) & volumes.is_not_migrating()):
        raise errors.InvalidVolume(
            reason=f'Volume status must be {" or ".join(sorted(row.allowed))} to reserve, '
            f'but the status is {volume.reload().status}.'
        )


def unreserve(context: Context, volume_id: str) -> None:
    """os-unreserve: back to available, or in-use when attachments are left; any other status stays as it is."""
    _unreserve(volumes.get(context, volume_id))


def _unreserve(volume: Volume) -> None:
    row = workflows.VOLUME['reserve']
    status = row.done if volume.attachments else row.failed
    same = Volume.attachment_count == volume.attachment_count
    _move(volume, status, (Volume.status == row.running) & same)


def begin_detaching(context: Context, volume_id: str) -> None:
    """os-begin_detaching: set the status to ``detaching`` before the host disconnects."""
    volume, row = volumes.get(context, volume_id), workflows.VOLUME['begin_detaching']
    attached = base.is_allowed(Volume, row) & (Volume.attach_status == states.ATTACHED)
    if not _move(volume, row.running, attached & volumes.is_not_migrating()):
        raise errors.InvalidVolume(
            reason="Unable to detach volume. Volume status must be 'in-use' and attach_status must be 'attached' "
            'to detach.'
        )


def roll_detaching(context: Context, volume_id: str) -> None:
    """os-roll_detaching: set the status back, since the host stays connected."""
    row = workflows.VOLUME['begin_detaching']
    _move(volumes.get(context, volume_id), row.failed, Volume.status == row.running)


def _move(volume: Volume, status: str, condition: Condition) -> bool:
    """Set the status under a condition; whether it held."""
    try:
        base.update(volume, [Volume.status.set(status), *base.touched(Volume)], condition)
    except errors.StateChanged:
        return False
    return True


def initialize_connection(context: Context, volume_id: str, connector: dict[str, Any]) -> dict[str, Any]:
    """os-initialize_connection: make the export for this host and return its connection info, which is not stored.

    The export is recorded before the worker is called. One that cannot be made ends at once, or is ended later.
    Raises InvalidVolume in a status in which the data is not the project's to give (Cinder: in maintenance alone).
    """
    volume = volumes.get(context, volume_id)
    if volume.status == states.MAINTENANCE:
        raise errors.InvalidVolume(reason='The volume connection cannot be initialized in maintenance mode.')
    initiators.check(context, volume.project_id, connector)
    volume, export_id, new = exports.intend(context, volume, connector)
    payload = {
        'project_id': volume.project_id,
        'volume_id': volume.id,
        'export_id': export_id,
        'connector': connector,
    }
    try:
        info: dict[str, Any] = workers.call('initialize_connection', payload)
    except errors.CinderlessError as error:
        if new:
            exports.withdraw(volume, export_id, error)
        raise
    return info


def terminate_connection(context: Context, volume_id: str, connector: dict[str, Any] | None) -> None:
    """os-terminate_connection: end this host's export (all exports without a connector), and unreserve."""
    volume = volumes.get(context, volume_id)
    compute.check_paths(context, volume)
    _unreserve(exports.end(volume, _of_host(volume, connector) if connector else None))


def _of_host(volume: Volume, connector: dict[str, Any]) -> list[str]:
    known = exports.of_host(volume, connector)
    return [known or unrecorded_id(volume.id, connector)]


def unrecorded_id(volume_id: str, connector: dict[str, Any]) -> str:
    """The name that an export from this host to this volume had before exports were recorded (0.1)."""
    return str(uuid.uuid5(UNRECORDED, f'{volume_id}/{connector.get("initiator") or connector.get("host")}'))


def attach(
    context: Context,
    volume_id: str,
    *,
    instance_id: str | None,
    host_name: str | None,
    mountpoint: str,
    mode: str | None,
) -> None:
    """os-attach: record that the host is connected. Repeating it for the same instance or host changes nothing."""
    volume = volumes.get(context, volume_id)
    if volume.status == states.MAINTENANCE:
        raise errors.InvalidVolume(reason='The volume cannot be attached in maintenance mode.')
    _check_mode(context, volume, mode)
    attachment = Attachment(
        volume.project_id,
        str(uuid.uuid4()),
        created_at=base.now(),
        user_id=context.user_id,
        volume_id=volume.id,
        instance_id=instance_id,
        attach_mode=mode or 'rw',
        attached_host=host_name,
        mountpoint=mountpoint,
    )
    if not _holds(volume, attachment):
        attachments.change(volume, attachment, _attached)


def _check_mode(context: Context, volume: Volume, mode: str | None) -> None:
    """Refuse to attach a read-only volume for writing, and end its reservation."""
    if volume.admin_metadata.get('readonly') == 'True' and mode != 'ro':
        error = errors.InvalidAttachmentMode(mode=mode, volume_id=volume.id)
        detail = Detail.VOLUME_ATTACH_MODE_INVALID
        messages.create(volume, context.request_id, Action.ATTACH_VOLUME, detail, cause=error.message)
        _unreserve(volume)
        raise error


def _holds(volume: Volume, attachment: Attachment) -> bool:
    """Whether the instance or host is attached already."""
    wanted = (attachment.instance_id, attachment.attached_host)
    held = {(link['instance_id'], link['host_name']) for link in volume.attachments.values()}
    return volume.status == states.IN_USE and wanted in held


def _attached(volume: Volume, attachment: Attachment) -> attachments.Change:
    allowed = states.OS_ATTACHABLE | {states.IN_USE} if volume.multiattach else states.OS_ATTACHABLE
    if volume.status not in allowed:
        raise errors.InvalidVolume(
            reason=f'Volume {volume.id} status must be {" or ".join(sorted(allowed))} to attach, '
            f'but the current status is {volume.status}.'
        )
    attachments.check_not_moving(volume)
    made = attachments.attached(volume, attachment, verb='put')
    return made._replace(volume_actions=[*made.volume_actions, Volume.exports.set(exports.bind(volume, attachment))])


def detach(context: Context, volume_id: str, attachment_id: str | None) -> None:
    """os-detach: delete the attachment. A single one needs no attachment_id; a missing one is not an error."""
    volume = volumes.get(context, volume_id)
    if volume.status == states.MAINTENANCE:
        raise errors.InvalidVolume(reason='The volume cannot be detached in maintenance mode.')
    if attachment_id is None and len(volume.attachments) > 1:
        raise errors.InvalidVolume(
            reason='Detach volume failed: More than one attachment, but no attachment_id provided.'
        )
    wanted = attachment_id or next(iter(volume.attachments), None)
    if wanted is not None and wanted in volume.attachments:
        compute.check_paths(context, volume, [wanted])
        attachment = Attachment.find(volume.project_id, wanted)
        attachments.disconnect(volume, attachment, _ending(volume, attachment))
    else:
        _settle(volume)


def _settle(volume: Volume) -> None:
    """Set the status of a volume that waits for a host to the one that follows from its attachments."""
    status = states.status_after_detach([link['attach_status'] for link in volume.attachments.values()])
    same = Volume.attachment_count == volume.attachment_count
    _move(volume, status, Volume.status.is_in(*states.AWAITING_SERVER) & same)


def _ending(volume: Volume, attachment: Attachment) -> set[str] | None:
    """With the only attachment of a volume that no other host may attach all exports end (None)."""
    alone = len(volume.attachments) == 1 and not volume.multiattach
    return None if alone else exports.of_attachment(volume, attachment)


def force_detach(context: Context, volume_id: str, attachment_id: str | None, connector: dict[str, Any] | None) -> None:
    """os-force_detach: end the export and remove the attachment, whether or not the host has disconnected."""
    if connector:
        terminate_connection(context, volume_id, connector)
    detach(context, volume_id, attachment_id)
