"""Attachments: a host's claim on a volume, from reservation to detach (Cinder's attachments API, 3.27).

    create -> reserved --update(connector)--> attaching --complete--> attached --delete--> gone

The volume's record carries a summary of each of its attachments, written in the same transaction as the attachment's
own record, so a volume's view is one read and one condition guards both. An export on the backend is named by the
attachment's id: the same update again gives the same answer.

An attachment with a connector is the record of its export: it is written before the worker is called and removed after
the export is gone. ``attempt`` names the newest of these requests. A worker records its answer under the attempt that
it works for, so a late worker records nothing, and ends the export that it made.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import uuid
from collections.abc import Callable, Collection
from typing import Any, Literal, NamedTuple

from pynamodb.expressions.update import Action

from chalicelib import aws, errors
from chalicelib.context import Context
from chalicelib.models import Attachment, Volume, base, claims, reading
from chalicelib.operations import common, compute, exports, idempotency, initiators, messages, volumes, workers
from chalicelib.rules import states
from chalicelib.rules.messages import Action as Tried
from chalicelib.rules.messages import Detail
from chalicelib.rules.policies import authorize

logger = logging.getLogger(__name__)

#: Keys of ``connection_info`` that are sealed, never stored in clear.
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
    """Reserve the volume for a host; with a connector, also make its export.

    The volume must be available or downloading; a multiattach volume may be in use, and so may any volume for an
    instance that already has an attachment. An export that cannot be made leaves no attachment behind: no client would
    know its id (Cinder leaves the volume reserved).
    """
    made = claims.made(Attachment)
    if made is not None:
        return made if connector is None else update(context, made.id, connector)
    names = initiators.keys(connector) if connector is not None else ()
    with common.reading_with(context, Volume, volume_id, *names):
        volume = volumes.get(context, volume_id)
        if connector is not None:
            initiators.check(context, volume.project_id, connector)
    if volume.multiattach and volume.bootable and volume.status == states.IN_USE:
        authorize(context, 'volume:multiattach_bootable_volume', find=lambda: volume)
    if volume.status == states.AVAILABLE and not volume.attachments:
        volume = exports.end_all(volume)  # what a host that never attached has left
    attachment = Attachment(
        volume.project_id,
        str(uuid.uuid4()),
        created_at=base.now(),
        user_id=context.user_id,
        volume_id=volume.id,
        instance_id=instance_id,
        attach_status=states.RESERVED,
        attach_mode=mode,
    )
    if connector is not None:
        _connect(attachment, connector)
    volume, attachment = change(volume, attachment, _reserve)
    reading.remember(attachment)
    if connector is None:
        return attachment
    try:
        return _open_export(attachment, volume)
    except errors.CinderlessError as error:
        _withdraw(volume, attachment, error)
        _report_failure(context, volume, error)
        raise


def check_not_moving(volume: Volume) -> None:
    """Raise InvalidVolume while the volume's data is copied elsewhere: what a server writes now would be lost."""
    if volume.migration_status not in states.NOT_MIGRATING:
        raise errors.InvalidVolume(reason=f'Volume {volume.id} is being migrated; attach it when that is done.')


def _reserve(volume: Volume, attachment: Attachment) -> Change:
    _check_no_error(volume, 'created', errors.InvalidVolume)
    check_not_moving(volume)
    if attachment.connector is not None:
        exports.check_allowed(volume)
    allowed = [one for one in states.ATTACHABLE_MULTIATTACH if volume.multiattach or one in states.ATTACHABLE]
    if volume.status in allowed:
        return Change('put', [], _linked(volume, attachment, _status_of(attachment)))
    if volume.status in states.ATTACHABLE_AGAIN and _has_another(volume, attachment.instance_id):
        status = volume.status if attachment.attach_status == states.RESERVED else _status_of(attachment)
        return Change('put', [], _linked(volume, attachment, status))
    raise errors.InvalidVolume(
        reason=f'Volume {volume.id} status must be {" or ".join(allowed)} to reserve, '
        f'but the current status is {volume.status}.'
    )


def _check_no_error(volume: Volume, verb: str, refusal: type[errors.InvalidVolume | errors.ResourceConflict]) -> None:
    if states.is_error(volume.status):
        raise refusal(
            reason=f'Volume attachments can not be {verb} if the volume is in an error state. '
            f'The Volume {volume.id} currently has a status of: {volume.status} '
        )


def _has_another(volume: Volume, instance_id: str | None) -> bool:
    """Whether the instance has an attachment of the volume."""
    return instance_id is not None and instance_id in {link['instance_id'] for link in volume.attachments.values()}


def _withdraw(volume: Volume, attachment: Attachment, error: errors.CinderlessError) -> None:
    """Remove an attachment whose creation failed, at once, so that the request can be repeated.

    The host does not know how to connect. An export that cannot be ended now stays on the volume's record, and is ended
    later: by the next attachment, by any operation that changes the right to the data, or by the reconciler.
    """
    try:
        attachment = exports.supersede(attachment)
        closed = exports.withdraw(volume, attachment.id, error)
        change(volume.reload(), attachment, functools.partial(_withdrawn, closed=closed))
        idempotency.undo()
    except errors.CinderlessError as left:
        logger.warning('attachment %s is left: %s', attachment.id, left.message)


def _withdrawn(volume: Volume, attachment: Attachment, closed: bool) -> Change:
    gone = removed(volume, attachment)
    if closed or not volume.host:
        return gone
    left = Volume.exports.set({**volume.exports, attachment.id: exports.left_by(attachment)})
    return gone._replace(volume_actions=[*gone.volume_actions, left])


def update(context: Context, id: str, connector: dict[str, Any]) -> Attachment:
    """Give the attachment its connector and make its export; the same connector again gives the same answer.

    When the export cannot be made the attachment is what it was before, so it still holds the volume (as in Cinder).
    """
    with common.reading_with(context, Attachment, id, *initiators.keys(connector), along=('Volume',)):
        attachment = get(context, id)
        volume = Volume.find(attachment.project_id, attachment.volume_id)
        initiators.check(context, attachment.project_id, connector)
    before = attachment.attach_status
    volume, attachment = change(volume, attachment, functools.partial(_attaching, connector=connector))
    try:
        return _open_export(attachment, volume)
    except errors.CinderlessError as error:
        with contextlib.suppress(errors.CinderlessError):
            change(volume.reload(), attachment.reload(), functools.partial(_back_to, status=before))
        _report_failure(context, volume, error)
        raise


def _report_failure(context: Context, volume: Volume, error: errors.CinderlessError) -> None:
    """Leave a user message of an export that could not be made, unless the request itself was at fault."""
    if not isinstance(error, errors.Invalid | errors.NotFound):
        name = type(error).__name__
        messages.create(
            volume, context.request_id, Tried.UPDATE_ATTACHMENT, Detail.ATTACH_ERROR, cause=error.message, error=name
        )


def _connect(attachment: Attachment, connector: dict[str, Any]) -> list[Action]:
    """Put the connector on the attachment; the actions that do the same to its record."""
    attachment.attach_status, attachment.connector = states.ATTACHING, connector
    attachment.attached_host, attachment.mountpoint = connector.get('host'), connector.get('mountpoint') or 'na'
    attachment.attempt = exports.new_attempt()
    return [
        Attachment.attempt.set(attachment.attempt),
        Attachment.attach_status.set(states.ATTACHING),
        Attachment.connector.set(connector),
        Attachment.mountpoint.set(attachment.mountpoint),
        common.set_or_remove(Attachment.attached_host, attachment.attached_host),
    ]


def _attaching(volume: Volume, attachment: Attachment, connector: dict[str, Any]) -> Change:
    _check_no_error(volume, 'updated', errors.ResourceConflict)
    exports.check_allowed(volume)
    hosts = {link['host_name'] for key, link in volume.attachments.items() if key != attachment.id}
    if not volume.multiattach and connector.get('host') is not None and connector['host'] in hosts:
        raise errors.ResourceConflict(reason=f'duplicate connectors detected on volume {volume.id}')
    actions = _connect(attachment, connector)
    return Change('update', actions, _linked(volume, attachment, states.ATTACHING))


def _back_to(volume: Volume, attachment: Attachment, status: str) -> Change:
    """Undo ``attaching`` unless the attachment is complete by now; keep the connector, which ends the export later."""
    if attachment.attach_status == states.ATTACHING:
        attachment.attach_status = status
    actions: list[Action] = [Attachment.attach_status.set(attachment.attach_status)]
    statuses = [link['attach_status'] for key, link in volume.attachments.items() if key != attachment.id]
    following = states.status_after_detach([*statuses, attachment.attach_status])
    return Change('update', actions, _linked(volume, attachment, following))


def _open_export(attachment: Attachment, volume: Volume) -> Attachment:
    """Have the worker make the export; what is returned holds the whole answer, the record only a sealed one."""
    payload = {
        'project_id': attachment.project_id,
        'attachment_id': attachment.id,
        'attempt': attachment.attempt,
        'related': reading.as_payload(attachment, volume, along=('Volume', 'VolumeType')),
    }
    info = workers.call('initialize_attachment', payload)
    attachment.connection_info, attachment.sealed = info, None
    attachment.attach_mode = info['access_mode']
    return attachment


def complete(context: Context, id: str) -> None:
    """Record that the host is connected: attachment attached, volume in-use. Repeating it changes nothing."""
    with common.reading_with(context, Attachment, id, along=('Volume',)):
        attachment = get(context, id)
        if attachment.attach_status != states.ATTACHED:
            change(Volume.find(attachment.project_id, attachment.volume_id), attachment, attached)


def attached(volume: Volume, attachment: Attachment, verb: Literal['put', 'update'] = 'update') -> Change:
    """The change that makes the attachment, and so the volume, attached."""
    attachment.attach_status = states.ATTACHED
    attachment.attached_at = attachment.attached_at or base.now()
    actions: list[Action] = [
        Attachment.attach_status.set(states.ATTACHED),
        Attachment.attached_at.set(attachment.attached_at),
    ]
    return Change(verb, actions, _linked(volume, attachment, states.IN_USE))


def delete(context: Context, id: str) -> list[Attachment]:
    """Take the export away, then the attachment; return those the volume has left.

    A reservation without a connector has no export. A failing backend leaves the attachment, to be deleted again. An
    attachment of a volume that was removed by force is all that is left of it. One that a server uses is the server's:
    raises ConflictNovaUsingAttachment.
    """
    with common.reading_with(context, Attachment, id, along=('Volume',)):
        attachment = get(context, id)
        volume = Volume.find_or_none(attachment.project_id, attachment.volume_id)
    if volume is None:
        _forget(attachment)
        return []
    compute.check_deletion(context, attachment)
    volume = disconnect(volume, attachment, exports.of_attachment(volume, attachment))
    left = [(volume.project_id, key) for key in volume.attachments if key != id]
    return sorted(Attachment.batch_get(left, consistent_read=True), key=lambda found: str(found.created_at))


def _forget(attachment: Attachment) -> None:
    gone = functools.partial(errors.AttachmentNotFound, id=attachment.id)
    with base.Transaction() as transaction:
        transaction.delete(attachment, Attachment.id.exists(), gone)


def disconnect(volume: Volume, attachment: Attachment, ids: Collection[str] | None) -> Volume:
    """Take exports away (None: all of the volume), then remove the attachment; return the volume.

    A backend that fails leaves the attachment as it is, to be deleted again. Raises ServiceUnavailable when another
    request connects the attachment at the same time.
    """
    if attachment.connector is not None or ids is None or len(ids) > 1:
        attachment = exports.supersede(attachment)
        volume = exports.end(volume, ids)
    ended = functools.partial(_removed_if_unchanged, attempt=attachment.attempt)
    volume, _ = change(volume, attachment, ended)
    return volume


def _removed_if_unchanged(volume: Volume, attachment: Attachment, attempt: str | None) -> Change:
    if attachment.attempt != attempt:
        raise errors.ServiceUnavailable(reason=f'attachment {attachment.id} is being connected just now; try again')
    return removed(volume, attachment)


def removed(volume: Volume, attachment: Attachment) -> Change:
    """The change that removes the attachment; what is left decides the volume's status (Cinder's finish_detach)."""
    links = {key: link for key, link in volume.attachments.items() if key != attachment.id}
    status = states.status_after_detach([link['attach_status'] for link in links.values()])
    return Change('delete', [], [_status(volume, status), *_links(links)])


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


class Change(NamedTuple):
    """What happens to an attachment and to its volume, together."""

    verb: Literal['put', 'update', 'delete']
    actions: list[Action]
    volume_actions: list[Action]


def change(
    volume: Volume, attachment: Attachment, make_change: Callable[[Volume, Attachment], Change]
) -> tuple[Volume, Attachment]:
    """Apply what ``make_change`` makes of both records, read again while others change them; return them.

    ``make_change`` may be called often, and never invokes a worker. Raises AttachmentNotFound when the attachment is
    gone, VolumeNotFound likewise, and ServiceUnavailable when others are faster every time.
    """
    for _ in range(common.CONTENDED):
        made = make_change(volume, attachment)
        try:
            _commit(volume, attachment, made)
        except errors.StateChanged:
            volume = volume.reload()
            attachment = attachment if made.verb == 'put' else attachment.reload()
        else:
            return volume, attachment
    raise common.contended(volume)


def _commit(volume: Volume, attachment: Attachment, made: Change) -> None:
    moved = functools.partial(base.state_changed, volume)
    same = Attachment.revision == attachment.revision
    with base.Transaction() as transaction:
        if made.verb == 'put':
            transaction.put(attachment, Attachment.id.does_not_exist(), moved)
        elif made.verb == 'delete':
            transaction.delete(attachment, same, moved)
        else:
            transaction.update(attachment, [*made.actions, *base.touched(Attachment)], same, moved)
        unmoved = Volume.revision == volume.revision
        transaction.update(volume, [*made.volume_actions, *base.touched(Volume)], unmoved, moved)


def _status_of(attachment: Attachment) -> str:
    """The volume's status while this attachment is made."""
    return states.STATUS_BY_ATTACHMENTS[attachment.attach_status]


def _linked(volume: Volume, attachment: Attachment, status: str) -> list[Action]:
    """Actions on the volume for an attachment made or changed: its summary, and the status that follows from it."""
    links = {**volume.attachments, attachment.id: _summary(attachment)}
    return [_status(volume, status), *_links(links)]


def _status(volume: Volume, status: str) -> Action:
    """Set the status; while an operation holds the volume (a backup, a migration), what it returns to afterwards."""
    return Volume.previous_status.set(status) if volume.in_flight else Volume.status.set(status)


def _links(links: dict[str, Any]) -> list[Action]:
    """Return the actions that write the volume's attachments; its attach_status is attached while any of them is."""
    statuses = sorted(link['attach_status'] for link in links.values())
    return [
        Volume.attachments.set(links),
        Volume.attachment_count.set(len(links)),
        Volume.attach_status.set(statuses[0] if statuses else states.DETACHED),
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
