"""The works of a tenant on single volumes, snapshots and backups, and their shares."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tests.soak import groups, images, servers
from tests.soak.expected import Doubt, Expected, Refused, copied
from tests.soak.systems import TYPES
from tests.soak.tenants import MOST_VOLUMES, PLACES, Tenant, Work
from tests.system.crash import BLOCK, pattern

#: Arguments of a volume: without a type the scheduler chooses the backend.
FACTS: Sequence[Mapping[str, str]] = ({}, *({'volume_type': name, **facts} for name, (_, facts) in TYPES.items()))


def create(tenant: Tenant) -> None:
    """Create a volume without a type, or of one."""
    if len(tenant.live()) >= MOST_VOLUMES:
        return
    user, facts = tenant.draw.choice(tenant.users), tenant.draw.choice(FACTS)
    one = Expected(user, {1}, {})
    called = f'volumes ({facts.get("volume_type", "no type")})'
    tenant.make('volumes', one, lambda name: user.cinder.volumes.create(1, name=name, **facts), called)


def clone(tenant: Tenant) -> None:
    if tenant.snapshots and tenant.draw.random() < 0.5:
        id, source = tenant.one_of('volume_snapshots')
        facts = {'snapshot_id': id}
    else:
        id, source = tenant.volume()
        facts = {'source_volid': id}
    size = max(source.sizes)
    one = Expected(source.user, {size}, copied(source.blocks))
    volumes = source.user.cinder.volumes
    tenant.make('volumes', one, lambda name: volumes.create(size, name=name, **facts))


def extend(tenant: Tenant) -> None:
    id, one = tenant.volume()
    before = set(one.sizes)
    new = max(before) + 1
    if new > 3:
        return
    one.sizes = before | {new}
    try:
        tenant.post('extend', one.user, lambda: one.user.cinder.volumes.extend(id, new))
    except Refused:
        one.sizes = before
        raise
    found = tenant.settled(one.user.cinder.volumes, id)
    one.sizes = {found.size} if found.status == 'available' else one.sizes


def snapshot(tenant: Tenant) -> None:
    id, volume = tenant.volume()
    one = Expected(volume.user, set(volume.sizes), copied(volume.blocks), source=id)
    made = volume.user.cinder.volume_snapshots
    tenant.make('volume_snapshots', one, lambda name: made.create(id, name=name))


def revert(tenant: Tenant) -> None:
    """Cinder reverts to the newest snapshot only."""
    id, one = tenant.volume()
    found = tenant.call('list snapshots', lambda: one.user.cinder.volume_snapshots.list(search_opts={'volume_id': id}))
    newest = max(found, key=lambda each: each.created_at, default=None)
    if newest is None or newest.id not in tenant.snapshots:
        return
    request = lambda: one.user.cinder.volumes.revert_to_snapshot(id, newest.id)  # noqa: E731
    _overwrite(tenant, id, one, tenant.snapshots[newest.id], 'revert', request)


def _overwrite(tenant: Tenant, id: str, one: Expected, source: Expected, name: str, request: Callable[[], Any]) -> None:
    """Send a request that gives a volume the data of another resource."""
    before = copied(one.blocks)
    one.merge(copied(source.blocks))
    try:
        tenant.post(name, one.user, request)
    except Refused:
        one.blocks = before
        raise
    if tenant.settled(one.user.cinder.volumes, id).status == 'available':
        tenant.settle_data(id, one)


def back_up(tenant: Tenant) -> None:
    id, volume = tenant.volume()
    one = Expected(volume.user, set(volume.sizes), copied(volume.blocks), source=id)
    finished = [each for each in tenant.backups.values() if each.source == id and not each.gone]
    incremental = bool(finished) and tenant.draw.random() < 0.7
    backups = volume.user.cinder.backups
    tenant.make('backups', one, lambda name: backups.create(id, name=name, incremental=incremental))


def restore(tenant: Tenant) -> None:
    id, backup = tenant.one_of('backups')
    restores = backup.user.cinder.restores
    if len(tenant.live()) >= MOST_VOLUMES or tenant.draw.random() < 0.5:
        return _restore_over(tenant, id, backup)
    one = Expected(backup.user, set(backup.sizes), copied(backup.blocks))
    tenant.make('volumes', one, lambda name: restores.restore(id, name=name), called='restores')
    return None


def _restore_over(tenant: Tenant, id: str, backup: Expected) -> None:
    target, one = tenant.volume()
    if one.user is not backup.user:
        return
    request = lambda: one.user.cinder.restores.restore(id, target)  # noqa: E731
    _overwrite(tenant, target, one, backup, 'restore over', request)


def migrate(tenant: Tenant) -> None:
    """Move a volume to the other pool of its backend, as an administrator."""
    id, one = tenant.volume()
    host = tenant.call('show as admin', lambda: tenant.admin.cinder.volumes.get(id))._info['os-vol-host-attr:host']
    other = {'fast': 'slow', 'slow': 'fast'}.get(host.rpartition('#')[2])
    if other is None:
        return
    target = f'{host.rpartition("#")[0]}#{other}'
    tenant.call('migrate', lambda: tenant.admin.cinder.volumes.migrate_volume(id, target, False, False))
    tenant.settled(one.user.cinder.volumes, id)


def hand_over(tenant: Tenant) -> None:
    """Transfer a volume without snapshots to the other project."""
    id, one = tenant.volume()
    if any(each.source == id and not each.gone for each in tenant.snapshots.values()):
        return
    taker = tenant.users[1] if one.user is tenant.users[0] else tenant.users[0]
    donor = one.user
    offer = tenant.post('offer', donor, lambda: donor.cinder.transfers.create(id))
    one.doubtful = True  # until an answer shows the owner
    with contextlib.suppress(Doubt, Refused):
        tenant.post('accept', taker, lambda: taker.cinder.transfers.accept(offer.id, offer.auth_key))
    for user in (taker, donor):
        with contextlib.suppress(Refused):
            found = tenant.call('show', partial(user.cinder.volumes.get, id))
            if found.status == 'awaiting-transfer':
                tenant.call('withdraw', partial(user.cinder.transfers.delete, offer.id))
            one.user, one.doubtful = user, False
            return


def rename(tenant: Tenant) -> None:
    id, one = tenant.volume()
    metadata = {'soak': str(tenant.draw.random())}
    tenant.call('set metadata', lambda: one.user.cinder.volumes.set_metadata(id, metadata))


def list_all(tenant: Tenant) -> None:
    for user in tenant.users:
        tenant.call('list', partial(user.cinder.volumes.list, detailed=True, limit=20))


def write(tenant: Tenant) -> None:
    id, one = tenant.volume()
    if one.blocks is None:
        return
    with tenant.attached(id, one) as device:
        for _ in range(tenant.draw.randrange(1, 12)):
            place, value = tenant.draw.randrange(PLACES), next(tenant.values)
            one.blocks[place] = one.blocks.get(place, {0}) | {value}
            device.write(place * BLOCK, pattern(value))
            one.blocks[place] = {value}
            tenant.counts['written'] += 1
        device.flush()


def compare(tenant: Tenant) -> None:
    id, one = tenant.volume()
    tenant.settle_data(id, one)


def delete(tenant: Tenant) -> None:
    id, _ = tenant.volume()
    snapshots = [each for each, snapshot in tenant.snapshots.items() if snapshot.source == id and not snapshot.gone]
    if snapshots:
        return tenant.remove('volume_snapshots', snapshots[0])
    return tenant.remove('volumes', id)


def delete_snapshot(tenant: Tenant) -> None:
    id, _ = tenant.one_of('volume_snapshots')
    tenant.remove('volume_snapshots', id)


def delete_backup(tenant: Tenant) -> None:
    id, _ = tenant.one_of('backups')
    tenant.remove('backups', id)


#: Work -> its share.
WORKS: Sequence[tuple[Work, int]] = (
    (create, 4), (write, 6), (compare, 4), (extend, 2), (snapshot, 3), (delete_snapshot, 1), (clone, 2), (revert, 2),
    (back_up, 4), (restore, 3), (delete_backup, 1), (hand_over, 1), (migrate, 2), (list_all, 2), (rename, 2),
    (delete, 3), *groups.WORKS, *images.WORKS, *servers.WORKS,
)  # fmt: skip
