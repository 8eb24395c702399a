"""QoS specs and the default types of projects, in the partition of what belongs to no project."""

from __future__ import annotations

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute

from chalicelib import errors
from chalicelib.models import base


class QosSpecs(base.Record):
    """Limits of what a volume may do. ``consumer`` enforces them: the attaching host (front-end), the backend, both."""

    Meta = base.meta('qos-specs')
    resource = 'qos_specs'
    not_found = errors.QoSSpecsNotFound

    by_created_at = base.ByCreatedAt()

    name = UnicodeAttribute()
    consumer = UnicodeAttribute()
    specs = JSONAttribute(default=dict)
    #: Volume types that name these specs: while there are any, the specs stay.
    association_count = NumberAttribute(default=0)


class DefaultType(base.Record):
    """The type of a project's volumes that name none; ``id`` is the project's."""

    Meta = base.meta('default-types')
    resource = 'default_type'
    not_found = errors.VolumeTypeProjectDefaultNotFound

    volume_type_id = UnicodeAttribute()
