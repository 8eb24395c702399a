"""The source of a backup on a backend: the frozen data, the export of it, and the removal of both."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from chalicelib import errors
from chalicelib.device import BlockDevice, Changes
from chalicelib.drivers.base import Driver, SnapshotRef, VolumeRef
from chalicelib.models import Backup, Snapshot, Volume
from chalicelib.operations import backup_reservations
from chalicelib.tasks import backends


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A volume's data at one point in time. ``frozen`` bears the backup's id, unless the user took the snapshot.

    ``record`` is what the backup is made of: the user's snapshot, else the volume.
    """

    backup_id: str
    volume: Volume
    record: Volume | Snapshot
    frozen: SnapshotRef

    @property
    def temporary(self) -> bool:
        """Whether the snapshot was taken for the backup, and is deleted with it."""
        return self.record is self.volume

    @property
    def driver(self) -> Driver:
        return backends.driver(self.volume)

    @property
    def plan(self) -> dict[str, Any]:
        """The facts that the workflow's payload keeps, so that cleaning up needs no backup record."""
        return {
            'volume_project_id': self.volume.project_id,
            'volume_id': self.volume.id,
            'snapshot_id': None if self.temporary else self.frozen.id,
            'size': self.frozen.size,
        }

    def freeze(self) -> None:
        """Take the temporary snapshot; an existing one is used."""
        if self.temporary:
            self.driver.create_snapshot(self.frozen)

    def open(self) -> BlockDevice:
        """Open the frozen data; the caller closes the device, ``clean`` ends the export."""
        return self.driver.open_snapshot(self.frozen, self.backup_id)

    def changes(self, parent: Backup) -> Changes | None:
        """What differs from the data that a parent was made of, where the backend knows; None: anything may."""
        if parent.location or not self.driver.capabilities.changed_blocks:
            return None
        return self.driver.changes_since(self.frozen, made_of(parent, self.frozen.volume))

    def retire(self) -> None:
        """End the export; the backend may keep a temporary snapshot for ``changes`` of the next backup."""
        self.driver.close_snapshot(self.frozen, self.backup_id)
        if self.temporary:
            self.driver.retire_snapshot(self.frozen)

    def clean(self) -> None:
        """End the export, and delete the snapshot if it is temporary; missing ones are not an error."""
        driver = self.driver
        driver.close_snapshot(self.frozen, self.backup_id)
        if self.temporary:
            driver.delete_snapshot(self.frozen)


def of(backup: Backup) -> Source:
    """Return what the backup reads. Raises VolumeNotFound or SnapshotNotFound when it is gone."""
    found = backup_reservations.source_of(backup)
    if isinstance(found, Snapshot):
        volume = Volume.find(found.project_id, found.volume_id)
        return Source(backup.id, volume, found, backends.snapshot_ref(found, volume))
    if found is None:
        raise errors.VolumeNotFound(id=backup.volume_id)
    return _temporary(backup.id, found, int(backup.size))


def planned(backup_id: str, plan: Mapping[str, Any]) -> Source:
    """Return the source of a workflow's plan. Raises VolumeNotFound or SnapshotNotFound when it is gone."""
    volume = Volume.find(plan['volume_project_id'], plan['volume_id'])
    if plan['snapshot_id'] is None:
        return _temporary(backup_id, volume, plan['size'])
    snapshot = Snapshot.find(volume.project_id, plan['snapshot_id'])
    return Source(backup_id, volume, snapshot, backends.snapshot_ref(snapshot, volume))


def made_of(backup: Backup, volume: VolumeRef) -> SnapshotRef:
    """Return the snapshot that a finished backup was made of, for a comparison; it may be gone."""
    return SnapshotRef(backup.snapshot_id or backup.id, int(backup.size), volume, kept=backup.snapshot_id is None)


def _temporary(backup_id: str, volume: Volume, size: int) -> Source:
    return Source(backup_id, volume, volume, SnapshotRef(backup_id, size, backends.volume_ref(volume)))


def changes(backup: Backup, source: Source) -> Changes | None:
    """What differs from the backup's parent, if it has one and that is known."""
    if backup.parent_id is None:
        return None
    parent = Backup.find_or_none(backup.project_id, backup.parent_id)
    return source.changes(parent) if parent else None


class Listed:
    """Changes of a source since the backup's parent. ``missed`` is called once when they are not known for a range."""

    def __init__(self, known: Changes | None, missed: Callable[[], None]) -> None:
        self._known, self._missed = known, missed
        self._is_complete = True

    def __call__(self, offset: int, length: int) -> Iterable[tuple[int, int]] | None:
        found = self._known(offset, length) if self._known else None
        if found is None and self._is_complete:
            self._is_complete = False
            self._missed()
        return found


def clean(backup: Backup) -> None:
    """Clean up what the backup may have left on the backend; with its source gone there is nothing."""
    if backup.reading:
        with contextlib.suppress(errors.VolumeNotFound, errors.SnapshotNotFound):
            of(backup).clean()


def drop_kept(backup: Backup) -> None:
    """Delete the snapshot that was kept of a finished backup; the volume's next backup deletes it as well."""
    if backup.manifest_key and not backup.snapshot_id:
        with contextlib.suppress(errors.VolumeNotFound, errors.DriverError):
            source = _temporary(backup.id, Volume.locate(backup.project_id, backup.volume_id), int(backup.size))
            if source.driver.capabilities.changed_blocks:
                source.driver.delete_snapshot(source.frozen)
