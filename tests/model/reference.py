"""The block storage service as it must look to its clients, in memory: no AWS, no concurrency, no code of the service.

Every request is a method. It returns the statuses that an answer may have, and changes the reference as an accepted
request changes the service. Work that the service does later is a ``Job``; ``settle`` ends all jobs, in the order in
which they were accepted. Bytes are numbers: ``content`` maps a place on the disk to the last number written there.

Sources: Cinder's API reference, and the status matrices measured on Cinder 29 (``chalicelib/rules/states.py`` repeats
them, and is not read here on purpose). Attachments, groups and administrators have pages of their own.
"""

from __future__ import annotations

import collections
import copy
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from tests.model.records import (
    CONFLICT,
    INVALID,
    OVER_QUOTA,
    Accept,
    Attachment,
    Backup,
    Codes,
    Content,
    Group,
    GroupSnapshot,
    Job,
    Resource,
    Snapshot,
    Source,
    Transfer,
    Volume,
)

#: Statuses in which a volume's data may be read, and those in which a volume may be deleted.
READABLE = ('available', 'in-use')
DELETABLE = ('available', 'error', 'error_restoring', 'error_extending')


def codes(accepted: int, *refusals: tuple[bool, int]) -> Codes:
    """The statuses that are right: those of the refusals whose condition holds, else the accepted one."""
    return frozenset(status for holds, status in refusals if holds) or frozenset({accepted})


class Core:
    """All projects. ``limits``: project -> quota name -> limit (-1: none); a quota that is not named is unlimited."""

    def __init__(self, limits: dict[str, dict[str, int]]) -> None:
        self.limits = limits
        self.volumes: dict[str, Volume] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.backups: dict[str, Backup] = {}
        self.groups: dict[str, Group] = {}
        self.group_snapshots: dict[str, GroupSnapshot] = {}
        self.transfers: dict[str, Transfer] = {}
        self.jobs: list[Job] = []
        #: Attachments whose volume was removed, by id.
        self.orphans: dict[str, tuple[Attachment, Volume]] = {}
        self.time = itertools.count()
        #: Whether a backup that failed has left something temporary on the backend.
        self.is_held: Callable[[Backup], bool] = lambda backup: False
        #: The status that the service shows after a failure, which may have come midway; None: the resource is gone.
        self.status_of: Callable[[Resource], str | None] = lambda resource: resource.status

    # What a project uses

    def usage(self, project: str) -> dict[str, int]:
        """The project's quota usage; a resource counts from its acceptance until it is gone."""
        used: collections.Counter[str] = collections.Counter()
        for volume in self.volumes.values():
            if volume.project == project:
                used.update(_per_type('volumes', volume.size, volume.type))
        for snapshot in self.snapshots.values():
            if snapshot.project == project:
                used.update(_per_type('snapshots', snapshot.size, snapshot.type))
        for backup in self.backups.values():
            if backup.project == project:
                used.update({'backups': 1, 'backup_gigabytes': backup.size})
        used['groups'] = sum(one.project == project for one in self.groups.values())
        return used

    def reserved(self, project: str) -> dict[str, int]:
        """What extensions and retypes under way hold beside what is used."""
        held: collections.Counter[str] = collections.Counter()
        for volume in self.volumes.values():
            if volume.project == project:
                held.update({'gigabytes': volume.growth, f'gigabytes_{volume.type}': volume.growth})
                if volume.wanted_type:
                    held.update(self._of_retype(volume, volume.wanted_type))
        return held

    def _of_retype(self, volume: Volume, kind: str) -> dict[str, int]:
        snapshots = self.snapshots_of(volume)
        gigabytes = volume.size + sum(one.size for one in snapshots)
        return {f'volumes_{kind}': 1, f'gigabytes_{kind}': gigabytes, f'snapshots_{kind}': len(snapshots)}

    def set_quota(self, project: str, name: str, limit: int) -> Codes:
        if 0 <= limit < self.usage(project)[name] + self.reserved(project).get(name, 0):
            return frozenset({INVALID})
        self.limits[project][name] = limit
        return frozenset({200})

    def exceeds(self, project: str, wanted: dict[str, int]) -> bool:
        """Whether the project's limits forbid so much more; a request that needs nothing more is never refused."""
        used, reserved, limits = self.usage(project), self.reserved(project), self.limits[project]
        return any(
            0 <= limits.get(name, -1) < used[name] + reserved.get(name, 0) + more
            for name, more in wanted.items()
            if more
        )

    # Volumes

    def create_volume(
        self, project: str, size: int, kind: str, source: Source, group: Group | None = None
    ) -> tuple[Codes, Accept]:
        """The statuses a creation may be answered with, and what an accepted one with this id changes."""
        allowed = codes(
            202,
            (source is not None and self._is_not_copyable(source, size), INVALID),
            (group is not None and (group.status not in ('available', 'creating') or kind not in group.types), INVALID),
            (self.exceeds(project, _per_type('volumes', size, kind)), OVER_QUOTA),
        )
        return allowed, lambda id: self._make_volume(id, project, size, kind, source, group)

    def _make_volume(
        self, id: str, project: str, size: int, kind: str, source: Source, group: Group | None = None
    ) -> Volume:
        volume = self.volumes[id] = Volume(id, project, size, kind, origin=_origin(source))
        volume.group = group.id if group else None
        self._hold(source)

        def done() -> None:
            volume.status, volume.placed = 'available', True
            volume.content = copy.copy(source.content) if source is not None else {}
            if isinstance(source, Backup):  # a restore replaces metadata, also what was set meanwhile, as Cinder's does
                volume.metadata = {**source.metadata, 'src_backup_id': source.id}
            self._release(source)

        def fail() -> None:
            volume.status = 'error'
            self._release(source)

        self.jobs.append(Job(volume, done, fail, lambda: self._release(source)))
        return volume

    def _is_not_copyable(self, source: Volume | Snapshot | Backup, size: int) -> bool:
        allowed = READABLE if isinstance(source, Volume) else ('available',)
        return source.status not in allowed or size < source.size

    def _hold(self, source: Source) -> None:
        if isinstance(source, Backup):
            source.status = 'restoring'
        elif source is not None:
            source.readers += 1

    def _release(self, source: Source) -> None:
        if isinstance(source, Backup):
            source.status = 'available'
        elif source is not None:
            source.readers -= 1

    def delete_volume(self, volume: Volume, cascade: bool, force: bool = False) -> Codes:
        """``force``: an administrator's; whatever the status is. All else must hold all the same."""
        if not volume.placed and volume.status in ('creating', 'error') and volume.group is None:
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
        for record in [volume, *snapshots]:
            record.status = 'deleting'
        self.remove_later(volume, [*superseded, *(job for one in snapshots for job in self.take_over(one))])
        return frozenset({202})

    def is_removable(self, volume: Volume, force: bool = False) -> bool:
        """Whether a volume may go, but for its snapshots and its group."""
        attached = self._attach_status(volume) == 'attached'
        return (force or volume.status in DELETABLE) and not volume.readers and not volume.moving and not attached

    @staticmethod
    def _attach_status(volume: Volume) -> str:
        return min((one.status for one in volume.attachments.values()), default='detached')

    def remove_later(self, volume: Volume, superseded: Iterable[Job] = ()) -> None:
        """Work that removes a volume and its snapshots; with it ends what it has taken the volume from."""

        def done() -> None:
            _cancel(superseded)
            self.all_gone([*self.snapshots_of(volume), volume])

        def fail() -> None:
            _cancel(superseded)
            self.not_removed([*self.snapshots_of(volume), volume])

        def cancel() -> None:
            """An administrator has ended it: its snapshots go on their own."""
            _cancel(superseded)
            for snapshot in self.snapshots_of(volume):
                if snapshot.status == 'deleting':
                    self._remove_snapshot_later(snapshot)

        self.jobs.append(Job(volume, done, fail, cancel, late=True))

    def all_gone(self, resources: Iterable[Resource]) -> None:
        for one in resources:
            self.gone(one)

    def not_removed(self, resources: Iterable[Resource]) -> None:
        """Those that the service still shows could not be removed."""
        for one in resources:
            if self.status_of(one):
                one.status = 'error_deleting'
            else:
                self.gone(one)

    def extend(self, volume: Volume, size: int) -> Codes:
        growth = size - volume.size
        refused = codes(
            202,
            (growth <= 0 or volume.status not in READABLE, INVALID),
            (
                growth > 0 and self.exceeds(volume.project, {'gigabytes': growth, f'gigabytes_{volume.type}': growth}),
                OVER_QUOTA,
            ),
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

    def rest(self, volume: Volume) -> str:
        """The status of a volume that nothing is done with: its attachments decide."""
        live = sorted(one.status for one in volume.attachments.values())
        return {'attached': 'in-use'}.get(live[0], live[0]) if live else 'available'

    def retype(self, volume: Volume, kind: str) -> Codes:
        shared = {volume.type == 'shared', kind == 'shared'}
        attached_to_many = volume.status != 'available' and len(shared) > 1
        invalid = volume.type == kind or volume.status not in READABLE or volume.group or volume.moving
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

    # Snapshots

    def snapshots_of(self, volume: Volume) -> list[Snapshot]:
        """Oldest first."""
        return [one for one in self.snapshots.values() if one.volume == volume.id]

    def create_snapshot(self, volume: Volume) -> tuple[Codes, Accept]:
        allowed = codes(
            202,
            (volume.status not in READABLE or volume.moving, INVALID),
            (self.exceeds(volume.project, _per_type('snapshots', volume.size, volume.type)), OVER_QUOTA),
        )

        def accept(id: str) -> None:
            snapshot = self.make_snapshot(id, volume)

            def done() -> None:
                self.freeze(snapshot, volume)

            def fail() -> None:
                snapshot.status = 'error'

            self.jobs.append(Job(snapshot, done, fail))

        return allowed, accept

    @staticmethod
    def freeze(snapshot: Snapshot, volume: Volume) -> None:
        snapshot.status, snapshot.whole, snapshot.content = 'available', True, copy.copy(volume.content)

    def make_snapshot(self, id: str, volume: Volume) -> Snapshot:
        made = Snapshot(id, volume.project, volume.id, volume.size, volume.type, next(self.time))
        self.snapshots[id] = made
        return made

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

    def after_failure(self, volume: Volume, status: str) -> tuple[str, Content]:
        """Status and data after a revert or restore that failed: as before, if the service shows it as available.

        A backend may refuse before it changes anything; a user message reports it.
        """
        return ('available', volume.content) if self.status_of(volume) == 'available' else (status, None)

    # Backups

    def create_backup(self, volume: Volume, snapshot: Snapshot | None, incremental: bool) -> tuple[Codes, Accept]:
        """``force`` is always sent. An incremental backup needs an earlier one that is available."""
        project, source = volume.project, snapshot or volume
        before = snapshot.taken if snapshot else next(self.time)
        parent = self._parent(volume, before) if incremental else None
        allowed = codes(
            202,
            (source.status not in (('available',) if snapshot else READABLE), INVALID),
            (incremental and parent is None, INVALID),
            (self.exceeds(project, {'backups': 1, 'backup_gigabytes': source.size}), OVER_QUOTA),
        )

        def accept(id: str) -> None:
            backup = self.backups[id] = Backup(id, project, volume.id, source.size, before)
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

    def _parent(self, volume: Volume, before: int) -> Backup | None:
        earlier = [
            one
            for one in self.backups.values()
            if one.volume == volume.id and one.project == volume.project
            if one.status == 'available' and one.taken < before
        ]
        return max(reversed(earlier), key=lambda one: one.taken, default=None)

    def delete_backup(self, backup: Backup, force: bool = False) -> Codes:
        if not force and backup.status not in ('available', 'error'):
            return frozenset({INVALID})
        superseded = self.take_over(backup)
        backup.status = 'deleting'

        def done() -> None:
            cancel()
            self.let_go(backup, gone=True)
            self.backups.pop(backup.id, None)

        def fail() -> None:
            cancel()
            self.let_go(backup)
            backup.status = 'error_deleting'

        def cancel() -> None:
            _cancel(superseded)

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
        self.end_move(volume)
        backup.status, volume.status = 'restoring', 'restoring-backup'

        def end(status: str, content: Content) -> None:
            volume.status, volume.content = status, content
            cancel()

        def cancel() -> None:
            if backup.status == 'restoring':
                backup.status = 'available'

        def done() -> None:
            end('available', copy.copy(content))
            volume.metadata = {**metadata, **({'src_backup_id': backup.id} if volume.id != backup.volume else {})}

        def fail() -> None:
            end(*self.after_failure(volume, 'error_restoring'))

        content, metadata = backup.content, backup.metadata
        self.jobs.append(Job(volume, done, fail, cancel, late=True))
        return frozenset({202})

    # Transfers

    def offer(self, volume: Volume, made: dict[str, str] | None) -> Codes:
        """``made``: the offer in the answer, with its key."""
        whole = all(one.status == 'available' and not one.group_snapshot for one in self.snapshots_of(volume))
        if volume.status != 'available' or not whole or volume.group or volume.moving or volume.attachments:
            return frozenset({INVALID})
        if made:
            self.transfers[made['id']] = Transfer(made['id'], volume.project, volume.id, made['auth_key'])
            volume.status, volume.offer = 'awaiting-transfer', made['id']
        return frozenset({202})

    def withdraw(self, transfer: Transfer) -> Codes:
        del self.transfers[transfer.id]
        volume = self.volumes.get(transfer.volume)
        if volume and self._is_on_offer(volume, transfer):
            volume.status = 'available'
        return frozenset({202})

    @staticmethod
    def _is_on_offer(volume: Volume, transfer: Transfer) -> bool:
        return volume.status == 'awaiting-transfer' and volume.offer == transfer.id

    def accept(self, project: str, transfer: Transfer, key: str) -> Codes:
        if key != transfer.key:
            return frozenset({INVALID})
        volume = self.volumes[transfer.volume]
        snapshots = self.snapshots_of(volume)
        wanted: collections.Counter[str] = collections.Counter(_per_type('volumes', volume.size, volume.type))
        for one in snapshots:
            wanted.update(_per_type('snapshots', one.size, one.type))
        allowed = codes(
            202,
            (volume.readers > 0 or not self._is_on_offer(volume, transfer), INVALID),
            (any(one.readers or one.status != 'available' for one in snapshots), INVALID),
            (project != volume.project and self.exceeds(project, wanted), OVER_QUOTA),
        )
        if 202 in allowed:
            del self.transfers[transfer.id]
            for record in [volume, *snapshots]:
                record.project = project
            volume.status = 'available'
        return allowed

    # Work

    def settle(self, failed: Callable[[Any], bool] = lambda resource: False) -> None:
        """End every job, in the order of acceptance; ``failed`` returns whether the work on a job's resource failed."""
        while self.jobs:
            job = self.jobs.pop(0)
            if not self.knows(job.resource):
                job.cancel()
            elif failed(job.resource):
                job.fail()
            else:
                job.done()

    def gone(self, resource: Resource) -> None:
        """Remove a resource, and with it what is under way for it."""
        _cancel(self.take_over(resource))
        if isinstance(resource, Volume):
            self.orphans.update({one.id: (one, resource) for one in resource.attachments.values()})
            self.transfers = {id: one for id, one in self.transfers.items() if one.volume != resource.id}
        self._kept(resource).pop(resource.id, None)

    def take_over(self, resource: Resource) -> list[Job]:
        """The jobs of a resource, which nothing will end but their ``cancel``."""
        mine = [job for job in self.jobs if job.resource is resource]
        self.jobs = [job for job in self.jobs if job.resource is not resource]
        return mine

    def end_move(self, volume: Volume) -> None:
        """Another request takes a volume from its migration, which ends when the service comes to it."""
        if volume.moving:
            self.end_work(volume)

    def end_work(self, resource: Resource) -> None:
        """Another request ends what is under way for a resource."""
        for job in self.take_over(resource):
            if job.late:
                self.jobs.append(Job(resource, job.cancel, job.cancel, job.cancel, late=True))
            else:
                job.cancel()

    def knows(self, resource: Resource) -> bool:
        return self._kept(resource).get(resource.id) is resource

    def _kept(self, resource: Resource) -> dict[str, Any]:
        kept: dict[type, dict[str, Any]] = {
            Volume: self.volumes,
            Snapshot: self.snapshots,
            Backup: self.backups,
            Group: self.groups,
            GroupSnapshot: self.group_snapshots,
        }
        return kept[type(resource)]


def _cancel(jobs: Iterable[Job]) -> None:
    for job in jobs:
        job.cancel()


def _per_type(name: str, size: int, kind: str) -> dict[str, int]:
    """What one volume or snapshot counts for."""
    return {name: 1, 'gigabytes': size, f'{name}_{kind}': 1, f'gigabytes_{kind}': size}


def _origin(source: Source) -> tuple[str, str] | None:
    names = {Volume: 'source_volid', Snapshot: 'snapshot_id'}
    return (names[type(source)], source.id) if isinstance(source, Volume | Snapshot) else None
