"""What a new volume is made from: a snapshot, a volume or a backup; found, checked, and counted as being read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Backup, Snapshot, Volume, base
from chalicelib.operations import backup_reservations, common, reservations
from chalicelib.rules import states


class Source(NamedTuple):
    """What a volume is made from. ``volume`` is the volume itself, or the snapshot's; a backup has none."""

    record: Volume | Snapshot | Backup
    size: int
    volume: Volume | None

    @property
    def type_id(self) -> str | None:
        return None if isinstance(self.record, Backup) else self.record.volume_type_id

    @property
    def encryption_key_id(self) -> str | None:
        """The key of the data; a snapshot is read with its volume's."""
        found = self.record if isinstance(self.record, Backup) else self.volume
        return found.encryption_key_id if found else None

    @property
    def host(self) -> str | None:
        """The pool that must take the new volume too: the data is copied there (Cinder's snapshot_same_host)."""
        return self.volume.host if self.volume else None


#: How a request names its source -> what it is.
KINDS: Mapping[str, type[base.Record]] = {'snapshot_id': Snapshot, 'source_volid': Volume, 'backup_id': Backup}

#: Resource -> (statuses that it may be made from, what Cinder calls it, the error of another status).
ORIGINS: Mapping[str, tuple[tuple[str, ...], str, type[errors.Invalid]]] = {
    'snapshot': ((states.AVAILABLE,), 'snapshot', errors.InvalidSnapshot),
    'volume': (states.READABLE, 'source volume', errors.InvalidVolume),
    'backup': ((states.AVAILABLE,), 'backup', errors.InvalidBackup),
}

#: Resource -> Cinder's refusal of a volume that is smaller.
_TOO_SMALL: Mapping[str, str] = {
    'snapshot': "Volume size '{size}'GB cannot be smaller than the snapshot size {least}GB. "
    'They must be >= original snapshot size.',
    'volume': "Volume size '{size}'GB cannot be smaller than original volume size  {least}GB. "
    'They must be >= original volume size.',
    'backup': 'Volume size {size}GB cannot be smaller than the backup size {least}GB. It must be >= backup size.',
}


def find(context: Context, *, image_id: str | None, **ids: str | None) -> Source | None:
    """Return the one source that is named (None: none, or an image), of a status that may be read. Raises Invalid."""
    if sum(id is not None for id in (image_id, *ids.values())) > 1:
        raise errors.InvalidInput(reason='May specify only one of backup, imageRef, snapshot, source volume')
    for name, id in ids.items():
        if id is not None:
            source = _FINDERS[name](context, id)
            _check_status(source.record)
            return source
    return None


def _from_snapshot(context: Context, id: str) -> Source:
    snapshot = common.find(context, Snapshot, id)
    return Source(snapshot, int(snapshot.volume_size), snapshot.find_volume())


def _from_volume(context: Context, id: str) -> Source:
    volume = common.find(context, Volume, id)
    return Source(volume, int(volume.size), volume)


def _from_backup(context: Context, id: str) -> Source:
    backup = common.find(context, Backup, id)
    return Source(backup, int(backup.size), None)


_FINDERS = {'snapshot_id': _from_snapshot, 'source_volid': _from_volume, 'backup_id': _from_backup}


def _check_status(record: Volume | Snapshot | Backup) -> None:
    allowed, _, _ = ORIGINS[record.resource]
    if record.status not in allowed:
        raise _wrong_status(record)


def _wrong_status(record: base.StatefulRecord) -> errors.Invalid:
    allowed, name, kind = ORIGINS[record.resource]
    return kind(reason=f"Originating {name} status must be one of '{', '.join(allowed)}' values")


def size_of(size: int | None, source: Source | None) -> int:
    """Return the size of a volume in GiB: as requested, else the source's. Raises InvalidInput."""
    wanted = size or (source.size if source else None)
    if not isinstance(wanted, int) or wanted <= 0:
        raise errors.InvalidInput(reason=f"Volume size '{wanted}' must be an integer and greater than 0")
    if source and wanted < source.size:
        raise errors.InvalidInput(reason=_TOO_SMALL[source.record.resource].format(size=wanted, least=source.size))
    return wanted


def copy_facts(volume: Volume, source: Source) -> None:
    """Set what a new volume shows of its source."""
    record = source.record
    if isinstance(record, Backup):
        volume.backup_id = record.id
        return
    if isinstance(record, Snapshot):
        volume.snapshot_id = record.id
    else:
        volume.source_volid = record.id
    volume.reading = reservations.reading_of(record)
    if source.volume:
        volume.bootable, volume.volume_image_metadata = source.volume.bootable, source.volume.volume_image_metadata


def add_reader_to(transaction: base.Transaction, record: Volume | Snapshot | Backup, volume: Volume) -> None:
    """Count the volume among the source's readers, unless the source's status has changed.

    A backup has one reader at a time: it is restoring from now on.
    """
    if isinstance(record, Backup):
        return backup_reservations.add_awaiting_restore_to(transaction, record, volume, str(volume.owner))
    kind = type(record)
    allowed, _, _ = ORIGINS[record.resource]
    actions = [kind.reader_count.add(1), *base.touched(kind)]
    return transaction.update(record, actions, kind.status.is_in(*allowed), lambda: _wrong_status(record))
