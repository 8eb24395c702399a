"""The garbage collector: mark and sweep the objects that no backup of a lineage can refer to any more.

Packs belong to one shard, and only manifests of that shard refer to them. So each shard is marked and swept separately,
in bounded memory and time. The order of the reads makes this safe while backups and deletes run:

1. the objects of the shard;  2. tombstones;  3. manifests;  4. intents;  then references are read, and last of all
5. the lease is confirmed, and objects seen in 1 to which nothing refers are deleted.

A backup that may refer to a pack later is either seen in 4: then all that it wrote and its parent refers to is live.
Or it began after 4: then its parent existed after 4, and was seen in 3 or 4. Only the collector removes intents,
those of backups long finished or deleted, so none can vanish between 3 and 4 unless the lease was lost.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from chalicelib.backup import documents, layout, shards
from chalicelib.backup.limits import Cursor, SecondsLeft
from chalicelib.backup.listing import ShardRef
from chalicelib.backup.repository import ObjectInfo, Repository
from chalicelib.errors import IntegrityError, ObjectMissing

#: Seconds that an object must be old to be deleted, and that a tombstone stays. Longer than a worker can run on after
#: its backup was deleted; the duration of a backup does not matter.
GRACE = 48 * 3600.0

#: Objects of one shard, by the first segment of their keys.
_KINDS = ('packs', 'partial', 'shards')


class Lease(Protocol):
    """The right to collect a lineage, granted to one collector at a time with a fencing token."""

    def confirm(self) -> None:
        """Check that this collector's token is still the newest one granted. Raises LeaseLost."""


class Collected(NamedTuple):
    """Objects and bytes deleted by this call. Pass ``cursor`` to the next call unless ``done``."""

    done: bool
    cursor: Cursor | None
    objects: int
    bytes: int


class _Census(NamedTuple):
    """The backups that are not deleted: the finished ones, and the running ones with their parents' ids."""

    finished: set[str]
    running: dict[str, str | None]


def collect(
    repository: Repository,
    lineage: str,
    *,
    lease: Lease,
    grace: float = GRACE,
    clock: Callable[[], float] = time.time,
    seconds_left: SecondsLeft = lambda: math.inf,
    reserve: float = 20.0,
    cursor: Cursor | None = None,
) -> Collected:
    """Delete what no backup of the lineage needs. Needs no key. May be killed at any point and repeated.

    Checks the time between shards. Raises LeaseLost; IntegrityError when a manifest that must be marked from is
    damaged or missing: then nothing of its shard is deleted until that backup is deleted.
    """
    sweep = _Sweep(repository, layout.check_id(lineage), lease, clock() - grace)
    if cursor is None:
        sweep.tidy()
    index = sweep.next_shard(int(cursor['after']) if cursor else -1)
    while index is not None:
        sweep.shard(index)
        following = sweep.next_shard(index)
        if following is not None and seconds_left() < reserve:
            return Collected(False, {'after': index}, sweep.objects, sweep.bytes)
        index = following
    return Collected(True, None, sweep.objects, sweep.bytes)


class _Sweep:
    """One call's work. ``before`` is the time up to which an object is old enough to be deleted."""

    def __init__(self, repository: Repository, lineage: str, lease: Lease, before: float) -> None:
        self.objects = 0
        self.bytes = 0
        self._repository = repository
        self._lineage = lineage
        self._lease = lease
        self._before = before

    def tidy(self) -> None:
        """Delete intents of finished backups and what remains beside tombstones, so that shards can be swept.

        An intent is deleted before its tombstone: a late commit that finds the intent must find the tombstone too.
        """
        deleted = self._list('deleted')
        finished = [info for info in self._list('backups') if info.modified <= self._before]
        over = [info for info in deleted if info.modified <= self._before]
        beside = (info for kind in ('backups', 'volume-keys') for info in self._beside(deleted, kind))
        self._delete([*self._beside(over + finished, 'running'), *beside])
        self._delete(over)

    def next_shard(self, after: int) -> int | None:
        """Return the next shard that has objects."""
        found = (self._first(f'{kind}/{self._lineage}/', after) for kind in _KINDS)
        return min((index for index in found if index is not None), default=None)

    def _first(self, prefix: str, after: int) -> int | None:
        start = f'{prefix}{after:05d}/~' if after >= 0 else ''
        info = next(iter(self._repository.list(prefix, start)), None)
        return _shard_of(info.key) if info else None

    def shard(self, index: int) -> None:
        """Mark and sweep one shard."""
        seen = self._objects(index)
        try:
            census = self._take_census()
            live = self._mark(index, census, seen)
        except (IntegrityError, ObjectMissing):
            self._lease.confirm()  # without it, another collector may have swept what is missing
            raise
        dead = (info for info in seen if not (info.key in live or _backup_of(info.key) in census.running))
        self._delete([info for info in dead if info.modified <= self._before])

    def _list(self, kind: str) -> list[ObjectInfo]:
        return list(self._repository.list(f'{kind}/{self._lineage}/'))

    def _beside(self, infos: Iterable[ObjectInfo], kind: str) -> Iterator[ObjectInfo]:
        """The objects of the same backups that are of another kind."""
        backups = {_name_of(info.key) for info in infos}
        return (info for info in self._list(kind) if _name_of(info.key) in backups)

    def _objects(self, index: int) -> list[ObjectInfo]:
        prefixes = (f'{kind}/{self._lineage}/{index:05d}/' for kind in _KINDS)
        return [info for prefix in prefixes for info in self._repository.list(prefix)]

    def _take_census(self) -> _Census:
        """The order is essential: see the module's docstring."""
        deleted, finished, running = (self._names(kind) for kind in ('deleted', 'backups', 'running'))
        parents = {backup: self._parent_of(backup) for backup in running - deleted}
        return _Census(finished - deleted, parents)

    def _names(self, kind: str) -> set[str]:
        return {_name_of(info.key) for info in self._list(kind)}

    def _parent_of(self, backup: str) -> str | None:
        key = layout.running_key(self._lineage, backup)
        parent: str | None = documents.peek(key, self._repository.get(key).data)['parent']
        return parent

    def _mark(self, index: int, census: _Census, seen: Iterable[ObjectInfo]) -> set[str]:
        """Return the keys in this shard that a finished backup, a running one or its parent refers to."""
        parents = {parent for parent in census.running.values() if parent}
        live: set[str] = set()
        for backup in census.finished | census.running.keys() | parents:
            try:
                live.update(self._references(index, backup))
            except ObjectMissing as error:
                if backup in census.finished:
                    _check_never_there(backup, seen, error)
        return live

    def _references(self, index: int, backup: str) -> Iterator[str]:
        key = layout.shard_key(self._lineage, index, backup)
        _, named = shards.peek(self._repository, key)
        yield key
        if isinstance(named, ShardRef):
            key = layout.shard_key(self._lineage, index, layout.check_id(named.backup))
            _, named = shards.peek(self._repository, key)
            yield key
        if isinstance(named, ShardRef):
            raise IntegrityError(key=key, reason='a pointer refers to it, and it is one itself')
        yield from (pack.key for pack in named)

    def _delete(self, infos: Sequence[ObjectInfo]) -> None:
        if not infos:
            return
        self._lease.confirm()
        self._repository.delete([info.key for info in infos])
        self.objects += len(infos)
        self.bytes += sum(info.size for info in infos)


def _check_never_there(backup: str, seen: Iterable[ObjectInfo], error: ObjectMissing) -> None:
    """Raise IntegrityError for a backup with objects but no manifest here; a backup of a smaller volume has neither."""
    if any(_backup_of(info.key) == backup for info in seen):
        key = str(error.facts['key'])
        raise IntegrityError(key=key, reason='it is missing; nothing of its shard is deleted') from error


def _name_of(key: str) -> str:
    return key.rpartition('/')[2]


def _shard_of(key: str) -> int:
    return int(key.split('/')[2])


def _backup_of(key: str) -> str:
    return key.split('/')[3]
