"""Copying a finished backup to another repository, in another bucket, region or account: same bytes, another lock.

Objects keep their keys, and codes cover keys, so all but the manifest are copied as they are; the manifest carries the
data key wrapped anew for whoever is to open it there. Nothing of the data is decrypted on the way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

from chalicelib.backup import layout, shards
from chalicelib.backup.backup import take_back_if_deleted
from chalicelib.backup.keys import KeyWrapper
from chalicelib.backup.limits import Cursor, Deadline, Limits, Pool, Progress, silent
from chalicelib.backup.listing import Pack, ShardRef
from chalicelib.backup.manifests import Backup, Manifest, load_backup
from chalicelib.backup.repository import Repository, exists
from chalicelib.errors import BackupCanceled, IntegrityError, ObjectExists


class CopyResult(NamedTuple):
    """``cursor`` goes into the next call unless ``manifest``, that of the finished copy, is there."""

    manifest: Manifest | None
    cursor: Cursor | None


def copy_backup(
    source: Repository,
    target: Repository,
    manifest: Manifest,
    opener: KeyWrapper,
    wrapper: KeyWrapper,
    *,
    deadline: Deadline = lambda: math.inf,
    cursor: Cursor | None = None,
    progress: Progress = silent,
    limits: Limits | None = None,
) -> CopyResult:
    """Copy one backup with all that it refers to.

    ``opener`` opens the data key here, ``wrapper`` wraps it for there. What is there already stays: the second backup
    of a chain costs what is new in it, and a copy that was interrupted goes on. Nobody may collect the lineage there
    during a call: an old pack that it relies on, and that nothing else refers to any more, would be swept; between two
    calls the collector may run, for each call copies whole shards, and looks at the time between them.
    ``progress`` counts bytes of the volume. Raises IntegrityError for an object that is not what a manifest names,
    BackupCanceled when the backup was deleted there.
    """
    limits = limits or Limits()
    moved = _rewrapped(manifest, opener, wrapper)
    _begin(target, moved)
    first = int(cursor['shard']) if cursor else 0
    with Pool(limits.downloads) as pool:
        for index in range(first, len(manifest.shards)):
            if index > first and deadline() < limits.reserve:
                return CopyResult(None, {'shard': index})
            _copy_shard(source, target, manifest, index, pool)
            shard = manifest.geometry.shard(manifest.size, index)
            progress(shard.offset + shard.length)
    with contextlib.suppress(ObjectExists):
        target.put(moved.object_key, moved.encode(), if_none_match=True)
    take_back_if_deleted(target, moved)
    return CopyResult(load_backup(target, wrapper, moved.object_key, root_hash=manifest.root_hash), None)


def _begin(target: Repository, moved: Manifest) -> None:
    """The tombstone is looked for once more when the intent is there: a delete puts it before it removes anything."""
    running = layout.running_key(moved.lineage, moved.backup_id)
    if not exists(target, layout.deleted_key(moved.lineage, moved.backup_id)):
        with contextlib.suppress(ObjectExists):
            target.put(running, _intent(moved).encode(), if_none_match=True)
    if exists(target, layout.deleted_key(moved.lineage, moved.backup_id)):
        raise BackupCanceled(id=moved.backup_id)


def _rewrapped(manifest: Manifest, opener: KeyWrapper, wrapper: KeyWrapper) -> Manifest:
    plaintext = opener.unwrap(manifest.lineage, manifest.keys)
    return dataclasses.replace(manifest, keys=wrapper.wrap(manifest.lineage, plaintext))


def _intent(manifest: Manifest) -> Backup:
    """Without a parent: what it refers to is copied under its own protection."""
    facts = {name: getattr(manifest, name) for name in ('lineage', 'backup_id', 'size', 'geometry', 'keys', 'key')}
    return Backup(**facts, parent=None, parent_shards=0)


def _copy_shard(source: Repository, target: Repository, manifest: Manifest, index: int, pool: Pool) -> None:
    """Packs, then the listings that name them, the backup's own last."""
    own = layout.shard_key(manifest.lineage, index, manifest.backup_id)
    listing = layout.shard_key(manifest.lineage, index, manifest.shards[index].backup)
    packs = _packs(source, manifest, listing)
    for future in pool.ordered(functools.partial(_copy, source, target, pack.key, pack.size) for pack in packs):
        future.result()
    for key in dict.fromkeys((listing, own)):
        header, _ = shards.peek(source, key, manifest.key)
        _copy(source, target, key, header.size)


def _packs(source: Repository, manifest: Manifest, listing: str) -> Iterator[Pack]:
    _, named = shards.peek(source, listing, manifest.key)
    if isinstance(named, ShardRef):
        raise IntegrityError(key=listing, reason='a backup refers to it, and it is a pointer')
    return iter(named)


def _copy(source: Repository, target: Repository, key: str, size: int) -> None:
    """An object that is there is the same one: keys are never used twice."""
    if exists(target, key):
        return
    content = source.get(key)
    if content.size != size:
        raise IntegrityError(key=key, reason=f'it has {content.size} bytes, not {size}')
    with contextlib.suppress(ObjectExists):
        target.put(key, content.data, if_none_match=True)
