"""Pools and services: what backends reported, and what was claimed on them since.

A claim is one conditional write on ``claimable_gb``, so two schedulers cannot over-commit a pool. A report replaces
``claimable_gb`` only if ``claims`` is what it was before the backend was asked: a late report cannot erase a claim.
``in_transit_gb`` counts sizes whose creation or removal on the backend is under way, for a report can't tell whether
it includes them; a report takes them off what it says is free, which errs on the safe side.
"""

from __future__ import annotations

from pynamodb.attributes import BooleanAttribute, JSONAttribute, NumberAttribute, UnicodeAttribute

from chalicelib import errors
from chalicelib.models import base


class Pool(base.Record):
    """One pool; ``id`` is ``host@backend#pool``."""

    Meta = base.meta('pools')
    resource = 'pool'

    availability_zone = UnicodeAttribute()
    #: The pool's report in Cinder's form, backend-level keys merged in.
    report = JSONAttribute(default=dict)
    reported_at = UnicodeAttribute()
    #: Why the report is not trusted; such a pool gets no volume.
    warning = UnicodeAttribute(null=True)
    #: GiB that may still be claimed; absent for a backend that reports infinite or unknown capacity.
    claimable_gb = NumberAttribute(null=True)
    in_transit_gb = NumberAttribute(default=0)
    #: Sum of the sizes of our volumes there, and their number.
    allocated_gb = NumberAttribute(default=0)
    volume_count = NumberAttribute(default=0)
    #: Counts claims and releases.
    claims = NumberAttribute(default=0)


class Service(base.Record):
    """One service row as ``GET /os-services`` shows it; ``id`` is '<binary>:<host>'."""

    Meta = base.meta('services')
    resource = 'service'
    not_found = errors.ServiceNotFound

    binary = UnicodeAttribute()
    host = UnicodeAttribute()
    availability_zone = UnicodeAttribute()
    uuid = UnicodeAttribute()
    disabled = BooleanAttribute(default=False)
    disabled_reason = UnicodeAttribute(null=True)
    frozen = BooleanAttribute(default=False)
    #: When the backend last answered a report.
    heartbeat_at = UnicodeAttribute(null=True)
    backend_state = UnicodeAttribute(null=True)
