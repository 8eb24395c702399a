"""The weighers, which give each pool a weight, and the handlers, which order pools by weight."""

from __future__ import annotations

import abc
import itertools
import math
from collections.abc import Callable, Sequence

from chalicelib.errors import ExpressionError
from chalicelib.scheduler.decision import Candidate, Weighing
from chalicelib.scheduler.functions import evaluate_each, goodness_stats
from chalicelib.scheduler.placement_request import NONSENSE, PlacementRequest
from chalicelib.scheduler.pools import PoolState

#: The value of an infinite weight beyond the largest one: a multiple of the spread, or an offset without a spread.
_INFINITE_SPREADS = 100
_INFINITE_OFFSET = 10000


class Weigher(abc.ABC):
    """Created for every request. Higher weights win, unless the multiplier is negative."""

    multiplier = 1.0

    def __init__(self, request: PlacementRequest) -> None:
        self.request = request

    @abc.abstractmethod
    def weigh(self, pool: PoolState) -> float:
        """Return the raw weight. May raise NONSENSE or ExpressionError: the pool weighs 0."""

    def settle(self, weights: list[float]) -> list[float]:
        """Replace weights that depend on the whole list."""
        return weights

    def run(self, pools: Sequence[PoolState]) -> tuple[list[float], Weighing]:
        """Return the raw weights in the order of the pools, and the weighing for the decision."""
        faults: dict[str, str] = {}
        try:
            weights = list(map(self.weigh, pools))
        except (ExpressionError, *NONSENSE):
            weights = [self._weigh_or_0(pool, faults) for pool in pools]
        weights = self.settle(weights)
        return weights, Weighing(type(self).__name__, self.multiplier, [pool.name for pool in pools], weights, faults)

    def _weigh_or_0(self, pool: PoolState, faults: dict[str, str]) -> float:
        try:
            return self.weigh(pool)
        except (ExpressionError, *NONSENSE) as error:
            faults[pool.name] = str(error)
            return 0


class CapacityWeigher(Weigher):
    """Most free capacity first. A pool of unknown capacity always ranks last, whatever the sign."""

    def __init__(self, request: PlacementRequest) -> None:
        super().__init__(request)
        self.multiplier = request.config.capacity_weight_multiplier
        self.unlimited = -1 if self.multiplier > 0 else math.inf
        self.known = request.free
        self.default_ratio = request.config.max_over_subscription_ratio
        self.thick = request.thick

    def weigh(self, pool: PoolState) -> float:
        free = self.known.get(pool.name)
        if free is None:
            free = pool.virtual_free_gb(self.default_ratio, self.thick)
        return self.unlimited if free is None else free

    def settle(self, weights: list[float]) -> list[float]:
        """Put infinite weights far beyond the others; without any finite weight, all weigh 0."""
        if math.inf not in weights:
            return weights
        finite = [weight for weight in weights if weight != math.inf]
        if not finite:
            return [0.0] * len(weights)
        largest = max(finite)
        far = largest + ((largest - min(finite)) * _INFINITE_SPREADS or _INFINITE_OFFSET)
        return [far if weight == math.inf else weight for weight in weights]


class AllocatedCapacityWeigher(Weigher):
    """By the GiB of volumes there; by default the least first."""

    def __init__(self, request: PlacementRequest) -> None:
        super().__init__(request)
        self.multiplier = request.config.allocated_capacity_weight_multiplier

    def weigh(self, pool: PoolState) -> float:
        allocated: float = pool.allocated_capacity_gb
        return allocated


class VolumeNumberWeigher(Weigher):
    """By the number of volumes there; by default the fewest first."""

    def __init__(self, request: PlacementRequest) -> None:
        super().__init__(request)
        self.multiplier = request.config.volume_number_multiplier

    def weigh(self, pool: PoolState) -> float:
        return self.request.facts.volume_counts.get(pool.host, 0)


class GoodnessWeigher(Weigher):
    """By the backend's own ``goodness_function``, 0 to 100; any other value weighs 0."""

    def weigh(self, pool: PoolState) -> float:
        function = pool.capabilities.get('goodness_function')
        if function is None:
            return 0
        values = list(evaluate_each(str(function), goodness_stats(pool), pool, self.request.spec))
        ratings = [_rating(value) for value in values if not isinstance(value, ExpressionError)]
        if not ratings:
            raise next(value for value in values if isinstance(value, ExpressionError))
        return max(ratings)


def _rating(value: float) -> float:
    if isinstance(value, bool):
        return 100 if value else 0
    return value if 0 <= value <= 100 else 0


class ChanceWeigher(Weigher):
    """At random."""

    def weigh(self, pool: PoolState) -> float:
        return self.request.rng.random()


WEIGHERS: dict[str, type[Weigher]] = {
    weigher.__name__: weigher
    for weigher in (AllocatedCapacityWeigher, CapacityWeigher, ChanceWeigher, GoodnessWeigher, VolumeNumberWeigher)
}


def weigh_pools(request: PlacementRequest, pools: list[PoolState]) -> tuple[list[Candidate], list[Weighing]]:
    """Return the candidates, best first, and the weighing of every weigher."""
    return HANDLERS[request.config.scheduler_weight_handler](request, pools)


def ordered(request: PlacementRequest, pools: list[PoolState]) -> tuple[list[Candidate], list[Weighing]]:
    """Sort by the sum of normalised weights (OrderedHostWeightHandler); ties keep the order of the pools."""
    totals, weighings = _totals(request, pools, normalise)
    best_first = sorted(range(len(pools)), key=totals.__getitem__, reverse=True)
    return [Candidate(pools[index], totals[index]) for index in best_first], weighings


def stochastic(request: PlacementRequest, pools: list[PoolState]) -> tuple[list[Candidate], list[Weighing]]:
    """Draw the winner, with chances by the sum of raw weights (StochasticHostWeightHandler).

    The others follow in the order of the pools, from the winner on, cyclically: they are not sorted.
    """
    totals, weighings = _totals(request, pools, lambda weights: weights)
    reached = list(itertools.accumulate(totals))
    point = request.rng.random() * reached[-1]
    winner = next((index for index, bound in enumerate(reached) if bound > point), 0)
    candidates = [Candidate(pool, weight) for pool, weight in zip(pools, totals, strict=True)]
    return candidates[winner:] + candidates[:winner], weighings


def _totals(
    request: PlacementRequest, pools: list[PoolState], scale: Callable[[list[float]], list[float]]
) -> tuple[list[float], list[Weighing]]:
    totals = [0.0] * len(pools)
    weighings = []
    for name in request.config.scheduler_default_weighers:
        weights, weighing = WEIGHERS[name](request).run(pools)
        multiplier = weighing.multiplier
        totals = [total + multiplier * weight for total, weight in zip(totals, scale(weights), strict=True)]
        weighings.append(weighing)
    return totals, weighings


def normalise(weights: list[float]) -> list[float]:
    """Map the smallest weight to 0 and the largest to 1; all to 0 if they are equal. One pool alone weighs 0."""
    smallest, largest = min(weights), max(weights)
    if smallest == largest:
        return [0.0] * len(weights)
    spread = float(largest) - float(smallest)
    return [(weight - smallest) / spread for weight in weights]


Handler = Callable[[PlacementRequest, list[PoolState]], tuple[list[Candidate], list[Weighing]]]
HANDLERS: dict[str, Handler] = {'OrderedHostWeightHandler': ordered, 'StochasticHostWeightHandler': stochastic}
