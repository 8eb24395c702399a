"""The views of a volume."""

from __future__ import annotations

from typing import Any

from chalicelib.api.request import Request
from chalicelib.api.view import View, attribute, field, item, links, nothing
from chalicelib.models import Volume
from chalicelib.models.pool import service_uuid
from chalicelib.operations import progress, services, volume_types
from chalicelib.rules import states

#: The key id of a volume that is encrypted with a fixed key; never shown.
FIXED_KEY = '00000000-0000-0000-0000-000000000000'

#: Administrative metadata that every user sees among the volume's own.
VISIBLE_ADMIN_METADATA = ('readonly', 'attached_mode')


def _metadata(volume: Volume, request: Request) -> dict[str, str]:
    admin = volume.admin_metadata
    return {**volume.metadata, **{key: admin[key] for key in VISIBLE_ADMIN_METADATA if key in admin}}


def _type_name(volume: Volume, request: Request) -> str | None:
    return volume_types.shown_name(volume.volume_type_id)


def _attachments(volume: Volume, request: Request) -> list[dict[str, Any]]:
    """Return attached attachments; only administrators and services see the host."""
    shows_host = request.context.is_admin or request.context.is_service_request
    return [
        {
            'id': volume.id,
            'attachment_id': id,
            'volume_id': volume.id,
            'server_id': link['instance_id'],
            'host_name': link['host_name'] if shows_host else None,
            'device': link['mountpoint'],
            'attached_at': link['attached_at'],
        }
        for id, link in volume.attachments.items()
        if link['attach_status'] == 'attached'
    ]


def _service_uuid(volume: Volume, request: Request) -> str | None:
    """Return the uuid of the volume's service, with which hosts name their lock on shared targets."""
    return service_uuid(services.VOLUME_BINARY, volume.backend) if volume.host else None


#: The view of create and update.
VOLUME = View(
    attribute('id'),
    field('status', lambda volume, request: states.SHOWN_AS.get(volume.status, volume.status)),
    attribute('size'),
    attribute('availability_zone'),
    attribute('created_at'),
    attribute('updated_at'),
    attribute('name'),
    attribute('description'),
    field('volume_type', _type_name),
    attribute('snapshot_id'),
    attribute('source_volid'),
    field('metadata', _metadata),
    links('volumes'),
    attribute('user_id'),
    field('bootable', lambda volume, request: 'true' if volume.bootable else 'false'),
    field('encrypted', lambda volume, request: volume.encryption_key_id is not None),
    attribute('replication_status'),
    nothing('consistencygroup_id'),
    attribute('multiattach'),
    field('attachments', _attachments),
    attribute('migration_status', admin_only=True),
    attribute('group_id', since='3.13'),
    attribute('provider_id', since='3.21', admin_only=True),
    field('shared_targets', lambda volume, request: volume.shared_targets is not False, since='3.48', until='3.68'),
    attribute('shared_targets', since='3.69'),
    field('service_uuid', _service_uuid, since='3.48'),
    field('cluster_name', lambda volume, request: volume.backend or None, since='3.61', admin_only=True),
    attribute('volume_type_id', since='3.63'),
    attribute('consumes_quota', since='3.65'),
)

#: The view of show and the detailed list.
DETAIL = VOLUME.and_(
    attribute('encryption_key_id', since='3.64', when=lambda volume: volume.encryption_key_id not in (None, FIXED_KEY)),
    attribute('os-vol-tenant-attr:tenant_id', 'project_id', policy='volume_extension:volume_tenant_attribute'),
    attribute(
        'os-vol-mig-status-attr:migstat', 'migration_status', policy='volume_extension:volume_mig_status_attribute'
    ),
    attribute('os-vol-mig-status-attr:name_id', 'name_id', policy='volume_extension:volume_mig_status_attribute'),
    attribute('os-vol-host-attr:host', 'host', policy='volume_extension:volume_host_attribute'),
    attribute(
        'volume_image_metadata',
        policy='volume_extension:volume_image_metadata:show',
        when=lambda volume: bool(volume.volume_image_metadata),
    ),
    field(
        'cinderless:progress',
        lambda volume, request: progress.shown(volume),
        when=lambda volume: progress.shown(volume) is not None,
        requested_by='progress',
    ),
)

#: The view of the short list.
BRIEF = View(attribute('id'), attribute('name'), links('volumes'))

SUMMARY = View(item('total_count', 'count'), item('total_size', 'size'), item('metadata', since='3.36'))
