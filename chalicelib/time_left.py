"""How long the work that a client waits for may still take, as one absolute deadline that the API hands to its worker.

API Gateway answers 504 after 29 s, whatever the functions behind it still do. Without a deadline (asynchronous work)
each caller's own limit holds.
"""

from __future__ import annotations

import contextlib
import contextvars
import time
from collections.abc import Iterator

#: Seconds that API Gateway waits for an answer, cold start included.
GATEWAY = 29.0

#: Seconds of them that remain unused, for the way back through the gateway and for clocks that differ.
MARGIN = 1.5

#: Seconds that the API keeps of a worker's time, to record and to answer.
OWN_WORK = 1.5

_until: contextvars.ContextVar[float | None] = contextvars.ContextVar('until', default=None)


@contextlib.contextmanager
def until(moment: float | None) -> Iterator[None]:
    """Let the work inside end at ``moment`` (seconds since the epoch); None sets no deadline."""
    token = _until.set(moment)
    try:
        yield
    finally:
        _until.reset(token)


def of_request(received_at: float | None) -> float:
    """Return the deadline of a request that API Gateway received at ``received_at`` (seconds since the epoch).

    A time that is missing, ahead of this clock, or more than the gateway's patience behind it is not believed.
    """
    now = time.time()
    known = received_at is not None and now - GATEWAY < received_at <= now
    return (received_at if known and received_at is not None else now) + GATEWAY - MARGIN


def deadline() -> float | None:
    """Return the deadline in force, in seconds since the epoch; None without one."""
    return _until.get()


def at_most(most: float) -> float:
    """Return the seconds left, at most ``most``; ``most`` without a deadline. Negative once the deadline has passed."""
    moment = _until.get()
    return most if moment is None else min(most, moment - time.time())
