"""Group types with their group specs, in the partition of records without a project."""

from __future__ import annotations

from pynamodb.attributes import BooleanAttribute, JSONAttribute, UnicodeAttribute

from chalicelib import errors
from chalicelib.models import base


class GroupType(base.Record):
    """What groups of this type require of their backend. Only administrators see ``group_specs`` and private types."""

    Meta = base.meta('group-types')
    resource = 'group_type'
    not_found = errors.GroupTypeNotFound

    by_created_at = base.ByCreatedAt()

    name = UnicodeAttribute()
    description = UnicodeAttribute(null=True)
    is_public = BooleanAttribute(default=True)
    group_specs = JSONAttribute(default=dict)
    #: Set during a change that requires the type to be unused (operations/type_locks.py).
    closed = BooleanAttribute(null=True)
