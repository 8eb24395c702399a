"""CapacityFilter: enough capacity for the volume, thin or thick, with reserve and over-subscription."""

from __future__ import annotations

import enum
from collections.abc import Hashable, Sequence

from chalicelib.scheduler import capacity
from chalicelib.scheduler.filters.base import Filter
from chalicelib.scheduler.placement_request import PlacementRequest
from chalicelib.scheduler.pools import PoolState

#: Pools whose free space a detail lists; the removal names all pools.
_SHOWN = 20


class Refusal(enum.Enum):
    """Why a pool lacks capacity; the texts are shown to users."""

    NO_FREE = 'no free capacity is reported'
    RESERVE_OF_UNKNOWN = 'no total capacity is reported, so the reserve cannot be computed'
    NO_TOTAL = 'a total capacity of 0 is reported'
    ALL_RESERVED = 'the reserve leaves nothing'
    BAD_RATIO = 'the over-subscription ratio is below 1'
    NO_CAPACITY = 'not enough free space for {requested} GiB'


class CapacityFilter(Filter):
    """The tests run in Cinder's order, which decides about odd reports."""

    def __init__(self, request: PlacementRequest) -> None:
        super().__init__(request)
        self.exists_on = request.spec.vol_exists_on
        # Cinder requests size 0 for a volume that exists already (manage).
        self.requested = request.spec.requested_size or 0
        self.thick = request.thick
        self.free = request.free
        self.default_ratio = request.config.max_over_subscription_ratio

    @property
    def is_idle(self) -> bool:
        return self.requested == 0

    def refuse(self, pool: PoolState) -> Refusal | None:
        name, _, capabilities, total, free, _, provisioned, reserved, thin, _, _ = pool
        if name == self.exists_on:
            return None
        if free is None:
            return Refusal.NO_FREE
        # Only text can be infinite or unknown.
        if (free.__class__ is str or total.__class__ is str) and not pool.is_limited:
            return self._refuse_unlimited(free, reserved)
        if total <= 0:
            return Refusal.NO_TOTAL
        ratio = capacity.ratio_of_limited(capabilities, self.default_ratio) if thin and not self.thick else None
        _, total_available, virtual_free = capacity.space(total, free, provisioned, reserved, ratio)
        self.free[name] = virtual_free = virtual_free if virtual_free % 1 == 0 else round(virtual_free, 2)
        if ratio is not None and (ratio < 1 or provisioned + self.requested > total_available - 0.01):
            return self._refuse_thin(provisioned, total_available, virtual_free, ratio)
        return None if virtual_free >= self.requested else Refusal.NO_CAPACITY

    def _refuse_unlimited(self, free: object, reserved: float) -> Refusal | None:
        return None if free in capacity.UNLIMITED or reserved == 0 else Refusal.RESERVE_OF_UNKNOWN

    def _refuse_thin(
        self, provisioned: float, total_available: float, virtual_free: float, ratio: float
    ) -> Refusal | None:
        """Judge a thin pool that is odd, full, or nearly full."""
        if ratio < 1:
            return Refusal.BAD_RATIO
        limit = capacity.to_cents(total_available)
        if limit == 0:
            return Refusal.ALL_RESERVED
        # The total includes the ratio already, but Cinder tests the ratio again: it matters only very near the limit.
        if (provisioned + self.requested) / limit > ratio or virtual_free < self.requested:
            return Refusal.NO_CAPACITY
        return None

    def explain(self, key: Hashable, pools: Sequence[PoolState]) -> tuple[str, str]:
        if key is not Refusal.NO_CAPACITY:
            return str(Refusal(key).value), ''
        frees = [max(self.free[pool.name], 0) for pool in pools]
        text = Refusal.NO_CAPACITY.value.format(requested=self.requested)
        shown = [f'{pool.name} has {free:.10g} GiB' for pool, free in zip(pools[:_SHOWN], frees, strict=False)]
        return text, ', '.join(shown) + (' ...' if len(pools) > _SHOWN else '')
