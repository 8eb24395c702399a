"""The reference driver: an appliance, a storage host with the agent in ``appliance/``.

Names on the backend are the contract's own. The service and the agent derive a connector's CHAP account from their
shared secret, so an export id returns the same connection data each time, and none is stored.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from chalicelib import errors, iscsi
from chalicelib.config import settings
from chalicelib.device import BlockDevice, Changes
from chalicelib.drivers import pinning
from chalicelib.drivers.appliance_client import Client, Refused
from chalicelib.drivers.appliance_device import PoolDevice
from chalicelib.drivers.base import (
    GIB,
    KEPT_DAYS,
    Capabilities,
    ConnectionInfo,
    Connector,
    Driver,
    Kept,
    ManageableObject,
    ModelUpdate,
    Option,
    SnapshotRef,
    StoredExport,
    StoredObject,
    VolumeRef,
)
from chalicelib.drivers.connection_info import iscsi_target

logger = logging.getLogger(__name__)

#: The agent's error codes when it cannot list changes; 'route' is that of an agent before 1.1.
_UNKNOWN_CHANGES = frozenset(('not_found', 'incomparable', 'route'))

#: Bytes: changes that are closer than this are one, so that the list of many small ones stays short.
_NEAR = 64 * 1024

#: The prefix that the agent puts before the name of an unmanaged object, and the names of managed ones.
_RELEASED, _OURS = 'unmanaged-', re.compile(r'(volume|snapshot)-[0-9a-f-]{36}')

#: The agent's error codes as the contract's errors. 'busy' depends on the object; all others are BackendUnavailable.
_FAILURES: Mapping[str, type[errors.CinderlessError]] = {
    'initiator': errors.InvalidConnector,
    'signature': errors.BackendMisconfigured,
    'pool': errors.BackendMisconfigured,
    'not_found': errors.ProviderNotFound,
    'full': errors.BackendFull,
    'invalid': errors.DriverError,
    'conflict': errors.DriverError,
}

#: The capabilities of each pool, in the form of Cinder's capability report.
_POOL: Mapping[str, Any] = {
    'thin_provisioning_support': True,
    'thick_provisioning_support': False,
    'multiattach': True,
    'online_extend_support': True,
    'QoS_support': False,
    'sparse_copy_volume': True,
    'clone_across_pools': True,
    'reserved_percentage': 0,
    'max_over_subscription_ratio': 20.0,
}


class ApplianceDriver(Driver):
    """Serves any number of threads."""

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        'url': Option(str, required=True),
        'fingerprint': Option(str),
        'certificate': Option(str),
        'secret': Option(str, required=True, secret=True),
        #: The agent's pools of this backend; all by default: pools of one agent may be in two zones.
        'pools': Option(list),
        #: Keep the last backup's snapshot of each volume, so that the next backup reads only what changed; the agent
        #: keeps it where its store can compare snapshots. Days until the reconciler deletes it all the same.
        'keep_backup_snapshots': Option(bool, default=True),
        'keep_backup_snapshots_days': Option(int, default=KEPT_DAYS),
    }

    capabilities = Capabilities(
        storage_protocol='iSCSI',
        snapshot_attached=True,
        clone=True,
        revert=True,
        online_extend=True,
        multiattach=True,
        manage=True,
        manage_snapshots=True,
        export_accounts=True,
        read_only_exports=True,
        consistent_group_snapshots=True,
        zeroed_volumes=True,
        changed_blocks=True,
    )

    def __init__(self, backend: str, options: Mapping[str, Any]) -> None:
        super().__init__(backend, options)
        pinned = pinning.pin(backend, options, "the agent's")
        self._client = Client(backend, options['url'], pinned, options['secret'])

    def check_for_setup_error(self) -> None:
        self._pools(self._capacity())

    def get_volume_stats(self) -> dict[str, Any]:
        status = self._capacity()
        groups = {'consistent_group_snapshot_enabled': bool(status.get('copies_groups'))}
        return {
            'volume_backend_name': self.backend,
            'vendor_name': 'Cinderless',
            'driver_version': '1.0',
            'storage_protocol': self.capabilities.storage_protocol,
            'shared_targets': self.capabilities.shared_targets,
            'pools': [{**_POOL, **groups, **_sizes(pool)} for pool in self._pools(status)],
        }

    def create_volume(self, volume: VolumeRef) -> ModelUpdate:
        return self._create(volume, {})

    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef) -> ModelUpdate:
        return self._create(volume, {'snapshot': snapshot.name, 'pool': self._pool(snapshot.volume)})

    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef) -> ModelUpdate:
        return self._create(volume, {'volume': source.name, 'pool': self._pool(source)})

    def delete_volume(self, volume: VolumeRef) -> None:
        self._request('DELETE', self._volume(volume), volume)

    def extend_volume(self, volume: VolumeRef, new_size: int) -> None:
        self._request('PUT', self._volume(volume) + '/size', volume, {'size_bytes': new_size * GIB}, new_size)

    def get_volume_size(self, volume: VolumeRef) -> int | None:
        path = f'/v1/pools/{self._pool(volume)}/objects/{volume.name}'
        return _gigabytes(self._request('GET', path, volume))

    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef) -> ModelUpdate:
        self._request('PUT', self._volume(volume) + '/data', volume, {'snapshot': snapshot.name})
        return {}

    def create_snapshot(self, snapshot: SnapshotRef) -> ModelUpdate:
        self._make(self._snapshot(snapshot), snapshot.volume, {'volume': snapshot.volume.name})
        return {}

    def create_group_snapshot(self, snapshots: Sequence[SnapshotRef]) -> list[ModelUpdate]:
        """The agent suspends all hosts while it makes the copies."""
        wanted = [
            {'pool': self._pool(one.volume), 'snapshot': one.name, 'volume': one.volume.name} for one in snapshots
        ]
        self._make('/v1/snapshots', snapshots[0].volume, {'snapshots': wanted})
        return [{} for _ in snapshots]

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        self._request('DELETE', self._snapshot(snapshot), snapshot)

    def changes_since(self, snapshot: SnapshotRef, older: SnapshotRef) -> Changes | None:
        return functools.partial(self._changes, snapshot, older) if self._is_comparable(older) else None

    def _is_comparable(self, older: SnapshotRef) -> bool:
        """Whether the older snapshot is there, and marked as kept if it was a backup's own."""
        try:
            found = self._client.request('GET', self._snapshot(older))
        except Refused as refused:
            if refused.code != 'not_found':
                raise self._failure(refused, older, 0) from refused
            return False
        return bool(found.get('kept')) or not older.kept

    def _changes(
        self, snapshot: SnapshotRef, older: SnapshotRef, offset: int, length: int
    ) -> list[tuple[int, int]] | None:
        """Return the differences as (offset, length) in bytes; None when the agent cannot compare the two now."""
        found: list[tuple[int, int]] = []
        place: int | None = offset
        while place is not None:
            path = f'{self._snapshot(snapshot)}/changes/{older.name}/{place}/{offset + length}'
            try:
                page = self._client.request('GET', path)
            except Refused as refused:
                if refused.code not in _UNKNOWN_CHANGES:
                    raise self._failure(refused, snapshot, 0) from refused
                logger.warning('all of %s is read: %s', snapshot.name, refused)
                return None
            for start, size in page['changes']:
                first = found.pop()[0] if found and start - sum(found[-1]) < _NEAR else start
                found.append((first, start + size - first))
            place = page['next']
        return found

    def retire_snapshot(self, snapshot: SnapshotRef) -> None:
        """The agent keeps the snapshot where its store can compare it; one before 1.1 has no such request."""
        if self.options.get('keep_backup_snapshots', True):
            try:
                self._client.request('PUT', f'/v1/pools/{self._pool(snapshot.volume)}/retired/{snapshot.name}')
                return
            except Refused as refused:
                if refused.code != 'route':
                    raise self._failure(refused, snapshot, 0) from refused
        self.delete_snapshot(snapshot)

    def changes_of_restore(self, volume: VolumeRef, export_id: str, older: SnapshotRef) -> Changes | None:
        """The frozen copy is a kept snapshot of the agent."""
        if not self._is_comparable(older):
            return None
        frozen = SnapshotRef(export_id, volume.size, volume)
        body = {'volume': volume.name, 'kept': True, 'deployment': settings().deployment}
        try:
            self._client.request('PUT', self._snapshot(frozen), body)
        except Refused as refused:
            if refused.code not in ('incomparable', 'invalid', 'full'):  # 'invalid': an agent before 1.1
                raise self._failure(refused, frozen, 0) from refused
            return None
        return functools.partial(self._changes, frozen, older)

    def complete_restore(
        self, volume: VolumeRef, export_id: str, written: Callable[[], Iterable[tuple[int, int]]]
    ) -> ModelUpdate:
        self.cancel_restore(volume, export_id)
        return {}

    def cancel_restore(self, volume: VolumeRef, export_id: str) -> None:
        self.close_volume(volume, export_id)
        self.delete_snapshot(SnapshotRef(export_id, volume.size, volume))

    def initialize_connection(
        self, volume: VolumeRef, connector: Connector, export_id: str, mode: Literal['rw', 'ro'] = 'rw'
    ) -> ConnectionInfo:
        if not connector.get('initiator'):
            raise errors.InvalidConnector(missing='initiator')
        data = self._export(volume, volume, export_id, str(connector['initiator']), mode)
        return {'driver_volume_type': 'iscsi', 'data': {**data, 'volume_id': volume.id}}

    def terminate_connection(self, volume: VolumeRef, export_id: str | None) -> None:
        one = f'/{export_id}' if export_id is not None else ''
        self._request('DELETE', self._exports(volume, volume.name) + one, volume)

    def open_volume(self, volume: VolumeRef, export_id: str, mode: Literal['rw', 'ro']) -> BlockDevice:
        return self._open(volume, volume, export_id, mode)

    def close_volume(self, volume: VolumeRef, export_id: str) -> None:
        self.terminate_connection(volume, export_id)

    def open_snapshot(self, snapshot: SnapshotRef, export_id: str) -> BlockDevice:
        return self._open(snapshot, snapshot.volume, export_id, 'ro')

    def close_snapshot(self, snapshot: SnapshotRef, export_id: str) -> None:
        self._request('DELETE', f'{self._exports(snapshot.volume, snapshot.name)}/{export_id}', snapshot)

    def manage_existing_get_size(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> int:
        path = f'/v1/pools/{self._pool(volume)}/objects/{self._existing_name(volume, existing_ref)}'
        try:
            return _gigabytes(self._request('GET', path, volume))
        except errors.ProviderNotFound:
            reason = f'the pool {volume.pool} does not have this object'
            raise errors.ManageExistingInvalidReference(existing_ref=dict(existing_ref), reason=reason) from None

    def manage_existing(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> ModelUpdate:
        """An object whose size is not a whole number of GiB grows to the next."""
        return self._create(volume, {'existing': self._existing_name(volume, existing_ref)})

    def _existing_name(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> str:
        """Return the name of an object in the pool; an unmanaged one is also found by its former name."""
        name = _source_name(existing_ref)
        if not _OURS.fullmatch(name):
            return name
        for known in (name, f'{_RELEASED}{name}'):
            with contextlib.suppress(errors.ProviderNotFound):
                self._request('GET', f'/v1/pools/{self._pool(volume)}/objects/{known}', volume)
                return known
        return name

    def get_manageable_volumes(self, pool: str) -> list[ManageableObject]:
        return [_manageable(found) for found in self._objects(pool) if not _is_snapshot(found)]

    def unmanage(self, volume: VolumeRef) -> None:
        self._release(volume, volume)

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotRef, existing_ref: Mapping[str, str]) -> int:
        return self.manage_existing_get_size(snapshot.volume, existing_ref)

    def manage_existing_snapshot(self, snapshot: SnapshotRef, existing_ref: Mapping[str, str]) -> ModelUpdate:
        body = {'volume': snapshot.volume.name, 'existing': self._existing_name(snapshot.volume, existing_ref)}
        self._make(self._snapshot(snapshot), snapshot, body)
        return {}

    def get_manageable_snapshots(self, pool: str) -> list[ManageableObject]:
        return [_manageable(found) for found in self._objects(pool) if _is_snapshot(found) and not _kept(found)]

    def unmanage_snapshot(self, snapshot: SnapshotRef) -> None:
        self._release(snapshot, snapshot.volume)

    def _release(self, ref: VolumeRef | SnapshotRef, volume: VolumeRef) -> None:
        self._request('PUT', f'/v1/pools/{self._pool(volume)}/released/{ref.name}', ref)

    def _objects(self, pool: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._request('GET', f'/v1/pools/{pool}/manageable')['objects']
        return found

    def inventory(self) -> list[StoredObject]:
        pools = [str(pool['name']) for pool in self._pools(self._capacity())]
        found = [(pool, one) for pool in pools for one in self._objects(pool)]
        return [
            StoredObject(one['name'], pool, int(one['size_bytes']), one.get('deployment') or None, _kept(one))
            for pool, one in found
            if one['name'].startswith(('volume-', 'snapshot-'))
        ]

    def list_exports(self) -> list[StoredExport]:
        pools = [str(pool['name']) for pool in self._pools(self._capacity())]
        found = [one for pool in pools for one in self._request('GET', f'/v1/pools/{pool}/exports')['exports']]
        return [StoredExport(one['object'], one['pool'], one['export_id'], one['initiator']) for one in found]

    def _capacity(self) -> dict[str, Any]:
        return self._request('GET', '/v1/capacity')

    def _pools(self, status: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the agent's data on this backend's pools. Raises BackendMisconfigured if one is missing."""
        served = {pool['name']: pool for pool in status['pools']}
        ours = self.options.get('pools') or list(served)
        for name in ours:
            if name not in served:
                reason = f'option pools names {name!r}; the agent has {", ".join(served)}'
                raise errors.BackendMisconfigured(backend=self.backend, reason=reason)
        return [served[name] for name in ours]

    def _create(self, volume: VolumeRef, source: Mapping[str, str]) -> ModelUpdate:
        body = {'size_bytes': volume.size * GIB, **({'source': source} if source else {})}
        self._make(self._volume(volume), volume, body, volume.size)
        return {}

    def _make(self, path: str, ref: VolumeRef | SnapshotRef, body: dict[str, Any], size: int = 0) -> None:
        """PUT an object with this deployment's mark; an agent before 0.2 has no marks, and refuses the key."""
        try:
            self._client.request('PUT', path, {**body, 'deployment': settings().deployment})
        except Refused as refused:
            if refused.code != 'invalid' or "'deployment'" not in str(refused):
                raise self._failure(refused, ref, size) from refused
            self._request('PUT', path, ref, body, size)

    def _open(
        self, ref: VolumeRef | SnapshotRef, volume: VolumeRef, export_id: str, mode: Literal['rw', 'ro']
    ) -> BlockDevice:
        """The service's own initiator has a name per export, which distinguishes its sessions from all others."""
        initiator = f'iqn.2010-10.org.openstack:cinderless-{export_id}'
        device = iscsi.open_device(self._export(ref, volume, export_id, initiator, mode), initiator=initiator)
        return device if mode == 'ro' else PoolDevice(device, lambda: self._is_full(self._pool(volume)))

    def _is_full(self, pool: str) -> bool:
        return not any(found['free_bytes'] for found in self._pools(self._capacity()) if found['name'] == pool)

    def _export(
        self, ref: VolumeRef | SnapshotRef, volume: VolumeRef, export_id: str, initiator: str, mode: str
    ) -> dict[str, Any]:
        """Create an export; return the data for an initiator, in os-brick's format."""
        path = f'{self._exports(volume, ref.name)}/{export_id}'
        found = self._request('PUT', path, ref, {'initiator': initiator, 'mode': mode})
        user, secret = self._client.account(ref.name, export_id)
        return {
            'target_discovered': False,
            **iscsi_target(found['portals'], found['iqn'], found['lun']),
            'auth_method': 'CHAP',
            'auth_username': user,
            'auth_password': secret,
            'access_mode': mode,
            'discard': True,
        }

    def _volume(self, volume: VolumeRef) -> str:
        return f'/v1/pools/{self._pool(volume)}/volumes/{volume.name}'

    def _snapshot(self, snapshot: SnapshotRef) -> str:
        return f'/v1/pools/{self._pool(snapshot.volume)}/snapshots/{snapshot.name}'

    def _exports(self, volume: VolumeRef, name: str) -> str:
        return f'/v1/pools/{self._pool(volume)}/exports/{name}'

    def _pool(self, volume: VolumeRef) -> str:
        ours = self.options.get('pools') or [volume.pool]
        if not volume.pool or volume.pool not in ours:
            reason = f'host {volume.host!r} does not name a pool of this backend'
            raise errors.BackendMisconfigured(backend=self.backend, reason=reason)
        return volume.pool

    def _request(
        self, method: str, path: str, ref: VolumeRef | SnapshotRef | None = None,
        body: dict[str, Any] | None = None, size: int = 0,
    ) -> dict[str, Any]:  # fmt: skip
        try:
            return self._client.request(method, path, body)
        except Refused as refused:
            raise self._failure(refused, ref, size) from refused

    def _failure(self, refused: Refused, ref: VolumeRef | SnapshotRef | None, size: int) -> errors.CinderlessError:
        kind = _FAILURES.get(refused.code, errors.BackendUnavailable)
        if refused.code == 'busy':
            kind = errors.SnapshotIsBusy if isinstance(ref, SnapshotRef) else errors.VolumeIsBusy
        facts = {'id': ref.id, 'object': ref.name} if ref else {}
        return kind(backend=self.backend, reason=str(refused), missing=str(refused), size=size, **facts)


def _sizes(pool: Mapping[str, Any]) -> dict[str, Any]:
    sizes = {'total': 'total_capacity_gb', 'free': 'free_capacity_gb', 'provisioned': 'provisioned_capacity_gb'}
    return {'pool_name': pool['name'], **{name: round(pool[f'{key}_bytes'] / GIB, 2) for key, name in sizes.items()}}


def _gigabytes(found: Mapping[str, Any]) -> int:
    """Return the size in GiB, rounded up."""
    return -(-int(found['size_bytes']) // GIB)


def _is_snapshot(found: Mapping[str, Any]) -> bool:
    """Whether it is a snapshot, by its name or by its former name if it is unmanaged."""
    return str(found['name']).removeprefix(_RELEASED).startswith('snapshot-')


def _kept(found: Mapping[str, Any]) -> Kept | None:
    return Kept(str(found['source']), float(found['kept'])) if found.get('kept') else None


def _manageable(found: Mapping[str, Any]) -> ManageableObject:
    source = {'source-name': found['source']} if _is_snapshot(found) else None
    return ManageableObject(
        reference={'source-name': found['name']},
        size=_gigabytes(found),
        reason_not_safe='a host may be using it' if found['exported'] else None,
        source_reference=source,
    )


def _source_name(existing_ref: Mapping[str, str]) -> str:
    """Cinder's LVM reference. Raises ManageExistingInvalidReference."""
    name = str(existing_ref.get('source-name', ''))
    if not re.fullmatch('[A-Za-z0-9][A-Za-z0-9_-]{0,99}', name):
        reason = 'set source-name to the name of an object in the pool'
        raise errors.ManageExistingInvalidReference(existing_ref=dict(existing_ref), reason=reason)
    return name
