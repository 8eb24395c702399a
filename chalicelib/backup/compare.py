"""The last step of a restore check: compare a restored volume with the hashes that the backup lists.

A restore verifies each block before it writes it; this verifies what a reader of the volume sees, zeroes included.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from chalicelib.backup.blocks import is_zero
from chalicelib.backup.layout import Shard
from chalicelib.backup.limits import Cursor, Limits, SecondsLeft
from chalicelib.backup.listing import Listing
from chalicelib.backup.manifests import Manifest, load_shard
from chalicelib.backup.repository import Repository
from chalicelib.backup.verify import REPORTED, VerifyResult
from chalicelib.device import BlockDevice
from chalicelib.errors import BackupError


def compare_shard(
    device: BlockDevice,
    repository: Repository,
    manifest: Manifest,
    index: int,
    *,
    seconds_left: SecondsLeft = lambda: math.inf,
    cursor: Cursor | None = None,
    limits: Limits | None = None,
) -> VerifyResult:
    """Compare shard ``index`` of the device with the identities that the backup lists. Only manifests are read.

    Unallocated ranges of the device count as zeroes. Raises IntegrityError or ObjectMissing for a manifest that is
    damaged, BackupError for a device that is smaller than the backup, and what the device raises.
    """
    if device.size < manifest.size:
        raise BackupError(reason=f'the volume has {device.size} bytes, the backup {manifest.size}')
    limits = limits or Limits()
    shard = manifest.geometry.shard(manifest.size, index)
    job = _Comparison(device, manifest, shard, load_shard(repository, manifest, index, manifest.shards[index]))
    blocks = manifest.geometry.blocks(shard)
    first = int(cursor['next']) if cursor else 0
    for count, start in enumerate(range(first, blocks, limits.step_blocks)):
        if count and seconds_left() < limits.reserve:
            return job.result({'next': start})
        job.compare(start, min(start + limits.step_blocks, blocks))
    return job.result(None)


class _Comparison:
    """One call's findings in one shard."""

    def __init__(self, device: BlockDevice, manifest: Manifest, shard: Shard, listing: Listing) -> None:
        self._device, self._manifest = device, manifest
        self._shard, self._listing = shard, listing
        self._zeroes = bytes(manifest.geometry.block_size)
        self._checked = 0
        self._wrong: list[int] = []

    def result(self, cursor: Cursor | None) -> VerifyResult:
        damage = [f'the volume differs from the backup at byte {offset}' for offset in self._wrong[:REPORTED]]
        return VerifyResult(cursor is None, cursor, self._checked, len(self._wrong), damage)

    def compare(self, first: int, stop: int) -> None:
        """Compare the blocks of [first, stop) that the backup stores or that the device has allocated."""
        stored = {block: entry.identity for block, entry in self._listing.stored(first, stop)}
        blocks = sorted(stored.keys() | set(self._allocated(first, stop)))
        extents = [self._manifest.geometry.extent(self._shard, block) for block in blocks]
        for block, (offset, data) in zip(blocks, self._device.read_many(iter(extents)), strict=True):
            if not self._is_right(data, stored.get(block)):
                self._wrong.append(offset)
        self._checked += stop - first

    def _is_right(self, data: memoryview, identity: bytes | None) -> bool:
        if identity is None:
            return is_zero(data, self._zeroes[: len(data)])
        return self._manifest.key.identity(data) == identity

    def _allocated(self, first: int, stop: int) -> Iterator[int]:
        geometry = self._manifest.geometry
        start, _ = geometry.extent(self._shard, first)
        end = sum(geometry.extent(self._shard, stop - 1))
        for offset, length in self._device.allocated(start, end - start):
            begin, close = max(offset, start) - self._shard.offset, min(offset + length, end) - self._shard.offset
            yield from range(begin // geometry.block_size, -(-close // geometry.block_size))
