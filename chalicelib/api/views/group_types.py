"""The views of a group type."""

from __future__ import annotations

from chalicelib.api.view import View, attribute

GROUP_TYPE = View(
    attribute('id'),
    attribute('name'),
    attribute('description'),
    attribute('is_public'),
    attribute('group_specs', policy='group:access_group_types_specs'),
)
