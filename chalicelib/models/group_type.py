"""Group types with their group specs, in the partition of records without a project."""

from __future__ import annotations

from pynamodb.attributes import JSONAttribute

from chalicelib import errors
from chalicelib.models import base


class GroupType(base.TypeRecord):
    """What groups of this type require of their backend. Only administrators see ``group_specs`` and private types."""

    Meta = base.meta('group-types')
    resource = 'group_type'
    not_found = errors.GroupTypeNotFound

    group_specs = JSONAttribute(default=dict)
