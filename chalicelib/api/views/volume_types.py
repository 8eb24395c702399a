"""The views of a volume type."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.api.request import Request
from chalicelib.api.view import View, attribute, field
from chalicelib.rules.extra_specs import USER_VISIBLE
from chalicelib.rules.policies import allowed


def visible(specs: Mapping[str, str], request: Request) -> dict[str, str]:
    """Return extra specs without those that describe backends, which need a permission."""
    if allowed(request.context, 'volume_extension:types_extra_specs:read_sensitive'):
        return dict(specs)
    return {key: specs[key] for key in USER_VISIBLE if key in specs}


_IS_PUBLIC = attribute('os-volume-type-access:is_public', 'is_public', policy='volume_extension:volume_type_access')

#: The view of update.
UPDATED = View(
    attribute('id'),
    attribute('name'),
    attribute('is_public'),
    attribute('description'),
    field(
        'extra_specs',
        lambda volume_type, request: visible(volume_type.extra_specs, request),
        policy='volume_extension:access_types_extra_specs',
    ),
)

#: The view of create.
CREATED = UPDATED.and_(_IS_PUBLIC)

DETAIL = UPDATED.and_(attribute('qos_specs_id', policy='volume_extension:access_types_qos_specs_id'), _IS_PUBLIC)
