"""Existing objects of the backends: list, manage and unmanage them.

Each of the four collections has two names: the first one, and (3.8) ``manageable_...``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from chalicelib import errors
from chalicelib.api import pagination
from chalicelib.api import parameters as p
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource, Visibility
from chalicelib.api.schemas import managing as schemas
from chalicelib.api.snapshots import snapshots
from chalicelib.api.views import snapshots as snapshot_views
from chalicelib.api.views import volumes as volume_views
from chalicelib.api.volumes import volumes
from chalicelib.operations import managing as operations
from chalicelib.operations import snapshots as snapshot_operations
from chalicelib.operations import volumes as volume_operations
from chalicelib.operations.common import ListQuery
from chalicelib.rules.microversions import MINIMUM, Version
from chalicelib.rules.policies import authorize

os_volume_manage = Resource('os-volume-manage')
manageable_volumes = Resource('manageable_volumes')
os_snapshot_manage = Resource('os-snapshot-manage')
manageable_snapshots = Resource('manageable_snapshots')

#: From this version on a list may name a cluster instead of a host.
LIST_CLUSTER: Version = (3, 17)

#: The members of the short lists.
BRIEF = ('reference', 'size', 'safe_to_manage', 'source_reference')

MANAGE_VOLUME = 'volume_extension:volume_manage'
LIST_VOLUMES = 'volume_extension:list_manageable'
MANAGE_SNAPSHOT = 'snapshot_extension:snapshot_manage'
LIST_SNAPSHOTS = 'snapshot_extension:list_manageable'


@os_volume_manage.post('', policy=MANAGE_VOLUME, schema=schemas.VOLUME, status=202, until='3.15')
@os_volume_manage.post('', policy=MANAGE_VOLUME, schema=schemas.VOLUME_CLUSTER, status=202, since='3.16')
@manageable_volumes.post('', policy=MANAGE_VOLUME, schema=schemas.VOLUME, status=202, since='3.8', until='3.15')
@manageable_volumes.post('', policy=MANAGE_VOLUME, schema=schemas.VOLUME_CLUSTER, status=202, since='3.16')
def manage_volume(request: Request) -> dict[str, Any]:
    body = request.body['volume']
    managed = operations.manage_volume(
        request.context,
        host=body.get('host'),
        cluster=body.get('cluster'),
        ref=_reference(body['ref']),
        name=p.stripped(body, 'name'),
        description=p.stripped(body, 'description'),
        volume_type=body.get('volume_type') or None,
        metadata=body.get('metadata') or {},
        availability_zone=body.get('availability_zone') or None,
        bootable=p.is_yes(body.get('bootable', False)),
    )
    return {'volume': volume_views.VOLUME.of(_as_first(request))(managed)}


def _as_first(request: Request) -> Request:
    """A managed resource is shown in the form of 3.0 at any version, as in Cinder."""
    return request._replace(context=dataclasses.replace(request.context, microversion=MINIMUM))


def _reference(ref: Any) -> dict[str, str]:
    """Return a reference in the drivers' form; a text alone is the object's name."""
    named = {'source-name': ref} if isinstance(ref, str) else ref or {}
    return {str(key): str(value) for key, value in named.items()}


@os_volume_manage.get('', policy=LIST_VOLUMES)
@manageable_volumes.get('', policy=LIST_VOLUMES, since='3.8')
def index_volumes(request: Request) -> dict[str, Any]:
    return _listed(request, 'volume', BRIEF)


@os_volume_manage.get('/detail', policy=LIST_VOLUMES)
@manageable_volumes.get('/detail', policy=LIST_VOLUMES, since='3.8')
def detail_volumes(request: Request) -> dict[str, Any]:
    return _listed(request, 'volume', None)


@os_snapshot_manage.get('', policy=LIST_SNAPSHOTS)
@manageable_snapshots.get('', policy=LIST_SNAPSHOTS, since='3.8')
def index_snapshots(request: Request) -> dict[str, Any]:
    return _listed(request, 'snapshot', BRIEF)


@os_snapshot_manage.get('/detail', policy=LIST_SNAPSHOTS)
@manageable_snapshots.get('/detail', policy=LIST_SNAPSHOTS, since='3.8')
def detail_snapshots(request: Request) -> dict[str, Any]:
    return _listed(request, 'snapshot', None)


def _listed(request: Request, resource: str, fields: tuple[str, ...] | None) -> dict[str, Any]:
    found = operations.manageable(
        request.context,
        resource,
        host=request.query.get('host'),
        cluster=request.query.get('cluster') if request.version >= LIST_CLUSTER else None,
        query=_query(request),
    )
    shown = [{key: one[key] for key in one if fields is None or key in fields} for one in found]
    return {f'manageable-{resource}s': shown}


def _query(request: Request) -> ListQuery:
    marker = request.query.get('marker')
    return ListQuery(
        limit=pagination.limit(request),
        offset=pagination.offset(request),
        marker=None if marker is None else _named(marker),
        sort=_sort(request.query),
    )


def _named(marker: str) -> str:
    """Return a marker's reference: JSON, or the name alone."""
    try:
        reference = json.loads(marker)
    except (ValueError, RecursionError):
        return marker
    return str(next(iter(reference.values()), '')) if isinstance(reference, dict) else marker


def _sort(query: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """``sort=reference:asc,size``, or sort_key and sort_dir; default: by reference, descending."""
    text = query.get('sort') or f'{query.get("sort_key", "reference")}:{query.get("sort_dir", "desc")}'
    pairs = [part.strip().partition(':') for part in text.split(',')]
    sort = tuple((key, direction or 'desc') for key, _, direction in pairs)
    for what, wrong in (
        ('keys', [key for key, _ in sort if key not in operations.SORT_KEYS]),
        ('dirs', [direction for _, direction in sort if direction not in ('asc', 'desc')]),
    ):
        if wrong:
            raise errors.InvalidParameterValue(err=f'Invalid sort {what} passed: {", ".join(wrong)}')
    return sort


#: A snapshot's volume is looked up before anything else.
_VOLUME = Visibility(
    'volume:get', errors.VolumeNotFound, lambda ids, body: body['snapshot']['volume_id'], find=volume_operations.get
)


@os_snapshot_manage.post('', policy=MANAGE_SNAPSHOT, schema=schemas.SNAPSHOT, status=202, visible=_VOLUME)
@manageable_snapshots.post(
    '', policy=MANAGE_SNAPSHOT, schema=schemas.SNAPSHOT, status=202, since='3.8', visible=_VOLUME
)
def manage_snapshot(request: Request) -> dict[str, Any]:
    body = request.body['snapshot']
    managed = operations.manage_snapshot(
        request.context,
        body['volume_id'],
        ref=_reference(body['ref']),
        name=p.stripped(body, 'name'),
        description=p.stripped(body, 'description'),
        metadata=body.get('metadata') or {},
    )
    return {'snapshot': snapshot_views.SNAPSHOT.of(_as_first(request))(managed)}


@volumes.action('os-unmanage', policy='volume_extension:volume_unmanage', schema=p.ANYTHING)
def unmanage_volume(request: Request, id: str) -> None:
    authorize(request.context, 'volume:delete', find=lambda: volume_operations.get(request.context, id))
    operations.unmanage_volume(request.context, id)


@snapshots.action('os-unmanage', policy='snapshot_extension:snapshot_unmanage', schema=p.ANYTHING)
def unmanage_snapshot(request: Request, id: str) -> None:
    authorize(request.context, 'volume:delete_snapshot', find=lambda: snapshot_operations.get(request.context, id))
    operations.unmanage_snapshot(request.context, id)
