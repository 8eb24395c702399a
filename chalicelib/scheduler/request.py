"""One request while it is decided: what is asked, the settings, the facts, and what was computed on the way."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING

from chalicelib.scheduler.request_spec import Facts, RequestSpec

if TYPE_CHECKING:
    from chalicelib.scheduler.config import SchedulerConfig


#: What arithmetic and comparisons of arbitrary reports may raise. Cinder's scheduler dies of these, for all requests.
NONSENSE = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


@dataclasses.dataclass(slots=True)
class Request:
    """What filters and weighers are made from; lives for one decision."""

    spec: RequestSpec
    config: SchedulerConfig
    facts: Facts
    rng: random.Random
    #: GiB that may still be promised, by limited pool: CapacityFilter leaves them here for CapacityWeigher.
    free: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def thick(self) -> bool:
        """Whether the volume type asks for real space, also on thin pools."""
        return self.spec.extra_specs.get('provisioning:type') == 'thick'
