"""The block storage service as it must look to its clients, in memory: no AWS, no concurrency, no code of the service.

Every request is a method. It returns the statuses that an answer may have, and changes the reference as an accepted
request changes the service. Work that the service does later is a ``Job``; ``settle`` ends all jobs, in the order in
which they were accepted. Bytes are numbers: ``content`` maps a place on the disk to the last number written there.

Sources: Cinder's API reference, and the status matrices measured on Cinder 29 (``chalicelib/rules/states.py`` repeats
them, and is not read here on purpose).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

#: Refusals: HTTP statuses.
INVALID, NOT_FOUND, CONFLICT, OVER_QUOTA = 400, 404, 409, 413

Codes = frozenset[int]
Content = dict[int, int]

#: Changes the reference as the acceptance of a request that made a resource with this id.
Accept = Callable[[str], None]


@dataclasses.dataclass
class Attachment:
    id: str
    status: str
    connected: bool = False


@dataclasses.dataclass
class Volume:
    """``readers``: clones and backups that are being made of it. ``growth``: GiB that an extension has reserved.

    ``placed``: a backend was chosen for it.
    """

    id: str
    project: str
    size: int
    type: str
    status: str = 'creating'
    content: Content = dataclasses.field(default_factory=dict)
    attachments: dict[str, Attachment] = dataclasses.field(default_factory=dict)
    readers: int = 0
    growth: int = 0
    placed: bool = False


@dataclasses.dataclass
class Snapshot:
    id: str
    project: str
    volume: str
    size: int
    type: str
    status: str = 'creating'
    content: Content = dataclasses.field(default_factory=dict)
    readers: int = 0


@dataclasses.dataclass
class Backup:
    id: str
    project: str
    volume: str
    size: int
    status: str = 'creating'
    content: Content = dataclasses.field(default_factory=dict)


#: What a volume is made of; None: of nothing.
Source = Volume | Snapshot | Backup | None


@dataclasses.dataclass
class Transfer:
    id: str
    project: str
    volume: str
    key: str


@dataclasses.dataclass
class Job:
    """Work under way for one resource. ``fail`` does what a failure leaves; a resource that is gone cancels its job."""

    resource: Volume | Snapshot | Backup
    done: Callable[[], None]
    fail: Callable[[], None]
    cancel: Callable[[], None] = lambda: None


class Reference:
    """All projects. ``limits``: project -> {volumes, gigabytes, snapshots, backups, backup_gigabytes} (-1: none)."""

    def __init__(self, limits: dict[str, dict[str, int]]) -> None:
        self.limits = limits
        self.volumes: dict[str, Volume] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.backups: dict[str, Backup] = {}
        self.transfers: dict[str, Transfer] = {}
        self.jobs: list[Job] = []

    # What a project uses

    def usage(self, project: str) -> dict[str, int]:
        """The project's quota usage; a resource counts from its acceptance until it is gone."""
        volumes = [one for one in self.volumes.values() if one.project == project]
        snapshots = [one for one in self.snapshots.values() if one.project == project]
        backups = [one for one in self.backups.values() if one.project == project]
        used = {
            'volumes': len(volumes),
            'snapshots': len(snapshots),
            'gigabytes': sum(one.size for one in [*volumes, *snapshots]),
            'backups': len(backups),
            'backup_gigabytes': sum(one.size for one in backups),
        }
        for kind in sorted({one.type for one in [*volumes, *snapshots]}):
            mine = [one for one in volumes if one.type == kind]
            taken = [one for one in snapshots if one.type == kind]
            used[f'volumes_{kind}'], used[f'snapshots_{kind}'] = len(mine), len(taken)
            used[f'gigabytes_{kind}'] = sum(one.size for one in [*mine, *taken])
        return used

    def set_quota(self, project: str, name: str, limit: int) -> Codes:
        growing = sum(one.growth for one in self.volumes.values() if one.project == project)
        if 0 <= limit < self.usage(project)[name] + (growing if name == 'gigabytes' else 0):
            return frozenset({INVALID})
        self.limits[project][name] = limit
        return frozenset({200})

    def exceeds(self, project: str, **wanted: int) -> bool:
        """Whether the project's limits forbid so much more, extensions under way included."""
        used, limits = self.usage(project), self.limits[project]
        used['gigabytes'] += sum(one.growth for one in self.volumes.values() if one.project == project)
        return any(0 <= limits[name] < used[name] + more for name, more in wanted.items())

    # Volumes

    def create_volume(self, project: str, size: int, kind: str, source: Source) -> tuple[Codes, Accept]:
        """The statuses a creation may be answered with, and what an accepted one with this id changes."""
        refused = {INVALID} if source is not None and self._not_copyable(source, size) else set()
        if self.exceeds(project, volumes=1, gigabytes=size):
            refused.add(OVER_QUOTA)

        def accept(id: str) -> None:
            volume = self.volumes[id] = Volume(id, project, size, kind)
            self._hold(source)

            def done() -> None:
                volume.status, volume.placed = 'available', True
                volume.content = dict(source.content) if source is not None else {}
                self._release(source)

            def fail() -> None:
                volume.status = 'error'
                self._release(source)

            self.jobs.append(Job(volume, done, fail, lambda: self._release(source)))

        return frozenset(refused or {202}), accept

    def _not_copyable(self, source: Volume | Snapshot | Backup, size: int) -> bool:
        allowed = ('available', 'in-use') if isinstance(source, Volume) else ('available',)
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

    def delete_volume(self, volume: Volume, cascade: bool) -> Codes:
        if not volume.placed and volume.status in ('creating', 'error'):
            self._gone(volume)
            return frozenset({202})
        snapshots = self.snapshots_of(volume)
        removable = cascade and all(one.status in ('available', 'error') and not one.readers for one in snapshots)
        if (
            volume.status not in ('available', 'error', 'error_restoring', 'error_extending')
            or volume.readers
            or any(one.status == 'attached' for one in volume.attachments.values())
            or (snapshots and not removable)
        ):
            return frozenset({INVALID})
        for record in [volume, *snapshots]:
            record.status = 'deleting'

        def done() -> None:
            for snapshot in self.snapshots_of(volume):
                del self.snapshots[snapshot.id]
            self._gone(volume)

        def fail() -> None:
            for record in [volume, *self.snapshots_of(volume)]:
                record.status = 'error_deleting'

        self.jobs.append(Job(volume, done, fail))
        return frozenset({202})

    def _gone(self, volume: Volume) -> None:
        del self.volumes[volume.id]

    def extend(self, volume: Volume, size: int) -> Codes:
        project, refused = volume.project, set()
        if size <= volume.size or volume.status not in ('available', 'in-use'):
            refused.add(INVALID)
        if size > volume.size and self.exceeds(project, gigabytes=size - volume.size):
            refused.add(OVER_QUOTA)
        if refused:
            return frozenset(refused)
        volume.status, volume.growth = 'extending', size - volume.size

        def done() -> None:
            volume.status, volume.growth, volume.size = self._rest(volume), 0, size

        def fail() -> None:
            volume.status, volume.growth = 'error_extending', 0

        self.jobs.append(Job(volume, done, fail))
        return frozenset({202})

    def _rest(self, volume: Volume) -> str:
        """The status of a volume that nothing is done with: its attachments decide."""
        live = sorted(one.status for one in volume.attachments.values())
        return {'attached': 'in-use'}.get(live[0], live[0]) if live else 'available'

    def retype(self, volume: Volume, kind: str) -> Codes:
        if volume.type == kind or volume.status not in ('available', 'in-use'):
            return frozenset({INVALID})
        volume.status = 'retyping'

        def done() -> None:
            volume.type = kind
            for snapshot in self.snapshots_of(volume):
                snapshot.type = kind
            fail()

        def fail() -> None:
            volume.status = self._rest(volume)

        self.jobs.append(Job(volume, done, fail))
        return frozenset({202})

    # Snapshots

    def snapshots_of(self, volume: Volume) -> list[Snapshot]:
        """Oldest first."""
        return [one for one in self.snapshots.values() if one.volume == volume.id]

    def create_snapshot(self, volume: Volume) -> tuple[Codes, Accept]:
        project, refused = volume.project, set()
        if volume.status not in ('available', 'in-use'):
            refused.add(INVALID)
        if self.exceeds(project, snapshots=1, gigabytes=volume.size):
            refused.add(OVER_QUOTA)

        def accept(id: str) -> None:
            snapshot = self.snapshots[id] = Snapshot(id, project, volume.id, volume.size, volume.type)

            def done() -> None:
                snapshot.status, snapshot.content = 'available', dict(volume.content)

            def fail() -> None:
                snapshot.status = 'error'

            self.jobs.append(Job(snapshot, done, fail))

        return frozenset(refused or {202}), accept

    def delete_snapshot(self, snapshot: Snapshot) -> Codes:
        if snapshot.status not in ('available', 'error') or snapshot.readers:
            return frozenset({INVALID})
        snapshot.status = 'deleting'

        def done() -> None:
            self.snapshots.pop(snapshot.id, None)

        def fail() -> None:
            snapshot.status = 'error_deleting'

        self.jobs.append(Job(snapshot, done, fail))
        return frozenset({202})

    def revert(self, volume: Volume, snapshot: Snapshot) -> Codes:
        latest = self.snapshots_of(volume)[-1:]
        if latest != [snapshot] or snapshot.size != volume.size:
            return frozenset({INVALID})
        if volume.status != 'available' or volume.readers or snapshot.status != 'available':
            return frozenset({CONFLICT})
        volume.status, snapshot.status = 'reverting', 'restoring'

        def done() -> None:
            volume.content = dict(snapshot.content)
            volume.status = snapshot.status = 'available'

        def fail() -> None:
            volume.status, snapshot.status = 'error', 'available'

        self.jobs.append(Job(volume, done, fail))
        return frozenset({202})

    # Backups

    def create_backup(self, volume: Volume, snapshot: Snapshot | None, incremental: bool) -> tuple[Codes, Accept]:
        """``force`` is always sent. An incremental backup needs an earlier one that is available."""
        project, refused = volume.project, set()
        source: Volume | Snapshot = snapshot or volume
        if source.status not in (('available',) if snapshot else ('available', 'in-use')):
            refused.add(INVALID)
        earlier = [one for one in self.backups.values() if one.volume == volume.id and one.status == 'available']
        if incremental and not any(one.project == project for one in earlier):
            refused.add(INVALID)
        if self.exceeds(project, backups=1, backup_gigabytes=source.size):
            refused.add(OVER_QUOTA)

        def accept(id: str) -> None:
            backup = self.backups[id] = Backup(id, project, volume.id, source.size)
            before, source.status = source.status, 'backing-up'
            source.readers += 1

            def end(status: str) -> None:
                backup.status = status
                source.readers -= 1
                source.status = before if isinstance(source, Snapshot) else self._rest(source)

            def done() -> None:
                backup.content = dict(source.content)
                end('available')

            self.jobs.append(Job(backup, done, lambda: end('error')))

        return frozenset(refused or {202}), accept

    def delete_backup(self, backup: Backup) -> Codes:
        if backup.status not in ('available', 'error'):
            return frozenset({INVALID})
        backup.status = 'deleting'

        def done() -> None:
            del self.backups[backup.id]

        def fail() -> None:
            backup.status = 'error_deleting'

        self.jobs.append(Job(backup, done, fail))
        return frozenset({202})

    def restore(self, backup: Backup, volume: Volume) -> Codes:
        """Over a volume that exists; one that is made for the restore is ``create_volume`` from the backup."""
        if backup.status != 'available' or volume.status != 'available' or backup.size > volume.size:
            return frozenset({INVALID})
        backup.status, volume.status = 'restoring', 'restoring-backup'

        def done() -> None:
            volume.content = dict(backup.content)
            backup.status = volume.status = 'available'

        def fail() -> None:
            backup.status, volume.status = 'available', 'error_restoring'

        self.jobs.append(Job(volume, done, fail))
        return frozenset({202})

    # Attachments

    def create_attachment(self, volume: Volume, connected: bool) -> tuple[Codes, Accept]:
        refused = {INVALID} if volume.status != 'available' else set()

        def accept(id: str) -> None:
            status = 'attaching' if connected else 'reserved'
            volume.attachments[id] = Attachment(id, status, connected)
            volume.status = status

        return frozenset(refused or {200}), accept

    def connect_attachment(self, volume: Volume, attachment: Attachment) -> Codes:
        if 'error' in volume.status:
            return frozenset({CONFLICT})
        attachment.status, attachment.connected = 'attaching', True
        self._follow(volume)
        return frozenset({200})

    def complete_attachment(self, volume: Volume, attachment: Attachment) -> Codes:
        """The same again changes nothing."""
        if attachment.status != 'attached':
            attachment.status = 'attached'
            self._follow(volume)
        return frozenset({204})

    def delete_attachment(self, volume: Volume, attachment: Attachment) -> Codes:
        del volume.attachments[attachment.id]
        self._follow(volume)
        return frozenset({200})

    def _follow(self, volume: Volume) -> None:
        """Give a volume the status of its attachments, unless a job has it: the job's end does so then."""
        if volume.status in ('available', 'reserved', 'attaching', 'in-use', 'detaching'):
            volume.status = self._rest(volume)

    # Attachments as Nova made them before the attachments API

    def reserve(self, volume: Volume) -> Codes:
        if volume.status != 'available':
            return frozenset({INVALID})
        volume.status = 'attaching'
        return frozenset({202})

    def unreserve(self, volume: Volume) -> Codes:
        if volume.status == 'attaching':
            volume.status = 'in-use' if volume.attachments else 'available'
        return frozenset({202})

    def initialize_connection(self, volume: Volume) -> Codes:
        """Refused while the data is made, replaced, moved, removed or offered (Cinder: in maintenance alone)."""
        made = ('creating', 'restoring-backup', 'reverting', 'awaiting-transfer', 'deleting')
        moved = volume.status == 'retyping' and not volume.attachments
        return frozenset({INVALID} if volume.status in made or moved else {200})

    def attach(self, volume: Volume) -> tuple[Codes, Accept]:
        refused = volume.status not in ('available', 'attaching', 'reserved')

        def accept(id: str) -> None:
            volume.attachments[id] = Attachment(id, 'attached', connected=True)
            volume.status = 'in-use'

        return frozenset({INVALID} if refused else {202}), accept

    def begin_detaching(self, volume: Volume) -> Codes:
        attached = any(one.status == 'attached' for one in volume.attachments.values())
        if volume.status != 'in-use' or not attached:
            return frozenset({INVALID})
        volume.status = 'detaching'
        return frozenset({202})

    def roll_detaching(self, volume: Volume) -> Codes:
        volume.status = 'in-use' if volume.status == 'detaching' else volume.status
        return frozenset({202})

    def detach(self, volume: Volume, attachment: Attachment) -> Codes:
        self.delete_attachment(volume, attachment)
        return frozenset({202})

    # Transfers

    def offer(self, volume: Volume, made: dict[str, str] | None) -> Codes:
        """``made``: the offer in the answer, with its key."""
        whole = all(one.status == 'available' for one in self.snapshots_of(volume))
        if volume.status != 'available' or not whole:
            return frozenset({INVALID})
        if made:
            self.transfers[made['id']] = Transfer(made['id'], volume.project, volume.id, made['auth_key'])
            volume.status = 'awaiting-transfer'
        return frozenset({202})

    def withdraw(self, transfer: Transfer) -> Codes:
        del self.transfers[transfer.id]
        self.volumes[transfer.volume].status = 'available'
        return frozenset({202})

    def accept(self, project: str, transfer: Transfer, key: str) -> Codes:
        if key != transfer.key:
            return frozenset({INVALID})
        volume = self.volumes[transfer.volume]
        snapshots, refused = self.snapshots_of(volume), set()
        if volume.readers or any(one.readers or one.status != 'available' for one in snapshots):
            refused.add(INVALID)
        size = volume.size + sum(one.size for one in snapshots)
        if project != volume.project and self.exceeds(
            project, volumes=1, gigabytes=size, **({'snapshots': len(snapshots)} if snapshots else {})
        ):
            refused.add(OVER_QUOTA)
        if refused:
            return frozenset(refused)
        del self.transfers[transfer.id]
        for record in [volume, *snapshots]:
            record.project = project
        volume.status = 'available'
        return frozenset({202})

    # Work

    def settle(self, failed: Callable[[Any], bool] = lambda resource: False) -> None:
        """End every job, in the order of acceptance; ``failed`` says of a job's resource whether its work failed."""
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            if not self._exists(job.resource):
                job.cancel()
            elif failed(job.resource):
                job.fail()
            else:
                job.done()

    def _exists(self, resource: Volume | Snapshot | Backup) -> bool:
        known: Any = {Volume: self.volumes, Snapshot: self.snapshots, Backup: self.backups}[type(resource)]
        return known.get(resource.id) is resource
