"""Object Lock: the objects that a locked backup refers to cannot be deleted before a given time.

``S3Repository`` locks a backup's own objects when it puts them. What a backup shares with older ones, its parent's
packs and listings, is locked here, shard by shard, before the backup is committed: the collector keeps the parent's
objects of a running backup, so they exist.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Protocol

from chalicelib.backup import layout, shards
from chalicelib.backup.limits import Limits, Pool
from chalicelib.backup.listing import ShardRef
from chalicelib.backup.manifests import Backup
from chalicelib.backup.repository import Repository


class Lockable(Repository, Protocol):
    """A repository whose objects can be locked."""

    def retain(self, key: str) -> None:
        """Lock an existing object as long as new ones are; one that is locked for longer stays so."""


def lock_shard(repository: Lockable, backup: Backup, index: int, *, limits: Limits | None = None) -> int:
    """Lock what a finished shard shares with older backups; return the number of objects. Idempotent."""
    shared = [key for key in _references(repository, backup, index) if key.split('/')[3] != backup.backup_id]
    with Pool((limits or Limits()).lookups) as pool:
        for done in pool.ordered(functools.partial(repository.retain, key) for key in shared):
            done.result()
    return len(shared)


def _references(repository: Repository, backup: Backup, index: int) -> Iterator[str]:
    key = layout.shard_key(backup.lineage, index, backup.backup_id)
    _, named = shards.peek(repository, key, backup.key)
    if isinstance(named, ShardRef):
        key = layout.shard_key(backup.lineage, index, named.backup)
        yield key
        _, named = shards.peek(repository, key, backup.key)
    if not isinstance(named, ShardRef):
        yield from (pack.key for pack in named)
