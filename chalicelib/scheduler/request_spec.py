"""What is asked of the scheduler, and what it must be told about the world: plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple


class Retry(NamedTuple):
    """What came before: how often the request was scheduled, and the pools it was sent to, oldest first."""

    num_attempts: int = 0
    backends: tuple[str, ...] = ()

    def tried(self, backend: str) -> Retry:
        """Return what the next attempt must know once this one was sent to ``backend``."""
        return Retry(self.num_attempts, (*self.backends, backend))


@dataclasses.dataclass(frozen=True, slots=True)
class RequestSpec:
    """One request. Sizes are GiB; extra specs are the volume type's."""

    size: int | None
    #: What the volume grows to; only the growth needs room.
    new_size: int | None = None
    availability_zone: str | None = None
    #: Any of these zones will do; wins over ``availability_zone``.
    availability_zones: tuple[str, ...] = ()
    extra_specs: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    #: Extra specs of the group type, for the part of a request that asks for the group itself.
    group_specs: Mapping[str, str | None] | None = None
    qos_specs: Mapping[str, Any] | None = None
    #: What filter and goodness functions read as ``volume.*``; ``attach_status`` counts when extending.
    volume_properties: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    #: Name of the scheduler's method in Cinder: create_volume, extend_volume, ...
    operation: str = ''
    #: Backend or pool that the volume must share with its group or source.
    resource_backend: str | None = None
    #: Pool where the volume already is: it needs no room there.
    vol_exists_on: str | None = None
    scheduler_hints: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    retry: Retry | None = None

    @property
    def requested_size(self) -> int | None:
        """GiB of room that is needed; None when the request is about no volume (get_pools by type)."""
        return int(self.new_size) - int(self.size or 0) if self.new_size else self.size


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What some filters and weighers must know; leave out what the enabled ones do not ask for."""

    #: Volume id -> its pool (``cluster_name`` if it has one, else ``host``), of the volumes that the hints name,
    #: exist, and may be seen by whoever asks. For DifferentBackendFilter and SameBackendFilter.
    volume_backends: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Host of a pool -> number of volumes on it. For VolumeNumberWeigher.
    volume_counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    #: Server id -> its compute host, as Nova says. For InstanceLocalityFilter.
    instance_hosts: Mapping[str, str] = dataclasses.field(default_factory=dict)
