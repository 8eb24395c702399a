"""Tokens given back before they ran out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol


class RevocationStore(Protocol):
    """The port to the revoked tokens, by audit id. A revoked id need be remembered only until its tokens have run out.

    Both verbs raise ServiceUnavailable when the store gives no answer: a token is then not taken for valid.
    """

    def add(self, audit_id: str, until: float) -> None:
        """Revoke ``audit_id``; it may be forgotten after ``until``, in seconds since the epoch. Safe to repeat."""

    def contains(self, audit_id: str) -> bool:
        """Say whether ``audit_id`` was revoked and its tokens could still be taken for valid."""


class InMemoryRevocations:
    """The revocations of a single process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def add(self, audit_id: str, until: float) -> None:
        now = self._clock()
        with self._lock:
            kept = {known: end for known, end in self._until.items() if end > now}
            self._until = {**kept, audit_id: until}

    def contains(self, audit_id: str) -> bool:
        return self._until.get(audit_id, 0.0) > self._clock()
