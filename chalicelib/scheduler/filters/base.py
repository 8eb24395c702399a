"""The base of filters: a test of one pool that gives the reason when the pool does not pass."""

from __future__ import annotations

import abc
from collections.abc import Hashable, Sequence

from chalicelib.scheduler.decision import Removal
from chalicelib.scheduler.placement_request import NONSENSE, PlacementRequest
from chalicelib.scheduler.pools import PoolState

_BROKEN = 'the report cannot be compared with the request'


class Filter(abc.ABC):
    """Created for every request. The constructor raises Invalid for a malformed hint."""

    def __init__(self, request: PlacementRequest) -> None:
        self.request = request

    @property
    def is_idle(self) -> bool:
        """Whether the request has nothing that this filter checks: every pool passes."""
        return False

    @abc.abstractmethod
    def refuse(self, pool: PoolState) -> Hashable:
        """Return None if the pool passes, else the reason: a key that pools refused for the same reason share.

        May raise NONSENSE: the pool does not pass.
        """

    def explain(self, key: Hashable, pools: Sequence[PoolState]) -> tuple[str, str]:
        """Return (reason, detail) for pools that were refused with ``key``.

        The reason is shown to users: no names of hosts, no extra specs, no functions of backends. The
        detail is for operators.
        """
        return str(key), ''

    def run(self, pools: list[PoolState]) -> tuple[list[PoolState], list[Removal]]:
        """Return the pools that pass, in their order, and the others by reason."""
        if self.is_idle:
            return pools, []
        passed: list[PoolState] = []
        refused: dict[Hashable, list[PoolState]] = {}
        broken: dict[str, list[PoolState]] = {}
        refuse = self.refuse
        for pool in pools:
            try:
                key = refuse(pool)
            except NONSENSE as error:
                broken.setdefault(f'{type(error).__name__}: {error}', []).append(pool)
                continue
            if key is None:
                passed.append(pool)
            else:
                refused.setdefault(key, []).append(pool)
        removed = [self._removal(group, *self.explain(key, group)) for key, group in refused.items()]
        return passed, removed + [self._removal(group, _BROKEN, text) for text, group in broken.items()]

    def _removal(self, pools: Sequence[PoolState], reason: str, detail: str) -> Removal:
        return Removal(type(self).__name__, tuple(pool.name for pool in pools), reason, detail)
