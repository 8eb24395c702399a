"""Amazon EBS as a backend: one pool per availability zone, volumes for EC2 instances.

EBS differs from other backends: only instances reach a volume's data, so workers read snapshots (``ebs_device``), and a
restore creates a new volume that replaces the old one under the same Cinder id. Snapshots belong to the region,
volumes to a zone. A volume can be modified four times in any 24 hours, one modification at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from chalicelib import errors
from chalicelib.config import settings
from chalicelib.device import BlockDevice, Changes
from chalicelib.drivers import ebs_changes, ebs_exports, ebs_groups, ebs_inventory, ebs_types
from chalicelib.drivers.base import (
    GIB,
    KEPT_DAYS,
    Capabilities,
    ConnectionInfo,
    Connector,
    ModelUpdate,
    Option,
    SnapshotRef,
    StoredExport,
    StoredObject,
    VolumeRef,
)
from chalicelib.drivers.ebs_client import Api, Refused, Unsure
from chalicelib.drivers.ebs_device import RestoreDevice, SnapshotDevice, count_blocks
from chalicelib.drivers.ebs_manage import Manager
from chalicelib.drivers.ebs_objects import (
    CONSISTENT,
    REPLACEMENT_WAIT,
    Objects,
    Row,
    listed,
    tags,
    translate_errors,
)

#: Seconds that a modification may take until the volume has its new size and type.
_MODIFY_WAIT = 240.0

#: Minutes after the last block after which EC2 discards a snapshot that a restore writes: the maximum, three days.
_RESTORE_TIMEOUT = 4320

#: The capabilities of each pool, in the form of Cinder's capability report.
_POOL: Mapping[str, Any] = {
    'thin_provisioning_support': False,
    'thick_provisioning_support': True,
    'multiattach': True,
    'online_extend_support': True,
    'consistent_group_snapshot_enabled': True,
    'QoS_support': False,
    'reserved_percentage': 0,
    'max_over_subscription_ratio': 1.0,
}


@translate_errors
class EbsDriver(Manager):
    """Serves any number of threads."""

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        #: The availability zones that are this backend's pools, by AWS's names.
        'zones': Option(list, required=True),
        #: The default of volume types without ebs:volume_type (see ebs_types.py).
        'volume_type': Option(str, default='gp3'),
        'encrypted': Option(bool, default=False),
        'kms_key_id': Option(str),
        #: GiB of each pool; without it a pool is infinite: EC2's quotas are not read.
        'capacity_gb': Option(int),
        #: Keep the last backup's snapshot of each volume, so that the next backup reads only changed blocks.
        'keep_backup_snapshots': Option(bool, default=False),
        #: Days until the reconciler deletes it all the same.
        'keep_backup_snapshots_days': Option(int, default=KEPT_DAYS),
    }

    capabilities = Capabilities(
        storage_protocol='ebs',
        opens_volumes=False,
        snapshot_attached=True,
        clone=True,
        revert=True,
        online_extend=True,
        multiattach=True,
        manage=True,
        manage_snapshots=True,
        retype=True,
        zeroed_volumes=True,
        changed_blocks=True,
        consistent_group_snapshots=True,
    )

    def __init__(self, backend: str, options: Mapping[str, Any]) -> None:
        super().__init__(backend, options)
        if options['volume_type'] not in ebs_types.KINDS:
            reason = f'option volume_type is {options["volume_type"]!r}: use one of {", ".join(ebs_types.KINDS)}'
            raise errors.BackendMisconfigured(backend=backend, reason=reason)
        self._api = Api(backend, settings().region)
        self._objects = Objects(self._api, backend, settings().table_prefix)

    def check_for_setup_error(self) -> None:
        known = {zone['ZoneName'] for zone in self._objects.ec2('DescribeAvailabilityZones')['AvailabilityZones']}
        for zone in self.options['zones']:
            if zone not in known:
                reason = f'option zones names {zone!r}; the region has {", ".join(sorted(known))}'
                raise errors.BackendMisconfigured(backend=self.backend, reason=reason)

    def get_volume_stats(self) -> dict[str, Any]:
        """Checks the zones each time: a pool in an unknown zone would be reported, and fail every volume."""
        self.check_for_setup_error()
        used = dict.fromkeys(self.options['zones'], 0)
        for row in self._objects.volumes(self._objects.ours()):
            if row['AvailabilityZone'] in used:
                used[row['AvailabilityZone']] += row['Size']
        return {
            'volume_backend_name': self.backend,
            'vendor_name': 'Amazon Web Services',
            'driver_version': '1.0',
            'storage_protocol': self.capabilities.storage_protocol,
            'shared_targets': self.capabilities.shared_targets,
            'pools': [{**_POOL, 'pool_name': zone, **self._capacity(gib)} for zone, gib in used.items()],
        }

    def _capacity(self, used: int) -> dict[str, Any]:
        total = self.options.get('capacity_gb')
        capacity = {'total_capacity_gb': 'infinite', 'free_capacity_gb': 'infinite'}
        if total is not None:
            capacity = {'total_capacity_gb': total, 'free_capacity_gb': max(0, total - used)}
        return {**capacity, 'provisioned_capacity_gb': used, 'allocated_capacity_gb': used}

    def create_volume(self, volume: VolumeRef) -> ModelUpdate:
        return self._create('CreateVolume', volume, 'empty', {**self._place(volume), **self._shape(volume)})

    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef) -> ModelUpdate:
        id = self._objects.completed(self._objects.require_snapshot(snapshot), snapshot.name)
        parameters = {**self._place(volume), **self._shape(volume), 'SnapshotId': id}
        return self._create('CreateVolume', volume, id, parameters)

    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef) -> ModelUpdate:
        """CopyVolumes within a zone; into another zone by a temporary snapshot."""
        row = self._objects.require(source)
        if row['AvailabilityZone'] == self._zone(volume):
            parameters = {**self._shape(volume), 'SourceVolumeId': row['VolumeId']}
            return self._create('CopyVolumes', volume, row['VolumeId'], parameters)
        return self._clone_elsewhere(volume, row['VolumeId'])

    def _clone_elsewhere(self, volume: VolumeRef, source_id: str) -> ModelUpdate:
        """A repeat may find the volume created and the temporary snapshot deleted."""
        name = f'clone-{volume.id}'
        made = self._objects.find(volume)
        if made is None or made['State'] == 'creating':
            snapshot = self._objects.make_snapshot(source_id, volume, name, {'for': volume.name})
            id = self._objects.completed(snapshot, name)
            parameters = {**self._place(volume), **self._shape(volume), 'SnapshotId': id}
            made = self._objects.make_volume('CreateVolume', volume, id, parameters)
        self._objects.remove_snapshots(name, volume)
        return {'provider_id': made['VolumeId']}

    def _create(
        self, operation: str, volume: VolumeRef, seed: str, parameters: Row, marks: Mapping[str, str] | None = None
    ) -> ModelUpdate:
        row = self._objects.make_volume(operation, volume, seed, parameters, marks or {})
        return {'provider_id': row['VolumeId']}

    def _zone(self, volume: VolumeRef) -> str:
        if volume.pool not in self.options['zones']:
            reason = f'host {volume.host!r} does not name a zone of this backend'
            raise errors.BackendMisconfigured(backend=self.backend, reason=reason)
        return volume.pool

    def _place(self, volume: VolumeRef) -> dict[str, Any]:
        return {'AvailabilityZone': self._zone(volume)}

    def _shape(self, volume: VolumeRef) -> dict[str, Any]:
        return {'Size': volume.size, **ebs_types.wanted(self.backend, volume, self.options).parameters()}

    def delete_volume(self, volume: VolumeRef) -> None:
        """Delete the volumes of this name, and snapshots kept for it or left by an operation."""
        rows = self._objects.volumes(self._objects.named(volume.name))
        ids = {row['VolumeId'] for row in rows} | ({volume.provider_id} if volume.provider_id else set())
        for id in sorted(ids):
            self._objects.remove_volume(id, volume)
        for row in self._objects.snapshots({**self._objects.deployed(), 'tag:cinder:for': volume.name}):
            self._objects.remove_snapshot(row['SnapshotId'], volume)

    def extend_volume(self, volume: VolumeRef, new_size: int) -> None:
        """Also for attached volumes. Raises VolumeIsBusy while another modification runs, or after four in 24 hours."""
        ebs_types.wanted(self.backend, volume, self.options, new_size)

        def is_done(row: Row) -> bool:
            return int(row['Size']) >= new_size

        self._objects.with_id(volume, lambda id: self._modify(volume, id, {'Size': new_size}, is_done))

    def get_volume_size(self, volume: VolumeRef) -> int | None:
        return int(self._objects.require(volume)['Size'])

    def retype(self, volume: VolumeRef, wanted: VolumeRef) -> ModelUpdate | None:
        """Type, IOPS, throughput and multi-attach change in place; encryption does not."""
        now = ebs_types.wanted(self.backend, volume, self.options)
        then = ebs_types.wanted(self.backend, wanted, self.options)
        if now.encryption() != then.encryption():
            return None
        row = self._objects.require(volume)
        target = {**then.performance(), 'MultiAttachEnabled': then.multiattach}
        if row['Attachments'] and then.multiattach != row.get('MultiAttachEnabled', False):
            return None
        changes = {name: value for name, value in target.items() if row.get(name, False) != value}
        if changes:
            changes = {'VolumeType': then.kind, **changes}
            self._modify(volume, row['VolumeId'], changes, lambda row: _has(row, changes))
        return {}

    def _modify(self, volume: VolumeRef, id: str, changes: Row, is_done: Callable[[Row], bool]) -> None:
        """ModifyVolume has no token; a call that took effect earlier shows in the volume or its newest modification."""
        try:
            self._api.ec2('ModifyVolume', repeatable=False, VolumeId=id, **changes)
        except Unsure:
            self._api.sleep(CONSISTENT)
            if not self._is_modified(id, changes):
                raise self._api.unavailable(f'ModifyVolume of {volume.name} ({id}) got no answer') from None
        except Refused as refused:
            row = self._objects.volume(id)
            if row is not None and is_done(row):
                return
            if not self._is_modified(id, changes):
                raise self._objects.failure(refused, volume, changes.get('Size', 0)) from refused
        done = self._api.wait(lambda: self._is_modified(id, changes, 'optimizing', 'completed'), _MODIFY_WAIT)
        if not done:
            raise self._api.unavailable(f'{volume.name} ({id}) is still being modified after {_MODIFY_WAIT:.0f} s')

    def _is_modified(self, id: str, changes: Row, *states: str) -> bool:
        """Whether the newest modification is the requested one; with ``states``: and has one of these states."""
        try:
            rows = self._api.ec2('DescribeVolumesModifications', VolumeIds=[id])['VolumesModifications']
        except Refused as refused:
            if refused.code == 'InvalidVolumeModification.NotFound':
                return False
            raise self._objects.failure(refused) from refused
        newest = max(rows, key=lambda row: row['StartTime'])
        requested = all(newest.get(f'Target{name}') == value for name, value in changes.items())
        if requested and newest['ModificationState'] == 'failed':
            reason = f'the modification of {id} failed in EC2: {newest.get("StatusMessage", "no reason given")}'
            raise errors.DriverError(backend=self.backend, reason=reason)
        return requested and (not states or newest['ModificationState'] in states)

    def create_snapshot(self, snapshot: SnapshotRef) -> ModelUpdate:
        """The snapshot is consistent at once. Where copying outlasts the worker, later users wait for it."""
        row = self._objects.with_id(
            snapshot.volume,
            lambda id: self._objects.make_snapshot(id, snapshot, snapshot.name),
        )
        if row['State'] != 'completed':
            self._objects.is_completed(row['SnapshotId'], 60, snapshot.name)
        return {'provider_id': row['SnapshotId']}

    def create_group_snapshot(self, snapshots: Sequence[SnapshotRef]) -> list[ModelUpdate]:
        """Raises NotSupported for volumes that are attached to several instances."""
        return ebs_groups.freeze(self._objects, self.backend, snapshots)

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        if not self._objects.remove_snapshots(snapshot.name, snapshot):
            ebs_groups.remove_unnamed(self._objects, snapshot)

    def changes_since(self, snapshot: SnapshotRef, older: SnapshotRef) -> Changes | None:
        return ebs_changes.since(self._objects, snapshot, older)

    def retire_snapshot(self, snapshot: SnapshotRef) -> None:
        if self.options['keep_backup_snapshots']:
            ebs_changes.keep(self._objects, snapshot)
        else:
            self.delete_snapshot(snapshot)

    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef) -> ModelUpdate:
        """A new volume of the snapshot replaces the old one. Raises VolumeIsBusy while it is attached."""
        row = self._objects.require_snapshot(snapshot)
        return self._replace(volume, self._objects.require(volume), row, snapshot.name)

    def _replace(self, volume: VolumeRef, old: Row, snapshot: Row, origin: str) -> ModelUpdate:
        """Create a volume of a snapshot under the name of another volume, and delete the other.

        The tags of the new volume name the one that it replaces, and it counts as the volume once it is available: so a
        crash leaves the old volume or the new one.
        """
        if old['Attachments']:
            raise errors.VolumeIsBusy(id=volume.id, reason='it is attached: detach it first')
        id = self._objects.completed(snapshot, origin, REPLACEMENT_WAIT)
        size = max(volume.size, int(old['Size']))
        shape = ebs_types.wanted(self.backend, volume, self.options, size).parameters()
        parameters = {'AvailabilityZone': old['AvailabilityZone'], 'Size': size, **shape, 'SnapshotId': id}
        marks = {'replaces': str(old['VolumeId']), 'origin': origin}
        update = self._create('CreateVolume', volume, f'{old["VolumeId"]} {id}', parameters, marks)
        self._objects.remove_volume(old['VolumeId'], volume)
        return update

    def initialize_connection(
        self, volume: VolumeRef, connector: Connector, export_id: str, mode: Literal['rw', 'ro'] = 'rw'
    ) -> ConnectionInfo:
        with self._api.budget():
            info = ebs_exports.connect(self._objects, volume, connector, export_id)
        return {**info, 'data': {**info['data'], 'access_mode': mode}}

    def terminate_connection(self, volume: VolumeRef, export_id: str | None) -> None:
        with self._api.budget():
            ebs_exports.disconnect(self._objects, volume, export_id)

    def open_volume(self, volume: VolumeRef, export_id: str, mode: Literal['rw', 'ro']) -> BlockDevice:
        """Read-only, with the data of the time when the export was first opened. Raises NotSupported, NotReady."""
        if mode == 'rw':
            reason = 'only an EC2 instance can write to an EBS volume; workers use open_restore'
            raise errors.NotSupported(backend=self.backend, operation='open_volume', reason=reason)
        name = f'export-{export_id}'
        marks = {'for': volume.name}
        made = self._objects.with_id(volume, lambda id: self._objects.make_snapshot(id, volume, name, marks))
        return self._opened(made, name)

    def close_volume(self, volume: VolumeRef, export_id: str) -> None:
        self._objects.remove_snapshots(f'export-{export_id}', volume)

    def open_snapshot(self, snapshot: SnapshotRef, export_id: str) -> BlockDevice:
        return self._opened(self._objects.require_snapshot(snapshot), snapshot.name)

    def _opened(self, row: Row, name: str) -> BlockDevice:
        return SnapshotDevice(self._api, self._objects.completed(row, name), int(row['VolumeSize']) * GIB)

    def close_snapshot(self, snapshot: SnapshotRef, export_id: str) -> None:
        """Nothing to remove: open_snapshot makes no export."""

    def open_restore(self, volume: VolumeRef, export_id: str) -> BlockDevice:
        encryption = ebs_types.wanted(self.backend, volume, self.options).encryption()
        key = encryption.pop('KmsKeyId', None)
        marks = self._objects.marks(f'restore-{export_id}', volume.project_id, {'for': volume.name})
        try:
            started = self._api.direct(
                'StartSnapshot',
                VolumeSize=volume.size,
                ClientToken=export_id,
                Timeout=_RESTORE_TIMEOUT,
                Tags=listed(marks),
                **encryption,
                **({'KmsKeyArn': key} if key else {}),
            )
        except Refused as refused:
            raise self._objects.failure(refused, volume) from refused
        return RestoreDevice(self._api, started['SnapshotId'], volume.size * GIB)

    def complete_restore(
        self, volume: VolumeRef, export_id: str, written: Callable[[], Iterable[tuple[int, int]]]
    ) -> ModelUpdate:
        name = f'restore-{export_id}'
        row = self._written(volume, name)
        if row is None:
            return self._restored(volume, self._objects.require(volume), name)
        if row['State'] == 'pending':
            self._complete_snapshot(row['SnapshotId'], volume, count_blocks(written()))
        found = self._objects.require(volume)
        if tags(found).get('cinder:origin') == name:
            update = self._restored(volume, found, name)
        else:
            update = self._replace(volume, found, row, name)
        self._objects.remove_snapshot(row['SnapshotId'], volume)
        return update

    def _written(self, volume: VolumeRef, name: str) -> Row | None:
        """Return the snapshot of a restore, which EC2 may not list yet; None when the restore is complete."""
        found: list[Row] = []

        def look() -> bool:
            row = self._objects.snapshot_named(name)
            found.extend([row] if row else [])
            return bool(found) or self._is_from(volume, name)

        self._api.wait(look, CONSISTENT)
        return found[0] if found else None

    def _complete_snapshot(self, id: str, volume: VolumeRef, count: int) -> None:
        try:
            self._api.direct('CompleteSnapshot', SnapshotId=id, ChangedBlocksCount=count)
        except Refused as refused:
            if not self._was_completed(id, volume):
                raise self._objects.failure(refused, volume) from refused

    def _was_completed(self, id: str, volume: VolumeRef) -> bool:
        """Whether a call whose answer was lost completed the snapshot."""
        try:
            return self._objects.is_completed(id, REPLACEMENT_WAIT, volume.name)
        except errors.DriverError:
            return False

    def _is_from(self, volume: VolumeRef, origin: str) -> bool:
        row = self._objects.find(volume)
        return row is not None and tags(row).get('cinder:origin') == origin

    def _restored(self, volume: VolumeRef, row: Row, origin: str) -> ModelUpdate:
        """Return the volume, if the restore was completed before. Raises ProviderNotFound."""
        if tags(row).get('cinder:origin') != origin:
            raise errors.ProviderNotFound(backend=self.backend, object=origin)
        self._objects.remove_volume(tags(row)['cinder:replaces'], volume)
        return {'provider_id': row['VolumeId']}

    def cancel_restore(self, volume: VolumeRef, export_id: str) -> None:
        """EC2 may not list a new snapshot yet."""
        name = f'restore-{export_id}'
        if self._objects.snapshot_named(name) is None:
            self._api.sleep(CONSISTENT)
        self._objects.remove_snapshots(name, volume)

    def inventory(self) -> list[StoredObject]:
        ours = self._objects.ours()
        rows = [*self._objects.volumes(ours), *self._objects.snapshots(ours)]
        return ebs_inventory.objects(rows, self.options['zones'][0])

    def list_exports(self) -> list[StoredExport]:
        return ebs_inventory.exports(self._objects.volumes(self._objects.ours()))

    def end_unnamed_export(self, export: StoredExport) -> None:
        ebs_exports.detach_unnamed(self._objects, VolumeRef(export.object.removeprefix('volume-'), 0, '-'), export.host)


def _has(row: Row, changes: Row) -> bool:
    return all(row.get(name) == value for name, value in changes.items())
