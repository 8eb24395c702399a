"""AvailabilityZoneFilter: the zone of a pool is the zone of its service."""

from __future__ import annotations

from chalicelib.scheduler.filters.base import Filter
from chalicelib.scheduler.pools import PoolState
from chalicelib.scheduler.request import Request


class AvailabilityZoneFilter(Filter):
    """A list of zones wins over the one zone; an empty list falls through to it; no zone at all: every pool passes."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        zone = request.spec.availability_zone
        self.zones = request.spec.availability_zones or ((zone,) if zone else ())
        self.reason = f'zone {" or ".join(self.zones)} was asked for'

    @property
    def is_idle(self) -> bool:
        return not self.zones

    def refuse(self, pool: PoolState) -> str | None:
        return None if pool.availability_zone in self.zones else self.reason
