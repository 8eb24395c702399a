"""The time left for work that a client waits for: one absolute deadline, which the API passes to its worker.

API Gateway answers 504 after 29 s, whether or not the functions behind it are done. Without a deadline (asynchronous
work) each caller's own limit applies.
"""

from __future__ import annotations

import contextvars
import time
from contextlib import AbstractContextManager

from chalicelib.context_values import bound

#: Seconds that API Gateway waits for an answer, cold start included.
GATEWAY = 29.0

#: Unused seconds of them, for the way back through the gateway and for clock skew.
MARGIN = 1.5

#: Seconds of a worker's time that the API reserves to record the result and answer.
OWN_WORK = 1.5

_until: contextvars.ContextVar[float | None] = contextvars.ContextVar('until', default=None)


def until(deadline_at: float | None) -> AbstractContextManager[None]:
    """Set the deadline of the work inside (seconds since the epoch); None sets none."""
    return bound(_until, deadline_at)


def of_request(received_at: float | None) -> float:
    """Return the deadline of a request that API Gateway received at ``received_at`` (seconds since the epoch).

    A time that is missing, in the future, or older than the gateway's limit is ignored.
    """
    now = time.time()
    is_plausible = received_at is not None and now - GATEWAY < received_at <= now
    return (received_at if is_plausible and received_at is not None else now) + GATEWAY - MARGIN


def deadline() -> float | None:
    """Return the current deadline, in seconds since the epoch; None without one."""
    return _until.get()


def at_most(most: float) -> float:
    """Return the seconds left, at most ``most``; ``most`` without a deadline. Negative once the deadline has passed."""
    deadline_at = _until.get()
    return most if deadline_at is None else min(most, deadline_at - time.time())
