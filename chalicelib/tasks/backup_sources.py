"""What a backup reads on a backend: the frozen data, the path to it, and taking both away."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

from chalicelib import errors
from chalicelib.device import BlockDevice
from chalicelib.drivers.base import Driver, SnapshotRef
from chalicelib.models import Backup, Snapshot, Volume
from chalicelib.operations import backup_holds
from chalicelib.tasks import backends


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A volume as of one moment. ``frozen`` bears the backup's id, unless the user took the snapshot."""

    backup_id: str
    volume: Volume
    frozen: SnapshotRef
    temporary: bool

    @property
    def driver(self) -> Driver:
        return backends.driver(self.volume)

    @property
    def plan(self) -> dict[str, Any]:
        """What a machine keeps of it, so that cleaning up needs no backup record."""
        return {
            'volume_project_id': self.volume.project_id,
            'volume_id': self.volume.id,
            'snapshot_id': None if self.temporary else self.frozen.id,
            'size': self.frozen.size,
        }

    def freeze(self) -> None:
        """Take the temporary snapshot; one that is there already is the one."""
        if self.temporary:
            self.driver.create_snapshot(self.frozen)

    def open(self) -> BlockDevice:
        """Open the frozen data; the caller closes the device, ``clean`` takes the path away."""
        return self.driver.open_snapshot(self.frozen, self.backup_id)

    def clean(self) -> None:
        """Take the path away, and the snapshot if it is temporary; what is not there is no error."""
        driver = self.driver
        driver.close_snapshot(self.frozen, self.backup_id)
        if self.temporary:
            driver.delete_snapshot(self.frozen)


def of(backup: Backup) -> Source:
    """Return what the backup reads. Raises VolumeNotFound or SnapshotNotFound when it is gone."""
    found = backup_holds.source(backup)
    if isinstance(found, Snapshot):
        volume = Volume.find(found.project_id, found.volume_id)
        return Source(backup.id, volume, backends.snapshot_ref(found, volume), temporary=False)
    if found is None:
        raise errors.VolumeNotFound(id=backup.volume_id)
    return _temporary(backup.id, found, int(backup.size))


def planned(backup_id: str, plan: Mapping[str, Any]) -> Source:
    """Return what a machine's plan names. Raises VolumeNotFound or SnapshotNotFound when it is gone."""
    volume = Volume.find(plan['volume_project_id'], plan['volume_id'])
    if plan['snapshot_id'] is None:
        return _temporary(backup_id, volume, plan['size'])
    snapshot = Snapshot.find(volume.project_id, plan['snapshot_id'])
    return Source(backup_id, volume, backends.snapshot_ref(snapshot, volume), temporary=False)


def _temporary(backup_id: str, volume: Volume, size: int) -> Source:
    return Source(backup_id, volume, SnapshotRef(backup_id, size, backends.volume_ref(volume)), temporary=True)


def clean(backup: Backup) -> None:
    """Clean up what the backup may have left on the backend; with its source gone there is nothing."""
    if backup.reading:
        with contextlib.suppress(errors.VolumeNotFound, errors.SnapshotNotFound):
            of(backup).clean()
