"""Default types of projects: the type of volumes whose request has none."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.standard_routes import add_delete, add_show
from chalicelib.api.view import View, attribute
from chalicelib.operations import default_types as operations

default_types = Resource('default-types', not_found=errors.VolumeTypeProjectDefaultNotFound)

POLICY = 'volume_extension:default'

SINCE = '3.62'

SET = p.only('default_type', p.members({'volume_type': p.NAME_REQUIRED}, required=('volume_type',)))

VIEW = View(attribute('project_id', 'id'), attribute('volume_type_id'))


@default_types.get('', policy=f'{POLICY}_get_all', since=SINCE)
def index(request: Request) -> dict[str, Any]:
    return {'default_types': [VIEW.of(request)(each) for each in operations.list_(request.context)]}


add_show(default_types, 'default_type', VIEW, operations.get, policy=f'{POLICY}_get', owned_by='id', since=SINCE)
add_delete(default_types, operations.unset, policy=f'{POLICY}_unset', owned_by='id', status=204, since=SINCE)


@default_types.put('/{id}', policy=f'{POLICY}_set_or_update', owned_by='id', schema=SET, since=SINCE)
def set_(request: Request, id: str) -> dict[str, Any]:
    try:
        chosen = operations.set_(request.context, id, request.body['default_type']['volume_type'])
    except errors.VolumeTypeNotFound as unknown:  # the body names the type, not the path
        raise errors.Invalid(unknown.message) from None
    return {'default_type': VIEW.of(request)(chosen)}
