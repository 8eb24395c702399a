"""Group types (3.11) and their group specs."""

from __future__ import annotations

from typing import Any

from chalice.app import Response

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.filters import NoFilter
from chalicelib.api.pagination import page, query
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.schemas import group_types as schemas
from chalicelib.api.standard_routes import MapOperations, add_delete, add_specs
from chalicelib.api.views import group_types as views
from chalicelib.api.volume_types import is_public
from chalicelib.models import GroupType
from chalicelib.operations import group_types as operations
from chalicelib.rules.policies import ANY_AUTHENTICATED

group_types = Resource('group_types', not_found=errors.GroupTypeNotFound)

SINCE = '3.11'
POLICY, SPECS = 'group:group_types', 'group:group_types_specs'

#: Used as an id: the default group type. It does not exist, as in Cinder by default.
DEFAULT = 'default'

#: The lists' only parameter, ``is_public``, is parsed separately.
FILTERS = NoFilter('group_type', GroupType, early=frozenset(), known={})


@group_types.get('', policy=ANY_AUTHENTICATED, since=SINCE)
def index(request: Request) -> Response:
    records, _ = operations.list_(request.context, query(request, FILTERS), is_public(request))
    return page(request, 'group_types', views.GROUP_TYPE, records, links='group_type_links', path='group_types')


@group_types.get('/{id}', policy=ANY_AUTHENTICATED, since=SINCE)
def show(request: Request, id: str) -> dict[str, Any]:
    if id == DEFAULT:
        raise errors.GroupTypeNotFound('Default group type can not be found.')
    return {'group_type': views.GROUP_TYPE.of(request)(operations.get(request.context, id))}


@group_types.post('', policy=f'{POLICY}:create', schema=schemas.CREATE, status=202, since=SINCE)
def create(request: Request) -> dict[str, Any]:
    body = request.body['group_type']
    created = operations.create(
        request.context,
        name=body['name'].strip(),
        description=body.get('description'),
        is_public=p.is_yes(body.get('is_public', True)),
        group_specs=body.get('group_specs') or {},
    )
    return {'group_type': views.GROUP_TYPE.of(request)(created)}


@group_types.put('/{id}', policy=f'{POLICY}:update', schema=schemas.UPDATE, since=SINCE)
def update(request: Request, id: str) -> dict[str, Any]:
    changes = {name: value for name, value in request.body['group_type'].items() if value is not None}
    if not changes:
        raise errors.Invalid('Specify group type name, description or is_public, or a combination thereof.')
    if 'name' in changes:
        changes['name'] = _name(changes['name'])
    if 'is_public' in changes:
        changes['is_public'] = p.is_yes(changes['is_public'])
    return {'group_type': views.GROUP_TYPE.of(request)(operations.update(request.context, id, changes))}


def _name(text: str) -> str:
    if not text.strip():
        raise errors.Invalid('Group type name can not be empty.')
    return text.strip()


add_delete(group_types, operations.delete, policy=f'{POLICY}:delete', since=SINCE)


def _specs(request: Request, id: str) -> dict[str, str]:
    return dict(operations.get(request.context, id).group_specs)


add_specs(
    group_types,
    'group_specs',
    MapOperations(_specs, operations.set_group_specs, operations.delete_group_spec, errors.GroupTypeSpecsNotFound),
    policies={
        'index': f'{SPECS}:get_all',
        'show': f'{SPECS}:get',
        **{verb: f'{SPECS}:{verb}' for verb in ('create', 'update', 'delete')},
    },
    schemas=(schemas.GROUP_SPECS, schemas.GROUP_SPEC),
    status=202,
    since=SINCE,
)
