"""Transfers: a volume changes its project when the recipient presents the key of the offer.

Records are kept by project, so an accepted volume is written again in its new project and removed from the old one,
with its snapshots, the offer and both projects' quotas, in one transaction. Objects on the backend are named by the
volume's id, which stays. The donor's exports end before the offer is made, none is made while the offer exists, and
all exports on the backend end before the volume is taken over: the former owner keeps no access to the data.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import hmac
import secrets
import uuid
from collections.abc import Iterable

from pynamodb.expressions.update import Action

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Name, Snapshot, Transfer, Volume, base, claims
from chalicelib.operations import common, exports, idempotency, keys, quotas, volume_types, volumes
from chalicelib.rules import quotas as quota_rules
from chalicelib.rules import states, workflows

#: Bytes of the key and of its salt; users see two hex digits of each (Cinder's volume_transfer_key_length, 16).
KEY_BYTES, SALT_BYTES = 8, 4

#: Digits of the hash that Cinder stores.
CINDERS_DIGITS = 40

#: A transaction has at most 100 writes and checks: nine for volume, type, key, offer and quotas, two for each snapshot.
MAX_SNAPSHOTS = 45

ROW = workflows.VOLUME['transfer']

#: What changes its project in a transfer.
Moving = Volume | Snapshot


def get(context: Context, id: str) -> Transfer:
    """Return an offer of the caller's project (administrators: of any). Raises TransferNotFound."""
    return common.find(context, Transfer, id)


def list_(context: Context, query: common.ListQuery) -> tuple[list[Transfer], bool]:
    """Return one page of the project's offers, newest first unless sorted otherwise, and whether more follow."""
    return common.list_records(context, Transfer, query)


def create(
    context: Context, volume_id: str, *, name: str | None, no_snapshots: bool, allow_encrypted: bool
) -> tuple[Transfer, str]:
    """Offer a volume; return the offer and its key, which no later request returns.

    ``no_snapshots``: the snapshots stay with the donor. Raises InvalidVolume, InvalidSnapshot.
    """
    made = claims.made(Transfer)
    if made is not None:
        return made, idempotency.kept_secret()
    volume = volumes.get(context, volume_id)
    _check_volume(volume)
    _check_encryption(volume, no_snapshots, allow_encrypted)
    _check_snapshots(_offered(volume, no_snapshots))
    _check_staying(volume, no_snapshots)
    volume = exports.end_all(volume)
    key, salt = secrets.token_hex(KEY_BYTES), secrets.token_hex(SALT_BYTES)
    transfer = Transfer(
        volume.project_id,
        str(uuid.uuid4()),
        created_at=base.now(),
        user_id=context.user_id,
        volume_id=volume.id,
        name=name,
        no_snapshots=no_snapshots,
        salt=salt,
        crypt_hash=_digest(salt, key),
    )
    idempotency.keep_secret(key)
    _offer(transfer, volume)
    return transfer, key


def _digest(salt: str, key: str, algorithm: str = 'sha256') -> str:
    return hmac.new(salt.encode(), key.encode(), algorithm).hexdigest()


def _fits(transfer: Transfer, key: str) -> bool:
    """Return whether a key is that of an offer. An offer that was brought over from Cinder has an HMAC of SHA-1."""
    algorithm = 'sha1' if len(transfer.crypt_hash) == CINDERS_DIGITS else 'sha256'
    return hmac.compare_digest(_digest(transfer.salt, key, algorithm), transfer.crypt_hash)


def _check_volume(volume: Volume) -> None:
    if volume.status not in ROW.allowed:
        raise errors.InvalidVolume(reason='status must be available')
    _check_detached(volume)
    if volume.group_id is not None:
        raise errors.InvalidVolume(reason=f'Volume {volume.id} must not be part of a group; take it out first.')
    if volume.migration_status not in states.NOT_MIGRATING:
        raise errors.InvalidVolume(reason=f'Volume {volume.id} is being migrated; try again when that is done.')


def _check_detached(volume: Volume) -> None:
    """An administrator's reset may leave attachments on an available volume; their hosts would keep the data."""
    if volume.attachment_count:
        raise errors.InvalidVolume(reason=f'Volume {volume.id} has attachments; delete them first.')


def _check_encryption(volume: Volume, no_snapshots: bool, allow_encrypted: bool) -> None:
    """Refuse an encrypted volume without its snapshots, which share its key, or from clients before 3.70."""
    if volume.encryption_key_id is None:
        return
    if not allow_encrypted:
        raise errors.InvalidVolume(reason='transferring encrypted volume is not supported before microversion 3.70')
    if no_snapshots:
        raise errors.InvalidVolume(
            reason='transferring an encrypted volume without its snapshots is not supported: they share its key'
        )


def _offered(volume: Volume, no_snapshots: bool) -> list[Snapshot]:
    """The snapshots that change the project with the volume."""
    return [] if no_snapshots else volumes.snapshots_of(volume)


def _check_snapshots(snapshots: list[Snapshot]) -> None:
    if len(snapshots) > MAX_SNAPSHOTS:
        raise errors.InvalidVolume(
            reason=f'{len(snapshots)} snapshots are more than one transfer can take: keep at most {MAX_SNAPSHOTS}, '
            'or transfer without them.'
        )
    for snapshot in snapshots:
        if snapshot.status != states.AVAILABLE:
            raise errors.InvalidSnapshot(reason=f'snapshot: {snapshot.id} status must be available')
        if snapshot.group_snapshot_id is not None:
            raise errors.InvalidSnapshot(reason=f'snapshot: {snapshot.id} must not be part of a group snapshot')


def _check_staying(volume: Volume, no_snapshots: bool) -> None:
    """Raise InvalidSnapshot while a snapshot that stays with the donor is not taken yet.

    Its workflow may start after the transfer, and the donor would have a snapshot of the taker's data.
    """
    if no_snapshots and any(one.status == states.CREATING for one in volumes.snapshots_of(volume)):
        raise errors.InvalidSnapshot(
            reason=f'a snapshot of volume {volume.id} is being taken; try again when that is done.'
        )


def _offer(transfer: Transfer, volume: Volume) -> None:
    """The offer, its name and the volume's status change together."""
    taken = functools.partial(base.state_changed, transfer)
    with base.Transaction() as transaction:
        transaction.put(transfer, Transfer.id.does_not_exist(), taken)
        transaction.put(_name(transfer), Name.id.does_not_exist(), taken)
        actions = [
            Volume.status.set(ROW.running),
            Volume.previous_status.set(volume.status),
            Volume.transfer_id.set(transfer.id),
            *base.touched(Volume),
        ]
        free = Volume.group_id.does_not_exist() & volumes.is_not_migrating() & exports.are_none()
        condition = base.is_allowed(Volume, ROW) & free
        transaction.update(volume, actions, condition, lambda: _not_offered(volume))


def _not_offered(volume: Volume) -> errors.InvalidVolume:
    now = volume.reload()
    if now.status in ROW.allowed and (now.exports or now.attachments):
        return errors.InvalidVolume(reason=f'Volume {volume.id} is being attached just now.')
    return errors.InvalidVolume(reason=f'status must be {ROW.done}')


def _name(transfer: Transfer) -> Name:
    return Name(base.GLOBAL, f'transfer:{transfer.id}', created_at=transfer.created_at, owner=transfer.project_id)


def delete(context: Context, id: str) -> None:
    """Withdraw an offer; its volume is available again, unless something else has become of it."""
    transfer = get(context, id)
    for _ in range(common.CONTENDED):
        volume = Volume.find_or_none(transfer.project_id, transfer.volume_id)
        with contextlib.suppress(errors.StateChanged):
            with base.Transaction() as transaction:
                _add_removal_to(transaction, transfer)
                if volume is not None and _is_on_offer(volume, transfer):
                    actions = [*base.end_actions(volume, ROW.failed), Volume.transfer_id.remove()]
                    _add_update_to(transaction, volume, actions)
            return
    raise common.contended(transfer)


def forget_offers(volume: Volume) -> None:
    """Remove the offers of a volume that is being removed, as Cinder does; call before deleting its record."""
    if volume.transfer_id is None:
        return
    for transfer in base.every(Transfer, volume.project_id):
        if transfer.volume_id == volume.id:
            with contextlib.suppress(errors.TransferNotFound), base.Transaction() as transaction:
                _add_removal_to(transaction, transfer)


def _is_on_offer(volume: Volume, transfer: Transfer) -> bool:
    return bool(volume.status == ROW.running and volume.transfer_id == transfer.id)


def _add_removal_to(transaction: base.Transaction, transfer: Transfer) -> None:
    """Remove an offer and its name; a second removal raises TransferNotFound."""
    gone = errors.TransferNotFound(id=transfer.id)
    transaction.delete(transfer, Transfer.id.exists(), lambda: gone)
    transaction.delete(_name(transfer), Name.id.exists(), lambda: gone)


def _add_update_to(transaction: base.Transaction, record: Moving, actions: list[Action]) -> None:
    """Add the update of a record, under the condition that it is unchanged since it was read."""
    kind = type(record)
    transaction.update(
        record,
        actions,
        kind.id.exists() & (kind.revision == record.revision),
    )


def accept(context: Context, id: str, auth_key: str) -> Transfer:
    """Take an offered volume over into the caller's project, if the key fits and the project's quota allows it.

    Raises TransferNotFound, InvalidAuthKey, InvalidVolume (no longer on offer, or being read), OverQuota.
    """
    kept = idempotency.kept()
    if kept is not None:
        return Transfer(id=id, **kept)
    transfer = _find_anywhere(id)
    if not _fits(transfer, auth_key):
        raise errors.InvalidAuthKey(reason=f'Attempt to transfer {id} with invalid auth key.')
    volume = _on_offer(transfer)
    exports.end(volume, None)
    idempotency.keep(project_id=transfer.project_id, name=transfer.name, volume_id=transfer.volume_id)
    for _ in range(common.CONTENDED):
        try:
            _take_over(context, transfer)
        except (errors.StateChanged, errors.TypeChanged):
            continue
        return transfer
    raise common.contended(transfer)


def _find_anywhere(id: str) -> Transfer:
    """Return an offer of any project, read consistently by way of its name."""
    if len(id) > common.LONGEST_ID:
        raise errors.TransferNotFound(id=id)
    try:
        return Transfer.find(Name.find(base.GLOBAL, f'transfer:{id}').owner, id)
    except errors.NotFound:
        raise errors.TransferNotFound(id=id) from None


def _take_over(context: Context, transfer: Transfer) -> None:
    """One attempt; raises StateChanged when volume or snapshots were written since they were read."""
    volume = _on_offer(transfer)
    snapshots = _offered(volume, transfer.no_snapshots)
    _check_snapshots(snapshots)
    _check_staying(volume, transfer.no_snapshots)
    moving: list[Moving] = [volume, *snapshots]
    _check_readers(moving)
    deltas = {} if volume.project_id == context.project_id else _quota(moving)
    types = {record.volume_type_id for record in moving}
    kinds = [kind for kind in map(volume_types.read_if_there, types) if kind]

    def add_writes_to(transaction: base.Transaction) -> None:
        _add_removal_to(transaction, transfer)
        for kind in kinds:  # a search for the type's users reads project by project, and may miss one that moves
            volume_types.add_check_to(transaction, kind)
        for record in moving:
            _add_move_to(transaction, record, context)
        keys.add_transfer_to(transaction, context, volume.project_id, volume.encryption_key_id)
        quotas.add_release_to(transaction, volume.project_id, deltas)

    quotas.commit(context.project_id, deltas, add_writes_to, largest=int(volume.size))


def _on_offer(transfer: Transfer) -> Volume:
    try:
        volume = Volume.find(transfer.project_id, transfer.volume_id)
    except errors.VolumeNotFound:
        _find_anywhere(transfer.id)  # another request may have accepted it just now
        raise
    if not _is_on_offer(volume, transfer):
        _find_anywhere(transfer.id)
        raise errors.InvalidVolume(
            reason=f'Volume {volume.id} is in status {volume.status} and no longer on offer; contact its owner.'
        )
    if volume.group_id is not None:
        raise errors.InvalidVolume(reason=f'Volume {volume.id} must not be part of a group.')
    _check_detached(volume)
    if volume.exports:
        raise errors.InvalidVolume(reason=f'Volume {volume.id} has connections; its owner must offer it again.')
    return volume


def _check_readers(records: Iterable[Moving]) -> None:
    """A clone or backup under way knows its source by the donor's project."""
    for record in records:
        if record.reader_count:
            raise errors.InvalidVolume(
                reason=f'{record.resource} {record.id} is being read by {record.reader_count} clone or backup; '
                'try again when that is done.'
            )


def _quota(records: Iterable[Moving]) -> dict[str, int]:
    """What these records count for in a project's quota, those of their types included."""
    deltas: collections.Counter[str] = collections.Counter()
    for record in records:
        if record.consumes_quota:
            number, size = ('volumes', record.size) if isinstance(record, Volume) else ('snapshots', record.volume_size)
            deltas.update(quota_rules.with_type({number: 1, 'gigabytes': int(size)}, record.volume_type_id))
    return dict(deltas)


def _add_move_to(transaction: base.Transaction, record: Moving, context: Context) -> None:
    """Give a record to the caller and its project."""
    if record.project_id == context.project_id:
        kind = type(record)
        actions = [kind.user_id.set(context.user_id), *base.touched(kind), *_ended(record)]
        return _add_update_to(transaction, record, actions)
    unchanged = type(record).revision == record.revision
    transaction.delete(record, unchanged)
    moved = _copy(record, context)
    return transaction.put(moved, type(record).id.does_not_exist(), lambda: base.state_changed(record))


def _ended(record: Moving) -> list[Action]:
    if isinstance(record, Snapshot):
        return []
    return [Volume.status.set(ROW.done), Volume.transfer_id.remove(), Volume.previous_status.set(record.status)]


def _copy(record: Moving, context: Context) -> Moving:
    """The record as the new project will have it."""
    facts = {name: value for name, value in record.attribute_values.items() if name not in {'project_id', 'id'}}
    copy = type(record)(context.project_id, record.id, **facts)
    copy.user_id, copy.updated_at, copy.revision = context.user_id, base.now(), int(record.revision) + 1
    if isinstance(copy, Volume):
        copy.status, copy.previous_status, copy.transfer_id = ROW.done, record.status, None
    return copy
