"""Snapshots."""

from __future__ import annotations

from pynamodb.attributes import BooleanAttribute, JSONAttribute, NumberAttribute, UnicodeAttribute

from chalicelib import errors
from chalicelib.models import base
from chalicelib.models.reading import Key
from chalicelib.models.volume import Volume


class Snapshot(base.StatefulRecord):
    """A point-in-time copy of one volume. ``volume_size`` in GiB, that of the volume when it was taken."""

    Meta = base.meta('snapshots')
    resource = 'snapshot'
    not_found = errors.SnapshotNotFound

    volume_id = UnicodeAttribute()
    volume_size = NumberAttribute()
    volume_type_id = UnicodeAttribute(null=True)
    metadata = JSONAttribute(default=dict)
    progress = UnicodeAttribute(null=True)
    group_snapshot_id = UnicodeAttribute(null=True)
    encryption_key_id = UnicodeAttribute(null=True)
    consumes_quota = BooleanAttribute(default=True)
    host = UnicodeAttribute(null=True)
    provider_id = UnicodeAttribute(null=True)
    #: Volumes being made from it and backups reading it.
    reader_count = NumberAttribute(default=0)

    def related(self) -> list[Key]:
        """The snapshot's volume, its type, and the service of its backend."""
        keys = [('Volume', self.project_id, self.volume_id)]
        if self.volume_type_id:
            keys.append(('VolumeType', base.GLOBAL, self.volume_type_id))
        return [*keys, base.service_key(self.host)] if self.host else keys

    def find_volume(self) -> Volume:
        """Return its volume: in its project, unless the volume was transferred without its snapshots."""
        return Volume.locate(self.project_id, self.volume_id)
