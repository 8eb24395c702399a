"""Attachments: a host's claim on a volume, from reservation to detach (Cinder's attachments API, 3.27).

    create -> reserved --update(connector)--> attaching --complete--> attached --delete--> gone

The volume's record carries a summary of each of its attachments, written in the same transaction as the attachment's
own record, so a volume's view is one read and one condition guards both. A path on the backend is named by the
attachment's id: the same update again gives the same answer.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import uuid
from collections.abc import Callable
from typing import Any, Literal

from pynamodb.expressions.update import Action

from chalicelib import aws, errors
from chalicelib.config import settings
from chalicelib.context import Context
from chalicelib.models import Attachment, Volume, base
from chalicelib.operations import common, volumes
from chalicelib.rules.states import ATTACHABLE, status_after_detach

#: A volume that others change at the same moment is read again this often before the caller is told to retry.
CONTENDED = 8

#: Keys of ``connection_info['data']`` that are sealed, never stored in clear.
SECRET_KEYS = ('auth_password', 'discovery_auth_password')


def get(context: Context, id: str) -> Attachment:
    """The attachment, of the caller's project or (admins) of any. Raises AttachmentNotFound."""
    return common.find(context, Attachment, id)


def list_(context: Context, query: common.ListQuery) -> tuple[list[Attachment], bool]:
    """One page of attachments, newest first, and whether more follow."""
    return common.list_records(context, Attachment, query)


def create(
    context: Context,
    *,
    volume_id: str,
    instance_id: str | None,
    connector: dict[str, Any] | None,
    mode: str | None,
) -> Attachment:
    """Reserve the volume for a host; with a connector, also prepare the path.

    The volume must be available or downloading; a multiattach volume may be in use, and so may any volume for an
    instance that already has an attachment (how Nova migrates).
    """
    volume = volumes.get(context, volume_id)
    attachment = Attachment(
        volume.project_id,
        str(uuid.uuid4()),
        created_at=base.now(),
        user_id=context.user_id,
        volume_id=volume.id,
        instance_id=instance_id,
        attach_status='reserved',
        attach_mode=mode,
    )
    if connector is not None:
        _connect(attachment, connector)
    change(volume, lambda current: _reserve(current, attachment))
    return attachment if connector is None else _open_path(attachment)


def _reserve(volume: Volume, attachment: Attachment) -> Change:
    if 'error' in volume.status:
        raise errors.InvalidVolume(
            reason=f'Volume attachments can not be created if the volume is in an error state. '
            f'The Volume {volume.id} currently has a status of: {volume.status} '
        )
    _check_reservable(volume, attachment)
    return Change('put', attachment, [], _linked(volume, attachment))


def _check_reservable(volume: Volume, attachment: Attachment) -> None:
    allowed = ATTACHABLE | {'in-use'} if volume.multiattach else ATTACHABLE
    if volume.status in allowed or (volume.status in {'in-use', 'reserved'} and _migrates(volume, attachment)):
        return
    expected = ' or '.join(sorted(allowed))
    raise errors.InvalidVolume(
        reason=f'Volume {volume.id} status must be {expected} to reserve, but the current status is {volume.status}.'
    )


def _migrates(volume: Volume, attachment: Attachment) -> bool:
    """An instance may hold a second attachment of its volume: Nova makes one for the host it moves to."""
    holders = {link['instance_id'] for link in volume.attachments.values()}
    return attachment.instance_id is not None and attachment.instance_id in holders


def update(context: Context, id: str, connector: dict[str, Any]) -> Attachment:
    """Give the attachment its connector and prepare the path; the same connector again gives the same answer."""
    attachment = get(context, id)
    volume = Volume.find(attachment.project_id, attachment.volume_id)
    change(volume, lambda current: _attaching(current, attachment, connector))
    return _open_path(attachment)


def _connect(attachment: Attachment, connector: dict[str, Any]) -> list[Action]:
    """Put the connector on the attachment; the actions that do the same to its record."""
    attachment.attach_status, attachment.connector = 'attaching', connector
    attachment.attached_host, attachment.mountpoint = connector.get('host'), connector.get('mountpoint') or 'na'
    return [
        Attachment.attach_status.set('attaching'),
        Attachment.connector.set(connector),
        Attachment.mountpoint.set(attachment.mountpoint),
        _set_or_remove(Attachment.attached_host, attachment.attached_host),
    ]


def _attaching(volume: Volume, attachment: Attachment, connector: dict[str, Any]) -> Change:
    _check_connectable(volume, attachment, connector)
    actions = _connect(attachment, connector)
    return Change('update', attachment, actions, _linked(volume, attachment))


def _check_connectable(volume: Volume, attachment: Attachment, connector: dict[str, Any]) -> None:
    if 'error' in volume.status:
        raise errors.ResourceConflict(
            reason=f'Volume attachments can not be updated if the volume is in an error state. '
            f'The Volume {volume.id} currently has a status of: {volume.status} '
        )
    if attachment.id not in volume.attachments:
        raise errors.AttachmentNotFound(id=attachment.id)
    hosts = {link['host_name'] for key, link in volume.attachments.items() if key != attachment.id}
    if not volume.multiattach and connector.get('host') is not None and connector['host'] in hosts:
        raise errors.ResourceConflict(reason=f'duplicate connectors detected on volume {volume.id}')


def _open_path(attachment: Attachment) -> Attachment:
    """Have the worker prepare the path; what is returned holds the whole answer, the record only a sealed one."""
    payload = {'project_id': attachment.project_id, 'attachment_id': attachment.id}
    info = aws.invoke(settings().volume_worker, 'initialize_attachment', payload)
    attachment.connection_info, attachment.sealed = info, None
    attachment.attach_mode = info['access_mode']
    return attachment


def complete(context: Context, id: str) -> None:
    """The host says it is connected: attachment attached, volume in-use. Repeating it changes nothing."""
    attachment = get(context, id)
    volume = Volume.find(attachment.project_id, attachment.volume_id)
    change(volume, lambda current: attached(current, attachment))


def attached(volume: Volume, attachment: Attachment, verb: Literal['put', 'update'] = 'update') -> Change:
    """The change that makes the attachment, and so the volume, attached."""
    attachment.attach_status = 'attached'
    attachment.attached_at = attachment.attached_at or base.now()
    actions: list[Action] = [
        Attachment.attach_status.set('attached'),
        Attachment.attached_at.set(attachment.attached_at),
    ]
    return Change(verb, attachment, actions, _linked(volume, attachment))


def delete(context: Context, id: str) -> list[Attachment]:
    """Take the path away, then the attachment; return those the volume has left.

    A reservation without a connector has no path. A failing backend leaves the attachment, to be deleted again.
    """
    attachment = get(context, id)
    volume = Volume.find(attachment.project_id, attachment.volume_id)
    if attachment.connector is not None:
        close_path(volume, attachment.id)
    change(volume, lambda current: removed(current, attachment))
    return [Attachment.find(volume.project_id, key) for key in sorted(volume.attachments) if key != id]


def close_path(volume: Volume, export_id: str | None) -> None:
    """Take away one path of the volume, or all of them (None)."""
    if volume.host:
        payload = {'project_id': volume.project_id, 'volume_id': volume.id, 'export_id': export_id}
        aws.invoke(settings().volume_worker, 'terminate_connection', payload)


def removed(volume: Volume, attachment: Attachment) -> Change:
    """The change that removes the attachment; what is left decides the volume's status (Cinder's finish_detach)."""
    links = {key: link for key, link in volume.attachments.items() if key != attachment.id}
    left = sorted(link['attach_status'] for link in links.values())
    actions = [_status(volume, status_after_detach(left)), *_links(links, left[0] if left else 'detached')]
    return Change('delete', attachment, [], actions)


def connection_info(attachment: Attachment) -> dict[str, Any]:
    """What os-brick needs, flattened as Cinder's attachments API shows it, secrets opened; {} before a connector."""
    if attachment.connection_info is None:
        return {}
    secrets = json.loads(aws.unseal(attachment.sealed, attachment.id)) if attachment.sealed else {}
    return {**attachment.connection_info, **secrets}


def seal_connection_info(attachment_id: str, info: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Split connection information into what may be stored in clear and the rest, sealed for this attachment."""
    secrets = {key: info[key] for key in SECRET_KEYS if key in info}
    clear = {key: value for key, value in info.items() if key not in SECRET_KEYS}
    return clear, aws.seal(json.dumps(secrets), attachment_id) if secrets else ''


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """One attachment and its volume, changed together."""

    verb: Literal['put', 'update', 'delete']
    attachment: Attachment
    actions: list[Action]
    volume_actions: list[Action]


def change(volume: Volume, build: Callable[[Volume], Change]) -> None:
    """Apply what ``build`` makes of the volume as it is now; begin again when somebody else was faster."""
    for _ in range(CONTENDED):
        try:
            return _commit(volume, build(volume))
        except errors.StateChanged:
            volume.attribute_values.update(volume.reload().attribute_values)
    raise errors.ServiceUnavailable(reason=f'volume {volume.id} is being changed by too many requests; try again')


def _commit(volume: Volume, change: Change) -> None:
    attachment = change.attachment
    transaction = base.Transaction()
    gone = functools.partial(errors.AttachmentNotFound, id=attachment.id)
    if change.verb == 'put':
        transaction.put(attachment, Attachment.id.does_not_exist(), gone)
    elif change.verb == 'delete':
        transaction.delete(attachment, Attachment.id.exists(), gone)
    else:
        transaction.update(attachment, [*change.actions, *base.touched(Attachment)], Attachment.id.exists(), gone)
    unmoved = Volume.revision == volume.revision
    moved = functools.partial(base.state_changed, volume)
    transaction.update(volume, [*change.volume_actions, *base.touched(Volume)], unmoved, moved)
    transaction.commit()


def _linked(volume: Volume, attachment: Attachment) -> list[Action]:
    """Actions on the volume for an attachment made or changed: its summary, and the status that follows from it."""
    links = {**volume.attachments, attachment.id: _summary(attachment)}
    status = {'attached': 'in-use'}.get(attachment.attach_status, attachment.attach_status)
    return [_status(volume, status), *_links(links, attachment.attach_status)]


def _status(volume: Volume, status: str) -> Action:
    """Set the status; while an operation holds the volume (a backup, a migration), what it returns to afterwards."""
    return Volume.previous_status.set(status) if volume.in_flight else Volume.status.set(status)


def _links(links: dict[str, Any], attach_status: str) -> list[Action]:
    return [
        Volume.attachments.set(links),
        Volume.attachment_count.set(len(links)),
        Volume.attach_status.set(attach_status),
    ]


def _summary(attachment: Attachment) -> dict[str, Any]:
    """What the volume's record keeps of an attachment."""
    return {
        'attach_status': attachment.attach_status,
        'instance_id': attachment.instance_id,
        'host_name': attachment.attached_host,
        'mountpoint': attachment.mountpoint,
        'attached_at': attachment.attached_at,
    }


def _set_or_remove(attribute: Any, value: Any) -> Action:
    return attribute.remove() if value is None else attribute.set(value)  # type: ignore[no-any-return]
