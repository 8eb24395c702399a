"""NetApp ONTAP, and Amazon FSx for NetApp ONTAP, over REST: volumes are LUNs, pools are FlexVols of one SVM.

As Cinder's own driver does it, a snapshot is a clone of the LUN in the same FlexVol, named ``snapshot-<id>``: it
outlives its volume. What clones cannot do, another FlexVol, a LUN copy does. Paths: see ``ontap_paths``.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from chalicelib import errors, iscsi
from chalicelib.device import BlockDevice
from chalicelib.drivers import ontap_luns, ontap_paths, ontap_pools, ontap_qos, pinning
from chalicelib.drivers.base import (
    GIB,
    Capabilities,
    ConnectionInfo,
    Connector,
    Driver,
    ManageableObject,
    ModelUpdate,
    Option,
    SnapshotRef,
    VolumeRef,
)
from chalicelib.drivers.connection import iscsi_target
from chalicelib.drivers.ontap_client import BUDGET, Client, Record, Refused
from chalicelib.drivers.ontap_errors import kind
from chalicelib.drivers.ontap_luns import base, flexvol
from chalicelib.drivers.read_only import ReadOnlyDevice

#: Seconds for a verb that copies data: a worker's time, less what the verb needs besides.
_COPY = 780.0

_SHORTEST_SECRET = 32
_OURS = re.compile(r'(volume|snapshot)-[0-9a-f-]{36}')

_THIN = {'guarantee': {'requested': False}}


class OntapDriver(Driver):
    OPTIONS: ClassVar[Mapping[str, Option]] = {
        #: The management address of the SVM, or of the cluster (FSx: of the file system).
        'url': Option(str, required=True),
        'svm': Option(str, required=True),
        'username': Option(str, default='vsadmin'),
        'password': Option(str, required=True, secret=True),
        #: At least 32 characters; hosts' CHAP secrets come of it, so it must stay while anything is attached.
        'chap_secret': Option(str, required=True, secret=True),
        'fingerprint': Option(str),
        'certificate': Option(str),
        #: The FlexVols that this backend has; all of the SVM, unless given.
        'pools': Option(list),
        #: LUNs are thick, as Cinder's netapp_lun_space_reservation has it.
        'space_reservation': Option(bool, default=True),
        'iscsi_port': Option(int, default=3260),
    }

    capabilities = Capabilities(
        storage_protocol='iSCSI',
        snapshot_attached=True,
        clone=True,
        revert=True,
        online_extend=True,
        multiattach=True,
        manage=True,
        retype=True,
        shared_targets=True,
        zeroed_volumes=True,
    )

    def __init__(self, backend: str, options: Mapping[str, Any]) -> None:
        super().__init__(backend, options)
        pinned = pinning.pin(backend, options, "ONTAP's")
        if len(options['chap_secret'].strip()) < _SHORTEST_SECRET:
            reason = f'secrets.chap_secret is too short: give {_SHORTEST_SECRET} characters or more'
            raise errors.BackendMisconfigured(backend=backend, reason=reason)
        account = (options['username'], options['password'])
        self._client = Client(backend, options['url'], pinned, account, options['svm'])
        self._luns = ontap_luns.Luns(self._client)
        self._paths = ontap_paths.Paths(self._client, options['chap_secret'])

    def check_for_setup_error(self) -> None:
        with self._verb():
            self._pools()
            self._target()

    def get_volume_stats(self) -> dict[str, Any]:
        with self._verb():
            luns = self._luns.records('name,location.volume.name,space.size')
            pools = ontap_pools.report(self._client, self._pools(), luns, self._thick)
        return {
            'volume_backend_name': self.backend,
            'vendor_name': 'NetApp',
            'driver_version': '1.0',
            'storage_protocol': self.capabilities.storage_protocol,
            'shared_targets': self.capabilities.shared_targets,
            'pools': pools,
        }

    def create_volume(self, volume: VolumeRef) -> ModelUpdate:
        with self._verb(volume, volume.size):
            space = {**self._space(volume), 'size': volume.size * GIB}
            lun = self._luns.make(self._path(volume), {'os_type': 'linux', 'space': space, **self._policy(volume)})
            if lun['space']['size'] != volume.size * GIB:
                raise self._taken(volume, lun)
            return self._update(volume, lun)

    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef) -> ModelUpdate:
        return self._derive(volume, snapshot.volume, snapshot)

    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef) -> ModelUpdate:
        return self._derive(volume, source, source)

    def delete_volume(self, volume: VolumeRef) -> None:
        with self._verb(volume):
            lun = self._find(volume)
            self._delete(lun, volume, errors.VolumeIsBusy)
            if volume.qos_specs or (lun and ontap_qos.is_own(volume, lun.get('qos_policy', {}).get('name', ''))):
                ontap_qos.clean(self._client, volume)

    def extend_volume(self, volume: VolumeRef, new_size: int) -> None:
        with self._verb(volume, new_size):
            lun = self._require(volume)
            if lun['space']['size'] < new_size * GIB:
                self._luns.change(lun, {'space': {'size': new_size * GIB}})
            if volume.qos_specs:
                self._limit(lun, volume, new_size)

    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef) -> ModelUpdate:
        """In place: uuid and serial number stay, the size becomes the snapshot's for a moment."""
        with self._verb(volume, volume.size):
            lun = self._require(volume)
            self._refuse_used(lun, volume, errors.VolumeIsBusy)
            size = max(lun['space']['size'], volume.size * GIB)
            self._luns.overwrite(lun, self._path(snapshot))
            if size > snapshot.size * GIB:
                self._luns.change(lun, {'space': {'size': size}})
            return {}

    def retype(self, volume: VolumeRef, wanted: VolumeRef) -> ModelUpdate | None:
        """QoS and netapp:space_allocation change in place; what a FlexVol has or has not is the scheduler's matter."""
        with self._verb(volume):
            lun = self._require(volume)
            self._adjust(lun, self._space(wanted))
            self._limit(lun, wanted, volume.size)
            return {}

    def create_snapshot(self, snapshot: SnapshotRef) -> ModelUpdate:
        with self._verb(snapshot, snapshot.size):
            body = {'clone': {'source': {'name': self._path(snapshot.volume)}}, 'space': _THIN}
            return {'provider_id': self._luns.make(self._path(snapshot), body)['uuid']}

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        with self._verb(snapshot):
            self._delete(self._find(snapshot), snapshot, errors.SnapshotIsBusy)

    def initialize_connection(
        self, volume: VolumeRef, connector: Connector, export_id: str, mode: Literal['rw', 'ro'] = 'rw'
    ) -> ConnectionInfo:
        initiator = ontap_paths.host(connector.get('initiator'))
        with self._verb(volume):
            lun = self._require(volume)
            self._paths.note(lun, export_id, initiator.name)
            data = self._connection(lun, initiator, mode)
        return {'driver_volume_type': 'iscsi', 'data': {**data, 'volume_id': volume.id}}

    def terminate_connection(self, volume: VolumeRef, export_id: str | None) -> None:
        with self._verb(volume):
            lun = self._find(volume)
            if lun is None:
                return
            exports = self._paths.exports(lun)
            gone = set(exports) if export_id is None else {export_id} & set(exports)
            kept = {initiator for one, initiator in exports.items() if one not in gone}
            dropped = self._unmap(lun, kept)
            for one in gone:
                self._paths.forget(lun, one)
            if export_id is None:
                self._dismiss(lun)
            elif dropped:
                self._map_again(volume, dropped)

    def open_volume(self, volume: VolumeRef, export_id: str, mode: Literal['rw', 'ro']) -> BlockDevice:
        return self._open(volume, export_id, mode)

    def close_volume(self, volume: VolumeRef, export_id: str) -> None:
        self._close(volume, export_id)

    def open_snapshot(self, snapshot: SnapshotRef, export_id: str) -> BlockDevice:
        return self._open(snapshot, export_id, 'ro')

    def close_snapshot(self, snapshot: SnapshotRef, export_id: str) -> None:
        self._close(snapshot, export_id)

    def manage_existing_get_size(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> int:
        with self._verb(volume):
            return -(-int(self._existing(volume, existing_ref)['space']['size']) // GIB)

    def manage_existing(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> ModelUpdate:
        """A LUN that is no whole number of GiB grows to the next."""
        with self._verb(volume, volume.size):
            lun = self._find(volume)
            if lun is None:
                lun = self._existing(volume, existing_ref)
                self._luns.change(lun, {'name': self._path(volume)})
            if lun['space']['size'] < volume.size * GIB:
                self._luns.change(lun, {'space': {'size': volume.size * GIB}})
            return self._update(volume, lun)

    def get_manageable_volumes(self, pool: str) -> list[ManageableObject]:
        with self._verb():
            found = self._luns.records('name,space.size,status.mapped', **{'location.volume.name': pool})
        return [_manageable(lun) for lun in found if not base(lun).startswith('snapshot-')]

    def unmanage(self, volume: VolumeRef) -> None:
        self._rename(volume)

    def unmanage_snapshot(self, snapshot: SnapshotRef) -> None:
        self._rename(snapshot)

    def list_objects(self) -> list[str]:
        with self._verb():
            ours = {one['name'] for one in self._pools()}
            found = self._luns.records('name', name='/vol/*/volume-*|/vol/*/snapshot-*')
        return [base(lun) for lun in found if flexvol(lun) in ours]

    @property
    def _thick(self) -> bool:
        return bool(self.options.get('space_reservation', True))

    def _pools(self) -> list[Record]:
        return ontap_pools.pools(self._client, self.backend, self.options.get('pools') or [])

    def _target(self) -> ontap_paths.Target:
        target = self._paths.target()
        if target is None:
            reason = f'SVM {self._client.svm} has no iSCSI service, or no address with service data_iscsi'
            raise errors.BackendMisconfigured(backend=self.backend, reason=reason)
        return target

    @contextlib.contextmanager
    def _verb(
        self, ref: VolumeRef | SnapshotRef | None = None, size: int = 0, seconds: float = BUDGET
    ) -> Iterator[None]:
        """One verb: a budget of time, and ONTAP's refusals as the contract's errors."""
        with self._client.budget(seconds):
            try:
                yield
            except Refused as refused:
                facts = {'id': ref.id, 'object': ref.name} if ref else {'object': 'what was asked for'}
                reason = f'{refused} (ONTAP code {refused.code})'
                raise kind(refused)(
                    backend=self.backend, reason=reason, missing=reason, size=size, **facts
                ) from refused

    def _find(self, ref: VolumeRef | SnapshotRef) -> Record | None:
        return self._luns.find(self._path(ref))

    def _require(self, ref: VolumeRef | SnapshotRef) -> Record:
        lun = self._find(ref)
        if lun is None:
            raise errors.ProviderNotFound(backend=self.backend, object=ref.name)
        return lun

    def _policy(self, volume: VolumeRef) -> Record:
        """What gives a new LUN its QoS policy."""
        name = ontap_qos.ensure(self._client, volume, volume.size)
        return {'qos_policy': {'name': name}} if name else {}

    def _derive(self, volume: VolumeRef, owner: VolumeRef, source: VolumeRef | SnapshotRef) -> ModelUpdate:
        """A clone within the FlexVol, a copy into another; then what neither takes along: size and features."""
        clone = volume.pool == owner.pool
        with self._verb(volume, volume.size, BUDGET if clone else _COPY):
            how, path = 'clone' if clone else 'copy', self._path(volume)
            body = {how: {'source': {'name': self._path(source)}}, 'space': self._space(volume)}
            lun = self._luns.make(path, {**body, **self._policy(volume)})
            if not clone:
                lun = self._luns.see_copied(path)
            if lun['space']['size'] > volume.size * GIB:
                raise self._taken(volume, lun)
            self._adjust(lun, {**self._space(volume), 'size': volume.size * GIB})
            return self._update(volume, lun)

    def _adjust(self, lun: Record, space: dict[str, Any]) -> None:
        """Change what differs of size and features; the guarantee is the LUN's from its first day."""
        wanted = {name: value for name, value in space.items() if name != 'guarantee'}
        if any(lun['space'].get(name) != value for name, value in wanted.items()):
            self._luns.change(lun, {'space': wanted})

    def _delete(self, lun: Record | None, ref: VolumeRef | SnapshotRef, busy: type[errors.DriverError]) -> None:
        if lun:
            self._refuse_used(lun, ref, busy)
            self._dismiss(lun)
            self._luns.remove(lun)

    def _refuse_used(self, lun: Record, ref: VolumeRef | SnapshotRef, busy: type[errors.DriverError]) -> None:
        user = self._paths.user(lun)
        if user:
            raise busy(id=ref.id, reason=f'it is mapped to {user}, which is logged in: detach it there first')

    def _limit(self, lun: Record, volume: VolumeRef, size: int) -> None:
        """Give the LUN the QoS policy that the volume's type and size ask for; remove those that it had of its own."""
        before, after = lun.get('qos_policy', {}).get('name', ''), ontap_qos.ensure(self._client, volume, size) or ''
        if before != after:
            self._luns.change(lun, {'qos_policy': {'name': after}})
        ontap_qos.clean(self._client, volume, but=after)

    def _connection(self, lun: Record, initiator: ontap_paths.Initiator, mode: str) -> dict[str, Any]:
        """Map the LUN; return what an initiator needs, as os-brick reads it."""
        target = self._target()
        number, port = self._paths.admit(lun, initiator, target), self.options.get('iscsi_port', 3260)
        user, secret = self._paths.account(initiator.name)
        return {
            'target_discovered': False,
            **iscsi_target([_portal(one, port) for one in target.addresses], target.iqn, number),
            'addressing_mode': 'SAM2',
            'auth_method': 'CHAP',
            'auth_username': user,
            'auth_password': secret,
            'access_mode': mode,
            'discard': bool(lun['space'].get('scsi_thin_provisioning_support_enabled')),
        }

    def _unmap(self, lun: Record, kept: set[str]) -> set[str]:
        """Take the LUN from all hosts but these; return the igroups that had it."""
        wanted = {ontap_paths.host(initiator).igroup for initiator in kept}
        dropped = set(self._paths.hosts(lun)) - wanted
        for igroup in dropped:
            self._paths.expel(lun, igroup)
        return dropped

    def _map_again(self, volume: VolumeRef, dropped: set[str]) -> None:
        """Another export of the same host may have been made meanwhile, and relied on the map that is gone."""
        lun = self._find(volume)
        for name in set(self._paths.exports(lun).values()) if lun else ():
            initiator = ontap_paths.host(name)
            if lun and initiator.igroup in dropped:
                self._paths.admit(lun, initiator, self._target())

    def _dismiss(self, lun: Record) -> None:
        for worker in self._paths.workers(lun):
            self._paths.dismiss(worker, self._target())

    def _open(self, ref: VolumeRef | SnapshotRef, export_id: str, mode: Literal['rw', 'ro']) -> BlockDevice:
        """The service's own initiator has a name per path, so a path's sessions are told apart from all others."""
        initiator = ontap_paths.worker(ref.name, export_id)
        with self._verb(ref):
            data = self._connection(self._require(ref), initiator, mode)
        device = iscsi.open_device(data, initiator=initiator.name)
        return device if mode == 'rw' else ReadOnlyDevice(device)

    def _close(self, ref: VolumeRef | SnapshotRef, export_id: str) -> None:
        with self._verb(ref):
            self._paths.dismiss(ontap_paths.worker(ref.name, export_id), self._target())

    def _existing(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> Record:
        """Raises ManageExistingInvalidReference."""
        query = self._reference(volume, existing_ref)
        lun = self._luns.find_by(**query)
        reason = ''
        if lun is None or flexvol(lun) != volume.pool:
            reason = f'FlexVol {volume.pool} has no such LUN'
        elif _OURS.fullmatch(base(lun)):
            reason = f'{lun["name"]} is managed already'
        if reason or lun is None:
            raise errors.ManageExistingInvalidReference(existing_ref=dict(existing_ref), reason=reason)
        return lun

    def _reference(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> dict[str, str]:
        """Cinder's: source-name is a path or a name in the pool, source-id a uuid."""
        name, uuid = str(existing_ref.get('source-name', '')), str(existing_ref.get('source-id', ''))
        if re.fullmatch(r'[A-Za-z0-9._{}-]+', name):
            return {'name': f'/vol/{volume.pool}/{name}'}
        if re.fullmatch(r'/vol/[A-Za-z0-9_]+/[A-Za-z0-9._{}-]+', name):
            return {'name': name}
        if re.fullmatch('[0-9a-f-]{36}', uuid):
            return {'uuid': uuid}
        reason = 'it needs source-name, the path of a LUN, or source-id, its uuid'
        raise errors.ManageExistingInvalidReference(existing_ref=dict(existing_ref), reason=reason)

    def _rename(self, ref: VolumeRef | SnapshotRef) -> None:
        with self._verb(ref):
            lun = self._find(ref)
            if lun:
                self._luns.change(lun, {'name': self._path(ref).replace(f'/{ref.name}', f'/unmanaged-{ref.name}')})

    def _space(self, volume: VolumeRef) -> dict[str, Any]:
        """Guarantee, and whether freed blocks are given back (SCSI UNMAP), which hosts see as discard."""
        allocation = volume.extra_specs.get('netapp:space_allocation', 'true').removeprefix('<is>').strip()
        return {
            'guarantee': {'requested': self._thick},
            'scsi_thin_provisioning_support_enabled': allocation.lower() == 'true',
        }

    def _path(self, ref: VolumeRef | SnapshotRef) -> str:
        """Raises BackendMisconfigured if the volume's host names no pool of ours."""
        volume = ref.volume if isinstance(ref, SnapshotRef) else ref
        ours = self.options.get('pools') or [volume.pool]
        if not volume.pool or volume.pool not in ours:
            reason = f'host {volume.host!r} names no pool of this backend'
            raise errors.BackendMisconfigured(backend=self.backend, reason=reason)
        return f'/vol/{volume.pool}/{ref.name}'

    def _update(self, volume: VolumeRef, lun: Record) -> ModelUpdate:
        return {'provider_id': lun['uuid'], 'provider_location': f'{self._client.svm}:{self._path(volume)}'}

    def _taken(self, volume: VolumeRef, lun: Record) -> errors.DriverError:
        reason = f'{volume.name} exists with {lun["space"]["size"]} bytes instead of {volume.size * GIB}'
        return errors.DriverError(backend=self.backend, reason=reason)


def _portal(address: str, port: int) -> str:
    return f'[{address}]:{port}' if ':' in address else f'{address}:{port}'


def _manageable(lun: Record) -> ManageableObject:
    reason = 'it is mapped to a host' if lun.get('status', {}).get('mapped') else None
    if _OURS.fullmatch(base(lun)):
        reason = None
    return ManageableObject({'source-name': str(lun['name'])}, -(-int(lun['space']['size']) // GIB), reason)
