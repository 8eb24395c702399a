"""Generic volume groups in the reference: their volumes, their snapshots, and copies of both."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping

from tests.model.reference.core import READABLE, codes
from tests.model.reference.records import (
    INVALID,
    OVER_QUOTA,
    Accept,
    Codes,
    Group,
    GroupSnapshot,
    Job,
    Snapshot,
    Volume,
)
from tests.model.reference.volumes import Volumes

#: Statuses of a volume that may leave its group, and of one whose data a group snapshot can freeze.
LEAVING = (*READABLE, 'error', 'error_deleting')
FREEZABLE = ('attaching', 'available', 'backing-up', 'detaching', 'in-use', 'reserved', 'uploading')

#: Id of what a part is made from -> id of the part, as the service shows it.
Parts = Mapping[str, str]


class Grouping(Volumes):
    def members(self, group: Group) -> list[Volume]:
        return [one for one in self.volumes.values() if one.group == group.id]

    def parts_of(self, group_snapshot: GroupSnapshot) -> list[Snapshot]:
        return [one for one in self.snapshots.values() if one.group_snapshot == group_snapshot.id]

    def create_group(self, project: str, types: Iterable[str]) -> tuple[Codes, Accept]:
        def accept(id: str) -> None:
            group = self.groups[id] = Group(id, project, frozenset(types))
            self.jobs.append(Job(group, lambda: self._end(group, 'available'), lambda: self._end(group, 'error')))

        return codes(202, (self.exceeds(project, {'groups': 1}), OVER_QUOTA)), accept

    @staticmethod
    def _end(resource: Group | GroupSnapshot | Snapshot, status: str) -> None:
        resource.status = status

    def rename_group(self, group: Group, name: str) -> Codes:
        """Whatever the status is: it becomes available (as in Cinder)."""
        self.take_over(group)
        group.name, group.status = name, 'available'
        return frozenset({202})

    def join_group(self, group: Group, volume: Volume, same_backend: bool | None) -> Codes:
        """``same_backend``: whether the volume is on the group's; None when no client can know."""
        invalid = (
            group.status != 'available'
            or volume.project != group.project
            or volume.group is not None
            or volume.type not in group.types
            or volume.status not in READABLE
            or volume.moving
            or not volume.placed
            or same_backend is False
        )
        return frozenset({INVALID}) if invalid else frozenset({202} if same_backend else {202, INVALID})

    def leave_group(self, group: Group, volume: Volume) -> Codes:
        invalid = group.status != 'available' or volume.group != group.id or volume.status not in LEAVING
        return frozenset({INVALID} if invalid else {202})

    def delete_group(self, group: Group, with_volumes: bool) -> Codes:
        members = self.members(group)
        going = [one for one in members if one.status != 'deleting']
        invalid = (
            (members and not with_volumes)
            or (not with_volumes and group.status not in ('available', 'error'))
            or any(one.group == group.id for one in self.group_snapshots.values())
            or any(not self.is_removable(one) or self.snapshots_of(one) for one in going)
        )
        if invalid:
            return frozenset({INVALID})
        self.take_over(group)
        group.status = 'deleting'
        for volume in going:
            volume.status = 'deleting'
            self.remove_later(volume)

        def done() -> None:
            if self.members(group):
                group.status = 'error'
            else:
                self.gone(group)

        self.jobs.append(Job(group, done, done))
        return frozenset({202})

    # Group snapshots

    def create_group_snapshot(self, group: Group) -> tuple[Codes, Accept]:
        members = self.members(group)
        unfit = any(not one.placed or one.moving or one.status not in FREEZABLE for one in members)
        wanted: collections.Counter[str] = collections.Counter()
        for one in members:
            size = {'gigabytes': one.size, f'gigabytes_{one.type}': one.size}
            wanted.update({'snapshots': 1, f'snapshots_{one.type}': 1, **size})
        allowed = codes(
            202,
            (not members or unfit or group.status in ('creating', 'updating'), INVALID),
            (self.exceeds(group.project, wanted), OVER_QUOTA),
        )
        return allowed, lambda id: self._accept_group_snapshot(GroupSnapshot(id, group.project, group.id))

    def _accept_group_snapshot(self, made: GroupSnapshot) -> None:
        self.group_snapshots[made.id] = made

    def take_parts(self, made: GroupSnapshot, parts: Parts) -> None:
        """Snapshot each volume; ``parts``: the snapshot's id by the volume's."""
        taken = [(self.volumes[volume], self.make_snapshot(id, self.volumes[volume])) for volume, id in parts.items()]
        for _, snapshot in taken:
            snapshot.group_snapshot = made.id

        def done() -> None:
            made.status = 'available'
            for volume, snapshot in taken:
                self.freeze(snapshot, volume)

        def fail() -> None:
            for one in [made, *(snapshot for _, snapshot in taken)]:
                one.status = 'error'

        self.jobs.append(Job(made, done, fail))

    def delete_group_snapshot(self, group_snapshot: GroupSnapshot) -> Codes:
        parts = self.parts_of(group_snapshot)
        settled = all(one.status in ('available', 'error', 'error_deleting') and not one.readers for one in parts)
        if group_snapshot.status not in ('available', 'error') or not settled:
            return frozenset({INVALID})
        for one in [group_snapshot, *parts]:
            one.status = 'deleting'

        everything = [*parts, group_snapshot]
        self.jobs.append(Job(group_snapshot, lambda: self.all_gone(everything), lambda: self.not_removed(everything)))
        return frozenset({202})

    # Copies

    def copy_group(self, project: str, source: Group | GroupSnapshot) -> tuple[Codes, Accept]:
        """A group with a copy of each volume of a group, or of each snapshot of a group snapshot."""
        sources = self.sources_of(source)
        allowed = READABLE if isinstance(source, Group) else ('available',)
        wanted: collections.Counter[str] = collections.Counter(groups=1)
        for one in sources:
            size = {'gigabytes': one.size, f'gigabytes_{one.type}': one.size}
            wanted.update({'volumes': 1, f'volumes_{one.type}': 1, **size})
        unfit = not sources or source.status != 'available' or any(one.status not in allowed for one in sources)
        of = source if isinstance(source, Group) else self.groups[source.group]

        def accept(id: str) -> None:
            self.groups[id] = Group(id, project, of.types)

        return codes(202, (unfit, INVALID), (self.exceeds(project, wanted), OVER_QUOTA)), accept

    def sources_of(self, source: Group | GroupSnapshot) -> list[Volume] | list[Snapshot]:
        return self.members(source) if isinstance(source, Group) else self.parts_of(source)

    def copy_parts(self, group: Group, source: Group | GroupSnapshot, parts: Parts) -> None:
        """Make each copy; ``parts``: the new volume's id by its source's."""
        for one in self.sources_of(source):
            self._make_volume(parts[one.id], group.project, one.size, one.type, one, group)

        def done() -> None:
            members = self.members(group)
            whole = len(members) >= len(parts) and not any(one.status.startswith('error') for one in members)
            group.status = 'available' if whole else 'error'

        self.jobs.append(Job(group, done, done))
