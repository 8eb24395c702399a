"""QoS specs and the default types of projects, in the partition of records without a project."""

from __future__ import annotations

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute

from chalicelib import errors
from chalicelib.models import base


class QosSpecs(base.Record):
    """Limits of a volume's I/O. ``consumer`` enforces them: the attaching host (front-end), the backend, or both."""

    Meta = base.meta('qos-specs')
    resource = 'qos_specs'
    not_found = errors.QoSSpecsNotFound

    by_created_at = base.ByCreatedAt()

    name = UnicodeAttribute()
    consumer = UnicodeAttribute()
    specs = JSONAttribute(default=dict)
    #: Volume types that use these specs: while there are any, the specs cannot be deleted.
    association_count = NumberAttribute(default=0)


class DefaultType(base.Record):
    """The type of a project's volumes without a type in the request; ``id`` is the project's."""

    Meta = base.meta('default-types')
    resource = 'default_type'
    not_found = errors.VolumeTypeProjectDefaultNotFound

    volume_type_id = UnicodeAttribute()
