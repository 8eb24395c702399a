"""Legacy consistency groups: groups of the type ``default_cgsnapshot_type``, over the same records."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.filters import NoFilter
from chalicelib.api.groups import change, ids
from chalicelib.api.pagination import page, query
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.schemas import groups as schemas
from chalicelib.api.view import View
from chalicelib.api.views import groups as views
from chalicelib.models import Group
from chalicelib.operations import group_creation
from chalicelib.operations import groups as operations
from chalicelib.rules.group_specs import CONSISTENCY_GROUPS

consistencygroups = Resource('consistencygroups', not_found=errors.GroupNotFound, find=operations.get)

FILTERS = NoFilter('group', Group, early=frozenset(), known={})


@consistencygroups.get('', policy='group:get_all')
def index(request: Request) -> dict[str, Any]:
    return _list(request, views.BRIEF, 'consistencygroups')


@consistencygroups.get('/detail', policy='group:get_all')
def detail(request: Request) -> dict[str, Any]:
    return _list(request, views.CONSISTENCY_GROUP, 'consistencygroups/detail')


def _list(request: Request, view: View, path: str) -> dict[str, Any]:
    records, _ = operations.list_(request.context, query(request, FILTERS))
    return page(request, 'consistencygroups', view, records, links='consistencygroup_links', path=path)


@consistencygroups.get('/{id}', policy='group:get')
def show(request: Request, id: str) -> dict[str, Any]:
    return {'consistencygroup': views.CONSISTENCY_GROUP.of(request)(operations.get(request.context, id))}


@consistencygroups.post('', policy='group:create', schema=schemas.OLD_CREATE, status=202)
def create(request: Request) -> dict[str, Any]:
    body = request.body['consistencygroup']
    volume_types = ids(body['volume_types'])
    if not volume_types:
        raise errors.Invalid('volume_types must be provided to create a consistency group.')
    created = group_creation.create(
        request.context,
        name=p.stripped(body, 'name'),
        description=p.stripped(body, 'description'),
        group_type=CONSISTENCY_GROUPS,
        volume_types_=volume_types,
        availability_zone=body.get('availability_zone'),
        legacy=True,
    )
    return {'consistencygroup': views.BRIEF.of(request)(created)}


@consistencygroups.post('/create_from_src', policy='group:create', schema=schemas.OLD_CREATE_FROM_SRC, status=202)
def create_from_src(request: Request) -> dict[str, Any]:
    body = request.body['consistencygroup-from-src']
    snapshot_id, group_id = body.get('cgsnapshot_id'), body.get('source_cgid')
    if bool(snapshot_id) == bool(group_id):
        raise errors.Invalid('Exactly one of cgsnapshot_id and source_cgid must be provided.')
    created = group_creation.create_from_src(
        request.context,
        name=p.stripped(body, 'name'),
        description=p.stripped(body, 'description'),
        group_snapshot_id=snapshot_id or None,
        source_group_id=group_id or None,
    )
    return {'consistencygroup': views.BRIEF.of(request)(created)}


@consistencygroups.post('/{id}/delete', policy='group:delete', schema=schemas.OLD_DELETE, status=202)
def delete(request: Request, id: str) -> None:
    force = p.is_yes(request.body['consistencygroup'].get('force', False))
    operations.delete(request.context, id, delete_volumes=force)


@consistencygroups.put('/{id}', policy='group:update', schema=schemas.OLD_UPDATE, status=202)
@consistencygroups.put('/{id}/update', policy='group:update', schema=schemas.OLD_UPDATE, status=202)
def update(request: Request, id: str) -> None:
    body = request.body['consistencygroup']
    if not any(body.get(name) for name in ('name', 'description', 'add_volumes', 'remove_volumes')):
        raise errors.Invalid('Name, description, add_volumes, and remove_volumes can not be all empty in the request.')
    change(request, id, body)
