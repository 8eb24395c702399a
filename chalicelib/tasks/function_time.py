"""How long the running function may still work, by its Lambda context."""

from __future__ import annotations

import contextvars
from contextlib import AbstractContextManager
from typing import Any

from chalicelib.context_values import bound

#: Seconds that a task keeps for itself after it stopped its work: to close devices and answer.
MARGIN = 30.0

_context: contextvars.ContextVar[Any] = contextvars.ContextVar('lambda_context')


def running(context: Any) -> AbstractContextManager[None]:
    """Let tasks called inside read the time that this Lambda context has left."""
    return bound(_context, context)


def seconds_left() -> float:
    """Seconds of work left, the margin taken off."""
    return float(_context.get().get_remaining_time_in_millis()) / 1000 - MARGIN


def has_time() -> bool:
    return seconds_left() > 0
