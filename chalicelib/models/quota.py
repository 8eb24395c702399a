"""Quotas: one item per project, its limits and what is in use."""

from __future__ import annotations

from pynamodb.attributes import JSONAttribute, MapAttribute, NumberAttribute

from chalicelib.models import base


class Quota(base.Record):
    """A project's limits that differ from the defaults, and its counters.

    ``usage`` counts what is in use and what is reserved together, since conditions know no arithmetic; ``reserved``
    is the part of it that an operation still under way holds. Both are keyed by resource (rules/quotas.py).
    ``limits_version`` counts changes of limits: a reservation that knows the limits makes it its condition.
    """

    Meta = base.meta('quotas')
    resource = 'quota'

    limits = JSONAttribute(default=dict)
    limits_version = NumberAttribute(default=0)
    usage: MapAttribute[str, int] = MapAttribute(default=dict)
    reserved: MapAttribute[str, int] = MapAttribute(default=dict)
