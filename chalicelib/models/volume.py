"""Volumes and their attachments."""

from __future__ import annotations

from typing import Any

from pynamodb.attributes import BooleanAttribute, JSONAttribute, MapAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.update import Action

from chalicelib import errors
from chalicelib.models import base
from chalicelib.models.reading import Key
from chalicelib.rules import states


class Volume(base.StatefulRecord):
    """One volume. ``size`` in GiB; ``host`` is the pool, ``host@backend#pool``, once it is scheduled."""

    Meta = base.meta('volumes')
    resource = 'volume'
    not_found = errors.VolumeNotFound

    size = NumberAttribute()
    availability_zone = UnicodeAttribute(null=True)
    volume_type_id = UnicodeAttribute(null=True)
    metadata = JSONAttribute(default=dict)
    admin_metadata = JSONAttribute(default=dict)
    volume_image_metadata = JSONAttribute(default=dict)
    snapshot_id = UnicodeAttribute(null=True)
    source_volid = UnicodeAttribute(null=True)
    backup_id = UnicodeAttribute(null=True)
    group_id = UnicodeAttribute(null=True)
    #: The transfer of a volume that awaits it.
    transfer_id = UnicodeAttribute(null=True)
    bootable = BooleanAttribute(default=False)
    multiattach = BooleanAttribute(default=False)
    encryption_key_id = UnicodeAttribute(null=True)
    replication_status = UnicodeAttribute(null=True)
    migration_status = UnicodeAttribute(null=True)
    consumes_quota = BooleanAttribute(default=True)

    host = UnicodeAttribute(null=True)
    #: GiB claimed on the pool named by ``host``; released exactly once, together with this attribute.
    claimed_gb = NumberAttribute(null=True)
    #: The part of it in the pool's ``in_transit_gb``; subtracted there exactly once, together with this attribute.
    in_transit_gb = NumberAttribute(default=0)
    #: GiB of the project's quota that an extend in progress reserves (in ``usage`` and ``reserved``).
    reserved_gb = NumberAttribute(default=0)
    #: The type whose per-type quota a retype in progress reserves: one volume of this size, and its snapshots.
    reserved_type_id = UnicodeAttribute(null=True)
    #: {'snapshots', 'gigabytes'} of those snapshots.
    reserved_snapshots = JSONAttribute(null=True)
    #: {'resource', 'project_id', 'id'} of the source whose ``reader_count`` counts this volume while it is made.
    reading = JSONAttribute(null=True)
    #: Progress of a restore to it (operations/progress.py).
    progress: MapAttribute[str, int] = MapAttribute(null=True)
    #: Whether other volumes of its backend share its target; None until it is created.
    shared_targets = BooleanAttribute(null=True)
    name_id = UnicodeAttribute(null=True)
    provider_id = UnicodeAttribute(null=True)
    provider_location = UnicodeAttribute(null=True)
    scheduled_at = UnicodeAttribute(null=True)
    launched_at = UnicodeAttribute(null=True)
    terminated_at = UnicodeAttribute(null=True)

    #: 'detached' or the attach_status of the decisive attachment.
    attach_status = UnicodeAttribute(default='detached')
    #: {attachment id: the attachment in a volume's view}; written together with the attachment's own record.
    attachments = JSONAttribute(default=dict)
    #: {export id: facts}: exports without an attachment (operations/exports.py). An attachment's own
    #: record names its export.
    exports = JSONAttribute(default=dict)
    #: Counters, so that one condition checks everything that depends on the volume.
    attachment_count = NumberAttribute(default=0)
    snapshot_count = NumberAttribute(default=0)
    #: Backups and clones that read it.
    reader_count = NumberAttribute(default=0)

    @property
    def backend(self) -> str:
        """``host@backend`` without the pool; '' before it is scheduled."""
        return (self.host or '').partition('#')[0]

    def operation_facts(self) -> dict[str, Any]:
        """The current operation, or {}."""
        return self.operation or {}

    def end_of_move(self) -> list[Action]:
        """Actions of a request that takes the volume over from a move, which did not lock it (as in Cinder).

        The move's execution notices and removes the target. It may be lost with the process, so the move's status on
        the volume ends with the write that takes over.
        """
        return [Volume.migration_status.set(states.ERROR)] if self.migration_status in states.MOVING else []

    def related(self) -> list[Key]:
        """The volume's type, the type that a retype under way leads to, and the service of its backend."""
        types = dict.fromkeys((self.volume_type_id, self.operation_facts().get('type_id')))
        keys = [('VolumeType', base.GLOBAL, id) for id in types if id]
        return [*keys, base.service_key(self.host)] if self.host else keys


class Attachment(base.Record):
    """One host's claim on a volume. ``connection_info`` is stored without its secrets, which are stored encrypted."""

    Meta = base.meta('attachments')
    resource = 'attachment'
    not_found = errors.AttachmentNotFound
    secret = frozenset({'sealed', 'connection_info', 'connector'})

    by_created_at = base.ByCreatedAt()
    by_id = base.ById()

    user_id = UnicodeAttribute(null=True)
    volume_id = UnicodeAttribute()
    instance_id = UnicodeAttribute(null=True)
    attach_status = UnicodeAttribute()
    attach_mode = UnicodeAttribute(null=True)
    mountpoint = UnicodeAttribute(null=True)
    attached_host = UnicodeAttribute(null=True)
    attached_at = UnicodeAttribute(null=True)
    detached_at = UnicodeAttribute(null=True)
    connector = JSONAttribute(null=True)
    connection_info = JSONAttribute(null=True)
    #: Secrets of the connection, encrypted by KMS for this attachment (aws.seal).
    sealed = UnicodeAttribute(null=True)
    #: Identifies the newest request to make or end its export: workers of earlier requests may record nothing.
    attempt = UnicodeAttribute(null=True)

    def related(self) -> list[Key]:
        """The volume."""
        return [('Volume', self.project_id, self.volume_id)]
