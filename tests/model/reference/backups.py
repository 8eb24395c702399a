"""Backups in the reference: creation, removal, restore."""

from __future__ import annotations

import copy

from tests.model.reference.core import READABLE, Core, cancel_all, codes
from tests.model.reference.records import (
    INVALID,
    OVER_QUOTA,
    Accept,
    Backup,
    Codes,
    Content,
    Job,
    Snapshot,
    Stored,
    Volume,
)


class Backups(Core):
    def create_backup(self, volume: Volume, snapshot: Snapshot | None, incremental: bool) -> tuple[Codes, Accept]:
        """``force`` is always sent. An incremental backup needs an earlier one that is available."""
        project, source = volume.project, snapshot or volume
        parent = self._parent(volume, snapshot) if incremental else None
        allowed = codes(
            202,
            (source.status not in (('available',) if snapshot else READABLE), INVALID),
            (incremental and parent is None, INVALID),
            (self.exceeds(project, {'backups': 1, 'backup_gigabytes': source.size}), OVER_QUOTA),
        )

        def accept(id: str) -> None:
            backup = self.backups[id] = Backup(id, project, volume.id, source.size)
            backup.stored, backup.locked = Stored(id), volume.locked
            backup.created = self.created_at(project, 'backups', id)
            backup.taken = snapshot.taken if snapshot else backup.created
            backup.snapshot, backup.parent = snapshot and snapshot.id, parent and parent.id
            if isinstance(source, Volume):
                self.end_move(source)
                source.before = source.status
            source.status = 'backing-up'
            source.readers += 1

            backup.holds = source

            def give_back() -> None:
                if source.status == 'backing-up':
                    source.status = 'available' if isinstance(source, Snapshot) else source.before

            def done() -> None:
                backup.content, backup.counts, backup.status = copy.copy(source.content), True, 'available'
                backup.whole, backup.metadata = True, dict(volume.metadata)
                cancel()

            def fail() -> None:
                backup.status = 'error'
                give_back()
                self.let_go(backup)

            def cancel() -> None:
                give_back()
                self.let_go(backup, gone=True)

            self.jobs.append(Job(backup, done, fail, cancel, late=True))

        return allowed, accept

    def _parent(self, volume: Volume, snapshot: Snapshot | None) -> Backup | None:
        earlier = [
            one
            for one in self.backups.values()
            if one.volume == volume.id and one.project == volume.project
            if one.status == 'available' and (snapshot is None or one.taken < snapshot.taken)
        ]
        return max(earlier, key=lambda one: (one.taken, one.created), default=None)

    def delete_backup(self, backup: Backup, force: bool = False) -> Codes:
        if not force and backup.status not in ('available', 'error'):
            return frozenset({INVALID})
        superseded = self.take_over(backup)
        backup.status = 'deleting'

        def done() -> None:
            cancel()
            self.let_go(backup, gone=True)
            backup.stored.is_kept = backup.stored.is_kept and backup.is_second
            self.backups.pop(backup.id, None)
            for other in self.backups.values():  # a record that is imported under this id later does not count them
                other.counts = other.counts and other.parent != backup.id

        def fail() -> None:
            cancel()
            self.let_go(backup)
            backup.status = 'error_deleting'

        def cancel() -> None:
            cancel_all(superseded)

        self.jobs.append(Job(backup, done, fail, cancel))
        return frozenset({202})

    def let_go(self, backup: Backup, gone: bool = False) -> None:
        """End a backup's hold on its source; one that left something on the backend keeps it until it is deleted."""
        if backup.holds and (gone or not self.is_held(backup)):
            backup.holds.readers -= 1
            backup.holds = None

    def restore(self, backup: Backup, volume: Volume) -> Codes:
        """Over a volume that exists; one that is made for the restore is ``create_volume`` from the backup."""
        if backup.status != 'available' or volume.status != 'available' or backup.size > volume.size:
            return frozenset({INVALID})
        if backup.locked != volume.locked:
            return frozenset({INVALID})
        self.end_move(volume)
        backup.status, volume.status = 'restoring', 'restoring-backup'

        def end(status: str, content: Content) -> None:
            volume.status, volume.content = status, content
            cancel()

        def cancel() -> None:
            if backup.status == 'restoring':
                backup.status = 'available'

        def done() -> None:
            if not backup.stored.is_kept:
                return fail()
            end('available', copy.copy(content))
            volume.metadata = {**metadata, **({'src_backup_id': backup.id} if volume.id != backup.volume else {})}
            return None

        def fail() -> None:
            end(*self.after_failure(volume, 'error_restoring'))

        content, metadata = backup.content, backup.metadata
        self.jobs.append(Job(volume, done, fail, cancel, late=True))
        return frozenset({202})
