"""Quotas: one item per project with its limits and usage."""

from __future__ import annotations

from pynamodb.attributes import JSONAttribute, MapAttribute, NumberAttribute

from chalicelib.models import base


class Quota(base.Record):
    """A project's limits that differ from the defaults, and its counters.

    ``usage`` includes reservations, since conditions have no arithmetic; ``reserved`` is the part of it that
    operations in progress reserve. Both are keyed by resource (rules/quotas.py).
    ``limits_version`` counts changes of limits: a reservation uses it in its condition.
    """

    Meta = base.meta('quotas')
    resource = 'quota'

    limits = JSONAttribute(default=dict)
    limits_version = NumberAttribute(default=0)
    usage: MapAttribute[str, int] = MapAttribute(default=dict)
    reserved: MapAttribute[str, int] = MapAttribute(default=dict)
    #: Of the item ``rate``: when the project's bucket of requests is full, in microseconds since the epoch.
    full_at = NumberAttribute(null=True)
