"""How long the running function may still work, by its Lambda context."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

#: Seconds that a task keeps for itself after it stopped its work: to close devices and answer.
MARGIN = 30.0

_context: contextvars.ContextVar[Any] = contextvars.ContextVar('lambda_context')


@contextlib.contextmanager
def running(context: Any) -> Iterator[None]:
    """Let tasks called inside read the time that this Lambda context has left."""
    token = _context.set(context)
    try:
        yield
    finally:
        _context.reset(token)


def seconds_left() -> float:
    """Seconds of work left, the margin taken off."""
    return float(_context.get().get_remaining_time_in_millis()) / 1000 - MARGIN


def has_time() -> bool:
    return seconds_left() > 0
