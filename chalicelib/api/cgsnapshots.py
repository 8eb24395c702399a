"""Legacy snapshots of consistency groups: group snapshots by another name, over the same records."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.filters import NoFilter
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.schemas import groups as schemas
from chalicelib.api.standard_routes import add_delete, add_lists, add_show
from chalicelib.api.views import groups as views
from chalicelib.models import GroupSnapshot
from chalicelib.operations import group_snapshots as operations

cgsnapshots = Resource('cgsnapshots', not_found=errors.GroupSnapshotNotFound, find=operations.get)

FILTERS = NoFilter('group_snapshot', GroupSnapshot, early=frozenset(), known={})


add_lists(
    cgsnapshots,
    'cgsnapshots',
    operations.list_,
    FILTERS,
    brief=views.BRIEF,
    detail=views.CGSNAPSHOT,
    policy='group:get_all_group_snapshots',
)
add_show(cgsnapshots, 'cgsnapshot', views.CGSNAPSHOT, operations.get, policy='group:get_group_snapshot')
add_delete(cgsnapshots, operations.delete, policy='group:delete_group_snapshot')


@cgsnapshots.post('', policy='group:create_group_snapshot', schema=schemas.OLD_CREATE_SNAPSHOT, status=202)
def create(request: Request) -> dict[str, Any]:
    body = request.body['cgsnapshot']
    created = operations.create(
        request.context,
        body['consistencygroup_id'],
        name=p.stripped(body, 'name'),
        description=p.stripped(body, 'description'),
    )
    return {'cgsnapshot': views.BRIEF.of(request)(created)}
