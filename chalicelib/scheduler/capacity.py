"""The capacity of a pool that can still be allocated: thin and thick, reserve, over-subscription.

Sizes are GiB. Source: Cinder's ``calculate_capacity_factors`` and ``calculate_max_over_subscription_ratio``.
A pool without a known size reports ``infinite`` or ``unknown``; callers check ``is_limited`` first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

UNLIMITED = ('infinite', 'unknown')

#: Ratio of a pool on ``auto`` that has provisioned nothing yet.
INITIAL_AUTO_RATIO = 20


def max_over_subscription_ratio(capabilities: Mapping[str, Any], default: str) -> float:
    """Return the ratio that applies to a pool: its own, or the scheduler's ``default``; ``auto`` derives it from use.

    1.0 where no ratio applies: without thin provisioning, or with an unlimited capacity.
    Raises ValueError or TypeError for a ratio that is neither a number nor ``auto``.
    """
    total = capabilities.get('total_capacity_gb', 0)
    free = capabilities.get('free_capacity_gb', 0)
    if not capabilities.get('thin_provisioning_support') or total in UNLIMITED or free in UNLIMITED:
        return 1.0
    return ratio_of_limited(capabilities, default)


def ratio_of_limited(capabilities: Mapping[str, Any], default: str) -> float:
    """Return the same for a pool that is known to be thin and to have a limited capacity."""
    ratio = capabilities.get('max_over_subscription_ratio') or default
    if ratio != 'auto':
        return float(ratio)
    total, free = capabilities.get('total_capacity_gb', 0), capabilities.get('free_capacity_gb', 0)
    provisioned = capabilities.get('provisioned_capacity_gb', capabilities.get('allocated_capacity_gb', 0))
    if provisioned == 0:
        return INITIAL_AUTO_RATIO
    return 1 + float(provisioned) / float(total - free + 1)


def to_cents(size: float) -> float:
    """Round to two decimals, as Cinder does before it compares. (Whole numbers skip the slow ``round``.)"""
    return size if size % 1 == 0 else round(size, 2)


def space(
    total: float, free: float, provisioned: float, reserved_percentage: float, ratio: float | None
) -> tuple[int, float, float]:
    """Return (reserve, total available, virtual free), unrounded; ``ratio`` is None for thick provisioning.

    The reserve is whole GiB, rounded down, and is subtracted before the ratio multiplies. Thin: the reported free space
    is ignored. Thick: the smaller of the computed and the reported free space; the latter keeps its reserve.
    """
    reserve = math.floor(total * (reserved_percentage / 100)) if reserved_percentage else 0
    if ratio is not None:
        total_available = (total - reserve) * ratio
        return reserve, total_available, total_available - provisioned
    total_available = total - reserve
    computed = total_available - provisioned
    return reserve, total_available, free if free < computed else computed
