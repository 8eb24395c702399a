"""The scheduler's settings, under the names that they have in cinder.conf."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from chalicelib import errors
from chalicelib.scheduler.filters import FILTERS
from chalicelib.scheduler.weighers import HANDLERS, WEIGHERS

#: Cinder's own three, and the filter that keeps a retry off the pools that failed (Cinder does not enable it, so that
#: a retry may choose the failed pool again).
DEFAULT_FILTERS = ('AvailabilityZoneFilter', 'CapacityFilter', 'CapabilitiesFilter', 'IgnoreAttemptedHostsFilter')


@dataclasses.dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """The filters and weighers that run, in this order, and their weights.

    Raises InvalidParameterValue for an unknown name and for fewer than one attempt: as in Cinder, a scheduler with
    wrong settings does not start.
    """

    scheduler_default_filters: tuple[str, ...] = DEFAULT_FILTERS
    scheduler_default_weighers: tuple[str, ...] = ('CapacityWeigher',)
    scheduler_weight_handler: str = 'OrderedHostWeightHandler'
    #: Times that one request is scheduled; 1 disables rescheduling, and no attempt is recorded.
    scheduler_max_attempts: int = 3
    #: Ratio of thin pools that report none: a number or ``auto``.
    max_over_subscription_ratio: str = '20.0'
    #: Positive spreads volumes over pools, negative stacks them.
    capacity_weight_multiplier: float = 1.0
    #: Negative spreads, positive stacks; so does the next.
    allocated_capacity_weight_multiplier: float = -1.0
    volume_number_multiplier: float = -1.0
    #: Accepted because documents of cinder.conf set it; it has no effect, because backup functions run on no host.
    backup_use_same_host: bool = False
    #: Seconds after which a report is stale: backends report every 60 s, and may miss some.
    report_max_age: float = 600

    def __post_init__(self) -> None:
        known: dict[str, tuple[tuple[str, ...], Mapping[str, object]]] = {
            'scheduler_default_filters': (self.scheduler_default_filters, FILTERS),
            'scheduler_default_weighers': (self.scheduler_default_weighers, WEIGHERS),
            'scheduler_weight_handler': ((self.scheduler_weight_handler,), HANDLERS),
        }
        for option, (names, table) in known.items():
            if unknown := [name for name in names if name not in table]:
                reason = f'{option}: {", ".join(unknown)} does not exist; allowed: {", ".join(table)}'
                raise errors.InvalidParameterValue(err=reason)
        if self.scheduler_max_attempts < 1:
            raise errors.InvalidParameterValue(err="Invalid value for 'scheduler_max_attempts', must be >=1")

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Read options of cinder.conf; a class may be named with its module, as Cinder requires for the handler."""
        values = dict(options)
        for name in ('scheduler_default_filters', 'scheduler_default_weighers'):
            if name in values:
                values[name] = tuple(values[name])
        if handler := values.get('scheduler_weight_handler'):
            values['scheduler_weight_handler'] = handler.rpartition('.')[2]
        return cls(**values)
