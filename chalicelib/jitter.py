"""Pauses between attempts, drawn at random: clients that met the same outage do not come back at the same moment."""

from __future__ import annotations

import random


def jittered(pause: float) -> float:
    """Return a number of seconds between 0 and twice ``pause``: full jitter, ``pause`` on average."""
    return random.uniform(0, 2 * pause)  # noqa: S311 - no secret
