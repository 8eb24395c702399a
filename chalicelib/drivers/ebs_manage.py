"""Existing volumes and snapshots: bring them under management, and stop managing them.

Only objects with the tag ``cinder:deployment`` and the stack's name can be managed: permission to tag the volume is the
permission to hand it over, and IAM keeps the workers from all others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from chalicelib import errors
from chalicelib.config import settings
from chalicelib.drivers import ebs_changes
from chalicelib.drivers.base import Driver, ManageableObject, ModelUpdate, SnapshotRef, VolumeRef
from chalicelib.drivers.ebs_objects import CONSISTENT, Objects, Row, tags


class Manager(Driver):
    """The verbs of manage and unmanage."""

    _objects: Objects

    def manage_existing_get_size(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> int:
        return int(self._existing(volume, existing_ref)['Size'])

    def manage_existing(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> ModelUpdate:
        row = self._existing(volume, existing_ref)
        self._tag(row['VolumeId'], self._objects.marks(volume.name, volume.project_id))
        return {'provider_id': row['VolumeId']}

    def _existing(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> Row:
        """Return the volume that a reference names. Raises ManageExistingInvalidReference."""
        row = self._objects.volume(_source_id(existing_ref, 'vol'))
        if row is None:
            raise _invalid(existing_ref, 'the volume does not exist')
        if row['AvailabilityZone'] != volume.pool:
            raise _invalid(existing_ref, f'the volume is in {row["AvailabilityZone"]}, the pool is {volume.pool}')
        self._check_free(row, volume.name, existing_ref)
        return row

    def _check_free(self, row: Row, name: str, existing_ref: Mapping[str, str]) -> None:
        """Check that it is tagged for this deployment and does not belong to another record."""
        marks, deployment = tags(row), settings().table_prefix
        if marks.get('cinder:deployment') != deployment:
            raise _invalid(existing_ref, f'tag it cinder:deployment={deployment} to hand it over')
        if marks.get('cinder:name', name) != name:
            raise _invalid(existing_ref, f'it is already managed as {marks["cinder:name"]}')

    def _tag(self, id: str, marks: Mapping[str, str]) -> None:
        """Return when a describe call shows the tags: a later listing must include the object."""
        self._objects.tag(id, marks)
        self._objects.api.wait(lambda: self._name(id) == marks['cinder:name'], CONSISTENT)

    def _name(self, id: str) -> str | None:
        """Return the object's cinder:name."""
        if id.startswith('vol-'):
            row = self._objects.volume(id)
        else:
            row = next(iter(self._objects.snapshots({'snapshot-id': id})), None)
        return tags(row).get('cinder:name') if row else None

    def get_manageable_volumes(self, pool: str) -> list[ManageableObject]:
        rows = self._objects.volumes({**self._objects.deployed(), 'availability-zone': pool})
        return [
            ManageableObject(
                reference={'source-id': row['VolumeId']},
                size=int(row['Size']),
                reason_not_safe='the volume is attached' if row['Attachments'] else None,
                extra_info=row['VolumeType'],
                provider_id=row['VolumeId'],
            )
            for row in rows
        ]

    def unmanage(self, volume: VolumeRef) -> None:
        row = self._objects.find(volume)
        if row is not None:
            ebs_changes.drop(self._objects, volume)
            self._untag(row['VolumeId'])

    def _untag(self, id: str) -> None:
        """Keep the deployment's tag, so that the object can be managed again."""
        keys = ('name', 'backend', 'project', 'replaces', 'origin')
        self._objects.api.ec2('DeleteTags', Resources=[id], Tags=[{'Key': f'cinder:{key}'} for key in keys])
        self._objects.api.wait(lambda: self._name(id) is None, CONSISTENT)

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotRef, existing_ref: Mapping[str, str]) -> int:
        return int(self._existing_snapshot(snapshot, existing_ref)['VolumeSize'])

    def manage_existing_snapshot(self, snapshot: SnapshotRef, existing_ref: Mapping[str, str]) -> ModelUpdate:
        row = self._existing_snapshot(snapshot, existing_ref)
        marks = self._objects.marks(snapshot.name, snapshot.volume.project_id)
        self._tag(row['SnapshotId'], marks)
        return {'provider_id': row['SnapshotId']}

    def _existing_snapshot(self, snapshot: SnapshotRef, existing_ref: Mapping[str, str]) -> Row:
        id = _source_id(existing_ref, 'snap')
        rows = self._objects.snapshots({'snapshot-id': id})
        if not rows:
            raise _invalid(existing_ref, 'the snapshot does not exist')
        if rows[0]['VolumeId'] != self._objects.require(snapshot.volume)['VolumeId']:
            raise _invalid(existing_ref, f'it is not a snapshot of {snapshot.volume.name}')
        self._check_free(rows[0], snapshot.name, existing_ref)
        return rows[0]

    def get_manageable_snapshots(self, pool: str) -> list[ManageableObject]:
        """Snapshots belong to the region: return those of volumes in the pool's zone."""
        rows = self._objects.volumes({'availability-zone': pool, **self._objects.deployed()})
        volumes = {row['VolumeId']: row for row in rows}
        return [
            ManageableObject(
                reference={'source-id': row['SnapshotId']},
                size=int(row['VolumeSize']),
                reason_not_safe=None if row['State'] == 'completed' else f'the snapshot is {row["State"]}',
                source_reference=_reference(volumes[row['VolumeId']]),
                provider_id=row['SnapshotId'],
            )
            for row in self._objects.snapshots(self._objects.deployed())
            if row['VolumeId'] in volumes and 'cinder:for' not in tags(row)
        ]

    def unmanage_snapshot(self, snapshot: SnapshotRef) -> None:
        for row in self._objects.snapshots(self._objects.named(snapshot.name)):
            self._untag(row['SnapshotId'])


def _reference(row: Row) -> dict[str, str]:
    """Return a volume's reference: its cinder:name, if it has one."""
    name = tags(row).get('cinder:name')
    return {'source-name': name} if name else {'source-id': str(row['VolumeId'])}


def _source_id(existing_ref: Mapping[str, str], prefix: str) -> str:
    id = str(existing_ref.get('source-id', ''))
    if not re.fullmatch(f'{prefix}-[0-9a-f]{{8,17}}', id):
        raise _invalid(existing_ref, f'set source-id to the EC2 id ({prefix}-...)')
    return id


def _invalid(existing_ref: Mapping[str, str], reason: str) -> errors.ManageExistingInvalidReference:
    return errors.ManageExistingInvalidReference(existing_ref=dict(existing_ref), reason=reason)
