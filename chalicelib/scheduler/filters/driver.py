"""DriverFilter: the backend's own ``filter_function``."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from chalicelib.errors import ExpressionError
from chalicelib.scheduler.filters.base import Filter
from chalicelib.scheduler.functions import evaluate_each, stats
from chalicelib.scheduler.pools import PoolState


class DriverFilter(Filter):
    """Without a function the pool passes. With one that cannot be evaluated it does not."""

    def refuse(self, pool: PoolState) -> tuple[str, str] | None:
        """Return the function and its outcome."""
        function = pool.capabilities.get('filter_function')
        if function is None:
            return None
        outcome = 'it is false'
        for value in evaluate_each(str(function), stats(pool), pool, self.request.spec):
            if isinstance(value, ExpressionError):
                outcome = value.message
            elif value:
                return None
        return str(function), outcome

    def explain(self, key: Hashable, pools: Sequence[PoolState]) -> tuple[str, str]:
        assert isinstance(key, tuple)
        return "the backend's own rules refuse the request", f'filter_function {key[0]!r}: {key[1]}'
