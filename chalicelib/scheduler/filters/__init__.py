"""The filters, by the names that configuration enables them with: Cinder's nine."""

from __future__ import annotations

from chalicelib.scheduler.filters.affinity import (
    DifferentBackendFilter,
    IgnoreAttemptedHostsFilter,
    InstanceLocalityFilter,
    SameBackendFilter,
)
from chalicelib.scheduler.filters.base import Filter
from chalicelib.scheduler.filters.capabilities import CapabilitiesFilter
from chalicelib.scheduler.filters.capacity import CapacityFilter
from chalicelib.scheduler.filters.driver import DriverFilter
from chalicelib.scheduler.filters.json_query import JsonFilter
from chalicelib.scheduler.filters.zones import AvailabilityZoneFilter

FILTERS: dict[str, type[Filter]] = {
    filter_class.__name__: filter_class
    for filter_class in (
        AvailabilityZoneFilter,
        CapabilitiesFilter,
        CapacityFilter,
        DifferentBackendFilter,
        DriverFilter,
        IgnoreAttemptedHostsFilter,
        InstanceLocalityFilter,
        JsonFilter,
        SameBackendFilter,
    )
}
