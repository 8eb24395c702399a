"""The scheduler's input: the request, and facts about other resources, as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple


class Retry(NamedTuple):
    """Earlier attempts: how often the request was scheduled, and the pools it was sent to, oldest first."""

    num_attempts: int = 0
    backends: tuple[str, ...] = ()

    def tried(self, backend: str) -> Retry:
        """Return the state for the next attempt, once this one was sent to ``backend``."""
        return Retry(self.num_attempts, (*self.backends, backend))


@dataclasses.dataclass(frozen=True, slots=True)
class RequestSpec:
    """One request. Sizes are GiB; extra specs are the volume type's."""

    size: int | None
    #: The size after an extend; only the growth needs capacity.
    new_size: int | None = None
    availability_zone: str | None = None
    #: Any of these zones; takes precedence over ``availability_zone``.
    availability_zones: tuple[str, ...] = ()
    extra_specs: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    #: Extra specs of the group type, for the request that concerns the group itself.
    group_specs: Mapping[str, str | None] | None = None
    qos_specs: Mapping[str, Any] | None = None
    #: The ``volume.*`` of filter and goodness functions; ``attach_status`` counts when extending.
    volume_properties: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    #: Name of the scheduler's method in Cinder: create_volume, extend_volume, ...
    operation: str = ''
    #: Backend or pool that the volume must share with its group or source.
    resource_backend: str | None = None
    #: Pool of an existing volume: it needs no capacity there.
    vol_exists_on: str | None = None
    scheduler_hints: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    retry: Retry | None = None

    @property
    def requested_size(self) -> int | None:
        """GiB of capacity needed; None when the request has no volume (get_pools by type)."""
        return int(self.new_size) - int(self.size or 0) if self.new_size else self.size


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """Facts that some filters and weighers need; optional for those that are not enabled."""

    #: Volume id -> its pool (``cluster_name`` if it has one, else ``host``), of the volumes that the hints name and the
    #: requester may see. For DifferentBackendFilter and SameBackendFilter.
    volume_backends: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Host of a pool -> number of volumes on it. For VolumeNumberWeigher.
    volume_counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    #: Server id -> its compute host, as Nova reports it. For InstanceLocalityFilter.
    instance_hosts: Mapping[str, str] = dataclasses.field(default_factory=dict)
