"""Snapshots and their actions."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.filters import Filter, Filters, flag, plain
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource, Visibility
from chalicelib.api.schemas import snapshots as schemas
from chalicelib.api.standard_routes import add_delete, add_lists, add_show
from chalicelib.api.views import snapshots as views
from chalicelib.models import Snapshot
from chalicelib.operations import snapshots as operations
from chalicelib.rules.microversions import Version
from chalicelib.rules.policies import authorize

snapshots = Resource('snapshots', not_found=errors.SnapshotNotFound, find=operations.get)

#: From this version on a volume in use needs no force, and force=false is refused.
NO_FORCE: Version = (3, 66)

FORCE_REFUSED = (
    "Since microversion 3.66 the 'force' flag is invalid for this request.  For backward compatability, however, "
    "when the 'force' flag is passed with a value evaluating to True, it is silently ignored."
)

ADMIN_ACTION = 'volume_extension:snapshot_admin_actions'

FILTERS = Filters(
    'snapshot',
    Snapshot,
    early=frozenset(('name', 'status', 'volume_id', 'metadata')),
    counted=True,
    named=(3, 30),
    known={
        'name': Filter(plain),
        'status': Filter(plain),
        'display_name': Filter(plain, 'name'),
        'metadata': Filter(since='3.22'),
        'consumes_quota': Filter(flag, since='3.65'),
    },
)


add_lists(
    snapshots,
    'snapshots',
    operations.list_,
    FILTERS,
    brief=views.BRIEF,
    detail=views.DETAIL,
    links='snapshots_links',
    count=operations.count,
    policy='volume:get_all_snapshots',
)
add_show(snapshots, 'snapshot', views.DETAIL, operations.get, policy='volume:get_snapshot')
add_delete(snapshots, operations.delete, policy='volume:delete_snapshot')


@snapshots.post(
    '',
    policy='volume:create_snapshot',
    schema=schemas.CREATE,
    status=202,
    visible=Visibility('volume:get', errors.VolumeNotFound, lambda ids, body: body['snapshot']['volume_id']),
)
def create(request: Request) -> dict[str, Any]:
    body = request.body['snapshot']
    created = operations.create(
        request.context,
        str(body['volume_id']),
        name=p.stripped(body, 'name'),
        description=p.stripped(body, 'description'),
        metadata=body.get('metadata') or {},
        force=_force(request, body),
    )
    return {'snapshot': views.SNAPSHOT.of(request)(created)}


def _force(request: Request, body: dict[str, Any]) -> bool:
    """Whether a volume in use may be snapshotted; from 3.66 on it always may."""
    force = p.is_yes(body.get('force', False))
    if request.version >= NO_FORCE and 'force' in body and not force:
        raise errors.Invalid(FORCE_REFUSED)
    return force


@snapshots.put('/{id}', policy='volume:update_snapshot', schema=schemas.UPDATE)
def update(request: Request, id: str) -> dict[str, Any]:
    changed = operations.update(request.context, id, p.texts(request.body['snapshot']))
    return {'snapshot': views.SNAPSHOT.of(request)(changed)}


@snapshots.action('os-force_delete', policy=f'{ADMIN_ACTION}:force_delete', schema=p.ANYTHING)
def force_delete(request: Request, id: str) -> None:
    authorize(request.context, 'volume:delete_snapshot', find=lambda: operations.get(request.context, id))
    operations.delete(request.context, id, force=True)


@snapshots.action('os-reset_status', policy=f'{ADMIN_ACTION}:reset_status', schema=schemas.RESET_STATUS)
def reset_status(request: Request, id: str) -> None:
    operations.reset_status(request.context, id, request.body['status'].lower())


@snapshots.action(
    'os-update_snapshot_status',
    policy='snapshot_extension:snapshot_actions:update_snapshot_status',
    schema=schemas.UPDATE_STATUS,
)
def update_snapshot_status(request: Request, id: str) -> None:
    """Nova reports its progress with a snapshot that it takes itself."""
    operations.update_status(request.context, id, request.body['status'], request.body.get('progress'))
