"""Copying a finished backup to another repository, in another bucket, region or account: same bytes, another lock.

Objects keep their keys, and codes cover keys, so all but the manifest are copied as they are; the manifest carries the
data key wrapped anew for whoever is to open it there. On the way every block that the backup refers to is proven, as a
restore would: what is damaged is not copied.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

from chalicelib.backup import layout, shards
from chalicelib.backup.backup import take_back_if_deleted
from chalicelib.backup.blocks import Opener
from chalicelib.backup.keys import KeyWrapper
from chalicelib.backup.limits import Cursor, Deadline, Limits, Pool, Progress, silent
from chalicelib.backup.listing import Listing
from chalicelib.backup.manifests import Backup, Manifest, load_backup, load_shard
from chalicelib.backup.packs import Run, gather
from chalicelib.backup.repository import Data, Repository, exists
from chalicelib.errors import BackupCanceled, IntegrityError, ObjectExists, ObjectMissing


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

    ``opener`` opens the data key here, ``wrapper`` wraps it for there. What is there already stays (its size is looked
    at): the second backup of a chain costs what is new in it, and a copy that was interrupted goes on. Nobody may
    collect the lineage there during a call: an old pack that it relies on, and that nothing else refers to any more,
    would be swept; between two calls the collector may run, for each call copies whole shards, and looks at the time
    between them.
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
    ref = manifest.shards[index]
    wanted = _whole_packs(load_shard(source, manifest, index, ref))
    for future in pool.ordered(functools.partial(_copy_pack, source, target, manifest, index, run) for run in wanted):
        future.result()
    for owner in dict.fromkeys((ref.backup, manifest.backup_id)):
        key = layout.shard_key(manifest.lineage, index, owner)
        header, _ = shards.peek(source, key, manifest.key)
        if not _is_there(target, key, header.size):
            _put(target, key, source.get(key).data)


def _whole_packs(listing: Listing) -> Iterator[Run]:
    """Each pack in one piece, with the frames that the listing refers to."""
    for number, frames in itertools.groupby(gather(listing.stored(0, listing.blocks)), lambda frame: frame.entry.pack):
        pack = listing.packs[number]
        yield Run(pack, 0, pack.size, list(frames))


def _copy_pack(source: Repository, target: Repository, manifest: Manifest, index: int, run: Run) -> None:
    if _is_there(target, run.pack.key, run.pack.size):
        return
    data, opener = run.fetch(source), Opener(manifest.key, manifest.geometry.block_size)
    shard = manifest.geometry.shard(manifest.size, index)
    for frame in run.frames:
        _, length = manifest.geometry.extent(shard, frame.blocks[0])
        opener.open(run.pack.key, frame.entry, run.cut(data, frame), length)
    _put(target, run.pack.key, data)


def _is_there(target: Repository, key: str, size: int) -> bool:
    """Keys are never used twice, so an object that is there is the same one, unless it was damaged there."""
    try:
        found = target.head(key)
    except ObjectMissing:
        return False
    if found.size != size:
        raise IntegrityError(key=key, reason=f'it has {found.size} bytes there, not {size}')
    return True


def _put(target: Repository, key: str, data: Data) -> None:
    with contextlib.suppress(ObjectExists):
        target.put(key, data, if_none_match=True)
