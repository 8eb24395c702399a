"""Volumes: create, list, show, change, delete, and the summary."""

from __future__ import annotations

from typing import Any

from chalice.app import Response

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.filters import RESOURCE_FILTERS, Filter, Filters, boolean, bootable, flag, period, plain
from chalicelib.api.formats import is_uuid
from chalicelib.api.pagination import all_tenants
from chalicelib.api.reply import reply
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.schemas import volumes as schemas
from chalicelib.api.standard_routes import add_lists, add_show
from chalicelib.api.views import volumes as views
from chalicelib.models import Volume
from chalicelib.operations import volumes as operations
from chalicelib.rules.microversions import Version
from chalicelib.rules.policies import authorize

volumes = Resource('volumes', shown_by='volume:get', not_found=errors.VolumeNotFound, find=operations.get)

#: From this version on delete accepts ``force``; before, it is ignored.
FORCE: Version = (3, 23)

MULTIATTACH_REMOVED = (
    'multiattach parameter has been removed. The default behavior is to use multiattach enabled volume types. '
    'Contact your administrator to create a multiattach enabled volume type and use it to create multiattach volumes.'
)

BAD_SIZE = (
    'Invalid volume size provided for create request: {size} (size argument must be an integer '
    '(or string representation of an integer) and greater than zero).'
)

FILTERS = Filters(
    'volume',
    Volume,
    early=frozenset(RESOURCE_FILTERS['volume']),
    counted=True,
    known={
        'name': Filter(plain),
        'display_name': Filter(plain, 'name'),
        'bootable': Filter(bootable),
        'group_id': Filter(since='3.10'),
        'glance_metadata': Filter(since='3.4'),
        'created_at': Filter(period, since='3.60'),
        'updated_at': Filter(period, since='3.60'),
        'consumes_quota': Filter(flag, since='3.65'),
    },
)


add_lists(
    volumes,
    'volumes',
    operations.list_,
    FILTERS,
    brief=views.BRIEF,
    detail=views.DETAIL,
    links='volumes_links',
    count=operations.count,
    policy='volume:get_all',
)
add_show(volumes, 'volume', views.DETAIL, operations.show, policy='volume:get')


@volumes.get('/summary', policy='volume:get_all', since='3.12')
def summary(request: Request) -> dict[str, Any]:
    found = operations.summary(request.context, all_tenants(request))
    return {'volume-summary': views.SUMMARY.of(request)(found)}


@volumes.post('', policy='volume:create', schema=schemas.create(strict=False), status=202, until='3.52')
@volumes.post('', policy='volume:create', schema=schemas.create(strict=True), status=202, since='3.53')
def create(request: Request) -> dict[str, Any] | Response:
    """Create a volume that is empty, or made from a snapshot, a volume, an image or a backup.

    ``?dry_run=1`` only returns the placement (200).
    """
    volume = request.body['volume']
    if p.is_yes(volume.get('multiattach') or False):
        raise errors.Invalid(MULTIATTACH_REMOVED)
    wanted = {
        'size': _size(volume),
        'name': p.stripped(volume, 'name'),
        'description': p.stripped(volume, 'description'),
        'availability_zone': volume.get('availability_zone'),
        'volume_type': volume.get('volume_type') or None,
        'metadata': volume.get('metadata') or {},
        'snapshot_id': volume.get('snapshot_id'),
        'source_volid': volume.get('source_volid'),
        'multiattach': False,
        'scheduler_hints': request.body.get('OS-SCH-HNT:scheduler_hints') or {},
        'backup_id': volume.get('backup_id'),
        'image_id': _image_id(request, volume),
        'group_id': volume.get('group_id') or volume.get('consistencygroup_id') or None,
    }
    if boolean('dry_run', request.query.get('dry_run', 'false')):
        return reply(200, {'placement': operations.dry_run(request.context, **wanted)})
    return {'volume': views.VOLUME.of(request)(operations.create(request.context, **wanted))}


def _size(volume: dict[str, Any]) -> int | None:
    """Return GiB; None leaves the size to the source. Texts must be in Python's notation: no leading zero."""
    size = volume.get('size')
    if size is None and not any(volume.get(key) for key in ('snapshot_id', 'source_volid', 'backup_id')):
        raise errors.MalformedRequest
    if isinstance(size, str) and size.startswith('0'):
        raise errors.InvalidInput(reason=BAD_SIZE.format(size=size))
    return None if size is None else p.size(size)


def _image_id(request: Request, volume: dict[str, Any]) -> str | None:
    image_id: str | None = volume.get('imageRef') or volume.get('image_id') or None
    if image_id is not None:
        authorize(request.context, 'volume:create_from_image')
        if not is_uuid(image_id):
            raise errors.Invalid('Invalid image identifier or unable to access requested image.')
    return image_id


@volumes.put('/{id}', policy='volume:update', schema=schemas.UPDATE_ANY, until='3.52')
@volumes.put('/{id}', policy='volume:update', schema=schemas.UPDATE, since='3.53')
def update(request: Request, id: str) -> dict[str, Any]:
    volume = request.body['volume']
    changes = {**p.texts(volume), **({'metadata': volume['metadata']} if 'metadata' in volume else {})}
    return {'volume': views.VOLUME.of(request)(operations.update(request.context, id, changes))}


@volumes.delete('/{id}', policy='volume:delete', status=202)
def delete(request: Request, id: str) -> None:
    cascade = boolean('cascade', request.query.get('cascade', 'false'))
    force = request.version >= FORCE and boolean('force', request.query.get('force', 'false'))
    if force:
        authorize(request.context, 'volume:force_delete', find=lambda: operations.get(request.context, id))
    operations.delete(request.context, id, cascade=cascade, force=force)
