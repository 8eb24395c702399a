"""What differs, once nothing is in progress, from what the tenants were answered and from the records."""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from chalicelib.backup import gc
from chalicelib.backup.s3 import S3Repository
from chalicelib.models import Attachment, Backup, Group, GroupSnapshot, Message, Secret, Snapshot, Transfer, Volume
from tests import invariants
from tests.soak.disturbances import Running
from tests.soak.expected import Doubt, Expected
from tests.soak.tenants import OF_CLIENTS, Tenant
from tests.system import crash
from tests.system.clients import User, until
from tests.system.cloud import Cloud

#: Seconds in which everything must leave its transitional status: the reconciler looks each minute.
PATIENCE = 600

Kinds = tuple[type[Any], ...]

#: Records of resources, and all that a deployment without resources must not have.
RESOURCES: Kinds = (Volume, Snapshot, Backup, Group, GroupSnapshot)
TRACES: Kinds = (*RESOURCES, Attachment, Secret, Transfer)


def settle(cloud: Cloud) -> list[str]:
    """Wait until no record is in a transitional status; return those that still are after PATIENCE."""
    reconcile = cloud.ready['functions']['reconcile']

    def is_settled() -> bool:
        cloud.client('lambda').invoke(FunctionName=reconcile, Payload=b'{}')
        time.sleep(2)
        return not _moving()

    with crash.records_of(cloud):
        with contextlib.suppress(AssertionError):
            until(is_settled, PATIENCE)
        return _moving()


def _moving() -> list[str]:
    return invariants._at_rest([one for kind in RESOURCES for one in kind.scan(consistent_read=True)])


def compare(cloud: Cloud, tenants: Iterable[Tenant]) -> list[str]:
    """Return the differences: answers and resources, records and backends, errors and messages, backups and objects."""
    tenants = list(tenants)
    answered = [*(difference for tenant in tenants for difference in _acknowledged(tenant)), *_made_once(tenants)]
    with crash.records_of(cloud):
        failed = [*Volume.scan(), *Snapshot.scan(), *Group.scan(), *GroupSnapshot.scan()]
        explained = invariants._errors_explained(failed, frozenset())
        groups = invariants._groups(list(Volume.scan()), list(Snapshot.scan()))
        secrets = invariants._secrets([*Volume.scan(), *Snapshot.scan(), *Backup.scan()])
        repository = _repository(cloud)
    left = [*crash.miscounted(cloud), *crash.left_over(cloud), *tenants[0].systems.left()]
    return [*answered, *explained, *groups, *secrets, *repository, *left]


def _acknowledged(tenant: Tenant) -> Iterator[str]:
    for name, expected in tenant.kept.items():
        found = {one.id: one for user in tenant.users for one in getattr(user.cinder, name).list(detailed=True)}
        for id, one in expected.items():
            if one.gone and id in found and found[id].status != 'error_deleting':
                yield f'{name} {id} is {found[id].status}, its deletion was acknowledged'
            if not one.gone and not one.doubtful and id not in found:
                yield f'{name} {id} is lost'
            if id in found and name == 'volumes' and found[id].size not in one.sizes:
                yield f'{name} {id} has {found[id].size} GiB, not one of {one.sizes}'


def _made_once(tenants: Iterable[Tenant]) -> Iterator[str]:
    """A name is of one resource, which is known or may be: a repeated request makes nothing more."""
    tenants = list(tenants)
    maybe = {name for tenant in tenants for name in tenant.maybe}
    for kind in tenants[0].kept:
        known = {id for tenant in tenants for id in tenant.kept[kind]}
        found = [one for user in tenants[0].users for one in getattr(user.cinder, kind).list(detailed=True)]
        named = [one for one in found if str(one.name).startswith('soak-') and not _is_member(one)]
        for name, number in collections.Counter(one.name for one in named).items():
            if number > 1:
                yield f'{number} {kind} are named {name}'
        for one in named:
            if one.id not in known and one.name not in maybe:
                yield f'{kind} {one.id} ({one.name}) was answered to no tenant'


def _is_member(one: Any) -> bool:
    """Whether a volume or snapshot was made with a group, and shares a name."""
    return bool(one._info.get('group_id') or one._info.get('group_snapshot_id'))


def compare_data(tenants: Iterable[Tenant]) -> list[str]:
    """Read every volume that is available, and a restore of each backup; return the differences."""
    tenants = list(tenants)
    for tenant in tenants:
        tenant.resume()
        for compare, kept in ((_compare_volume, tenant.volumes), (_compare_backup, tenant.backups)):
            for id, one in list(kept.items()):
                if one.gone or one.doubtful:
                    continue
                try:
                    compare(tenant, id, one)
                except Doubt as doubt:
                    tenant.broken.append(f'data of {id}: {doubt}')
    return [difference for tenant in tenants for difference in tenant.broken]


def _compare_volume(tenant: Tenant, id: str, one: Expected) -> None:
    if tenant.settled(one.user.cinder.volumes, id).status in OF_CLIENTS:
        tenant.detach(id, one)
    if tenant.settled(one.user.cinder.volumes, id).status == 'available':
        tenant.settle_data(id, one)


def _compare_backup(tenant: Tenant, id: str, one: Expected) -> None:
    if one.user.cinder.backups.get(id).status != 'available':
        return
    restored = Expected(one.user, set(one.sizes), one.blocks)
    made, _ = tenant.make('volumes', restored, partial(_restore, one, id), called='restores')
    tenant.settle_data(made, restored)
    tenant.remove('volumes', made)


def _restore(backup: Expected, id: str, name: str) -> Any:
    return backup.user.cinder.restores.restore(id, name=name)


def _repository(cloud: Cloud) -> list[str]:
    """Compare the manifests that are not deleted with the records of backups."""
    keys = collections.defaultdict(set)
    for key in _keys(cloud):
        _, _, kind, rest = key.split('/', 3)
        keys[kind].add(rest)
    committed = keys['backups'] - keys['deleted']
    records = {f'{one.lineage}/{one.id}': one.status for one in Backup.scan(consistent_read=True)}
    available = {key for key, status in records.items() if status == 'available'}
    return [
        *(f'backup {key} is available and has no manifest' for key in sorted(available - committed)),
        *(f'manifest {key} is of no backup' for key in sorted(committed - records.keys())),
    ]


def collect(cloud: Cloud) -> list[str]:
    """Run the garbage collector of every lineage as after the grace time; return what it does not remove."""
    chains = {tuple(key.split('/')[index] for index in (0, 1, 3)) for key in _keys(cloud)}
    for project, container, lineage in chains:
        repository = _bucket(cloud, f'{project}/{container}/')
        gc.collect(repository, lineage, lease=_Alone(), grace=0, clock=lambda: time.time() + 1)
    return _keys(cloud)


def _keys(cloud: Cloud) -> list[str]:
    """The keys of all objects: ``<project>/<container>/``, then as in chalicelib/backup/layout.py."""
    return [one.key for one in _bucket(cloud).list('')]


class _Alone:
    """The lease of a collector while nothing else runs."""

    def confirm(self) -> None:
        pass


def _bucket(cloud: Cloud, prefix: str = '') -> S3Repository:
    return S3Repository(cloud.client('s3'), cloud.ready['bucket'], prefix)


def remove_all(target: Running, tenants: Iterable[Tenant]) -> list[str]:
    """Delete everything; return what is left on backends, in tables and in the repository."""
    cloud = target.cloud
    tenants = list(tenants)
    admin = tenants[0].admin
    for user in {user for tenant in tenants for user in tenant.users}:
        for offer in user.cinder.transfers.list():
            user.cinder.transfers.delete(offer.id)
        _force_failed_deletions(admin, user)
        _remove_groups(user)
        user.tidy()
    left = settle(cloud)
    with crash.records_of(cloud):
        records = [f'{kind.__name__} {one.id} is left' for kind in TRACES for one in kind.scan(consistent_read=True)]
        objects = [
            f'{name} is left on {host}'
            for host, backend in crash.Backends(cloud).backends.items()
            for name in (*backend.objects, *backend.paths, *backend.kept_of_backups)
        ]
    repository = (f'{key} is left' for key in collect(cloud))
    return [*left, *records, *objects, *target.systems.remains(), *crash.miscounted(cloud), *repository]


def _remove_groups(user: User) -> None:
    """Delete the group snapshots, then the groups with their volumes, whose other snapshots go before."""
    cinder = user.cinder
    for attachment in cinder.attachments.list():
        cinder.attachments.delete(attachment.id)
    for one in cinder.group_snapshots.list():
        cinder.group_snapshots.delete(one.id)
    until(lambda: not cinder.group_snapshots.list())
    user._remove_all(cinder.volume_snapshots)
    for group in cinder.groups.list():
        cinder.groups.delete(group.id, delete_volumes=True)
    until(lambda: not cinder.groups.list())


def _force_failed_deletions(admin: Any, user: Any) -> None:
    managers: list[tuple[Any, Callable[[str], Any]]] = [
        (user.cinder.group_snapshots, lambda id: admin.cinder.group_snapshots.reset_state(id, 'error')),
        (user.cinder.groups, lambda id: admin.cinder.groups.reset_state(id, 'error')),
        (user.cinder.backups, lambda id: admin.cinder.backups.reset_state(id, 'error')),
        (user.cinder.volume_snapshots, lambda id: admin.cinder.volume_snapshots.reset_state(id, 'error')),
        (user.cinder.volumes, lambda id: admin.cinder.volumes.reset_state(id, 'error')),
    ]
    for manager, reset in managers:
        for one in manager.list(detailed=True):
            if one.status in ('error_deleting', 'error_extending', 'error_restoring'):
                reset(one.id)


def messages() -> int:
    """Return the number of user messages."""
    return sum(1 for _ in Message.scan())
