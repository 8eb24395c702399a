"""Restore one shard: every block is verified before it is written, and read once, whichever backup stored it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from chalicelib.backup.blocks import Opener
from chalicelib.backup.limits import Cursor, Limits, Pool, Progress, SecondsLeft, no_progress
from chalicelib.backup.listing import Entry
from chalicelib.backup.manifests import Manifest, load_shard
from chalicelib.backup.packs import fetch_all, gather, runs
from chalicelib.backup.repository import Repository
from chalicelib.device import BlockDevice, Changes, Extent
from chalicelib.errors import BackupError


class RestoreResult(NamedTuple):
    """Pass ``cursor`` to the next call unless ``done``."""

    done: bool
    cursor: Cursor | None


def restore_shard(
    device: BlockDevice,
    repository: Repository,
    manifest: Manifest,
    index: int,
    *,
    target_is_zeroed: bool,
    changes: Changes | None = None,
    seconds_left: SecondsLeft = lambda: math.inf,
    cursor: Cursor | None = None,
    progress: Progress = no_progress,
    limits: Limits | None = None,
) -> RestoreResult:
    """Write the content of shard ``index`` to the device; the last shard's call also zeroes the bytes beyond it.

    ``target_is_zeroed``: the device reads as zeroes wherever nothing was written. Zero blocks are then not written;
    otherwise they are zeroed where ``device.allocated`` reports possible data. ``changes`` lists what may differ on the
    device from the backup's data: nothing else is read or written. What was written is durable on return.
    Raises IntegrityError or ObjectMissing before any byte of a damaged block is written, and what device and repository
    raise. A repeated call starts over and does no harm.
    """
    _check_target(device, manifest)
    job = _Job(device, repository, manifest, index, limits or Limits(), changes)
    steps = job.steps(int(cursor['next']) if cursor else job.shard.offset)
    with Pool(job.limits.downloads) as pool:
        for count, (start, stop) in enumerate(steps):
            if count and seconds_left() < job.limits.reserve:
                device.flush()
                return RestoreResult(False, {'next': start})
            job.restore(pool, start, stop, target_is_zeroed)
            progress(min(stop, manifest.size) - job.shard.offset)
    device.flush()
    return RestoreResult(True, None)


def stored_extents(repository: Repository, manifest: Manifest) -> Iterator[tuple[int, int]]:
    """Yield (offset, length) in bytes of every block that a restore writes, ascending."""
    for index, ref in enumerate(manifest.shards):
        shard, listing = manifest.geometry.shard(manifest.size, index), load_shard(repository, manifest, index, ref)
        for block, _ in listing.stored(0, listing.blocks):
            yield manifest.geometry.extent(shard, block)


def _check_target(device: BlockDevice, manifest: Manifest) -> None:
    if device.size < manifest.size:
        raise BackupError(reason=f'the target has {device.size} bytes, the backup {manifest.size}: take a larger one')
    if manifest.size % device.block_size:
        reason = f'the backup of {manifest.size} bytes does not end with a block of the target ({device.block_size})'
        raise BackupError(reason=reason)


class _Job:
    def __init__(
        self,
        device: BlockDevice,
        repository: Repository,
        manifest: Manifest,
        index: int,
        limits: Limits,
        changes: Changes | None,
    ) -> None:
        self.limits = limits
        self.shard = manifest.geometry.shard(manifest.size, index)
        self._device = device
        self._repository = repository
        self._geometry = manifest.geometry
        self._listing = load_shard(repository, manifest, index, manifest.shards[index])
        self._opener = Opener(manifest.key, manifest.geometry.block_size)
        self._is_last = self.shard.offset + self.shard.length == manifest.size
        self._wanted = self._find_wanted(changes) if changes else None

    def _find_wanted(self, changes: Changes) -> list[tuple[int, int]] | None:
        """Return the (start, stop) that may differ, whole blocks in the shard, ascending; None when that is unknown."""
        end = self.shard.offset + self.shard.length
        within = changes(self.shard.offset, self.shard.length)
        beyond = changes(end, self._device.size - end) if self._is_last and end < self._device.size else ()
        if within is None or beyond is None:
            return None
        blocks = sorted(self._geometry.touched(self.shard, within))
        extents = [*(self._geometry.extent(self.shard, block) for block in blocks), *beyond]
        return [(offset, offset + length) for offset, length in extents]

    def steps(self, start: int) -> Iterator[tuple[int, int]]:
        """Yield ranges of the device, (start, stop) in bytes: of the shard, then of what is beyond the last one."""
        size = self.limits.step_blocks * self._geometry.block_size
        end = self.shard.offset + self.shard.length
        yield from _stretches(start, end, size)
        if self._is_last:
            yield from _stretches(max(start, end), self._device.size, size)

    def restore(self, pool: Pool, start: int, stop: int, target_is_zeroed: bool) -> None:
        """Write the stored blocks of one range, and zero the rest of it; with changes, only what may differ."""
        first = (start - self.shard.offset) // self._geometry.block_size
        last = min(-(-(stop - self.shard.offset) // self._geometry.block_size), self._listing.blocks)
        parts = self._parts(start, stop)
        starts = {one for one, _ in parts}
        stored = [
            (block, entry)
            for block, entry in self._listing.stored(first, last)
            if self._wanted is None or self._geometry.extent(self.shard, block)[0] in starts
        ]
        if stored:
            self._device.write_many(self._extents(pool, stored))
        if not target_is_zeroed:
            written = [self._geometry.extent(self.shard, block) for block, _ in stored]
            for one, other in parts:
                self._zero_around([extent for extent in written if one <= extent[0] < other], one, other)

    def _parts(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the parts of a range that are restored: all of it, or what may differ."""
        if self._wanted is None:
            return [(start, stop)]
        return [(max(one, start), min(other, stop)) for one, other in self._wanted if one < stop and start < other]

    def _extents(self, pool: Pool, stored: Sequence[tuple[int, Entry]]) -> Iterator[Extent]:
        wanted = list(runs(gather(stored), self._listing.packs, self.limits))
        for run, data in fetch_all(self._repository, pool, wanted):
            for frame in run.frames:
                places = [self._geometry.extent(self.shard, block) for block in frame.blocks]
                block = self._opener.open(run.pack.key, frame.entry, run.cut(data.result(), frame), places[0][1])
                yield from ((offset, block) for offset, _ in places)

    def _zero_around(self, written: Sequence[tuple[int, int]], start: int, stop: int) -> None:
        for offset, length in [*written, (stop, 0)]:
            if start < offset:
                self._zero(start, offset)
            start = offset + length

    def _zero(self, start: int, stop: int) -> None:
        """Zero the allocated parts; the others read as zeroes already."""
        for offset, length in list(self._device.allocated(start, stop - start)):
            first, last = max(start, offset), min(stop, offset + length)
            if first < last:
                self._device.zero(first, last - first)


def _stretches(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    for offset in range(start, stop, size):
        yield offset, min(offset + size, stop)
