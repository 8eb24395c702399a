"""Copy one shard of a device into the repository: skip zero and stored blocks, pack new ones, write the manifest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from chalicelib.backup import layout, shards
from chalicelib.backup.blocks import is_zero, payload
from chalicelib.backup.crypto import SEAL_SIZE
from chalicelib.backup.layout import Geometry, Shard
from chalicelib.backup.limits import Cursor, Limits, Pool, Progress, SecondsLeft, no_progress
from chalicelib.backup.listing import Counts, Listing, ShardRef, encode_entry
from chalicelib.backup.manifests import Backup, load_shard
from chalicelib.backup.packs import PackWriter
from chalicelib.backup.repository import Repository, exists
from chalicelib.device import BlockDevice, Changes
from chalicelib.errors import BackupCanceled, BackupError, ObjectExists, ObjectMissing


class ShardResult(NamedTuple):
    """Pass ``cursor`` to the next call unless ``done``; ``counts`` describe what the shard holds so far."""

    done: bool
    cursor: Cursor | None
    counts: Counts


class _Parent(NamedTuple):
    ref: ShardRef
    listing: Listing


def backup_shard(
    device: BlockDevice,
    repository: Repository,
    backup: Backup,
    index: int,
    *,
    changes: Changes | None = None,
    seconds_left: SecondsLeft = lambda: math.inf,
    cursor: Cursor | None = None,
    progress: Progress = no_progress,
    limits: Limits | None = None,
) -> ShardResult:
    """Store what changed in shard ``index``, then its manifest. The first manifest counts; a later call returns it.

    Reads the ranges that ``device.allocated`` reports; with ``changes``, only those that changed since the parent: all
    other blocks are the parent's. When ``seconds_left`` falls below ``limits.reserve``, stores the progress and returns
    a cursor; every call copies at least one block. Raises BackupCanceled once the backup is deleted, IntegrityError
    when the parent's manifest is damaged, and what device and repository raise.
    """
    finished = _find_finished(repository, backup, index)
    if finished:
        return finished
    _check(device, repository, backup)
    limits = limits or Limits()
    job = _Job(repository, backup, backup.geometry.shard(backup.size, index), cursor)
    wanted = job.keep_unchanged(changes)
    with Pool(limits.uploads) as pool:
        reader = _Reader(device, job.geometry, job.shard, job.start, wanted, seconds_left, limits.reserve)
        job.run(reader, job.writer(pool, limits), progress)
    return job.publish() if reader.stop == job.blocks else job.suspend(reader.stop)


def _find_finished(repository: Repository, backup: Backup, index: int) -> ShardResult | None:
    try:
        key = layout.shard_key(backup.lineage, index, backup.backup_id)
        header, _ = shards.peek(repository, key, backup.key)
    except ObjectMissing:
        return None
    return ShardResult(True, None, header.counts)


def _check(device: BlockDevice, repository: Repository, backup: Backup) -> None:
    if exists(repository, layout.deleted_key(backup.lineage, backup.backup_id)):
        raise BackupCanceled(id=backup.backup_id)
    if device.size != backup.size:
        raise BackupError(reason=f'the device has {device.size} bytes, the backup began with {backup.size}')


class _Job:
    """One call's work on one shard. The listing begins with the parent's packs, so the parent's entries stay valid."""

    def __init__(self, repository: Repository, backup: Backup, shard: Shard, cursor: Cursor | None) -> None:
        self.geometry = backup.geometry
        self.shard = shard
        self.blocks = backup.geometry.blocks(shard)
        self.start = int(cursor['next']) if cursor else 0
        self._repository = repository
        self._backup = backup
        self._zeroes = bytes(backup.geometry.block_size)
        self._known: dict[bytes, bytes] = {}
        self._parent = _load_parent(repository, backup, shard.index)
        self._counts, self._listing = self._begin() if cursor is None else self._resume(cursor)

    def _begin(self) -> tuple[Counts, Listing]:
        listing = Listing.blank(self.blocks)
        if self._parent:
            listing.packs = list(self._parent.listing.packs)
            self._learn(self._parent.listing)
        return Counts(blocks=self.blocks), listing

    def _resume(self, cursor: Cursor) -> tuple[Counts, Listing]:
        header, listing = shards.load(self._repository, self._backup.key, str(cursor['partial']))
        if self._parent:
            self._learn(self._parent.listing)
        self._learn(listing)
        return header.counts, listing

    def _learn(self, listing: Listing) -> None:
        """Record the listing's blocks, which need not be stored again."""
        for block, entry in listing.stored(0, listing.blocks):
            self._known.setdefault(entry.identity, listing.raw(block))

    def keep_unchanged(self, changes: Changes | None) -> frozenset[int] | None:
        """List blocks unchanged since the parent as stored; return those that may have changed, or None for all."""
        extents = changes(self.shard.offset, self.shard.length) if changes and self._parent else None
        if extents is None or self._parent is None:
            return None
        before = self._parent.listing
        changed = self.geometry.touched(self.shard, extents) | frozenset(range(before.blocks, self.blocks))
        for block in range(self.start, self.blocks):
            if block not in changed:
                self._listing.set(block, before.raw(block))
        return changed

    def writer(self, pool: Pool, limits: Limits) -> PackWriter:
        prefix = layout.pack_prefix(self._backup.lineage, self.shard.index, self._backup.backup_id)
        capacity = max(limits.pack_size, self.geometry.block_size + SEAL_SIZE)
        return PackWriter(self._repository, self._backup.key, prefix, len(self._listing.packs), capacity, pool)

    def run(self, reader: _Reader, writer: PackWriter, progress: Progress) -> None:
        """Copy what the reader yields; all of it is stored on return."""
        known = len(self._known)
        for block, data in reader:
            self._take(block, data, writer)
            progress(block * self.geometry.block_size + len(data))
        writer.finish()
        self._account(writer, len(self._known) - known)
        progress(min(reader.stop * self.geometry.block_size, self.shard.length))

    def _take(self, block: int, data: memoryview, writer: PackWriter) -> None:
        if is_zero(data, self._zeroes[: len(data)]):
            return
        identity = self._backup.key.identity(data)
        raw = self._known.get(identity)
        if raw is None:
            raw = encode_entry(writer.add(identity, *payload(data)))
            self._known[identity] = raw
        self._listing.set(block, raw)

    def _account(self, writer: PackWriter, new: int) -> None:
        self._listing.packs += writer.packs
        counts = self._counts
        self._counts = counts._replace(
            data=sum(1 for _ in self._listing.stored(0, self.blocks)),
            new=counts.new + new,
            packs=counts.packs + len(writer.packs),
            stored=counts.stored + sum(pack.size for pack in writer.packs),
        )

    def suspend(self, stop: int) -> ShardResult:
        """Store the listing so far under a new key; return that key and the first block that is not copied."""
        object_key = layout.partial_key(self._backup.lineage, self.shard.index, self._backup.backup_id)
        key, counts = self._backup.key, self._counts
        data = shards.encode_listing(key, object_key, self._listing, counts, shards.PARTIAL)
        self._repository.put(object_key, data)
        return ShardResult(False, {'partial': object_key, 'next': stop}, counts)

    def publish(self) -> ShardResult:
        """Store the manifest. If another worker stored one first, that one counts; this call's packs are garbage."""
        object_key = layout.shard_key(self._backup.lineage, self.shard.index, self._backup.backup_id)
        try:
            self._repository.put(object_key, self._manifest(object_key), if_none_match=True)
        except ObjectExists:
            header, _ = shards.peek(self._repository, object_key, self._backup.key)
            return ShardResult(True, None, header.counts)
        return ShardResult(True, None, self._counts)

    def _manifest(self, object_key: str) -> bytes:
        key, parent = self._backup.key, self._parent
        if parent and self._listing.same_content(parent.listing):
            return shards.encode_pointer(key, object_key, parent.ref, self._counts)
        listing = self._listing.compact() if parent else self._listing  # all that was packed is listed
        return shards.encode_listing(key, object_key, listing, self._counts)


class _Reader:
    """Yields (block, data) of the wanted blocks (None: all) that may hold data, until the shard or the time ends.

    The ranges passed to the device end early when time is short; ranges already requested are still read and copied.
    """

    def __init__(
        self,
        device: BlockDevice,
        geometry: Geometry,
        shard: Shard,
        start: int,
        wanted: frozenset[int] | None,
        seconds_left: SecondsLeft,
        reserve: float,
    ) -> None:
        self._device = device
        self._geometry = geometry
        self._shard = shard
        self._start = start
        self._wanted = wanted
        self._seconds_left = seconds_left
        self._reserve = reserve
        #: The first block that is not copied, once all is yielded.
        self.stop = geometry.blocks(shard)

    def __iter__(self) -> Iterator[tuple[int, memoryview]]:
        for offset, data in self._device.read_many(self._ranges()):
            yield (offset - self._shard.offset) // self._geometry.block_size, data

    def _ranges(self) -> Iterator[tuple[int, int]]:
        requested = False
        for block in self._blocks():
            if requested and self._seconds_left() < self._reserve:
                self.stop = block
                return
            requested = True
            yield self._geometry.extent(self._shard, block)

    def _blocks(self) -> Iterator[int]:
        """With an empty ``wanted`` the device is not queried for allocated extents."""
        if self._wanted is None:
            return self._allocated()
        return (block for block in self._allocated() if block in self._wanted) if self._wanted else iter(())

    def _allocated(self) -> Iterator[int]:
        """Blocks of the shard that the device's allocated extents touch, each once."""
        size, base, count = self._geometry.block_size, self._shard.offset, self.stop
        following = self._start
        skipped = self._start * size
        for offset, length in self._device.allocated(base + skipped, self._shard.length - skipped):
            first = max(following, (offset - base) // size)
            following = max(following, min(count, -(-(offset + length - base) // size)))
            yield from range(first, following)


def _load_parent(repository: Repository, backup: Backup, index: int) -> _Parent | None:
    """Return the parent's listing of this shard, or None: the volume may have grown by this shard since."""
    if backup.parent is None or index >= backup.parent_shards:
        return None
    object_key = layout.shard_key(backup.lineage, index, backup.parent)
    header, references = shards.peek(repository, object_key, backup.key)
    own = ShardRef(backup.parent, header.mac)
    ref = references if isinstance(references, ShardRef) else own
    return _Parent(ref, load_shard(repository, backup, index, ref))
