"""What a backend of EBS has of this deployment: volumes, snapshots, and what leads to instances."""

from __future__ import annotations

from collections.abc import Iterable

from chalicelib.config import settings
from chalicelib.drivers import ebs_exports
from chalicelib.drivers.base import GIB, Kept, StoredExport, StoredObject
from chalicelib.drivers.ebs_objects import Row, tags


def objects(rows: Iterable[Row], default_zone: str) -> list[StoredObject]:
    """One of each name: of a volume that takes another's place there are two for a while.

    All are this deployment's: no two stacks of one account and region have the same name.
    """
    deployment = settings().deployment
    found = {
        tags(row)['cinder:name']: StoredObject(
            tags(row)['cinder:name'],
            row.get('AvailabilityZone') or default_zone,
            _gib(row) * GIB,
            deployment,
            _kept(row),
        )
        for row in rows
        if 'cinder:for' not in tags(row) or 'VolumeSize' in row
    }
    return [found[name] for name in sorted(found) if name.startswith(('volume-', 'snapshot-'))]


def _kept(row: Row) -> Kept | None:
    volume = tags(row).get('cinder:for')
    return Kept(volume, row['StartTime'].timestamp()) if volume else None


def _gib(row: Row) -> int:
    return int(row.get('Size') or row['VolumeSize'])


def exports(rows: Iterable[Row]) -> list[StoredExport]:
    """Tags, and attachments of our volumes that no tag names: others made them, or removed the tag."""
    return [
        StoredExport(tags(row)['cinder:name'], row['AvailabilityZone'], export_id, instance)
        for row in rows
        for export_id, instance in ebs_exports.exports_of(row)
    ]
