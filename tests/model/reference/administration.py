"""Requests of administrators only, in the reference: statuses, removal by force, migration."""

from __future__ import annotations

from tests.model.reference.core import READABLE, Core
from tests.model.reference.records import INVALID, Backup, Codes, Job, Snapshot, Volume


class Administration(Core):
    def entangled(self) -> list[Volume | Snapshot]:
        """What others still need; nothing but what is being read, when there is that."""
        volumes = [
            one
            for one in self.volumes.values()
            if one.readers or one.attachments or one.moving or one.group or one.status == 'awaiting-transfer'
        ]
        found = [*volumes, *(one for one in self.snapshots.values() if one.readers or one.group_snapshot)]
        return [one for one in found if one.readers] or found

    def reset_volume(self, volume: Volume, status: str, detached: bool) -> Codes:
        """End what is under way, and set the status; ``detached``: attachments go, too."""
        if status == 'in-use' and not volume.attachments:
            return frozenset({INVALID})
        self.end_work(volume)
        volume.status, volume.hosted = status, volume.hosted and volume.placed
        if detached:
            volume.attachments.clear()
        return frozenset({202})

    def reset_snapshot(self, snapshot: Snapshot, status: str) -> Codes:
        self.end_work(snapshot)
        snapshot.status = status
        return frozenset({202})

    def reset_backup(self, backup: Backup, status: str) -> Codes:
        self.end_work(backup)
        backup.status = status
        return frozenset({202})

    def migrate(self, volume: Volume, elsewhere: bool, lock: bool) -> Codes:
        """To another backend; a volume in use is accepted and fails (only its server could move it)."""
        invalid = (
            volume.status not in READABLE
            or volume.moving
            or volume.group
            or self.snapshots_of(volume)
            or not volume.placed
            or not elsewhere
        )
        if invalid:
            return frozenset({INVALID})
        volume.moving = True
        if lock and volume.status == 'available':
            volume.status = 'maintenance'

        def done() -> None:
            volume.moving = False
            if volume.status == 'maintenance':
                volume.status = 'available'

        def cancel() -> None:
            volume.moving = False

        self.jobs.append(Job(volume, done, done, cancel, late=True))
        return frozenset({202})
