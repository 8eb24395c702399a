"""Legacy snapshots of consistency groups: group snapshots by another name, over the same records."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.filters import NoFilter
from chalicelib.api.pagination import page, query
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.schemas import groups as schemas
from chalicelib.api.view import View
from chalicelib.api.views import groups as views
from chalicelib.models import GroupSnapshot
from chalicelib.operations import group_snapshots as operations

cgsnapshots = Resource('cgsnapshots', not_found=errors.GroupSnapshotNotFound, find=operations.get)

FILTERS = NoFilter('group_snapshot', GroupSnapshot, early=frozenset(), known={})


@cgsnapshots.get('', policy='group:get_all_group_snapshots')
def index(request: Request) -> dict[str, Any]:
    return _list(request, views.BRIEF)


@cgsnapshots.get('/detail', policy='group:get_all_group_snapshots')
def detail(request: Request) -> dict[str, Any]:
    return _list(request, views.CGSNAPSHOT)


def _list(request: Request, view: View) -> dict[str, Any]:
    records, _ = operations.list_(request.context, query(request, FILTERS))
    return page(request, 'cgsnapshots', view, records, links=None, path='cgsnapshots')


@cgsnapshots.get('/{id}', policy='group:get_group_snapshot')
def show(request: Request, id: str) -> dict[str, Any]:
    return {'cgsnapshot': views.CGSNAPSHOT.of(request)(operations.get(request.context, id))}


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


@cgsnapshots.delete('/{id}', policy='group:delete_group_snapshot', status=202)
def delete(request: Request, id: str) -> None:
    operations.delete(request.context, id)
