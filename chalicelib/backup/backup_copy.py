"""Copy a finished backup to another repository, in another bucket, region or account.

Objects keep their keys, and authentication codes cover keys, so all objects but the manifest are copied unchanged. The
manifest holds the data key wrapped with the target's key. Every block that the backup refers to is verified on the
way, as a restore does: damaged blocks are not copied.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

from chalicelib.backup import layout, shards
from chalicelib.backup.blocks import Opener
from chalicelib.backup.keys import KeyWrapper
from chalicelib.backup.lifecycle import delete_if_tombstoned
from chalicelib.backup.limits import Cursor, Limits, Pool, Progress, SecondsLeft, no_progress
from chalicelib.backup.listing import Listing
from chalicelib.backup.manifests import Backup, Manifest, load_backup, load_shard
from chalicelib.backup.packs import Run, gather
from chalicelib.backup.repository import Repository, exists, put_once
from chalicelib.errors import BackupCanceled, IntegrityError, ObjectMissing


class CopyResult(NamedTuple):
    """``manifest`` of the finished copy, or the ``cursor`` for the next call."""

    manifest: Manifest | None
    cursor: Cursor | None


def copy_backup(
    source: Repository,
    target: Repository,
    manifest: Manifest,
    opener: KeyWrapper,
    wrapper: KeyWrapper,
    *,
    seconds_left: SecondsLeft = lambda: math.inf,
    cursor: Cursor | None = None,
    progress: Progress = no_progress,
    limits: Limits | None = None,
) -> CopyResult:
    """Copy one backup with all that it refers to.

    ``opener`` unwraps the data key of the source, ``wrapper`` wraps it for the target. Objects that the target has
    (with the right size) are not copied again: the second backup of a chain costs what is new in it, and a repeated
    call continues an interrupted copy. The collector must not run on the target lineage during a call: it would delete
    old packs to which only this copy refers. Between two calls it may run, since each call copies whole shards and
    checks the time between them. ``progress`` counts bytes of the volume. Raises IntegrityError for an object that is
    not what a manifest names, BackupCanceled when the backup was deleted in the target.
    """
    limits = limits or Limits()
    moved = _rewrapped(manifest, opener, wrapper)
    _begin(target, moved)
    first = int(cursor['shard']) if cursor else 0
    with Pool(limits.downloads) as pool:
        for index in range(first, len(manifest.shards)):
            if index > first and seconds_left() < limits.reserve:
                return CopyResult(None, {'shard': index})
            _copy_shard(source, target, manifest, index, pool)
            shard = manifest.geometry.shard(manifest.size, index)
            progress(shard.offset + shard.length)
    put_once(target, moved.object_key, moved.encode())
    delete_if_tombstoned(target, moved)
    return CopyResult(load_backup(target, wrapper, moved.object_key, root_hash=manifest.root_hash), None)


def _begin(target: Repository, moved: Manifest) -> None:
    """Check for a tombstone before and after the intent is stored: a delete stores it before it removes anything."""
    running = layout.running_key(moved.lineage, moved.backup_id)
    if not exists(target, layout.deleted_key(moved.lineage, moved.backup_id)):
        put_once(target, running, _intent(moved).encode())
    if exists(target, layout.deleted_key(moved.lineage, moved.backup_id)):
        raise BackupCanceled(id=moved.backup_id)


def _rewrapped(manifest: Manifest, opener: KeyWrapper, wrapper: KeyWrapper) -> Manifest:
    plaintext = opener.unwrap(manifest.lineage, manifest.keys)
    return dataclasses.replace(manifest, keys=wrapper.wrap(manifest.lineage, plaintext))


def _intent(manifest: Manifest) -> Backup:
    """Return an intent without a parent: the copy's own intent protects all that it refers to."""
    facts = {name: getattr(manifest, name) for name in ('lineage', 'backup_id', 'size', 'geometry', 'keys', 'key')}
    return Backup(**facts, parent=None, parent_shards=0)


def _copy_shard(source: Repository, target: Repository, manifest: Manifest, index: int, pool: Pool) -> None:
    """Copy packs, then the listings that name them, the backup's own last."""
    ref = manifest.shards[index]
    wanted = _whole_packs(load_shard(source, manifest, index, ref))
    for future in pool.ordered(functools.partial(_copy_pack, source, target, manifest, index, run) for run in wanted):
        future.result()
    for owner in dict.fromkeys((ref.backup, manifest.backup_id)):
        key = layout.shard_key(manifest.lineage, index, owner)
        header, _ = shards.peek(source, key, manifest.key)
        if not _is_there(target, key, header.size):
            put_once(target, key, source.get(key).data)


def _whole_packs(listing: Listing) -> Iterator[Run]:
    """Yield each pack as one run, with the frames that the listing refers to."""
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
    put_once(target, run.pack.key, data)


def _is_there(target: Repository, key: str, size: int) -> bool:
    """Keys are never reused, so an existing object of the right size is the same one. Raises IntegrityError."""
    try:
        found = target.head(key)
    except ObjectMissing:
        return False
    if found.size != size:
        raise IntegrityError(key=key, reason=f'it has {found.size} bytes in the target, not {size}')
    return True
