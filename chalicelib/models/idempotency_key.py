"""Idempotency keys: the request of a client's key, whether its work was accepted, and the answer to repeat."""

from __future__ import annotations

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute

from chalicelib import errors
from chalicelib.models import base


class IdempotencyKey(base.Record):
    """``id`` is a digest of user, method, path and key, in the partition of the project that the token is scoped to.

    Removed by the table's TTL, which may be days late: a record past ``expires`` counts as absent.
    """

    Meta = base.meta('idempotency-keys', ttl_attribute='expires')
    resource = 'idempotency_key'
    not_found = errors.IdempotencyKeyNotFound
    secret = frozenset({'fingerprint', 'kept', 'headers', 'body', 'sealed'})

    #: Digest of body, query and microversion: the same key with another one is another request.
    fingerprint = UnicodeAttribute()
    #: The request that holds the key, until ``busy_until``.
    holder = UnicodeAttribute()
    #: Seconds since the epoch, both.
    busy_until = NumberAttribute()
    expires = NumberAttribute()
    #: {class: [project_id, id]} of the records that the accepted work made; absent before it is accepted.
    begun = JSONAttribute(null=True)
    #: What the operation keeps for a repetition.
    kept = UnicodeAttribute(null=True)
    #: The answer: HTTP status, headers, and the body in clear or in sealed parts.
    code = NumberAttribute(null=True)
    headers = JSONAttribute(null=True)
    body = UnicodeAttribute(null=True)
    sealed = JSONAttribute(null=True)
