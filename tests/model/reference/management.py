"""Manage and unmanage in the reference: data that leaves the service's records, and comes back under new ones."""

from __future__ import annotations

from tests.model.reference.core import DELETABLE, cancel_all, codes, per_type
from tests.model.reference.records import INVALID, OVER_QUOTA, Accept, Codes, Job, Shelved, Snapshot, Volume
from tests.model.reference.volumes import Volumes

#: Statuses of a volume that no snapshot can be added to.
NOT_ADOPTING = ('creating', 'deleting', 'unmanaging', 'retyping')


class Managing(Volumes):
    def unmanage_volume(self, volume: Volume, shelved: Shelved | None) -> Codes:
        """``shelved``: what the backend has afterwards."""
        if volume.locked:
            return frozenset({INVALID})
        if not volume.placed or shelved is None:
            return self.delete_volume(volume, cascade=False)
        removable = volume.status in DELETABLE and self.is_removable(volume)
        if volume.group or not removable or self.snapshots_of(volume):
            return frozenset({INVALID})
        superseded = self.take_over(volume)
        volume.status = 'unmanaging'

        def done() -> None:
            cancel_all(superseded)
            shelved.size, shelved.content = volume.size, volume.content
            self.shelf[shelved.name] = shelved
            self.gone(volume)

        def fail() -> None:
            cancel_all(superseded)
            volume.status = 'error_unmanaging'

        self.jobs.append(Job(volume, done, fail, lambda: cancel_all(superseded), late=True))
        return frozenset({202})

    def manage_volume(self, project: str, kind: str, name: str) -> tuple[Codes, Accept]:
        """``name``: that of the object on the backend."""
        wanted = {'volumes': 1, f'volumes_{kind}': 1}
        allowed = codes(202, (self.kinds[kind].encrypted, INVALID), (self.exceeds(project, wanted), OVER_QUOTA))

        def accept(id: str) -> None:
            volume = self.volumes[id] = Volume(id, project, 0, kind, hosted=True)

            def done() -> None:
                found = self.shelf.get(name)
                size = found.size if found else 0
                if found is None or self.exceeds(project, {'gigabytes': size, f'gigabytes_{kind}': size}):
                    return fail()
                del self.shelf[name]
                volume.size, volume.content, volume.placed, volume.status = size, found.content, True, 'available'
                return None

            def fail() -> None:
                volume.status, volume.managed = 'error', False
                volume.size, volume.hosted = self.size_of(volume), self.host_of(volume) is not None

            self.jobs.append(Job(volume, done, fail))

        return allowed, accept

    def unmanage_snapshot(self, snapshot: Snapshot, shelved: Shelved) -> Codes:
        volume = self.volumes.get(snapshot.volume)
        settled = snapshot.status in ('available', 'error') and not snapshot.readers and not snapshot.group_snapshot
        if not settled or (volume and volume.locked):
            return frozenset({INVALID})
        self.take_over(snapshot)
        snapshot.status = 'unmanaging'

        def done() -> None:
            if snapshot.whole:
                shelved.size, shelved.content = snapshot.size, snapshot.content
                self.shelf[shelved.name] = shelved
            self.snapshots.pop(snapshot.id, None)

        def fail() -> None:
            snapshot.status = 'error'

        self.jobs.append(Job(snapshot, done, fail))
        return frozenset({202})

    def manage_snapshot(self, volume: Volume, name: str) -> tuple[Codes, Accept]:
        unfit = not volume.placed or volume.moving or volume.locked or volume.status in NOT_ADOPTING
        wanted = per_type('snapshots', volume.size, volume.type)
        allowed = codes(202, (unfit, INVALID), (self.exceeds(volume.project, wanted), OVER_QUOTA))

        def accept(id: str) -> None:
            snapshot = self.make_snapshot(id, volume)

            def done() -> None:
                found = self.shelf.get(name)
                if found is None or found.host != self.host_of(volume):
                    return fail()
                del self.shelf[name]
                snapshot.size, snapshot.content = found.size, found.content
                snapshot.status, snapshot.whole = 'available', True
                return None

            def fail() -> None:
                snapshot.status, snapshot.size = 'error', self.size_of(snapshot)

            self.jobs.append(Job(snapshot, done, fail))

        return allowed, accept
