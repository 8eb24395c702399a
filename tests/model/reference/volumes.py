"""Volumes in the reference: creation, removal, extension, retype, metadata."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from tests.model.reference.core import DELETABLE, READABLE, cancel_all, codes, per_type
from tests.model.reference.records import (
    INVALID,
    OVER_QUOTA,
    Accept,
    Backup,
    Codes,
    Group,
    Image,
    Job,
    Snapshot,
    Source,
    Volume,
)
from tests.model.reference.snapshots import Snapshots


class Volumes(Snapshots):
    def create_volume(
        self, project: str, size: int, kind: str, source: Source, group: Group | None = None
    ) -> tuple[Codes, Accept]:
        """The statuses a creation may be answered with, and what an accepted one with this id changes."""
        encrypted = self.kinds[kind].encrypted
        allowed = codes(
            202,
            (source is not None and self._is_not_copyable(source, size), INVALID),
            (source is not None and self._is_locked(source) != encrypted, INVALID),
            (group is not None and (group.status not in ('available', 'creating') or kind not in group.types), INVALID),
            (self.exceeds(project, per_type('volumes', size, kind)), OVER_QUOTA),
        )
        return allowed, lambda id: self._make_volume(id, project, size, kind, source, group)

    def _make_volume(
        self, id: str, project: str, size: int, kind: str, source: Source, group: Group | None = None
    ) -> Volume:
        volume = self.volumes[id] = Volume(id, project, size, kind, origin=_origin(source))
        volume.group, volume.locked = group.id if group else None, self.kinds[kind].encrypted
        self._hold(source)

        def done() -> None:
            if isinstance(source, Backup) and not source.stored.is_kept:
                return fail()
            volume.status, volume.placed = 'available', True
            volume.content = copy.copy(source.content) if source is not None else {}
            if isinstance(source, Backup):  # a restore replaces metadata, also what was set meanwhile, as Cinder's does
                volume.metadata = {**source.metadata, 'src_backup_id': source.id}
            self._release(source)
            return None

        def fail() -> None:
            volume.status = 'error'
            self._release(source)

        self.jobs.append(Job(volume, done, fail, lambda: self._release(source)))
        return volume

    def _is_locked(self, source: Volume | Snapshot | Backup | Image) -> bool:
        if not isinstance(source, Snapshot):
            return source.locked
        volume = self.volumes.get(source.volume)
        return volume is not None and volume.locked

    def _is_not_copyable(self, source: Volume | Snapshot | Backup | Image, size: int) -> bool:
        allowed = READABLE if isinstance(source, Volume) else ('available', 'active')
        return source.status not in allowed or size < source.size

    def delete_volume(self, volume: Volume, cascade: bool, force: bool = False) -> Codes:
        """``force``: an administrator's; whatever the status is. All else must hold all the same."""
        if not volume.placed and not volume.hosted and volume.status in ('creating', 'error') and volume.group is None:
            self.gone(volume)
            return frozenset({202})
        snapshots = self.snapshots_of(volume)
        statuses = ('available', 'error', 'error_deleting')
        removable = cascade and all(
            (force or one.status in statuses) and not one.readers and not one.group_snapshot for one in snapshots
        )
        if volume.group or not self.is_removable(volume, force) or (snapshots and not removable):
            return frozenset({INVALID})
        superseded = self.take_over(volume)
        before = {record.id: record.status for record in [volume, *snapshots]}
        for record in [volume, *snapshots]:
            record.status = 'deleting'
        self.remove_later(volume, [*superseded, *(job for one in snapshots for job in self.take_over(one))], before)
        return frozenset({202})

    def is_removable(self, volume: Volume, force: bool = False) -> bool:
        """Whether a volume may go, but for its snapshots and its group."""
        attached = self._attach_status(volume) == 'attached'
        return (force or volume.status in DELETABLE) and not volume.readers and not volume.moving and not attached

    @staticmethod
    def _attach_status(volume: Volume) -> str:
        return min((one.status for one in volume.attachments.values()), default='detached')

    def remove_later(
        self, volume: Volume, superseded: Iterable[Job] = (), before: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Work that removes a volume and its snapshots; with it ends what it has taken the volume from.

        ``before``: their statuses, by id.
        """

        def done() -> None:
            cancel_all(superseded)
            left = self.snapshots_of(volume)
            if any(self._is_taken_out(one) for one in left) and self.status_of(volume):
                self._called_off([volume, *left], before)
            else:
                self.all_gone([*left, volume])

        def fail() -> None:
            cancel_all(superseded)
            self.not_removed([*self.snapshots_of(volume), volume])

        def cancel() -> None:
            """An administrator has ended it: its snapshots go on their own."""
            cancel_all(superseded)
            for snapshot in self.snapshots_of(volume):
                if snapshot.status == 'deleting':
                    self._remove_snapshot_later(snapshot)

        self.jobs.append(Job(volume, done, fail, cancel, late=True))

    def _is_taken_out(self, snapshot: Snapshot) -> bool:
        """Whether a snapshot is in use again: an administrator has reset it, and another request has taken it since.

        The removal of its volume finds the volume busy, if it comes before that request's work ends.
        """
        return bool(snapshot.readers) or any(job.resource is snapshot for job in self.jobs)

    def _called_off(self, resources: Iterable[Volume | Snapshot], before: Mapping[str, str]) -> None:
        """What a removal that is called off had not yet removed: available, or in error as before."""
        for one in resources:
            if self.status_of(one) is None:
                self.gone(one)
            elif one.status == 'deleting' and not any(job.resource is one for job in self.jobs):
                status = before.get(one.id, 'available')
                one.status = status if status.startswith('error') else 'available'

    def extend(self, volume: Volume, size: int) -> Codes:
        growth = size - volume.size
        refused = codes(
            202,
            (growth <= 0 or volume.status not in READABLE, INVALID),
            (growth > 0 and self.exceeds_growth(volume, growth), OVER_QUOTA),
        )
        if 202 not in refused:
            return refused
        self.end_move(volume)
        volume.before, volume.status, volume.growth = volume.status, 'extending', growth

        def done() -> None:
            volume.status, volume.growth, volume.size = volume.before, 0, size

        def fail() -> None:
            as_before = self.status_of(volume) == volume.before
            volume.status, volume.growth = volume.before if as_before else 'error_extending', 0

        def cancel() -> None:
            volume.growth = 0

        self.jobs.append(Job(volume, done, fail, cancel))
        return refused

    def exceeds_growth(self, volume: Volume, growth: int) -> bool:
        return self.exceeds(volume.project, {'gigabytes': growth, f'gigabytes_{volume.type}': growth})

    def rest(self, volume: Volume) -> str:
        """The status of a volume that nothing is done with: its attachments decide."""
        live = sorted(one.status for one in volume.attachments.values())
        return {'attached': 'in-use'}.get(live[0], live[0]) if live else 'available'

    def retype(self, volume: Volume, kind: str) -> Codes:
        shared = {volume.type == 'shared', kind == 'shared'}
        attached_to_many = volume.status != 'available' and len(shared) > 1
        different = self.kinds[volume.type].encrypted != self.kinds[kind].encrypted
        qos = volume.status != 'available' and self.kinds[volume.type].qos != self.kinds[kind].qos
        invalid = (
            different or qos or volume.type == kind or volume.status not in READABLE or volume.group or volume.moving
        )
        over = volume.type != kind and self.exceeds(volume.project, self._of_retype(volume, kind))
        refused = codes(202, (bool(invalid) or attached_to_many, INVALID), (over, OVER_QUOTA))
        if 202 not in refused:
            return refused
        volume.before, volume.status, volume.wanted_type = volume.status, 'retyping', kind

        def done() -> None:
            volume.type = kind
            for snapshot in self.snapshots_of(volume):
                snapshot.type = kind
            fail()

        def fail() -> None:
            volume.status, volume.wanted_type = volume.before, None

        def cancel() -> None:
            volume.wanted_type = None

        self.jobs.append(Job(volume, done, fail, cancel))
        return refused

    def set_metadata(self, record: Volume | Snapshot, metadata: dict[str, str], replace: bool) -> Codes:
        if record.status in ('maintenance', 'uploading'):
            return frozenset({INVALID})
        record.metadata = {**({} if replace else record.metadata), **metadata}
        return frozenset({200})


def _origin(source: Source) -> tuple[str, str] | None:
    names = {Volume: 'source_volid', Snapshot: 'snapshot_id'}
    return (names[type(source)], source.id) if isinstance(source, Volume | Snapshot) else None
