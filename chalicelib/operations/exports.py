"""Exports: what lets a host reach a volume's data. Each belongs to a record, and ends with the right to the data.

An attachment's own record names its export. All others are entries of the volume's ``exports``: those that
os-initialize_connection makes before there is an attachment, and those of removed attachments that the backend has not
ended yet.

    intend -> (worker makes it, and sees that it is still intended) -> end: mark, (worker ends it), forget

The entry is written before the worker is called, in one conditional write on the volume as it was read, so an operation
that changes the right to the data (a transfer, a restore, the read-only flag, ...) finds it: it ends the entries first,
and has ``are_none`` in its own condition. A mark stops a late worker: it finds its attempt gone, and ends the export
that it made.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Attachment, Volume, base, reading
from chalicelib.operations import common, workers
from chalicelib.rules import bounds, states

logger = logging.getLogger(__name__)

#: Entries by export id: initiator, host, mode, user_id, created_at, attempt; ``ending``: it is being ended.
Entries = dict[str, dict[str, Any]]

#: Prefix of the attempt of an attachment whose export is being ended.
ENDING = 'ending-'

#: Exports of one volume without attachments; Nova has one for each host that a server may run on.
MAX_EXPORTS = 32

#: Bytes of an initiator's or a host's name that are stored: RFC 7143 allows 223.
LONGEST_NAME = 255


def are_none() -> Condition:
    """The condition that a volume has no exports: neither entries nor attachments."""
    no_entries: Condition = Volume.exports.does_not_exist() | (Volume.exports == {})
    none: Condition = no_entries & (Volume.attachment_count.does_not_exist() | (Volume.attachment_count == 0))
    return none


def unchanged(volume: Volume) -> Condition:
    """The condition that a volume has the entries and attachments that it was read with."""
    same: Condition = Volume.exports == volume.exports
    if not volume.exports:
        same |= Volume.exports.does_not_exist()
    same &= (Volume.attachment_count == volume.attachment_count) & (Volume.attachments == volume.attachments)
    return same


def are_unused(volume: Volume) -> bool:
    """Return whether a volume has no exports, though it may be reserved by attachments without a connector."""
    connected = [
        link for link in volume.attachments.values() if link['attach_status'] != states.RESERVED or _named(link)
    ]
    return not volume.exports and not connected


def _named(link: Mapping[str, Any]) -> bool:
    return link.get('host_name') is not None or link.get('mountpoint') is not None


def check_allowed(volume: Volume) -> None:
    """Raise InvalidVolume for a volume whose data is being made, moved, replaced or given away."""
    attached = volume.attachment_count and volume.status in states.EXPORTABLE_ATTACHED
    if volume.status in states.NOT_EXPORTABLE and not attached:
        raise errors.InvalidVolume(
            reason=f'Volume {volume.id} cannot be connected in status {volume.status}; wait until that is over.'
        )
    if volume.migration_status not in states.NOT_MIGRATING:
        raise errors.InvalidVolume(reason=f'Volume {volume.id} is being migrated; attach it when that is done.')


def new_attempt() -> str:
    """Return a name for one request's work on an export."""
    return str(uuid.uuid4())


def intend(context: Context, volume: Volume, connector: Mapping[str, Any]) -> tuple[Volume, str, bool]:
    """Record that a host is about to get an export; return the volume, the export's id, and whether it is new.

    The same host has the same export until that ends. Ids are random: the secret of an earlier export of
    the same host and volume opens nothing here. Raises InvalidVolume.
    """
    return common.with_newest(volume, lambda newest: _intend(context, newest, connector))


def _intend(context: Context, volume: Volume, connector: Mapping[str, Any]) -> tuple[Volume, str, bool]:
    check_allowed(volume)
    known = of_host(volume, connector)
    id = known or str(uuid.uuid4())
    new = known is None or bool(volume.exports[known].get('ending'))
    if known is None and len(volume.exports) >= MAX_EXPORTS:
        raise errors.InvalidVolume(
            reason=f'Volume {volume.id} has {MAX_EXPORTS} connections: end those that are not needed.'
        )
    return _write(volume, {**volume.exports, id: _entry(context, volume, connector, id)}), id, new


def of_host(volume: Volume, connector: Mapping[str, Any]) -> str | None:
    """Return the id of the host's export, found by its initiator, otherwise by its name; None for none."""
    wanted = _host_of(connector)
    found = (id for id, entry in volume.exports.items() if (entry.get('initiator') or entry.get('host')) == wanted)
    return next(found, None)


def _host_of(connector: Mapping[str, Any]) -> str:
    return _text(connector.get('initiator') or connector.get('host'))


def _text(value: Any) -> str:
    return bounds.shortened(str(value or ''), LONGEST_NAME)


def _entry(context: Context, volume: Volume, connector: Mapping[str, Any], id: str) -> dict[str, Any]:
    known = volume.exports.get(id, {})
    return {
        'initiator': _text(connector.get('initiator')),
        'host': _text(connector.get('host')),
        'user_id': context.user_id,
        'created_at': known.get('created_at') or base.now(),
        'attempt': new_attempt(),
        **({'attachment_id': known['attachment_id']} if 'attachment_id' in known else {}),
    }


def is_intended(volume: Volume, id: str) -> bool:
    """Return whether the record has an entry of the export that is not being ended."""
    entry = volume.exports.get(id)
    return entry is not None and not entry.get('ending')


def bind(volume: Volume, attachment: Attachment) -> Entries:
    """Return the entries with that of an attachment's host bound to it, so that it ends with the attachment.

    os-attach names no connector: the host's entry has its name, or is the only one that no attachment has.
    """
    free = {id: entry for id, entry in volume.exports.items() if not entry.get('attachment_id')}
    named = [id for id, entry in free.items() if attachment.attached_host and entry['host'] == attachment.attached_host]
    found = named or (list(free) if len(free) == 1 else [])
    return {
        id: {**entry, 'attachment_id': attachment.id} if id in found[:1] else entry
        for id, entry in volume.exports.items()
    }


def of_attachment(volume: Volume, attachment: Attachment) -> set[str]:
    """Return the ids of the exports that end with an attachment: its own, and those bound to it."""
    bound = {id for id, entry in volume.exports.items() if entry.get('attachment_id') == attachment.id}
    return {attachment.id} | bound


def supersede(attachment: Attachment) -> Attachment:
    """Give an attachment an attempt that ends its export: a worker that still makes it takes it away again."""
    base.update(attachment, [Attachment.attempt.set(f'{ENDING}{new_attempt()}'), *base.touched(Attachment)])
    return attachment


def left_by(attachment: Attachment) -> dict[str, Any]:
    """Return the entry, marked as ending, of an export that an attachment leaves behind."""
    return {
        'initiator': _text((attachment.connector or {}).get('initiator')),
        'host': _text(attachment.attached_host),
        'user_id': str(attachment.user_id),
        'created_at': base.now(),
        'attempt': new_attempt(),
        'ending': True,
    }


def end_all(volume: Volume) -> Volume:
    """End the exports of a volume without attachments; return the record as it is then.

    The caller has ``are_none`` in the condition of its next write: a host that connects meanwhile is not missed.
    Raises BackendUnavailable: the exports are still there, and a repetition ends them.
    """
    return end(volume, volume.exports) if volume.exports else volume


def end(volume: Volume, ids: Collection[str] | None) -> Volume:
    """End exports by their ids, also those that no entry names, or all (None); return the record as it is then.

    While work is under way for the volume, the service itself may have an export of it, which stays.
    """
    if ids is None and volume.in_flight:
        ids = {*volume.exports, *volume.attachments}
    wanted = None if ids is None else sorted(ids)
    volume = _change(volume, lambda entries: _marked(entries, wanted))
    marks = {id: entry['attempt'] for id, entry in volume.exports.items() if wanted is None or id in wanted}
    _close(volume, wanted)
    return _change(volume, lambda entries: _without(entries, marks))


def drop(volume: Volume, ids: Collection[str]) -> None:
    """Remove entries whose exports are gone from the backend, unless they were intended again since they were read."""
    read = {id: volume.exports[id]['attempt'] for id in ids}
    _change(volume, lambda entries: _without(entries, read))


def withdraw(volume: Volume, id: str, error: errors.CinderlessError) -> bool:
    """End an export that could not be made; whether it is gone for sure. One that is left keeps its mark.

    ``error`` is what the attempt failed with: a driver that refuses a connector has made nothing.
    """
    try:
        if isinstance(error, errors.Invalid):
            _change(volume, lambda entries: {key: entry for key, entry in entries.items() if key != id})
        else:
            end(volume, [id])
    except errors.CinderlessError as left:
        logger.warning('export %s of volume %s is left: %s', id, volume.id, left.message)
        return False
    return True


def _marked(entries: Entries, ids: Collection[str] | None) -> Entries:
    """Return the entries, those of ``ids`` marked as ending: a worker that still makes one finds the mark."""
    return {
        id: {**entry, 'ending': True, 'attempt': new_attempt()} if ids is None or id in ids else entry
        for id, entry in entries.items()
    }


def _without(entries: Entries, marks: Mapping[str, str]) -> Entries:
    """Return the entries without the marked ones; keep one that its host has requested again since."""
    return {id: entry for id, entry in entries.items() if marks.get(id) != entry['attempt']}


def _close(volume: Volume, ids: list[str] | None) -> None:
    if volume.host and ids != []:
        related = reading.as_payload(volume, along=('VolumeType',))
        payload = {'project_id': volume.project_id, 'volume_id': volume.id, 'export_id': ids, 'related': related}
        workers.call('terminate_connection', payload)


def _change(volume: Volume, change: Callable[[Entries], Entries]) -> Volume:
    """Rewrite the entries under the condition that the record is as it was read; return it."""
    return common.with_newest(volume, lambda newest: _write(newest, change(newest.exports)))


def _write(volume: Volume, entries: Entries) -> Volume:
    if entries == volume.exports:
        return volume
    actions: list[Action] = [Volume.exports.set(entries), *base.touched(Volume)]
    base.update(volume, actions, Volume.revision == volume.revision)
    return volume
