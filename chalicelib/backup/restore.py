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
from chalicelib.device import BlockDevice, Extent
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
    seconds_left: SecondsLeft = lambda: math.inf,
    cursor: Cursor | None = None,
    progress: Progress = no_progress,
    limits: Limits | None = None,
) -> RestoreResult:
    """Write the content of shard ``index`` to the device; the last shard's call also zeroes the bytes beyond it.

    ``target_is_zeroed``: the device reads as zeroes wherever nothing was written. Zero blocks are then not written;
    otherwise they are zeroed where ``device.allocated`` reports possible data. What was written is durable on return.
    Raises IntegrityError or ObjectMissing before any byte of a damaged block is written, and what device and repository
    raise. A repeated call starts over and does no harm.
    """
    _check_target(device, manifest)
    job = _Job(device, repository, manifest, index, limits or Limits())
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
        self, device: BlockDevice, repository: Repository, manifest: Manifest, index: int, limits: Limits
    ) -> None:
        self.limits = limits
        self.shard = manifest.geometry.shard(manifest.size, index)
        self._device = device
        self._repository = repository
        self._geometry = manifest.geometry
        self._listing = load_shard(repository, manifest, index, manifest.shards[index])
        self._opener = Opener(manifest.key, manifest.geometry.block_size)
        self._is_last = self.shard.offset + self.shard.length == manifest.size

    def steps(self, start: int) -> Iterator[tuple[int, int]]:
        """Yield ranges of the device, (start, stop) in bytes: of the shard, then of what is beyond the last one."""
        size = self.limits.step_blocks * self._geometry.block_size
        end = self.shard.offset + self.shard.length
        yield from _stretches(start, end, size)
        if self._is_last:
            yield from _stretches(max(start, end), self._device.size, size)

    def restore(self, pool: Pool, start: int, stop: int, target_is_zeroed: bool) -> None:
        """Write the stored blocks of one range, and zero the rest of it."""
        first = (start - self.shard.offset) // self._geometry.block_size
        last = min(-(-(stop - self.shard.offset) // self._geometry.block_size), self._listing.blocks)
        stored = list(self._listing.stored(first, last))
        if stored:
            self._device.write_many(self._extents(pool, stored))
        if not target_is_zeroed:
            self._zero_around([self._geometry.extent(self.shard, block) for block, _ in stored], start, stop)

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
