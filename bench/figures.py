"""Figures with their spread, and the pace of the machine that they were measured at.

A shared or throttled machine changes its pace within a run. The time of a fixed computation, measured before and after
each part, shows by how much: figures of two runs are comparable where it is the same.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

#: Repetitions of the fixed computation, and its length.
PACES, STEPS = 5, 400_000


def spread(seconds: Sequence[float], unit: str = 'ms') -> str:
    """Return the median of at least five measured values, the least and the greatest; ``unit``: ms or s."""
    if len(seconds) < 5:
        raise ValueError(f'{len(seconds)} values have no spread: measure at least 5')
    scale = {'ms': 1000, 's': 1}[unit]
    median, least, most = (one(seconds) * scale for one in (statistics.median, min, max))
    return f'{median:.1f} {unit} ({least:.1f} to {most:.1f})'


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the smallest value that is not exceeded by ``percent`` of all."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]


def pace() -> str:
    """Return the CPU time of a fixed computation in this process, the median and its spread."""
    return spread([_computed() for _ in range(PACES)])


def _computed() -> float:
    began = time.process_time()
    sum(number * number for number in range(STEPS))
    return time.process_time() - began
