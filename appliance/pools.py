"""Capacity: each pool's configured capacity, within that of the store."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from appliance.errors import Full, NoPool, OutOfSpace
from appliance.names import Key
from appliance.store import Store

#: Bytes kept free for the store's metadata.
RESERVE = 16 * 1024**2


#: A pool with less than this share of its capacity free keeps no snapshots of backups.
LEAST_FREE = 0.1


class Usage(NamedTuple):
    """``provisioned`` is the sum of all sizes but of kept snapshots, ``free`` the bytes that can still be written."""

    total_bytes: int
    free_bytes: int
    provisioned_bytes: int
    objects: int


class Pools:
    """``capacities`` in bytes, 0 for the store's whole capacity. ``ratio``: Cinder's max_over_subscription_ratio. An
    object may be larger than its pool (Cinder: thin pools). ``kept``: the snapshots kept in a pool, each with the bytes
    that only it has."""

    def __init__(
        self,
        store: Store,
        capacities: Mapping[str, int],
        ratio: float,
        kept: Callable[[str], Mapping[str, int]] = lambda pool: {},
    ) -> None:
        self._store = store
        self._kept = kept
        self._capacities = capacities
        self._ratio = ratio
        self._lock = threading.Lock()
        self._claimed = dict.fromkeys(capacities, 0)

    def __iter__(self) -> Iterator[str]:
        return iter(self._capacities)

    def check(self, pool: str) -> None:
        """Raises NoPool."""
        if pool not in self._capacities:
            raise NoPool(f'pool {pool} does not exist; this agent has {", ".join(self._capacities)}')

    def usage(self, pool: str) -> Usage:
        medium = self._store.medium()
        objects, kept = self._store.objects(pool), self._kept(pool)
        used = sum(kept.get(name, found.used) for name, found in objects.items())
        total = min(self._capacities[pool] or medium.total, medium.total)
        free = min(total - used, medium.free - RESERVE)
        promised = sum(found.size for name, found in objects.items() if name not in kept)
        return Usage(total, max(free, 0), promised, len(objects))

    def is_short(self, pool: str) -> bool:
        """Whether so little is free that no snapshots of backups are kept."""
        usage = self.usage(pool)
        return usage.free_bytes < usage.total_bytes * LEAST_FREE

    @contextlib.contextmanager
    def claim(self, key: Key, growth: int, written: int = 0) -> Iterator[None]:
        """Reserve capacity for an object that grows by ``growth`` bytes, ``written`` of them at once.

        Raises Full.
        """
        with self._lock:
            self._refuse(key, growth, written)
            self._claimed[key.pool] += growth
        try:
            yield
        finally:
            with self._lock:
                self._claimed[key.pool] -= growth

    def _refuse(self, key: Key, growth: int, written: int) -> None:
        usage = self.usage(key.pool)
        promised = usage.provisioned_bytes + self._claimed[key.pool] + growth
        if promised > usage.total_bytes * self._ratio:
            raise Full(f'pool {key.pool} of {usage.total_bytes} bytes cannot hold {promised} (ratio {self._ratio})')
        if usage.free_bytes <= written:
            raise OutOfSpace(f'pool {key.pool} has {usage.free_bytes} bytes left to write')
