"""Volume types with their extra specs, in the partition of records without a project."""

from __future__ import annotations

from pynamodb.attributes import JSONAttribute, UnicodeAttribute

from chalicelib import errors
from chalicelib.models import base


class VolumeType(base.TypeRecord):
    """A named set of requirements; the scheduler matches ``extra_specs`` with the pools' reports."""

    Meta = base.meta('volume-types')
    resource = 'volume_type'
    not_found = errors.VolumeTypeNotFound

    extra_specs = JSONAttribute(default=dict)
    qos_specs_id = UnicodeAttribute(null=True)
    #: Projects that may use a private type.
    projects = JSONAttribute(default=list)
    #: {'encryption_id', 'provider', 'cipher', 'key_size' (bits), 'control_location', 'created_at', 'updated_at'} of a
    #: type whose volumes are encrypted.
    encryption = JSONAttribute(null=True)


class Name(base.Record):
    """A unique name: ``id`` is '<kind>:<name>', ``owner`` the id that has it. Written together with the owner."""

    Meta = base.meta('names')
    resource = 'name'

    owner = UnicodeAttribute()
