"""The works of a tenant on groups: members, snapshots of all members at once, and copies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tests.soak.expected import Blocks, Expected, Refused, copied
from tests.soak.systems import TYPES
from tests.soak.tenants import Tenant, Work
from tests.system.clients import unique

#: The group type, whose snapshots are consistent.
GROUP_TYPE = 'soak'

#: Groups of a tenant, and volumes of a group.
MOST, MEMBERS = 2, 2


def create(tenant: Tenant) -> None:
    """Create a group of one type with its members, or copy one."""
    if len(_live(tenant)) >= MOST:
        return remove(tenant)
    if tenant.draw.random() < 0.4:
        return copy(tenant)
    user, kind = tenant.draw.choice(tenant.users), tenant.draw.choice(list(TYPES))
    zone = TYPES[kind][1].get('availability_zone')
    groups = user.cinder.groups
    id, found = tenant.make(
        'groups',
        Expected(user, set(), None),
        lambda name: groups.create(GROUP_TYPE, kind, name=name, availability_zone=zone),
        called=f'groups ({kind})',
    )
    if found.status != 'available':
        return None
    facts = {'volume_type': kind, 'group_id': id, **TYPES[kind][1]}
    for _ in range(MEMBERS):
        member = Expected(user, {1}, {}, group=id)
        tenant.make('volumes', member, lambda name: user.cinder.volumes.create(1, name=name, **facts), 'members')
    return None


def snapshot(tenant: Tenant) -> None:
    """Snapshot a group: each member's snapshot has the data of now."""
    group, one = tenant.one_of('groups')
    made = one.user.cinder.group_snapshots
    id, finished = tenant.make(
        'group_snapshots', Expected(one.user, set(), None, source=group), lambda name: made.create(group, name=name)
    )
    if finished.status != 'available':
        return
    snapshots = one.user.cinder.volume_snapshots
    found = tenant.call('list snapshots', lambda: snapshots.list(detailed=True))
    listed = [each for each in found if each._info['group_snapshot_id'] == id]
    members = dict(_members(tenant, group))
    missing = {member for member, each in members.items() if not each.doubtful} - {each.volume_id for each in listed}
    if missing:
        tenant.broken.append(f'group snapshot {id} has no snapshots of {sorted(missing)}')
    for each in listed:
        if each.volume_id in members:  # or no answer has shown the volume
            blocks = copied(members[each.volume_id].blocks)
            tenant.snapshots[each.id] = Expected(one.user, {each.size}, blocks, source=each.volume_id, group=id)


def copy(tenant: Tenant) -> None:
    """Create a group from a group snapshot or from a group: each member has the data of its source."""
    if _has(tenant.group_snapshots) and tenant.draw.random() < 0.6:
        source, one = tenant.one_of('group_snapshots')
        arguments: tuple[str | None, str | None] = (source, None)
    else:
        source, one = tenant.one_of('groups')
        arguments = (None, source)
    groups = one.user.cinder.groups
    id, found = tenant.make(
        'groups',
        Expected(one.user, set(), None),
        lambda name: groups.create_from_src(*arguments, name=name),
        called='groups from a source',
    )
    listed = tenant.call('list', lambda: one.user.cinder.volumes.list(search_opts={'group_id': id}))
    for each in listed:
        blocks = copied(_source(tenant, each)) if found.status == 'available' else None
        tenant.volumes[each.id] = Expected(one.user, {each.size}, blocks, group=id)


def _source(tenant: Tenant, volume: Any) -> Blocks | None:
    kept, id = (tenant.snapshots, volume.snapshot_id) if volume.snapshot_id else (tenant.volumes, volume.source_volid)
    return kept[id].blocks if id in kept else None


def remove(tenant: Tenant) -> None:
    """Delete a group snapshot, or a group that has none, with its volumes."""
    if _has(tenant.group_snapshots):
        id, _ = tenant.one_of('group_snapshots')
        return tenant.remove('group_snapshots', id)
    id, _ = tenant.one_of('groups')
    if any(each.source == member and not each.gone for member, _ in _members(tenant, id)
           for each in tenant.snapshots.values()):  # fmt: skip
        raise Refused('a member has snapshots')
    return tenant.remove('groups', id, delete_volumes=True)


def rename(tenant: Tenant) -> None:
    """Rename a group."""
    id, one = tenant.one_of('groups')
    name = unique('soak')
    tenant.call('rename a group', lambda: one.user.cinder.groups.update(id, name=name))
    tenant.settled(one.user.cinder.groups, id)


def _members(tenant: Tenant, id: str) -> Iterator[tuple[str, Expected]]:
    return ((each, one) for each, one in tenant.volumes.items() if one.group == id and not one.gone)


def _has(kept: dict[str, Expected]) -> bool:
    return any(not one.gone and not one.doubtful for one in kept.values())


def _live(tenant: Tenant) -> list[str]:
    return [id for id, one in tenant.groups.items() if not one.gone]


#: Work -> its share.
WORKS: Sequence[tuple[Work, int]] = ((create, 2), (snapshot, 2), (remove, 1), (rename, 1))
