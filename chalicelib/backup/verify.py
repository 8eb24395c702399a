"""Verify every block of a backup, and report damage instead of stopping at it."""

from __future__ import annotations

import math
import secrets
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from chalicelib.backup.blocks import Opener
from chalicelib.backup.layout import Shard
from chalicelib.backup.limits import Cursor, Limits, Pool, Progress, SecondsLeft, no_progress
from chalicelib.backup.listing import Listing
from chalicelib.backup.manifests import Manifest, load_shard
from chalicelib.backup.packs import Frame, Run, fetch_all, gather, runs
from chalicelib.backup.repository import Repository
from chalicelib.errors import BackupError, IntegrityError, ObjectMissing

#: Messages reported by one call; further damage is only counted.
REPORTED = 20


class VerifyResult(NamedTuple):
    """Blocks checked and damaged in this call, and messages. Pass ``cursor`` to the next call unless ``done``."""

    done: bool
    cursor: Cursor | None
    checked: int
    damaged: int
    damage: list[str]


def verify_backup(
    repository: Repository,
    manifest: Manifest,
    *,
    seconds_left: SecondsLeft = lambda: math.inf,
    cursor: Cursor | None = None,
    sample: int = 100,
    progress: Progress = no_progress,
    limits: Limits | None = None,
) -> VerifyResult:
    """Check shard manifests, packs and blocks as a restore would. ``progress`` counts bytes of the volume.

    ``sample``: the percentage of steps (the blocks between two checks of the time) that are verified, drawn at random
    for each verification; the first step is always verified.
    Damage is reported in the result; raises RepositoryError only when the repository cannot be reached.
    """
    limits = limits or Limits()
    seed = int(cursor['seed']) if cursor else secrets.randbits(32)
    with Pool(limits.downloads) as pool:
        scrub = _Scrub(repository, manifest, limits, pool)
        drawn = (step for step in _steps(manifest, cursor, limits.step_blocks) if _is_drawn(seed, step, sample))
        for count, (index, block) in enumerate(drawn):
            if count and seconds_left() < limits.reserve:
                return scrub.result({'shard': index, 'next': block, 'seed': seed})
            progress(scrub.check(index, block))
    return scrub.result(None)


def _is_drawn(seed: int, step: tuple[int, int], sample: int) -> bool:
    """Draw a step: the same way in every call of one verification."""
    number = zlib.crc32(f'{seed}/{step[0]}/{step[1]}'.encode())
    return step == (0, 0) or number % 10_000 < sample * 100


def _steps(manifest: Manifest, cursor: Cursor | None, step: int) -> Iterator[tuple[int, int]]:
    """Yield (shard, first block) of the steps, between which the time is checked."""
    shard, block = (int(cursor['shard']), int(cursor['next'])) if cursor else (0, 0)
    for index in range(shard, len(manifest.shards)):
        blocks = manifest.geometry.blocks(manifest.geometry.shard(manifest.size, index))
        yield from ((index, start) for start in range(block, blocks, step))
        block = 0


class _Scrub:
    """One call's findings, and the current shard."""

    def __init__(self, repository: Repository, manifest: Manifest, limits: Limits, pool: Pool) -> None:
        self._repository = repository
        self._manifest = manifest
        self._limits = limits
        self._pool = pool
        self._opener = Opener(manifest.key, manifest.geometry.block_size)
        self._index = -1
        self._shard = Shard(0, 0, 0)
        self._listing: Listing | None = None
        self._checked = 0
        self._damaged = 0
        self._damage: list[str] = []

    def result(self, cursor: Cursor | None) -> VerifyResult:
        return VerifyResult(cursor is None, cursor, self._checked, self._damaged, self._damage)

    def check(self, index: int, first: int) -> int:
        """Check a step's blocks; return the end of the step in bytes of the volume."""
        if index != self._index:
            self._enter(index)
        stop = min(first + self._limits.step_blocks, self._manifest.geometry.blocks(self._shard))
        self._checked += stop - first
        if self._listing is None:
            self._damaged += stop - first
        else:
            self._check_stored(self._listing, first, stop)
        return sum(self._manifest.geometry.extent(self._shard, stop - 1))

    def _enter(self, index: int) -> None:
        self._index, self._listing = index, None
        self._shard = self._manifest.geometry.shard(self._manifest.size, index)
        try:
            self._listing = load_shard(self._repository, self._manifest, index, self._manifest.shards[index])
        except (IntegrityError, ObjectMissing) as error:
            self._report(error)

    def _check_stored(self, listing: Listing, first: int, stop: int) -> None:
        wanted = list(runs(gather(listing.stored(first, stop)), listing.packs, self._limits))
        for run, data in fetch_all(self._repository, self._pool, wanted):
            try:
                fetched = data.result()
            except (IntegrityError, ObjectMissing) as error:
                self._note(error, run.frames)
            else:
                self._check_run(run, fetched)

    def _check_run(self, run: Run, fetched: memoryview) -> None:
        for frame in run.frames:
            _, length = self._manifest.geometry.extent(self._shard, frame.blocks[0])
            try:
                self._opener.open(run.pack.key, frame.entry, run.cut(fetched, frame), length)
            except IntegrityError as error:
                self._note(error, [frame])

    def _note(self, error: BackupError, frames: Sequence[Frame]) -> None:
        self._damaged += sum(len(frame.blocks) for frame in frames)
        self._report(error)

    def _report(self, error: BackupError) -> None:
        if len(self._damage) < REPORTED and error.message not in self._damage:
            self._damage.append(error.message)
