"""Leases: the right to do something alone, with a fencing token that grows with every grant."""

from __future__ import annotations

import contextlib

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from chalicelib import errors
from chalicelib.models import base


class Lease(base.Record):
    """``id`` names the leased object. The holder calls ``confirm`` before each step that must not run twice at once."""

    Meta = base.meta('leases')
    resource = 'lease'

    token = NumberAttribute(default=0)
    expires_at = UnicodeAttribute()
    #: The work's owner, where several of its own workers may do the work at once.
    holder = UnicodeAttribute(null=True)

    @classmethod
    def acquire(cls, id: str, seconds: float, *, holder: str = '') -> Lease:
        """Acquire the lease if it is free. Raises LeaseLost when it is held.

        A ``holder`` may acquire its own lease again: a killed worker does not block its successor.
        """
        lease, until = cls(base.GLOBAL, id), base.after(seconds)
        free = cls.id.does_not_exist() | (cls.expires_at < base.now())
        if holder:
            free |= cls.holder == holder
        actions = [
            cls.holder.set(holder) if holder else cls.holder.remove(),
            cls.token.add(1),
            cls.expires_at.set(until),
            cls.created_at.set(base.now()),
            cls.schema_version.set(base.SCHEMA_VERSION),
            *base.touched(cls),
        ]
        try:
            base.write(lease, actions, free)
        except base.moved_on(cls):
            raise errors.LeaseLost(lineage=id) from None
        if lease.expires_at != until:  # granted, but the answer was lost, and the next holder has it
            raise errors.LeaseLost(lineage=id)
        return lease

    def confirm(self) -> None:
        """Raises LeaseLost unless this token is the newest one granted."""
        newest = Lease.find_or_none(self.project_id, self.id)
        if newest is None or newest.token != self.token:
            raise errors.LeaseLost(lineage=self.id)

    def release(self) -> None:
        """Release the lease at once; one that another holder has acquired stays with that holder."""
        with contextlib.suppress(*base.moved_on(Lease)):
            base.update(self, [Lease.expires_at.set(base.now()), *base.touched(Lease)], Lease.token == self.token)
