"""The outcome of scheduling: the candidates, and why every other pool is not among them."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from chalicelib import errors
from chalicelib.scheduler.pools import PoolState
from chalicelib.scheduler.request_spec import Retry


class Candidate(NamedTuple):
    """A pool that may take the volume, as it was judged, and the sum of its weights."""

    pool: PoolState
    weight: float

    @property
    def name(self) -> str:
        return self.pool.name


class Removal(NamedTuple):
    """Pools that ``filter`` removed for one reason.

    ``filter`` is the name of a filter, or a step before the filters (``scheduler_max_attempts``, ``ServiceState``,
    ``PoolReport``) or after them (``resource_backend``, ``check_host``, ``migration_policy``).
    """

    filter: str
    pools: tuple[str, ...]
    #: Fit for users: it names no host, extra spec or function of a backend.
    reason: str
    #: For operators.
    detail: str = ''


class Weighing(NamedTuple):
    """The raw ``weights`` that one weigher gave to ``pools``, before they were normalised and multiplied."""

    weigher: str
    multiplier: float
    pools: list[str]
    weights: list[float]
    #: Pools that could not be weighed and weigh 0, and why.
    faults: dict[str, str]

    @property
    def raw(self) -> dict[str, float]:
        return dict(zip(self.pools, self.weights, strict=True))


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """Best candidate first. Without candidates, ``summary`` gives the reason for users, ``explain`` for operators."""

    candidates: list[Candidate]
    removed: list[Removal]
    #: The pools that the filters saw, in the order in which ties rank.
    considered: list[str] = dataclasses.field(default_factory=list)
    weighings: list[Weighing] = dataclasses.field(default_factory=list)
    #: The state to store for a retry: ``retry.tried(winner)``. None when rescheduling is off.
    retry: Retry | None = None

    @property
    def winner(self) -> str | None:
        return self.candidates[0].name if self.candidates else None

    @property
    def ranking(self) -> list[tuple[str, float]]:
        """Names and weights of the candidates, best first."""
        return [(one.name, one.weight) for one in self.candidates]

    def require(self) -> str:
        """Return the winner's name; raises NoValidBackend with the summary when there is none."""
        if self.winner is None:
            raise errors.NoValidBackend(reason=self.summary())
        return self.winner

    def summary(self) -> str:
        """Return one text for users: for each filter the number of pools that it removed and its most common reason."""
        by_filter: dict[str, list[Removal]] = {}
        for removal in self.removed:
            by_filter.setdefault(removal.filter, []).append(removal)
        return '; '.join(_clause(removals) for removals in by_filter.values()) or 'There are no pools.'

    def explain(self) -> list[str]:
        """Return all reasons for operators, one line each, with the names of the pools."""
        lines = [f'considered {len(self.considered)}: {", ".join(self.considered)}']
        for removal in self.removed:
            detail = f' ({removal.detail})' if removal.detail else ''
            lines.append(f'{removal.filter} removed {", ".join(removal.pools)}: {removal.reason}{detail}')
        for weighing in self.weighings:
            lines += [f'{weighing.weigher} weighs {pool} as 0: {why}' for pool, why in weighing.faults.items()]
        return [*lines, *(f'candidate {name} weighs {weight:.6g}' for name, weight in self.ranking)]


def _clause(removals: list[Removal]) -> str:
    count = sum(len(removal.pools) for removal in removals)
    reasons: dict[str, int] = {}
    for removal in removals:
        reasons[removal.reason] = reasons.get(removal.reason, 0) + len(removal.pools)
    return f'{count} {"pool" if count == 1 else "pools"}: {max(reasons, key=lambda key: reasons[key])}'
