"""Revoked tokens of the standalone identity."""

from __future__ import annotations

import time
import uuid

from pynamodb.attributes import NumberAttribute

from chalicelib.models import base

#: Seconds for which "not revoked" is cached: a revoked token may work that long in another process.
TRUST = 5.0

#: Results cached at once.
REMEMBERED = 4096


class Revocation(base.Record):
    """``id`` is a token's audit id; the table's TTL deletes it when the token would have expired."""

    Meta = base.meta('revocations', ttl_attribute='expires')
    resource = 'revocation'

    #: Seconds since the epoch.
    expires = NumberAttribute()


class Revocations:
    """The identity's RevocationStore (chalicelib/identity/revocation.py) over all processes."""

    def __init__(self) -> None:
        self._valid_until: dict[str, float] = {}

    def add(self, audit_id: str, until: float) -> None:
        """Revoke; raises ServiceUnavailable."""
        record = Revocation(base.GLOBAL, audit_id, created_at=base.now(), expires=int(until) + 1)
        self._valid_until.pop(audit_id, None)
        base.put(record)

    def contains(self, audit_id: str) -> bool:
        """Whether it was revoked; False may be ``TRUST`` seconds old. Raises ServiceUnavailable."""
        if self._valid_until.get(audit_id, 0.0) > time.monotonic():
            return False
        if self._is_stored(audit_id):
            return True
        if len(self._valid_until) >= REMEMBERED:
            self._valid_until.clear()
        self._valid_until[audit_id] = time.monotonic() + TRUST
        return False

    @staticmethod
    def _is_stored(audit_id: str) -> bool:
        found = list(Revocation.query(base.GLOBAL, Revocation.id == audit_id, consistent_read=True, limit=1))
        return any(record.expires > time.time() for record in found)


class Guesses:
    """The identity's GuessStore (chalicelib/identity/guesses.py) over all processes, in the table of revocations.

    Each timestamp is a record of its own in the partition of its key: processes never write the same one.
    """

    def add(self, key: str, timestamp: float, until: float) -> None:
        """Store a timestamp; raises ServiceUnavailable."""
        id = f'{timestamp:017.6f}/{uuid.uuid4().hex[:8]}'
        base.put(Revocation(f'guess/{key}', id, created_at=base.now(), expires=int(until) + 1))

    def count(self, key: str, since: float, most: int) -> int:
        """Return how many timestamps after ``since`` are stored, at most ``most``. Raises ServiceUnavailable."""
        newer = Revocation.id > f'{since:017.6f}'
        return len(list(Revocation.query(f'guess/{key}', newer, consistent_read=True, limit=most)))
