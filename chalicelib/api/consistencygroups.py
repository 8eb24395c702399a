"""Legacy consistency groups: groups of the type ``default_cgsnapshot_type``, over the same records."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.filters import NoFilter
from chalicelib.api.groups import change, ids
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.schemas import groups as schemas
from chalicelib.api.standard_routes import add_lists, add_show
from chalicelib.api.views import groups as views
from chalicelib.models import Group
from chalicelib.operations import group_creation
from chalicelib.operations import groups as operations
from chalicelib.rules.group_specs import CONSISTENCY_GROUPS

consistencygroups = Resource('consistencygroups', not_found=errors.GroupNotFound, find=operations.get)

FILTERS = NoFilter('group', Group, early=frozenset(), known={})


add_lists(
    consistencygroups,
    'consistencygroups',
    operations.list_,
    FILTERS,
    brief=views.BRIEF,
    detail=views.CONSISTENCY_GROUP,
    links='consistencygroup_links',
    policy='group:get_all',
)
add_show(consistencygroups, 'consistencygroup', views.CONSISTENCY_GROUP, operations.get, policy='group:get')


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
