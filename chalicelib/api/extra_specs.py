"""Extra specs of volume types; only administrators see those that describe backends."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api.request import Request
from chalicelib.api.schemas import volume_types as schemas
from chalicelib.api.views.volume_types import visible
from chalicelib.api.volume_metadata import MISMATCH
from chalicelib.api.volume_types import volume_types
from chalicelib.operations import volume_types as operations

POLICY = 'volume_extension:types_extra_specs'


def _visible(request: Request, id: str) -> dict[str, str]:
    return visible(operations.get(request.context, id).extra_specs, request)


@volume_types.get('/{id}/extra_specs', policy=f'{POLICY}:index')
def index(request: Request, id: str) -> dict[str, Any]:
    return {'extra_specs': _visible(request, id)}


@volume_types.get('/{id}/extra_specs/{key}', policy=f'{POLICY}:show')
def show(request: Request, id: str, key: str) -> dict[str, Any]:
    """The bare pair."""
    specs = _visible(request, id)
    if key not in specs:
        raise errors.VolumeTypeExtraSpecsNotFound(id=id, key=key)
    return {key: specs[key]}


@volume_types.post('/{id}/extra_specs', policy=f'{POLICY}:create', schema=schemas.EXTRA_SPECS)
def create(request: Request, id: str) -> dict[str, Any]:
    operations.set_extra_specs(request.context, id, request.body['extra_specs'])
    return dict(request.body)


@volume_types.put('/{id}/extra_specs/{key}', policy=f'{POLICY}:update', schema=schemas.EXTRA_SPEC)
def update(request: Request, id: str, key: str) -> dict[str, Any]:
    """The bare pair, both ways."""
    if key not in request.body:
        raise errors.Invalid(MISMATCH)
    if len(request.body) > 1:
        raise errors.Invalid('Request body contains too many items')
    operations.set_extra_specs(request.context, id, request.body)
    return dict(request.body)


@volume_types.delete('/{id}/extra_specs/{key}', policy=f'{POLICY}:delete', status=202)
def delete(request: Request, id: str, key: str) -> None:
    operations.delete_extra_spec(request.context, id, key)
