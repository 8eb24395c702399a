"""Tokens revoked before they expired."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol


class RevocationStore(Protocol):
    """The port to the revoked tokens, by audit id. A revoked id must be stored until its tokens have expired.

    Both methods raise ServiceUnavailable when the store does not answer: the token then counts as invalid.
    """

    def add(self, audit_id: str, until: float) -> None:
        """Revoke ``audit_id``; the entry may expire after ``until``, in seconds since the epoch. Idempotent."""

    def contains(self, audit_id: str) -> bool:
        """Return whether ``audit_id`` was revoked; after ``until`` the result may be False."""


class InMemoryRevocations:
    """The revocations of a single process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def add(self, audit_id: str, until: float) -> None:
        now = self._clock()
        with self._lock:
            kept = {revoked: end for revoked, end in self._until.items() if end > now}
            self._until = {**kept, audit_id: until}

    def contains(self, audit_id: str) -> bool:
        return self._until.get(audit_id, 0.0) > self._clock()
