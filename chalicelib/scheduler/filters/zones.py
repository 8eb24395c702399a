"""AvailabilityZoneFilter: the zone of a pool is the zone of its service."""

from __future__ import annotations

from chalicelib.scheduler.filters.base import Filter
from chalicelib.scheduler.placement_request import PlacementRequest
from chalicelib.scheduler.pools import PoolState


class AvailabilityZoneFilter(Filter):
    """A list of zones takes precedence over the one zone; an empty list does not; without a zone every pool passes."""

    def __init__(self, request: PlacementRequest) -> None:
        super().__init__(request)
        zone = request.spec.availability_zone
        self.zones = request.spec.availability_zones or ((zone,) if zone else ())
        self.reason = f'the request requires zone {" or ".join(self.zones)}'

    @property
    def is_idle(self) -> bool:
        return not self.zones

    def refuse(self, pool: PoolState) -> str | None:
        return None if pool.availability_zone in self.zones else self.reason
