"""Snapshots of finished backups, kept so that the next backup of their volume reads only what changed.

A kept snapshot is marked in the journal with the time. It is deleted with its volume, when the next one of its volume
is kept, and when its pool runs short of space. What a crash or an error leaves is deleted later: a kept snapshot
without a volume by ``tidy``, all others by the service, which knows the backups.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterable

from appliance.errors import ApplianceError
from appliance.journal import Journal
from appliance.locks import KeyedLocks
from appliance.names import Key
from appliance.pools import Pools
from appliance.store import Store


class KeptSnapshots:
    def __init__(
        self, store: Store, pools: Pools, journal: Journal, locks: KeyedLocks, drop: Callable[[Key], None]
    ) -> None:
        """``drop`` deletes an object whose lock the caller holds."""
        self._store = store
        self._pools = pools
        self._journal = journal
        self._locks = locks
        self._drop = drop

    def retire(self, key: Key) -> bool:
        """Keep a backup's snapshot in place of the others of its volume, or delete it; return whether it is kept.

        It is deleted where the store compares no snapshots, the pool is short of space, or the volume is gone.
        """
        volume = Key(key.pool, self._journal.get(key).source)
        with self._locks.holding(key, volume):
            if self._store.size(key) is None:
                return False
            if self._store.size(volume) is None or not self.is_possible(key.pool):
                self._drop(key)
                return False
            record = self._journal.get(key)
            self._journal.put(key, dataclasses.replace(record, kept=record.kept or int(time.time())))
        self._drop_all(other for other in self._of(volume) if other != key)
        return True

    def drop_of(self, volume: Key) -> None:
        """Delete the kept snapshots of a volume that is gone."""
        self._drop_all(self._of(volume))

    def tidy(self) -> None:
        """Delete the kept snapshots whose volume is gone, and all of a pool that is short; measure the others."""
        kept = self._all()
        self._measure(kept)
        short = {pool for pool in {key.pool for key in kept} if self._pools.is_short(pool)}
        self._drop_all(key for key in kept if key.pool in short or not self._has_volume(key))

    def _measure(self, keys: Iterable[Key]) -> None:
        """Only the bytes that a kept snapshot shares with no other object count as its use."""
        for key in keys:
            try:
                self._journal.measured(key, self._store.exclusive(key))
            except ApplianceError as error:  # it is deleted at this time
                print(f'{key}, kept of a backup, is not measured: {error}', file=sys.stderr)

    def make_room(self) -> bool:
        """Delete all kept snapshots; return whether there were any."""
        kept = self._all()
        self._drop_all(kept)
        return bool(kept)

    def is_possible(self, pool: str) -> bool:
        """Whether the store compares snapshots, and the pool has the space for them."""
        return self._store.compares() and not self._pools.is_short(pool)

    def _has_volume(self, key: Key) -> bool:
        return self._store.size(Key(key.pool, self._journal.get(key).source)) is not None

    def _all(self) -> list[Key]:
        return [Key(pool, name) for pool in self._pools for name in self._journal.kept(pool)]

    def _of(self, volume: Key) -> list[Key]:
        kept = (Key(volume.pool, name) for name in self._journal.kept(volume.pool))
        return [key for key in kept if self._journal.get(key).source == volume.name]

    def _drop_all(self, keys: Iterable[Key]) -> None:
        """Each under its own lock, unless it is no longer kept; one that cannot be deleted now stays."""
        for key in keys:
            try:
                with self._locks.holding(key):
                    if self._journal.get(key).kept:
                        self._drop(key)
            except ApplianceError as error:
                print(f'{key}, kept of a backup, is not deleted: {error}', file=sys.stderr)
