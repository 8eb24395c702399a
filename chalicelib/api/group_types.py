"""Group types (3.11) and their group specs."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.filters import NoFilter
from chalicelib.api.pagination import page, query
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.schemas import group_types as schemas
from chalicelib.api.views import group_types as views
from chalicelib.api.volume_metadata import MISMATCH
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
def index(request: Request) -> dict[str, Any]:
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


@group_types.delete('/{id}', policy=f'{POLICY}:delete', status=202, since=SINCE)
def delete(request: Request, id: str) -> None:
    operations.delete(request.context, id)


@group_types.get('/{id}/group_specs', policy=f'{SPECS}:get_all', since=SINCE)
def specs(request: Request, id: str) -> dict[str, Any]:
    return {'group_specs': operations.get(request.context, id).group_specs}


@group_types.post('/{id}/group_specs', policy=f'{SPECS}:create', schema=schemas.GROUP_SPECS, status=202, since=SINCE)
def create_specs(request: Request, id: str) -> dict[str, Any]:
    operations.set_group_specs(request.context, id, request.body['group_specs'])
    return dict(request.body)


@group_types.get('/{id}/group_specs/{key}', policy=f'{SPECS}:get', since=SINCE)
def show_spec(request: Request, id: str, key: str) -> dict[str, Any]:
    """The bare pair."""
    known = operations.get(request.context, id).group_specs
    if key not in known:
        raise errors.GroupTypeSpecsNotFound(id=id, key=key)
    return {key: known[key]}


@group_types.put('/{id}/group_specs/{key}', policy=f'{SPECS}:update', schema=schemas.GROUP_SPEC, since=SINCE)
def update_spec(request: Request, id: str, key: str) -> dict[str, Any]:
    """The bare pair, both ways."""
    if key not in request.body:
        raise errors.Invalid(MISMATCH)
    if len(request.body) > 1:
        raise errors.Invalid('Request body contains too many items')
    operations.set_group_specs(request.context, id, request.body)
    return dict(request.body)


@group_types.delete('/{id}/group_specs/{key}', policy=f'{SPECS}:delete', status=202, since=SINCE)
def delete_spec(request: Request, id: str, key: str) -> None:
    operations.delete_group_spec(request.context, id, key)
