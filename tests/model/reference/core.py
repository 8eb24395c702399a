"""What all parts of the reference share: what exists, quotas, and work under way."""

from __future__ import annotations

import collections
import copy
from collections.abc import Callable, Iterable
from typing import Any

from tests.model.reference.records import (
    INVALID,
    Attachment,
    Backup,
    Codes,
    Content,
    Group,
    GroupSnapshot,
    Image,
    Job,
    Kind,
    Resource,
    Shelved,
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
        self.images: dict[str, Image] = {}
        #: Volume type -> what administrators have set; QoS specs: id -> name; objects without records: name -> facts.
        self.kinds: dict[str, Kind] = collections.defaultdict(Kind)
        self.qos: dict[str, str] = {}
        self.shelf: dict[str, Shelved] = {}
        #: Attachments whose volume was removed, by id.
        self.orphans: dict[str, tuple[Attachment, Volume]] = {}
        #: What the service shows after a failure: GiB, and of a volume its backend.
        self.size_of: Callable[[Volume | Snapshot], int] = lambda resource: resource.size
        self.host_of: Callable[[Volume], str | None] = lambda volume: None
        #: When the service accepted a snapshot or backup, as it shows that: clocks may differ.
        self.created_at: Callable[[str, str, str], str] = lambda project, path, id: ''
        #: Whether a backup that failed has left something temporary on the backend.
        self.is_held: Callable[[Backup], bool] = lambda backup: False
        #: The status that the service shows after a failure, which may have come midway; None: the resource is gone.
        self.status_of: Callable[[Resource], str | None] = lambda resource: resource.status

    # What a project uses

    def usage(self, project: str) -> dict[str, int]:
        """The project's quota usage; a resource counts from its acceptance until it is gone."""
        used: collections.Counter[str] = collections.Counter()
        for volume in self.volumes.values():
            if volume.project == project and volume.managed:
                used.update(per_type('volumes', volume.size, volume.type))
        for snapshot in self.snapshots.values():
            if snapshot.project == project:
                used.update(per_type('snapshots', snapshot.size, snapshot.type))
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

    # Snapshots

    def snapshots_of(self, volume: Volume) -> list[Snapshot]:
        """Oldest first."""
        mine = [one for one in self.snapshots.values() if one.volume == volume.id]
        return sorted(mine, key=lambda one: one.taken)

    @staticmethod
    def freeze(snapshot: Snapshot, volume: Volume) -> None:
        snapshot.status, snapshot.whole, snapshot.content = 'available', True, copy.copy(volume.content)

    def make_snapshot(self, id: str, volume: Volume) -> Snapshot:
        made = Snapshot(
            id, volume.project, volume.id, volume.size, volume.type, self.created_at(volume.project, 'snapshots', id)
        )
        self.snapshots[id] = made
        return made

    def after_failure(self, volume: Volume, status: str) -> tuple[str, Content]:
        """Status and data after a revert or restore that failed: as before, if the service shows it as available.

        A backend may refuse before it changes anything; a user message reports it.
        """
        return ('available', volume.content) if self.status_of(volume) == 'available' else (status, None)

    def _hold(self, source: Source) -> None:
        if isinstance(source, Backup):
            source.status = 'restoring'
        elif isinstance(source, Volume | Snapshot):
            source.readers += 1

    def _release(self, source: Source) -> None:
        if isinstance(source, Backup):
            source.status = 'available'
        elif isinstance(source, Volume | Snapshot):
            source.readers -= 1

    def all_gone(self, resources: Iterable[Resource]) -> None:
        for one in resources:
            self.gone(one)

    def not_removed(self, resources: Iterable[Resource]) -> None:
        """Those that the service still shows could not be removed."""
        for one in resources:
            if self.status_of(one):
                one.status = 'error_deleting' if getattr(one, 'managed', True) else 'error'
            else:
                self.gone(one)

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
        cancel_all(self.take_over(resource))
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


def cancel_all(jobs: Iterable[Job]) -> None:
    for job in jobs:
        job.cancel()


def per_type(name: str, size: int, kind: str) -> dict[str, int]:
    """What one volume or snapshot counts for."""
    return {name: 1, 'gigabytes': size, f'{name}_{kind}': 1, f'gigabytes_{kind}': size}
