"""Revoked tokens of the standalone identity."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from pynamodb.attributes import NumberAttribute

from chalicelib.models import base

#: Seconds for which "not revoked" is cached: a revoked token may work that long in another process.
TRUST = 5.0

#: Results cached at once.
REMEMBERED = 4096


class Revocation(base.Record):
    """``id`` is a token's audit id; the table's TTL deletes it when the token would have expired.

    The table also has the counters of guesses, each in a partition of its own.
    """

    Meta = base.meta('revocations', ttl_attribute='expires')
    resource = 'revocation'

    #: Seconds since the epoch.
    expires = NumberAttribute()
    #: Of a counter of guesses: the number.
    number = NumberAttribute(null=True)


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
    """The identity's GuessStore (chalicelib/identity/guesses.py) over all processes."""

    def read(self, keys: Sequence[str]) -> list[tuple[int, float]]:
        """Return number and expiry of each counter, read consistently in one call. Raises ServiceUnavailable."""
        found = Revocation.batch_get([(_partition(key), _COUNT) for key in keys], consistent_read=True)
        counts = {one.project_id: (int(one.number or 0), float(one.expires)) for one in found}
        return [counts.get(_partition(key), (0, 0.0)) for key in keys]

    def add(self, key: str, amount: int, until: float, most: int | None = None) -> bool:
        """Add to a counter unless it has reached ``most``, or zero; return whether. Raises ServiceUnavailable.

        A condition that fails because an answer was lost counts as a limit that is reached.
        """
        number = Revocation.number
        condition = number > 0 if amount < 0 else number.does_not_exist() | (number < most) if most else None
        actions = [
            number.add(amount),
            Revocation.expires.set(math.ceil(until)),
            Revocation.created_at.set(base.now()),
            Revocation.schema_version.set(base.SCHEMA_VERSION),
            *base.touched(Revocation),
        ]
        try:
            base.write(Revocation(_partition(key), _COUNT), actions, condition)
        except base.moved_on(Revocation):
            return False
        return True


#: The range key of every counter: each has a partition of its own.
_COUNT = 'count'


def _partition(key: str) -> str:
    return f'guess/{key}'
