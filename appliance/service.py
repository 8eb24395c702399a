"""The agent's verbs. Each may be repeated, by anybody, after a crash at any point, and then gives the same result.

A verb holds the locks of the objects it touches. The store says what exists; the journal says who may reach it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any

from appliance import __version__, names
from appliance.errors import ApplianceError, Busy, Conflict, Invalid, NotFound
from appliance.exports import Exports, view
from appliance.journal import Journal, Record
from appliance.locks import KeyedLocks
from appliance.names import Key
from appliance.pools import Pools
from appliance.store import Store

Answer = dict[str, Any]

#: Keeps all hosts waiting: nobody writes until the block ends.
Pause = Callable[[], AbstractContextManager[None]]

#: What stands before the name of an object that was let go of.
RELEASED = 'unmanaged-'

#: Key in a volume's source -> the kind of name it holds.
_SOURCES = {'volume': 'volume', 'snapshot': 'snapshot', 'existing': 'any'}


class Appliance:
    def __init__(
        self, store: Store, pools: Pools, journal: Journal, exports: Exports, portals: list[str],
        pause: Pause | None = None,
    ) -> None:  # fmt: skip
        """``portals`` are ``ip:port`` as initiators reach them. ``pause`` comes with a tgtd of the agent's own."""
        self._store = store
        self._pools = pools
        self._journal = journal
        self._exports = exports
        self._portals = portals
        self._pause = pause
        self._locks = KeyedLocks()

    def recover(self, adopt: bool) -> None:
        """After a start: finish what a crash interrupted and serve every export again, before any request."""
        self._store.recover()
        for key, _ in self._journal.items():
            if self._store.size(key) is None:
                self._journal.remove(key)
        self._exports.restore(adopt)

    def reconcile(self, compare: bool = False) -> bool:
        """Finish what verbs left unsettled at tgtd; with ``compare`` look at every target. Return whether all is well.

        Raises NoAnswer if tgtd is away.
        """
        self._exports.check_answers()
        found = self._exports.unsettled()
        if compare:
            self._remove_strays()
            found += [key for key in self._exports.compare() if key not in found]
        return sum(map(self._settle, found)) == len(found)

    def _settle(self, key: Key) -> bool:
        try:
            with self._locks.holding(key):
                if not self._exports.is_unsettled(key):  # a verb was at it
                    return True
                self._exports.settle(key)
        except ApplianceError as error:
            print(f'exports of {key} are not as they should be: {error}', file=sys.stderr)
            return False
        print(f'exports of {key} are as they should be again', file=sys.stderr)
        return True

    def _remove_strays(self) -> None:
        """Remove targets of ours without an export. At a shared tgtd only a LUN's path says that a target is ours."""
        for name, info in self._exports.strays():
            keys = [Key(pool, name) for pool in self._pools]
            path = info.lun.path if info.lun else ''
            if self._pause or path in map(self._store.path, keys):
                print(f'tgtd has a target {info.iqn} that no export has: removing it', file=sys.stderr)
                with self._locks.holding(*keys):
                    self._exports.remove_stray(keys, info.iqn)

    # What there is

    def health(self) -> Answer:
        return {'status': 'ok', 'version': __version__}

    def capacity(self) -> Answer:
        """What Cinder's report of a backend needs."""
        pools = [{'name': pool, **self._pools.usage(pool)._asdict()} for pool in self._pools]
        copies = self._store.copies_attached
        groups = copies and self._pause is not None
        return {'pools': pools, 'copies_attached': copies, 'copies_groups': groups, 'portals': self._portals}

    def list_sessions(self) -> Answer:
        return {'sessions': self._exports.sessions()}

    def list_objects(self, pool: str) -> Answer:
        """Names of all objects of the pool, those that are not Cinder's included."""
        self._pools.check(pool)
        return {'objects': sorted(self._store.objects(pool))}

    def list_manageable(self, pool: str) -> Answer:
        """All objects of the pool with what tells whether and as what they can be managed."""
        self._pools.check(pool)
        found = sorted(self._store.objects(pool).items())
        return {'objects': [self._manageable(Key(pool, name), one.size) for name, one in found]}

    def _manageable(self, key: Key, size: int) -> Answer:
        record = self._journal.get(key)
        facts = {'source': record.source, 'exported': bool(record.exports), 'deployment': record.deployment}
        return {'name': key.name, 'size_bytes': size, **facts}

    def list_exports(self, pool: str) -> Answer:
        self._pools.check(pool)
        records = [(key, record.exports) for key, record in self._journal.items() if key.pool == pool]
        return {'exports': [view(key, id_, export) for key, exports in records for id_, export in exports.items()]}

    def show(self, key: Key) -> Answer:
        size, record = self._existing(key), self._journal.get(key)
        return {'name': key.name, 'size_bytes': size, 'source': record.source, 'exports': sorted(record.exports)}

    # Volumes and snapshots

    def create_volume(
        self, key: Key, size_bytes: int, source: Mapping[str, str] | None = None, deployment: str = ''
    ) -> Answer:
        """``source`` is {'volume' | 'snapshot' | 'existing': name, 'pool': of the source, if another one}."""
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

    def create_snapshot(self, key: Key, volume: str, existing: str | None = None, deployment: str = '') -> Answer:
        """``existing`` is an object that becomes the snapshot, instead of a copy of the volume as it is now."""
        origin = Key(key.pool, existing or volume)
        with self._locks.holding(key, origin):
            self._pools.check(key.pool)
            if self._store.size(key) is None:
                if existing is None:
                    self._copy(key, self._existing(origin), origin)
                else:
                    self._rename(origin, key.name, Record(volume))
            elif self._journal.get(key).source != volume:
                raise Conflict(f'{key} exists and is no snapshot of {volume}')
            self._mark(key, deployment)
            return self.show(key)

    def create_snapshots(self, snapshots: Mapping[Key, str], deployment: str = '') -> Answer:
        """Snapshots of several volumes as of one moment, all or none; ``snapshots`` tells the volume of each.

        If only some are there, an attempt was cut off: they are of another moment, and all are taken anew.
        """
        origins = {key: Key(key.pool, volume) for key, volume in snapshots.items()}
        with self._locks.holding(*origins, *origins.values()):
            for key, origin in origins.items():
                self._existing(origin)
                if self._store.size(key) is not None and self._journal.get(key).source != origin.name:
                    raise Conflict(f'{key} exists and is no snapshot of {origin.name}')
            if any(self._store.size(key) is None for key in origins):
                self._drop_all(origins)
                self._copy_at_once(origins)
            for key in origins:
                self._mark(key, deployment)
            return {'snapshots': [self.show(key) for key in origins]}

    def extend_volume(self, key: Key, size_bytes: int) -> Answer:
        """A volume that is as large, or larger, is the result. Open sessions see a short loss of the connection.

        Nothing changes while tgtd is away. If it goes away in the middle, ``reconcile`` shows the new size later.
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
        """Bring back the snapshot's data; the volume keeps its size. Not while a session is open."""
        origin = Key(key.pool, snapshot)
        with self._locks.holding(key, origin):
            size = self._existing(key)
            self._existing(origin)
            if self._journal.get(origin).source != key.name:
                raise Invalid(f'{origin} is no snapshot of {key}')
            with self._exports.held(key):
                self._exports.unload(key)
                with self._pools.claim(key, 0, self._written(origin)):
                    self._store.copy(origin, key, size)
            return self.show(key)

    def release(self, key: Key) -> Answer:
        """Let go of an object: its data stays, under a name that is no volume's or snapshot's. Not while one reads it.

        The name that it has then follows from the one that it had; an object that is gone was let go of before.
        """
        with self._locks.holding(key):
            self._pools.check(key.pool)
            if self._store.size(key) is not None:
                with self._exports.held(key):
                    self._exports.remove_all(key)
                    self._rename(key, f'{RELEASED}{key.name}', Record(self._journal.get(key).source))
            return {}

    def delete(self, key: Key) -> Answer:
        """Remove a volume or snapshot, its exports first. Not while a session is open."""
        with self._locks.holding(key):
            self._pools.check(key.pool)
            self._drop(key)
            return {}

    # Exports

    def create_export(self, key: Key, export_id: str, initiator: str, mode: str) -> Answer:
        """Let one initiator reach an object. A snapshot is read-only."""
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
            raise NotFound(f'there is no {key}')
        return size

    def _mark(self, key: Key, deployment: str) -> None:
        """Note who made the object. A start drops the note of an object that was never made."""
        record = self._journal.get(key)
        if deployment and record.deployment != deployment:
            self._journal.put(key, dataclasses.replace(record, deployment=deployment))

    def _drop(self, key: Key) -> None:
        with self._exports.held(key):
            self._exports.remove_all(key)
            self._store.delete(key)
            self._journal.remove(key)

    def _drop_all(self, keys: Collection[Key]) -> None:
        for key in keys:
            self._drop(key)

    def _copy_at_once(self, origins: Mapping[Key, Key]) -> None:
        """Only one that is written to is of one moment by itself; more of them must wait for each other."""
        written = [origin for origin in origins.values() if self._exports.is_writable(origin)]
        if len(written) > 1 and self._store.copies_attached and self._pause is None:
            raise Busy('the hosts of several attached volumes cannot be kept waiting here: detach all but one')
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
        """Bring an object that is not Cinder's under a volume's name, at that volume's size."""
        current = self._existing(origin)
        if origin.pool != key.pool or current > size:
            raise Invalid(f'{origin} of {current} bytes cannot become {key} of {size} bytes')
        if self._journal.get(origin).exports:
            raise Busy(f"{origin} is exported: it is somebody's volume already")
        with self._pools.claim(key, size - current):
            self._store.grow(origin, size)
            self._store.rename(origin, key.name)

    def _rename(self, key: Key, name: str, record: Record) -> None:
        """Give an object another name and record. A start drops the record whose object a crash left out."""
        self._existing(key)
        if self._journal.get(key).exports:
            raise Busy(f'{key} is exported: take its exports away first')
        self._journal.put(Key(key.pool, name), record)
        self._store.rename(key, name)
        self._journal.remove(key)

    def _copy(self, key: Key, size: int, origin: Key) -> None:
        if size < self._existing(origin):
            raise Invalid(f'{size} bytes are less than {origin} has')
        if not self._store.copies_attached and self._exports.is_writable(origin):
            raise Busy(f'{origin} is attached, and this store cannot copy it as of one moment: detach it first')
        with self._pools.claim(key, size, self._written(origin)):
            self._journal.put(key, dataclasses.replace(self._journal.get(key), source=origin.name))
            try:
                self._store.copy(origin, key, size)
            except ApplianceError:
                self._journal.remove(key)
                raise

    def _written(self, origin: Key) -> int:
        """Bytes that a copy writes at once."""
        return 0 if self._store.copies_attached else self._store.objects(origin.pool)[origin.name].used


def _source(key: Key, source: Mapping[str, str]) -> tuple[str, Key | None]:
    """What a volume is made from. Raises Invalid."""
    if not source:
        return '', None
    kinds = [kind for kind in _SOURCES if kind in source]
    if len(kinds) != 1 or not set(source) <= {*_SOURCES, 'pool'}:
        raise Invalid(f'a source has one of {", ".join(_SOURCES)}, and may have pool; got {sorted(source)}')
    pool = names.check('pool', source.get('pool', key.pool))
    return kinds[0], Key(pool, names.check(_SOURCES[kinds[0]], source[kinds[0]]))
