"""A strict backend in memory: it keeps the driver contract, and records callers that violate it.

Pools are thick and finite, so a volume placed without capacity shows as a violation. ``faults`` makes a verb fail;
``around`` runs a test's code before and after every verb.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any, Literal

from chalicelib import errors
from chalicelib.device import BlockDevice
from chalicelib.drivers.base import (
    GIB,
    Capabilities,
    ConnectionInfo,
    Connector,
    Driver,
    Kept,
    ManageableObject,
    ModelUpdate,
    SnapshotRef,
    StoredExport,
    StoredObject,
    VolumeRef,
)
from infra import retries

#: The deployment that tests run as.
OURS = 'cinderless'

#: How often a state calls a backend that does not answer, or its data, in all.
REPEATED = 1 + max(retrier.attempts for policy in ('backend', 'data') for retrier in retries.POLICIES[policy][1:])


@dataclasses.dataclass
class Object:
    """A volume or snapshot as the backend has it."""

    pool: str
    size: int
    origin: str = ''
    #: The deployment's mark; '' for an object from outside the deployment.
    deployment: str = dataclasses.field(default='', compare=False)


@dataclasses.dataclass
class Backend:
    """State of a storage system. ``pools``: name -> GiB."""

    host: str
    pools: dict[str, int]
    availability_zone: str = 'nova'
    online_extend: bool = True
    revert: bool = False
    #: Result of the driver's retype: 'done' or 'refused'; '' for a driver without retype.
    retype: str = ''
    consistent: bool = False
    #: The driver keeps the last backup's snapshot of each volume; ``kept``: snapshot -> its volume, both by name.
    keeps: bool = False
    kept: dict[str, str] = dataclasses.field(default_factory=dict)
    kept_since: float = dataclasses.field(default_factory=time.time)
    objects: dict[str, Object] = dataclasses.field(default_factory=dict)
    paths: dict[str, set[str]] = dataclasses.field(default_factory=lambda: collections.defaultdict(set))
    #: (object, export id) -> the initiator that is logged in: every host logs in as soon as it may.
    sessions: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    #: (object, host) of exports without an id; accounts that nothing is exported to.
    unnamed: set[tuple[str, str]] = dataclasses.field(default_factory=set)
    idle: set[str] = dataclasses.field(default_factory=set)
    faults: dict[str, list[Exception | None]] = dataclasses.field(default_factory=lambda: collections.defaultdict(list))
    calls: list[str] = dataclasses.field(default_factory=list)
    violations: list[str] = dataclasses.field(default_factory=list)
    around: Callable[[str], contextlib.AbstractContextManager[None]] = lambda _: contextlib.nullcontext()

    def fail(self, verb: str, *errors: Exception | None) -> None:
        """Let the next calls of a verb raise these; None lets one through."""
        self.faults[verb] += errors

    def fail_for_good(self, verb: str, *instead: Exception) -> None:
        """Let a verb fail as often as a state repeats it: as unavailable, or with the given errors."""
        self.fail(verb, *(instead or (self.unavailable(),)) * REPEATED)

    def refuses(self) -> errors.DriverError:
        """Return a permanent error."""
        return errors.DriverError(backend=self.host, reason='a refusal')

    def log_out(self, name: str, export_id: str | None = None) -> None:
        """End the sessions of an export, or all of an object."""
        gone = [key for key in self.sessions if key[0] == name and export_id in (None, key[1])]
        for key in gone:
            del self.sessions[key]

    def used(self, pool: str) -> int:
        """GiB of volumes, others' included; snapshots share their volume's blocks."""
        volumes = (found for name, found in self.objects.items() if 'snapshot-' not in name)
        return sum(found.size for found in volumes if found.pool == pool)

    def kept_as(self, name: str) -> Kept | None:
        return Kept(self.kept[name], self.kept_since) if name in self.kept else None

    def full(self, size: int) -> errors.BackendFull:
        return errors.BackendFull(backend=self.host, size=size, reason='the disks are full')

    def unavailable(self) -> errors.BackendUnavailable:
        return errors.BackendUnavailable(backend=self.host, reason='no route to host')


class FakeDriver(Driver):
    """The contract's verbs on a ``Backend``."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend.host, {})
        self.store = backend
        self.capabilities = Capabilities(
            'iSCSI',
            snapshot_attached=True,
            clone=True,
            revert=backend.revert,
            retype=bool(backend.retype),
            online_extend=backend.online_extend,
            multiattach=True,
            manage=True,
            manage_snapshots=True,
            consistent_group_snapshots=backend.consistent,
            changed_blocks=backend.keeps,
        )

    @contextlib.contextmanager
    def _verb(self, name: str, about: str) -> Iterator[Backend]:
        self.store.calls.append(f'{name} {about}')
        with self.store.around(f'{self.backend} {name}'):
            fault = self.store.faults[name].pop(0) if self.store.faults[name] else None
            if fault is not None:
                raise fault
            yield self.store

    def check_for_setup_error(self) -> None:
        with self._verb('check_for_setup_error', ''):
            pass

    def get_volume_stats(self) -> dict[str, Any]:
        with self._verb('get_volume_stats', '') as store:
            return {
                'volume_backend_name': self.backend.partition('@')[2],
                'vendor_name': 'Test',
                'driver_version': '1.0',
                'storage_protocol': 'iSCSI',
                'pools': [self._pool(store, name, total) for name, total in store.pools.items()],
            }

    def _pool(self, store: Backend, name: str, total: int) -> dict[str, Any]:
        used = store.used(name)
        return {
            'pool_name': name,
            'total_capacity_gb': total,
            'free_capacity_gb': total - used,
            'provisioned_capacity_gb': used,
            'reserved_percentage': 0,
            'thin_provisioning_support': False,
            'multiattach': True,
            'online_extend_support': store.online_extend,
            'consistent_group_snapshot_enabled': store.consistent,
        }

    def create_volume(self, volume: VolumeRef) -> ModelUpdate:
        with self._verb('create_volume', volume.name) as store:
            return self._make(store, volume, '')

    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef) -> ModelUpdate:
        with self._verb('create_volume_from_snapshot', volume.name) as store:
            self._require(store, snapshot.name)
            return self._make(store, volume, snapshot.name)

    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef) -> ModelUpdate:
        with self._verb('create_cloned_volume', volume.name) as store:
            self._require(store, source.name)
            return self._make(store, volume, source.name)

    def _make(self, store: Backend, volume: VolumeRef, origin: str) -> ModelUpdate:
        wanted = Object(volume.pool, volume.size, origin, OURS)
        if volume.pool not in store.pools:
            raise errors.BackendMisconfigured(backend=self.backend, reason=f'there is no pool {volume.pool}')
        if store.objects.setdefault(volume.name, wanted) != wanted:
            store.violations.append(f'{volume.name} is there with other facts: {store.objects[volume.name]}')
        if store.used(volume.pool) > store.pools[volume.pool]:
            store.violations.append(f'{self.backend}#{volume.pool} is over-committed by {volume.name}')
        return {'provider_id': f'lun-{volume.id}', 'provider_location': f'{self.backend} {volume.name}'}

    def _require(self, store: Backend, name: str) -> Object:
        if name not in store.objects:
            raise errors.ProviderNotFound(backend=self.backend, object=name)
        return store.objects[name]

    def delete_volume(self, volume: VolumeRef) -> None:
        with self._verb('delete_volume', volume.name) as store:
            users = {name for name, one in store.objects.items() if one.origin == volume.name} - set(store.kept)
            if any(name.startswith('snapshot-') for name in users):
                raise errors.VolumeIsBusy(id=volume.id, reason='it has snapshots')
            self._refuse_used(store, volume)
            self._drop_kept(store, volume)
            store.objects.pop(volume.name, None)
            store.paths.pop(volume.name, None)

    def _drop_kept(self, store: Backend, volume: VolumeRef, spared: str = '') -> None:
        """Delete the snapshots that are kept of a volume, but for one."""
        for name in [name for name, kept_of in store.kept.items() if kept_of == volume.name and name != spared]:
            del store.kept[name]
            store.objects.pop(name, None)

    def _refuse_used(self, store: Backend, volume: VolumeRef) -> None:
        users = sorted(initiator for (name, _), initiator in store.sessions.items() if name == volume.name)
        if users:
            raise errors.VolumeIsBusy(id=volume.id, reason=f'{users[0]} is logged in')

    def extend_volume(self, volume: VolumeRef, new_size: int) -> None:
        with self._verb('extend_volume', volume.name) as store:
            found = self._require(store, volume.name)
            if new_size < found.size:
                store.violations.append(f'{volume.name} would shrink to {new_size}')
            found.size = new_size
            if store.used(found.pool) > store.pools[found.pool]:
                store.violations.append(f'{self.backend}#{found.pool} is over-committed by {volume.name}')

    def get_volume_size(self, volume: VolumeRef) -> int | None:
        with self._verb('get_volume_size', volume.name) as store:
            return self._require(store, volume.name).size

    def create_snapshot(self, snapshot: SnapshotRef) -> ModelUpdate:
        with self._verb('create_snapshot', snapshot.name) as store:
            source = self._require(store, snapshot.volume.name)
            store.objects.setdefault(snapshot.name, Object(source.pool, snapshot.size, snapshot.volume.name, OURS))
            return {'provider_id': f'snap-{snapshot.id}'}

    def create_group_snapshot(self, snapshots: Sequence[SnapshotRef]) -> list[ModelUpdate]:
        with self._verb('create_group_snapshot', ' '.join(snapshot.name for snapshot in snapshots)) as store:
            for snapshot in snapshots:
                source = self._require(store, snapshot.volume.name)
                made = Object(source.pool, snapshot.size, snapshot.volume.name, OURS)
                store.objects.setdefault(snapshot.name, made)
            return [{'provider_id': f'snap-{snapshot.id}'} for snapshot in snapshots]

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        with self._verb('delete_snapshot', snapshot.name) as store:
            store.objects.pop(snapshot.name, None)
            store.kept.pop(snapshot.name, None)

    def retire_snapshot(self, snapshot: SnapshotRef) -> None:
        if not self.store.keeps:
            self.delete_snapshot(snapshot)
            return
        with self._verb('retire_snapshot', snapshot.name) as store:
            if snapshot.volume.name not in store.objects:
                store.objects.pop(snapshot.name, None)
            if snapshot.name in store.objects:
                store.kept[snapshot.name] = snapshot.volume.name
                self._drop_kept(store, snapshot.volume, spared=snapshot.name)

    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef) -> ModelUpdate:
        with self._verb('revert_to_snapshot', volume.name) as store:
            self._require(store, snapshot.name)
            self._require(store, volume.name)
            self._refuse_used(store, volume)
            return {'provider_location': f'{self.backend} {volume.name} again'}

    def retype(self, volume: VolumeRef, wanted: VolumeRef) -> ModelUpdate | None:
        with self._verb('retype', volume.name) as store:
            self._require(store, volume.name)
            return {} if store.retype == 'done' else None

    def manage_existing_get_size(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> int:
        with self._verb('manage_existing_get_size', volume.name) as store:
            return self._existing(store, volume.pool, existing_ref).size

    def _existing(self, store: Backend, pool: str, existing_ref: Mapping[str, str]) -> Object:
        found = store.objects.get(self._name_of(store.objects, existing_ref))
        if found is None or found.pool != pool:
            raise errors.ManageExistingInvalidReference(
                existing_ref=dict(existing_ref), reason='there is no such object'
            )
        return found

    @staticmethod
    def _name_of(known: Container[str], existing_ref: Mapping[str, str]) -> str:
        """An object that was unmanaged is found by its former name, too."""
        name = existing_ref.get('source-name', '')
        return name if name in known else f'unmanaged-{name}'

    def manage_existing(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> ModelUpdate:
        with self._verb('manage_existing', volume.name) as store:
            if volume.name not in store.objects:
                self._existing(store, volume.pool, existing_ref)
                store.objects[volume.name] = store.objects.pop(self._name_of(store.objects, existing_ref))
            return {'provider_id': f'lun-{volume.id}'}

    def get_manageable_volumes(self, pool: str) -> list[ManageableObject]:
        with self._verb('get_manageable_volumes', pool) as store:
            return [
                ManageableObject({'source-name': name}, one.size)
                for name, one in store.objects.items()
                if one.pool == pool and 'snapshot-' not in name
            ]

    def unmanage(self, volume: VolumeRef) -> None:
        with self._verb('unmanage', volume.name) as store:
            self._drop_kept(store, volume)
            if volume.name in store.objects:
                self._refuse_used(store, volume)
                store.objects[f'unmanaged-{volume.name}'] = store.objects.pop(volume.name)

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotRef, existing_ref: Mapping[str, str]) -> int:
        with self._verb('manage_existing_snapshot_get_size', snapshot.name) as store:
            return self._existing(store, snapshot.volume.pool, existing_ref).size

    def manage_existing_snapshot(self, snapshot: SnapshotRef, existing_ref: Mapping[str, str]) -> ModelUpdate:
        with self._verb('manage_existing_snapshot', snapshot.name) as store:
            if snapshot.name not in store.objects:
                self._existing(store, snapshot.volume.pool, existing_ref)
                store.objects[snapshot.name] = store.objects.pop(self._name_of(store.objects, existing_ref))
            return {'provider_id': f'snap-{snapshot.id}'}

    def get_manageable_snapshots(self, pool: str) -> list[ManageableObject]:
        with self._verb('get_manageable_snapshots', pool) as store:
            return [
                ManageableObject({'source-name': name}, one.size, source_reference={'source-name': one.origin})
                for name, one in store.objects.items()
                if one.pool == pool and 'snapshot-' in name and name not in store.kept
            ]

    def unmanage_snapshot(self, snapshot: SnapshotRef) -> None:
        with self._verb('unmanage_snapshot', snapshot.name) as store:
            if snapshot.name in store.objects:
                store.objects[f'unmanaged-{snapshot.name}'] = store.objects.pop(snapshot.name)

    def initialize_connection(
        self, volume: VolumeRef, connector: Connector, export_id: str, mode: Literal['rw', 'ro'] = 'rw'
    ) -> ConnectionInfo:
        with self._verb('initialize_connection', volume.name) as store:
            self._require(store, volume.name)
            store.paths[volume.name].add(export_id)
            store.sessions[volume.name, export_id] = str(connector.get('initiator', 'host'))
            return {'driver_volume_type': 'iscsi', 'data': {'target_lun': 1, 'volume_id': volume.id}}

    def terminate_connection(self, volume: VolumeRef, export_id: str | None) -> None:
        with self._verb('terminate_connection', volume.name) as store:
            store.paths[volume.name] = set() if export_id is None else store.paths[volume.name] - {export_id}
            store.log_out(volume.name, export_id)

    def inventory(self) -> list[StoredObject]:
        with self._verb('inventory', '') as store:
            return [
                StoredObject(name, one.pool, one.size * GIB, one.deployment or None, store.kept_as(name))
                for name, one in store.objects.items()
                if name.startswith(('volume-', 'snapshot-'))
            ]

    def list_exports(self) -> list[StoredExport]:
        with self._verb('list_exports', '') as store:
            return [
                StoredExport(name, store.objects[name].pool, id, 'host')
                for name, ids in store.paths.items()
                for id in sorted(ids)
                if name in store.objects
            ] + [StoredExport(name, store.objects[name].pool, None, host) for name, host in sorted(store.unnamed)]

    def end_unnamed_export(self, export: StoredExport) -> None:
        with self._verb('end_unnamed_export', export.object) as store:
            store.unnamed.discard((export.object, export.host))

    def list_idle_access(self) -> list[str]:
        with self._verb('list_idle_access', '') as store:
            return sorted(store.idle)

    def remove_idle_access(self, name: str) -> None:
        with self._verb('remove_idle_access', name) as store:
            store.idle.discard(name)

    def open_volume(self, volume: VolumeRef, export_id: str, mode: Literal['rw', 'ro']) -> BlockDevice:
        raise errors.NotSupported(backend=self.backend, operation='open_volume', reason='this backend holds no data')

    def close_volume(self, volume: VolumeRef, export_id: str) -> None:
        raise errors.NotSupported(backend=self.backend, operation='close_volume', reason='this backend holds no data')

    def open_snapshot(self, snapshot: SnapshotRef, export_id: str) -> BlockDevice:
        raise errors.NotSupported(backend=self.backend, operation='open_snapshot', reason='this backend holds no data')

    def close_snapshot(self, snapshot: SnapshotRef, export_id: str) -> None:
        raise errors.NotSupported(backend=self.backend, operation='close_snapshot', reason='this backend holds no data')


class FakeBackends:
    """In the place of the backends document: the same questions, answered from ``Backend`` objects."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self.known = dict(backends)

    def names(self) -> list[str]:
        return list(self.known)

    def backend(self, host: str) -> Backend:
        found = self.known.get(host.partition('#')[0])
        if found is None:
            raise errors.HostNotFound(id=host)
        return found

    def driver(self, host: str) -> FakeDriver:
        return FakeDriver(self.backend(host))

    def report(self, host: str) -> dict[str, Any]:
        return self.driver(host).get_volume_stats()
