"""The context of one decision: the request, the settings, the facts, and intermediate results."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING

from chalicelib.scheduler.request_spec import Facts, RequestSpec

if TYPE_CHECKING:
    from chalicelib.scheduler.config import SchedulerConfig


#: Errors that arithmetic and comparisons of arbitrary reports raise. In Cinder they stop the scheduler for all
#: requests.
NONSENSE = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


@dataclasses.dataclass(slots=True)
class PlacementRequest:
    """The context of filters and weighers; lives for one decision."""

    spec: RequestSpec
    config: SchedulerConfig
    facts: Facts
    rng: random.Random
    #: GiB that can still be allocated, by limited pool: CapacityFilter stores them here for CapacityWeigher.
    free: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def thick(self) -> bool:
        """Whether the volume type requires real space, also on thin pools."""
        return self.spec.extra_specs.get('provisioning:type') == 'thick'
