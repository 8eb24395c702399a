"""Statuses of volumes that an administrator sets."""

from __future__ import annotations

import functools

from pynamodb.expressions.update import Action

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Attachment, Volume, base
from chalicelib.operations import backup_reservations, common, exports, reservations, uploads
from chalicelib.operations.outcomes import Outcome
from chalicelib.operations.volume_records import get
from chalicelib.rules import states


def reset_status(
    context: Context, id: str, status: str | None, attach_status: str | None, migration_status: str | None
) -> None:
    """Set statuses of a volume for an administrator; an operation in progress cannot change the volume any more.

    Cinder changes the statuses only. Here the same transaction releases what a status reset interrupts (quota, a
    source, capacity in transit), and a volume declared detached loses its exports before its attachments. One that is
    being managed and not counted on its pool yet loses its backend, where it has no object.
    """
    volume, gone = get(context, id), list[Attachment]()
    _check_reset(volume, status)
    held = Volume.status == volume.status
    if attach_status == states.DETACHED and (volume.attachments or volume.exports):
        volume, gone = _end_exports(volume)
        held = Volume.revision == volume.revision
    is_unplaced = status and volume.status == states.MANAGING and volume.claimed_gb is None
    unplaced: list[Action] = [Volume.host.remove()] if is_unplaced else []
    actions = [*_words(attach_status, migration_status), *(_NO_ATTACHMENTS if gone else []), *unplaced]
    remove = functools.partial(_add_attachments_removal_to, volume, gone)
    if status:
        uploads.abandon(volume)
        reservations.end(volume, held, Outcome.ended(status), actions=actions, add_to=remove)
        backup_reservations.release_from(volume)
    elif actions:
        with base.Transaction() as transaction:
            transaction.update(volume, [*actions, *base.touched(Volume)], Volume.id.exists() & held)
            remove(transaction)


#: The actions that record a volume without attachments.
_NO_ATTACHMENTS = (Volume.attachments.set({}), Volume.attachment_count.set(0))


def _words(attach_status: str | None, migration_status: str | None) -> list[Action]:
    migration = None if migration_status == 'none' else migration_status
    return [
        *([Volume.attach_status.set(attach_status)] if attach_status else []),
        *([common.set_or_remove(Volume.migration_status, migration)] if migration_status else []),
    ]


def _end_exports(volume: Volume) -> tuple[Volume, list[Attachment]]:
    """End every export; a backend that fails leaves all as it is. Return the volume and its attachments as they are."""
    known = list(Attachment.batch_get([(volume.project_id, id) for id in volume.attachments], consistent_read=True))
    attached = [exports.supersede(attachment) for attachment in known]
    return exports.end(volume, None), attached


def _add_attachments_removal_to(volume: Volume, gone: list[Attachment], transaction: base.Transaction) -> None:
    for attachment in gone:
        transaction.delete(attachment, Attachment.attempt == attachment.attempt, lambda: base.state_changed(volume))


def _check_reset(volume: Volume, status: str | None) -> None:
    if status == states.DELETING:
        raise errors.Invalid('Cannot reset-state to deleting')
    if status == states.IN_USE and not volume.attachments:
        raise errors.Invalid('Cannot reset-state to in-use because volume does not have any attachments.')
