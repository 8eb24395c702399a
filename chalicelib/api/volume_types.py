"""Volume types and the projects that may use the private ones."""

from __future__ import annotations

from typing import Any

from chalice.app import Response

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.filters import FALSE, TRUE, Filter, Filters, literal, plain
from chalicelib.api.pagination import page, query
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.schemas import volume_types as schemas
from chalicelib.api.standard_routes import add_delete
from chalicelib.api.views import volume_types as views
from chalicelib.models import VolumeType
from chalicelib.operations import type_access
from chalicelib.operations import volume_types as operations
from chalicelib.rules.microversions import Version

volume_types = Resource('types', not_found=errors.VolumeTypeNotFound)

ACCESS = 'volume_extension:volume_type_access'

#: Used as an id: the type of volumes whose request has none.
DEFAULT = 'default'


def _specs(name: str, text: str, version: Version) -> dict[str, Any]:
    """Parse a literal map; Cinder answers 500 to anything else."""
    specs = literal(name, text, version)
    if not isinstance(specs, dict):
        raise errors.Invalid(f"The filter extra_specs must be a map such as {{'key': 'value'}}, not {text}.")
    return specs


FILTERS = Filters(
    'volume_type',
    VolumeType,
    early=frozenset(),
    configurable=(3, 52),
    known={'name': Filter(plain), 'extra_specs': Filter(_specs, since='3.52')},
    apart=('is_public',),
)


@volume_types.get('', policy='volume_extension:type_get_all')
def index(request: Request) -> Response:
    wanted = query(request, FILTERS)
    specs = wanted.filters.get('extra_specs', {})
    # A caller who may not read a spec must not find it out by a filter, either.
    hidden = len(views.visible(specs, request)) < len(specs)
    records = [] if hidden else operations.list_(request.context, wanted, is_public(request))[0]
    return page(request, 'volume_types', views.DETAIL, records, links='volume_type_links', path='types')


def is_public(request: Request) -> bool | None:
    """Public types only, private ones only, or (None) both; only administrators can choose."""
    text = request.query.get('is_public', 'true').lower()
    if not request.context.is_admin:
        return True
    if text not in {'none', *TRUE, *FALSE}:
        raise errors.Invalid(f'Invalid is_public filter [{text}]')
    return None if text == 'none' else text in TRUE


@volume_types.get('/{id}', policy='volume_extension:type_get')
def show(request: Request, id: str) -> dict[str, Any]:
    found = operations.default(request.context) if id == DEFAULT else operations.get(request.context, id)
    return {'volume_type': views.DETAIL.of(request)(found)}


@volume_types.post('', policy='volume_extension:type_create', schema=schemas.CREATE)
def create(request: Request) -> dict[str, Any]:
    body = request.body['volume_type']
    created = operations.create(
        request.context,
        name=body['name'].strip(),
        description=body.get('description'),
        is_public=p.is_yes(body.get('os-volume-type-access:is_public', True)),
        extra_specs=body.get('extra_specs') or {},
    )
    return {'volume_type': views.CREATED.of(request)(created)}


@volume_types.put('/{id}', policy='volume_extension:type_update', schema=schemas.UPDATE)
def update(request: Request, id: str) -> dict[str, Any]:
    changes = {name: value for name, value in request.body['volume_type'].items() if value is not None}
    if not changes:
        raise errors.Invalid('Specify volume type name, description, is_public or a combination thereof.')
    if 'name' in changes:
        changes['name'] = _name(changes['name'])
    if 'is_public' in changes:
        changes['is_public'] = p.is_yes(changes['is_public'])
    return {'volume_type': views.UPDATED.of(request)(operations.update(request.context, id, changes))}


def _name(text: str) -> str:
    if not text.strip():
        raise errors.Invalid('Volume type name can not be empty.')
    return text.strip()


add_delete(volume_types, operations.delete, policy='volume_extension:type_delete')


@volume_types.get('/{id}/os-volume-type-access', policy=f'{ACCESS}:get_all_for_type')
def access(request: Request, id: str) -> dict[str, Any]:
    projects = type_access.project_access(request.context, id)
    return {'volume_type_access': [{'volume_type_id': id, 'project_id': project} for project in projects]}


@volume_types.action('addProjectAccess', policy=f'{ACCESS}:addProjectAccess', schema=schemas.PROJECT)
def add_project_access(request: Request, id: str) -> None:
    type_access.add_project_access(request.context, id, request.body['project'])


@volume_types.action('removeProjectAccess', policy=f'{ACCESS}:removeProjectAccess', schema=schemas.PROJECT)
def remove_project_access(request: Request, id: str) -> None:
    type_access.remove_project_access(request.context, id, request.body['project'])
