"""NetApp ONTAP, and Amazon FSx for NetApp ONTAP, over REST: volumes are LUNs, pools are FlexVols of one SVM.

As in Cinder's own driver, a snapshot is a clone of the LUN in the same FlexVol, named ``snapshot-<id>``: it outlives
its volume. Across FlexVols, where clones are impossible, a LUN copy does the work. Exports: see ``ontap_exports``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from chalicelib import errors, iscsi
from chalicelib.device import BlockDevice
from chalicelib.drivers import ontap_exports, ontap_groups, ontap_manage, ontap_pools, ontap_qos
from chalicelib.drivers.base import (
    GIB,
    Capabilities,
    ConnectionInfo,
    Connector,
    ModelUpdate,
    SnapshotRef,
    StoredExport,
    StoredObject,
    VolumeRef,
)
from chalicelib.drivers.connection_info import iscsi_target
from chalicelib.drivers.ontap_client import BUDGET, Record
from chalicelib.drivers.ontap_luns import base, flexvol
from chalicelib.drivers.read_only import ReadOnlyDevice

#: Seconds for a verb that copies data: a worker's time, less the verb's other requests.
_COPY = 780.0

#: LUNs that one request queries by path: its URL must not become too long.
_NAMES = 40

_THIN = {'guarantee': {'requested': False}}


class OntapDriver(ontap_manage.Manager):
    capabilities = Capabilities(
        storage_protocol='iSCSI',
        snapshot_attached=True,
        clone=True,
        revert=True,
        online_extend=True,
        multiattach=True,
        manage=True,
        manage_snapshots=True,
        retype=True,
        consistent_group_snapshots=True,
        shared_targets=True,
        zeroed_volumes=True,
    )

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
            body = {'os_type': 'linux', 'space': space, 'comment': ontap_manage.mark(), **self._policy(volume)}
            lun = self._luns.make(self._path(volume), body)
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

    def get_volume_size(self, volume: VolumeRef) -> int | None:
        with self._verb(volume):
            return int(-(-self._require(volume)['space']['size'] // GIB))

    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef) -> ModelUpdate:
        """In place: uuid and serial number stay, the size is the snapshot's until the LUN is extended again."""
        with self._verb(volume, volume.size):
            lun = self._require(volume)
            self._refuse_used(lun, volume, errors.VolumeIsBusy)
            size = max(lun['space']['size'], volume.size * GIB)
            self._luns.overwrite(lun, self._path(snapshot))
            if size > snapshot.size * GIB:
                self._luns.change(lun, {'space': {'size': size}})
            return {}

    def retype(self, volume: VolumeRef, wanted: VolumeRef) -> ModelUpdate | None:
        """QoS and netapp:space_allocation change in place; the properties of a FlexVol are the scheduler's concern."""
        with self._verb(volume):
            lun = self._require(volume)
            self._adjust(lun, self._space(wanted))
            self._limit(lun, wanted, volume.size)
            return {}

    def create_snapshot(self, snapshot: SnapshotRef) -> ModelUpdate:
        with self._verb(snapshot, snapshot.size):
            return {'provider_id': self._freeze(snapshot, self._path(snapshot.volume))['uuid']}

    def create_group_snapshot(self, snapshots: Sequence[SnapshotRef]) -> list[ModelUpdate]:
        """Clone the LUNs from one point in time of their FlexVols; a repeat continues an earlier attempt."""
        with self._verb(snapshots[0], snapshots[0].size):
            frozen = ontap_groups.PointInTime(self._client, map(self._path, snapshots))
            if frozen.hidden():
                raise self._unsupported_group(frozen.hidden())
            made = self._made(snapshots)
            if len(made) < len(snapshots):
                made = self._freeze_all(snapshots, frozen, made)
            frozen.release()
            return [{'provider_id': made[one.name]['uuid']} for one in snapshots]

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        with self._verb(snapshot):
            self._delete(self._find(snapshot), snapshot, errors.SnapshotIsBusy)

    def initialize_connection(
        self, volume: VolumeRef, connector: Connector, export_id: str, mode: Literal['rw', 'ro'] = 'rw'
    ) -> ConnectionInfo:
        initiator = ontap_exports.host(connector.get('initiator'))
        with self._verb(volume):
            lun = self._require(volume)
            self._exports.add_note(lun, export_id, initiator.name)
            data = self._connection(lun, initiator, mode)
        return {'driver_volume_type': 'iscsi', 'data': {**data, 'volume_id': volume.id}}

    def terminate_connection(self, volume: VolumeRef, export_id: str | None) -> None:
        with self._verb(volume):
            lun = self._find(volume)
            if lun is None:
                return
            exports = self._exports.exports(lun)
            gone = set(exports) if export_id is None else {export_id} & set(exports)
            kept = {initiator for one, initiator in exports.items() if one not in gone}
            dropped = self._unmap(lun, kept)
            for one in gone:
                self._exports.remove_note(lun, one)
            if export_id is None:
                self._remove_workers(lun)
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

    def inventory(self) -> list[StoredObject]:
        return [
            StoredObject(base(lun), flexvol(lun), int(lun['space']['size']), ontap_manage.maker(lun))
            for lun in self._ours('name,space.size,comment')
        ]

    def list_exports(self) -> list[StoredExport]:
        """Notes and maps, including maps of hosts without a note, and those of workers, whose export id is unknown."""
        return [
            StoredExport(base(lun), flexvol(lun), export_id, initiator)
            for lun in self._ours('name,attributes,lun_maps')
            for export_id, initiator in self._exports.listed(lun)
        ]

    def end_unnamed_export(self, export: StoredExport) -> None:
        """Remove a worker's map with its igroup and account, a host's map alone."""
        with self._verb():
            lun = self._luns.find(f'/vol/{export.pool}/{export.object}')
            if lun is None or (None, export.host) not in self._exports.listed(lun):
                return
            worker = next((one for one in self._exports.workers(lun) if one.igroup == export.host), None)
            if worker:
                self._exports.remove_worker(worker, self._target())
            else:
                self._exports.unmap_lun(lun, export.host)

    def list_idle_access(self) -> list[str]:
        with self._verb():
            return self._exports.idle()

    def remove_idle_access(self, name: str) -> None:
        with self._verb():
            self._exports.remove_idle(name, self._target())

    def _ours(self, fields: str) -> list[Record]:
        """Return the LUNs in pools of this backend with Cinder's name templates."""
        with self._verb():
            ours = {one['name'] for one in self._pools()}
            found = self._luns.records(fields, name='/vol/*/volume-*|/vol/*/snapshot-*')
        return [lun for lun in found if flexvol(lun) in ours]

    @property
    def _thick(self) -> bool:
        return bool(self.options.get('space_reservation', True))

    def _pools(self) -> list[Record]:
        return ontap_pools.pools(self._client, self.backend, self.options.get('pools') or [])

    def _target(self) -> ontap_exports.Target:
        target = self._exports.target()
        if target is None:
            reason = f'SVM {self._client.svm} has no iSCSI service, or no address with service data_iscsi'
            raise errors.BackendMisconfigured(backend=self.backend, reason=reason)
        return target

    def _freeze(self, snapshot: SnapshotRef, source: str) -> Record:
        body = {'clone': {'source': {'name': source}}, 'space': _THIN, 'comment': ontap_manage.comment(snapshot)}
        return self._luns.make(self._path(snapshot), body)

    def _made(self, snapshots: Sequence[SnapshotRef]) -> dict[str, Record]:
        paths = [self._path(one) for one in snapshots]
        parts = ['|'.join(paths[first : first + _NAMES]) for first in range(0, len(paths), _NAMES)]
        return {base(lun): lun for part in parts for lun in self._luns.records('name', name=part)}

    def _freeze_all(
        self, snapshots: Sequence[SnapshotRef], frozen: ontap_groups.PointInTime, made: Mapping[str, Record]
    ) -> dict[str, Record]:
        """Take all, or none; only without an answer from ONTAP some may remain, and a repeat continues with them."""
        try:
            with self._verb(snapshots[0], snapshots[0].size):
                if not frozen.exists():
                    self._remove(made)
                    frozen.take()
            return {one.name: self._freeze_of(one, frozen) for one in snapshots}
        except errors.BackendUnavailable:
            raise
        except errors.DriverError:
            self._remove(self._made(snapshots))
            frozen.release()
            raise

    def _freeze_of(self, snapshot: SnapshotRef, frozen: ontap_groups.PointInTime) -> Record:
        with self._verb(snapshot.volume, snapshot.size):
            return self._freeze(snapshot, frozen.path(self._path(snapshot.volume)))

    def _remove(self, luns: Mapping[str, Record]) -> None:
        for lun in luns.values():
            self._luns.remove(lun)

    def _unsupported_group(self, hidden: Sequence[str]) -> errors.NotSupported:
        reason = f'FlexVol {", ".join(hidden)} has snapshot_directory_access_enabled off'
        return errors.NotSupported(backend=self.backend, operation='create_group_snapshot', reason=reason)

    def _policy(self, volume: VolumeRef) -> Record:
        """Return the part of a request that sets a new LUN's QoS policy."""
        name = ontap_qos.ensure(self._client, volume, volume.size)
        return {'qos_policy': {'name': name}} if name else {}

    def _derive(self, volume: VolumeRef, owner: VolumeRef, source: VolumeRef | SnapshotRef) -> ModelUpdate:
        """Clone within the FlexVol, or copy into another one; then set size and features, which neither keeps."""
        clone = volume.pool == owner.pool
        with self._verb(volume, volume.size, BUDGET if clone else _COPY):
            how, path = 'clone' if clone else 'copy', self._path(volume)
            body: Record = {how: {'source': {'name': self._path(source)}}, 'space': self._space(volume)}
            body['comment'] = ontap_manage.mark()
            lun = self._luns.make(path, {**body, **self._policy(volume)})
            if not clone:
                lun = self._luns.wait_until_copied(path)
            if lun['space']['size'] > volume.size * GIB:
                raise self._taken(volume, lun)
            self._adjust(lun, {**self._space(volume), 'size': volume.size * GIB})
            return self._update(volume, lun)

    def _adjust(self, lun: Record, space: dict[str, Any]) -> None:
        """Change size and features that differ; the space guarantee is fixed when a LUN is created."""
        wanted = {name: value for name, value in space.items() if name != 'guarantee'}
        if any(lun['space'].get(name) != value for name, value in wanted.items()):
            self._luns.change(lun, {'space': wanted})

    def _delete(self, lun: Record | None, ref: VolumeRef | SnapshotRef, busy: type[errors.DriverError]) -> None:
        if lun:
            self._refuse_used(lun, ref, busy)
            self._remove_workers(lun)
            self._luns.remove(lun)

    def _refuse_used(self, lun: Record, ref: VolumeRef | SnapshotRef, busy: type[errors.DriverError]) -> None:
        user = self._exports.user(lun)
        if user:
            raise busy(id=ref.id, reason=f'it is mapped to {user}, which is logged in: detach it on that host first')

    def _limit(self, lun: Record, volume: VolumeRef, size: int) -> None:
        """Set the LUN's QoS policy for the volume's type and size; remove its own earlier policies."""
        before, after = lun.get('qos_policy', {}).get('name', ''), ontap_qos.ensure(self._client, volume, size) or ''
        if before != after:
            self._luns.change(lun, {'qos_policy': {'name': after}})
        ontap_qos.clean(self._client, volume, but=after)

    def _connection(self, lun: Record, initiator: ontap_exports.Initiator, mode: str) -> dict[str, Any]:
        """Map the LUN; return the data for an initiator, in os-brick's format."""
        target = self._target()
        number, port = self._exports.map_lun(lun, initiator, target), self.options.get('iscsi_port', 3260)
        user, secret = self._exports.account(initiator.name)
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
        """Unmap the LUN from all hosts but these; return the igroups that had it."""
        wanted = {ontap_exports.host(initiator).igroup for initiator in kept}
        dropped = set(self._exports.hosts(lun)) - wanted
        for igroup in dropped:
            self._exports.unmap_lun(lun, igroup)
        return dropped

    def _map_again(self, volume: VolumeRef, dropped: set[str]) -> None:
        """Restore maps that exports created in the meantime rely on."""
        lun = self._find(volume)
        for name in set(self._exports.exports(lun).values()) if lun else ():
            initiator = ontap_exports.host(name)
            if lun and initiator.igroup in dropped:
                self._exports.map_lun(lun, initiator, self._target())

    def _remove_workers(self, lun: Record) -> None:
        for worker in self._exports.workers(lun):
            self._exports.remove_worker(worker, self._target())

    def _open(self, ref: VolumeRef | SnapshotRef, export_id: str, mode: Literal['rw', 'ro']) -> BlockDevice:
        """The service's own initiator has a name per export, which distinguishes its sessions from all others."""
        initiator = ontap_exports.worker(ref.name, export_id)
        with self._verb(ref):
            data = self._connection(self._require(ref), initiator, mode)
        device = iscsi.open_device(data, initiator=initiator.name)
        return device if mode == 'rw' else ReadOnlyDevice(device)

    def _close(self, ref: VolumeRef | SnapshotRef, export_id: str) -> None:
        with self._verb(ref):
            self._exports.remove_worker(ontap_exports.worker(ref.name, export_id), self._target())

    def _space(self, volume: VolumeRef) -> dict[str, Any]:
        """Return the space guarantee, and whether the LUN supports SCSI UNMAP, which hosts see as discard."""
        allocation = volume.extra_specs.get('netapp:space_allocation', 'true').removeprefix('<is>').strip()
        return {
            'guarantee': {'requested': self._thick},
            'scsi_thin_provisioning_support_enabled': allocation.lower() == 'true',
        }

    def _taken(self, volume: VolumeRef, lun: Record) -> errors.DriverError:
        reason = f'{volume.name} exists with {lun["space"]["size"]} bytes instead of {volume.size * GIB}'
        return errors.DriverError(backend=self.backend, reason=reason)


def _portal(address: str, port: int) -> str:
    return f'[{address}]:{port}' if ':' in address else f'{address}:{port}'
