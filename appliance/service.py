"""The agent's verbs. Each may be repeated after a crash at any point, with the same result.

A verb holds the locks of its objects. The store holds the objects; the journal holds their exports.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any

from appliance import __version__, extents, names
from appliance.errors import ApplianceError, Busy, Conflict, Invalid, NotComparable, NotFound
from appliance.exports import Exports, view
from appliance.journal import Journal, Record
from appliance.kept import KeptSnapshots
from appliance.locks import KeyedLocks
from appliance.names import Key
from appliance.pools import Pools
from appliance.store import Store

Answer = dict[str, Any]

#: Suspends all hosts until the block ends.
Pause = Callable[[], AbstractContextManager[None]]

#: The prefix of an unmanaged object's name.
RELEASED = 'unmanaged-'

#: Ranges in one answer to ``list_changes``.
CHANGES_PAGE = 8192

#: Key in a volume's source -> the kind of name it holds.
_SOURCES = {'volume': 'volume', 'snapshot': 'snapshot', 'existing': 'any'}


class Appliance:
    def __init__(
        self, store: Store, pools: Pools, journal: Journal, exports: Exports, portals: list[str],
        pause: Pause | None = None,
    ) -> None:  # fmt: skip
        """``portals`` are ``ip:port`` for initiators. ``pause`` requires a tgtd of the agent's own."""
        self._store = store
        self._pools = pools
        self._journal = journal
        self._exports = exports
        self._portals = portals
        self._pause = pause
        self._locks = KeyedLocks()
        self._kept = KeptSnapshots(store, pools, journal, self._locks, self._drop)

    def recover(self, adopt: bool) -> None:
        """At start, before any request: finish what a crash interrupted, and serve every export again."""
        self._store.recover()
        for key, _ in self._journal.items():
            if self._store.size(key) is None:
                self._journal.remove(key)
        self._exports.restore(adopt)
        self._kept.tidy()

    def reconcile(self, compare: bool = False) -> bool:
        """Finish unsettled changes in tgtd; with ``compare`` check every target. Return whether all is settled.

        Raises NoAnswer if tgtd does not answer.
        """
        self._exports.check_answers()
        found = self._exports.unsettled()
        if compare:
            self._remove_strays()
            self._kept.tidy()
            found += [key for key in self._exports.compare() if key not in found]
        return sum(map(self._settle, found)) == len(found)

    def _settle(self, key: Key) -> bool:
        try:
            with self._locks.holding(key):
                if not self._exports.is_unsettled(key):  # a verb settled it
                    return True
                self._exports.settle(key)
        except ApplianceError as error:
            print(f'exports of {key} are not served correctly: {error}', file=sys.stderr)
            return False
        print(f'exports of {key} are served correctly again', file=sys.stderr)
        return True

    def _remove_strays(self) -> None:
        """Remove the agent's targets without an export. In a shared tgtd a LUN's path identifies them."""
        for name, info in self._exports.strays():
            keys = [Key(pool, name) for pool in self._pools]
            path = info.lun.path if info.lun else ''
            if self._pause or path in map(self._store.path, keys):
                print(f'tgtd has a target {info.iqn} that no export has: removing it', file=sys.stderr)
                with self._locks.holding(*keys):
                    self._exports.remove_stray(keys, info.iqn)

    # Reports

    def health(self) -> Answer:
        return {'status': 'ok', 'version': __version__}

    def capacity(self) -> Answer:
        """Return the capacities for Cinder's report of a backend."""
        pools = [{'name': pool, **self._pools.usage(pool)._asdict()} for pool in self._pools]
        copies = self._store.copies_attached
        groups = copies and self._pause is not None
        return {'pools': pools, 'copies_attached': copies, 'copies_groups': groups, 'portals': self._portals}

    def list_sessions(self) -> Answer:
        return {'sessions': self._exports.sessions()}

    def list_objects(self, pool: str) -> Answer:
        """Return the names of all objects of the pool, including those that are not Cinder's."""
        self._pools.check(pool)
        return {'objects': sorted(self._store.objects(pool))}

    def list_manageable(self, pool: str) -> Answer:
        """Return all objects of the pool, with what decides how they can be managed."""
        self._pools.check(pool)
        found = sorted(self._store.objects(pool).items())
        return {'objects': [self._manageable(Key(pool, name), one.size) for name, one in found]}

    def _manageable(self, key: Key, size: int) -> Answer:
        record = self._journal.get(key)
        facts = {'source': record.source, 'exported': bool(record.exports), 'deployment': record.deployment}
        return {'name': key.name, 'size_bytes': size, **facts, 'kept': record.kept}

    def list_exports(self, pool: str) -> Answer:
        self._pools.check(pool)
        records = [(key, record.exports) for key, record in self._journal.items() if key.pool == pool]
        return {'exports': [view(key, id_, export) for key, exports in records for id_, export in exports.items()]}

    def show(self, key: Key) -> Answer:
        size, record = self._existing(key), self._journal.get(key)
        facts = {'source': record.source, 'exports': sorted(record.exports), 'kept': record.kept}
        return {'name': key.name, 'size_bytes': size, **facts}

    # Volumes and snapshots

    def create_volume(
        self, key: Key, size_bytes: int, source: Mapping[str, str] | None = None, deployment: str = ''
    ) -> Answer:
        """``source`` is {'volume' | 'snapshot' | 'existing': name, 'pool': of the source, if it is another one}."""
        kind, origin = _source(key, source or {})
        with self._locks.holding(*filter(None, (key, origin))):
            self._pools.check(key.pool)
            size = self._store.size(key)
            self._mark(key, deployment)
            if size is None:
                self._create(key, size_bytes, kind, origin)
            elif size != size_bytes:
                raise Conflict(f'{key} exists with {size} bytes, not {size_bytes}')
            return self.show(key)

    def create_snapshot(
        self, key: Key, volume: str, existing: str | None = None, deployment: str = '', kept: bool = False
    ) -> Answer:
        """``existing`` is an object that becomes the snapshot, instead of a copy of the volume.

        ``kept``: it is deleted with the volume, and needed only for ``list_changes``.
        """
        origin = Key(key.pool, existing or volume)
        with self._locks.holding(key, origin):
            self._pools.check(key.pool)
            if self._store.size(key) is None:
                if kept and not self._kept.is_possible(key.pool):
                    raise NotComparable(f'pool {key.pool} compares no snapshots, or is short of space')
                if existing is None:
                    self._copy(key, self._existing(origin), origin, kept=int(time.time()) if kept else 0)
                else:
                    self._rename(origin, key.name, Record(volume))
            elif self._journal.get(key).source != volume:
                raise Conflict(f'{key} exists and is not a snapshot of {volume}')
            self._mark(key, deployment)
            return self.show(key)

    def create_snapshots(self, snapshots: Mapping[Key, str], deployment: str = '') -> Answer:
        """Take snapshots of several volumes at one point in time, all or none; ``snapshots`` names each one's volume.

        If only some exist, they are of an interrupted attempt: all are taken again.
        """
        origins = {key: Key(key.pool, volume) for key, volume in snapshots.items()}
        with self._locks.holding(*origins, *origins.values()):
            for key, origin in origins.items():
                self._existing(origin)
                if self._store.size(key) is not None and self._journal.get(key).source != origin.name:
                    raise Conflict(f'{key} exists and is not a snapshot of {origin.name}')
            if any(self._store.size(key) is None for key in origins):
                self._drop_all(origins)
                self._copy_at_once(origins)
            for key in origins:
                self._mark(key, deployment)
            return {'snapshots': [self.show(key) for key in origins]}

    def list_changes(self, key: Key, older: str, start: str, stop: str) -> Answer:
        """Return the ranges, (offset, length) in bytes, ascending, in which a snapshot may differ from an older one.

        All beyond the older one's end differs. ``next`` is where the following page starts, or None. Raises
        NotComparable.
        """
        other, first, last = Key(key.pool, older), int(start), int(stop)
        with self._locks.holding(key, other):
            last = min(last, self._existing(key))
            end = max(first, min(last, self._existing(other)))
            if self._journal.get(key).source != self._journal.get(other).source:
                raise NotComparable(f'{key} and {other} are not of one volume')
            parts = self._store.changes(key, other, first, end) if first < end else ()
            whole = extents.joined(itertools.chain(parts, [(end, last)] if end < last else []))
            page = list(itertools.islice(whole, CHANGES_PAGE))
            whole.close()
        more = len(page) == CHANGES_PAGE and page[-1][1] < last
        return {'changes': [[one, two - one] for one, two in page], 'next': page[-1][1] if more else None}

    def retire_snapshot(self, key: Key) -> Answer:
        """Keep the snapshot of a finished backup for ``list_changes``, or delete it; a missing one is not kept."""
        self._pools.check(key.pool)
        return {'kept': self._kept.retire(key)}

    def extend_volume(self, key: Key, size_bytes: int) -> Answer:
        """Grow a volume; a larger one stays as it is. Open sessions lose the connection briefly.

        Nothing changes while tgtd does not answer. If it ends half-way, ``reconcile`` exports the new size later.
        """
        with self._locks.holding(key):
            size = self._existing(key)
            self._exports.begin(key)
            if size < size_bytes:
                with self._pools.claim(key, size_bytes - size):
                    self._store.grow(key, size_bytes)
            self._exports.settle(key)
            return self.show(key)

    def revert_volume(self, key: Key, snapshot: str) -> Answer:
        """Restore the snapshot's data; the volume keeps its size. Not while a session is open."""
        origin = Key(key.pool, snapshot)
        with self._locks.holding(key, origin):
            size = self._existing(key)
            self._existing(origin)
            if self._journal.get(origin).source != key.name:
                raise Invalid(f'{origin} is not a snapshot of {key}')
            with self._exports.refusing_logins(key):
                self._exports.unload(key)
                with self._pools.claim(key, 0, self._written(origin)):
                    self._store.copy(origin, key, size)
            return self.show(key)

    def release(self, key: Key) -> Answer:
        """Stop managing an object: its data stays, under a name that is not Cinder's. Not while a session is open.

        The new name is derived from the old one; a missing object counts as released before.
        """
        with self._locks.holding(key):
            self._pools.check(key.pool)
            if self._store.size(key) is not None:
                with self._exports.refusing_logins(key):
                    self._exports.remove_all(key)
                    self._rename(key, f'{RELEASED}{key.name}', Record(self._journal.get(key).source))
        self._kept.drop_of(key)
        return {}

    def delete(self, key: Key) -> Answer:
        """Delete a volume or snapshot, its exports first. Not while a session is open."""
        with self._locks.holding(key):
            self._pools.check(key.pool)
            self._drop(key)
        self._kept.drop_of(key)
        return {}

    def make_room(self) -> bool:
        """Delete the snapshots kept of backups, for a request that found no space; return whether there were any."""
        return self._kept.make_room()

    # Exports

    def create_export(self, key: Key, export_id: str, initiator: str, mode: str) -> Answer:
        """Export an object to one initiator. A snapshot is read-only."""
        if key.is_snapshot and mode != 'ro':
            raise Invalid(f'{key} is a snapshot: export it with mode ro')
        with self._locks.holding(key):
            self._existing(key)
            export = self._exports.put(key, export_id, initiator, mode)
            return {**view(key, export_id, export), 'portals': self._portals}

    def delete_export(self, key: Key, export_id: str) -> Answer:
        with self._locks.holding(key):
            self._pools.check(key.pool)
            self._exports.remove(key, export_id)
            return {}

    def delete_exports(self, key: Key) -> Answer:
        with self._locks.holding(key):
            self._pools.check(key.pool)
            self._exports.remove_all(key)
            return {}

    # Steps; the caller holds the locks

    def _existing(self, key: Key) -> int:
        self._pools.check(key.pool)
        size = self._store.size(key)
        if size is None:
            raise NotFound(f'{key} does not exist')
        return size

    def _mark(self, key: Key, deployment: str) -> None:
        """Record who made the object. The next start deletes the record of an object that was never made."""
        record = self._journal.get(key)
        if deployment and record.deployment != deployment:
            self._journal.put(key, dataclasses.replace(record, deployment=deployment))

    def _drop(self, key: Key) -> None:
        with self._exports.refusing_logins(key):
            self._exports.remove_all(key)
            self._store.delete(key)
            self._journal.remove(key)

    def _drop_all(self, keys: Collection[Key]) -> None:
        for key in keys:
            self._drop(key)

    def _copy_at_once(self, origins: Mapping[Key, Key]) -> None:
        """One volume with a writer is consistent; several require suspended hosts."""
        written = [origin for origin in origins.values() if self._exports.is_writable(origin)]
        if len(written) > 1 and self._store.copies_attached and self._pause is None:
            raise Busy('the hosts of several attached volumes cannot be suspended here: detach all but one')
        for origin in written:
            self._store.flush(origin)
        try:
            with self._pause() if self._pause and len(written) > 1 else contextlib.nullcontext():
                for key, origin in origins.items():
                    self._copy(key, self._existing(origin), origin)
        except ApplianceError:
            self._drop_all(origins)
            raise

    def _create(self, key: Key, size: int, kind: str, origin: Key | None) -> None:
        if origin is None:
            with self._pools.claim(key, size):
                self._store.create(key, size)
        elif kind == 'existing':
            self._manage(key, size, origin)
        else:
            self._copy(key, size, origin)

    def _manage(self, key: Key, size: int, origin: Key) -> None:
        """Rename an object that is not Cinder's to a volume's name, and grow it to that volume's size."""
        current = self._existing(origin)
        if origin.pool != key.pool or current > size:
            raise Invalid(f'{origin} of {current} bytes cannot become {key} of {size} bytes')
        if self._journal.get(origin).exports:
            raise Busy(f'{origin} is exported: it is already a volume in use')
        with self._pools.claim(key, size - current):
            self._store.grow(origin, size)
            self._store.rename(origin, key.name)

    def _rename(self, key: Key, name: str, record: Record) -> None:
        """Rename an object with its record. The next start deletes a record without an object."""
        self._existing(key)
        if self._journal.get(key).exports:
            raise Busy(f'{key} is exported: remove its exports first')
        self._journal.put(Key(key.pool, name), record)
        self._store.rename(key, name)
        self._journal.remove(key)

    def _copy(self, key: Key, size: int, origin: Key, kept: int = 0) -> None:
        if size < self._existing(origin):
            raise Invalid(f'{size} bytes are less than {origin} has')
        if not self._store.copies_attached and self._exports.is_writable(origin):
            raise Busy(f'{origin} is attached, and this store cannot make a consistent copy of it: detach it first')
        with self._pools.claim(key, size, self._written(origin)):
            self._journal.put(key, dataclasses.replace(self._journal.get(key), source=origin.name, kept=kept))
            try:
                self._store.copy(origin, key, size)
            except ApplianceError:
                self._journal.remove(key)
                raise

    def _written(self, origin: Key) -> int:
        """Return the bytes that a copy writes at once."""
        return 0 if self._store.copies_attached else self._store.objects(origin.pool)[origin.name].used


def _source(key: Key, source: Mapping[str, str]) -> tuple[str, Key | None]:
    """Return the source of a volume. Raises Invalid."""
    if not source:
        return '', None
    kinds = [kind for kind in _SOURCES if kind in source]
    if len(kinds) != 1 or not set(source) <= {*_SOURCES, 'pool'}:
        raise Invalid(f'a source has one of {", ".join(_SOURCES)}, and may have pool; got {sorted(source)}')
    pool = names.check('pool', source.get('pool', key.pool))
    return kinds[0], Key(pool, names.check(_SOURCES[kinds[0]], source[kinds[0]]))
