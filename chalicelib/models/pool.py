"""Pools and services: the backends' reports, and the claims since.

A claim is one conditional write on ``claimable_gb``, so two schedulers cannot over-commit a pool. A size is *in
transit* while it is created or deleted on the backend: it is unknown whether a report includes it. A report
therefore sets

        claimable_gb = reported free capacity - in transit when the backend was queried - entered transit since

in one write, which neither a claim nor a late report can invalidate; until the next report it is on the safe side.
"""

from __future__ import annotations

import functools
import uuid

from pynamodb.attributes import (
    BooleanAttribute,
    JSONAttribute,
    NumberAttribute,
    UnicodeAttribute,
    UnicodeSetAttribute,
)

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
    #: Why the report is rejected; such a pool gets no volume.
    warning = UnicodeAttribute(null=True)
    #: GiB that can still be claimed; a number beyond any volume for infinite or unknown capacity.
    claimable_gb = NumberAttribute(default=0)
    in_transit_gb = NumberAttribute(default=0)
    #: Sum of the sizes of the service's volumes there, and their number.
    allocated_gb = NumberAttribute(default=0)
    volume_count = NumberAttribute(default=0)
    #: Sum of all sizes that ever entered transit (claims, extensions, deletions): only grows.
    entered_gb = NumberAttribute(default=0)
    #: '<project id>/<volume id>' of failed attempts that may have left an object here; removed at the next report.
    leftovers = UnicodeSetAttribute(null=True)


#: Namespace of the services' uuids.
_SERVICES = uuid.UUID('9b0f6b6e-6a3c-5a0f-8b3d-2d7b1f2c4e55')


@functools.lru_cache(1024)
def service_uuid(binary: str, host: str) -> str:
    """Return a service's uuid, which is derived from its names, so that a volume need not look it up."""
    return str(uuid.uuid5(_SERVICES, f'{binary}:{host}'))


def service_id(host: str) -> str:
    """Return the id of the volume service of ``host@backend``, or of a pool of it."""
    return base.service_key(host)[2]


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
    #: The time of the backend's last report.
    heartbeat_at = UnicodeAttribute(null=True)
    backend_state = UnicodeAttribute(null=True)
    #: The newest comparison of the backend with the records, and an administrator's confirmation of one
    #: (operations/reconciliations.py).
    reconciliation = JSONAttribute(null=True)
    reconciliation_confirmed = JSONAttribute(null=True)
