"""Random pauses between attempts, so that clients of one outage do not all retry at the same time."""

from __future__ import annotations

import random


def jittered(pause: float) -> float:
    """Return a random number of seconds between 0 and twice ``pause``: full jitter, ``pause`` on average."""
    return random.uniform(0, 2 * pause)  # noqa: S311 - no secret
