"""Snapshots in the reference: creation, removal, and reverting a volume."""

from __future__ import annotations

import copy

from tests.model.reference.core import READABLE, Core, codes, per_type
from tests.model.reference.records import CONFLICT, INVALID, OVER_QUOTA, Accept, Codes, Content, Job, Snapshot, Volume


class Snapshots(Core):
    def create_snapshot(self, volume: Volume) -> tuple[Codes, Accept]:
        allowed = codes(
            202,
            (volume.status not in READABLE or volume.moving, INVALID),
            (self.exceeds(volume.project, per_type('snapshots', volume.size, volume.type)), OVER_QUOTA),
        )

        def accept(id: str) -> None:
            snapshot = self.make_snapshot(id, volume)

            def done() -> None:
                self.freeze(snapshot, volume)

            def fail() -> None:
                snapshot.status = 'error'

            self.jobs.append(Job(snapshot, done, fail))

        return allowed, accept

    def delete_snapshot(self, snapshot: Snapshot, force: bool = False) -> Codes:
        allowed = force or snapshot.status in ('available', 'error')
        if not allowed or snapshot.readers or snapshot.group_snapshot:
            return frozenset({INVALID})
        self.take_over(snapshot)
        self._remove_snapshot_later(snapshot)
        return frozenset({202})

    def _remove_snapshot_later(self, snapshot: Snapshot) -> None:
        snapshot.status = 'deleting'

        def done() -> None:
            self.snapshots.pop(snapshot.id, None)

        def fail() -> None:
            snapshot.status = 'error_deleting'

        self.jobs.append(Job(snapshot, done, fail))

    def revert(self, volume: Volume, snapshot: Snapshot) -> Codes:
        latest = [one for one in self.snapshots_of(volume) if one.project == volume.project][-1:]
        if latest != [snapshot] or snapshot.size != volume.size:
            return frozenset({INVALID})
        if volume.status != 'available' or volume.readers or snapshot.status != 'available':
            return frozenset({CONFLICT})
        volume.status, snapshot.status = 'reverting', 'restoring'

        def end(status: str, content: Content) -> None:
            volume.status, volume.content = status, content
            cancel()

        def cancel() -> None:
            if snapshot.status == 'restoring':
                snapshot.status = 'available'

        self.jobs.append(
            Job(
                volume,
                lambda: end('available', copy.copy(snapshot.content)),
                lambda: end(*self.after_failure(volume, 'error')),
                cancel,
                late=True,
            )
        )
        return frozenset({202})
