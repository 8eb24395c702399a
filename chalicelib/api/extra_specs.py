"""Extra specs of volume types; only administrators see those that describe backends."""

from __future__ import annotations

from chalicelib import errors
from chalicelib.api.request import Request
from chalicelib.api.schemas import volume_types as schemas
from chalicelib.api.standard_routes import MapOperations, add_specs
from chalicelib.api.views.volume_types import visible
from chalicelib.api.volume_types import volume_types
from chalicelib.operations import type_specs
from chalicelib.operations import volume_types as operations

POLICY = 'volume_extension:types_extra_specs'


def _visible(request: Request, id: str) -> dict[str, str]:
    return visible(operations.get(request.context, id).extra_specs, request)


add_specs(
    volume_types,
    'extra_specs',
    MapOperations(_visible, type_specs.set_, type_specs.delete, errors.VolumeTypeExtraSpecsNotFound),
    policies={verb: f'{POLICY}:{verb}' for verb in ('index', 'show', 'create', 'update', 'delete')},
    schemas=(schemas.EXTRA_SPECS, schemas.EXTRA_SPEC),
)
