"""How a volume is divided, and the key of every object in a repository.

    backups/<lineage>/<backup>                    backup manifest: its existence is the commit
    running/<lineage>/<backup>                    intent: the backup began; protects what it may come to refer to
    deleted/<lineage>/<backup>                   tombstone: the backup is deleted, even if objects of it still exist
    volume-keys/<lineage>/<backup>               key of the encrypted volume that was backed up
    shards/<lineage>/<shard>/<backup>             shard manifest
    partial/<lineage>/<shard>/<backup>/<token>    progress of one shard
    packs/<lineage>/<shard>/<backup>/<token>-<n>  blocks

A shard number has five digits, so keys sort as shards do. Every attempt draws a new token: no pack is overwritten.
"""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Iterable

from chalicelib.errors import InvalidInput

#: Named in every manifest and authenticated with every sealed byte: bytes of another format never open as this one's.
FORMAT = 'cinderless-backup-1'

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

#: The first segments of the keys below.
KINDS = frozenset({'backups', 'running', 'deleted', 'volume-keys', 'shards', 'partial', 'packs'})

#: The size of a volume is a multiple of it.
SECTOR = 512

#: Five digits of shard number: 390 TiB in shards of 4 GiB.
MAX_SHARDS = 100_000

_ID = re.compile(r'[A-Za-z0-9][A-Za-z0-9_-]{0,63}')


@dataclasses.dataclass(frozen=True, slots=True)
class Shard:
    """The part of a volume that one worker backs up or restores; offset and length in bytes."""

    index: int
    offset: int
    length: int


@dataclasses.dataclass(frozen=True, slots=True)
class Geometry:
    """Bytes of a block and of a shard. All backups of a chain share one geometry; otherwise blocks would not match."""

    block_size: int = 512 * KIB
    shard_size: int = 4 * GIB

    def __post_init__(self) -> None:
        if self.block_size <= 0 or self.block_size % SECTOR or self.shard_size % self.block_size or not self.shard_size:
            raise InvalidInput(reason=f'blocks of {self.block_size} bytes do not fill shards of {self.shard_size}')

    def shard(self, size: int, index: int) -> Shard:
        """Shard ``index`` of a volume of ``size`` bytes; the last one may be short."""
        offset = index * self.shard_size
        if not 0 <= offset < size:
            raise InvalidInput(reason=f'a volume of {size} bytes has no shard {index}')
        return Shard(index, offset, min(self.shard_size, size - offset))

    def shard_count(self, size: int) -> int:
        return -(-size // self.shard_size)

    def blocks(self, shard: Shard) -> int:
        """Number of blocks in a shard."""
        return -(-shard.length // self.block_size)

    def extent(self, shard: Shard, block: int) -> tuple[int, int]:
        """(offset in the volume, length) of a shard's block in bytes; a volume's last block may be short."""
        start = block * self.block_size
        return shard.offset + start, min(self.block_size, shard.length - start)

    def touched(self, shard: Shard, extents: Iterable[tuple[int, int]]) -> frozenset[int]:
        """Return the shard's blocks that overlap ``extents`` of the volume, (offset, length) in bytes."""
        count, found = self.blocks(shard), set[int]()
        for offset, length in extents:
            first, last = offset - shard.offset, offset + length - shard.offset
            found.update(range(max(0, first // self.block_size), min(count, -(-last // self.block_size))))
        return frozenset(found)


def plan(size: int, geometry: Geometry | None = None) -> list[Shard]:
    """Divide a volume of ``size`` bytes into shards, each the work of one ``backup_shard`` or ``restore_shard``."""
    geometry = geometry or Geometry()
    check_size(size, geometry)
    return [geometry.shard(size, index) for index in range(geometry.shard_count(size))]


def check_size(size: int, geometry: Geometry) -> None:
    """Raise InvalidInput for a size that a volume cannot have."""
    if size <= 0 or size % SECTOR:
        raise InvalidInput(reason=f'a volume has a positive multiple of {SECTOR} bytes, not {size}')
    if geometry.shard_count(size) > MAX_SHARDS:
        raise InvalidInput(reason=f'{size} bytes are more than {MAX_SHARDS} shards of {geometry.shard_size}')


def check_id(value: str) -> str:
    """Return the id of a lineage or backup: letters, digits, '-' and '_', at most 64. Raises InvalidInput."""
    if not _ID.fullmatch(value):
        raise InvalidInput(reason=f'{value!r} cannot name a backup or its lineage')
    return value


def backup_key(lineage: str, backup_id: str) -> str:
    return f'backups/{lineage}/{backup_id}'


def running_key(lineage: str, backup_id: str) -> str:
    return f'running/{lineage}/{backup_id}'


def deleted_key(lineage: str, backup_id: str) -> str:
    return f'deleted/{lineage}/{backup_id}'


def volume_key_key(lineage: str, backup_id: str) -> str:
    return f'volume-keys/{lineage}/{backup_id}'


def shard_key(lineage: str, index: int, backup_id: str) -> str:
    return f'shards/{lineage}/{index:05d}/{backup_id}'


def partial_key(lineage: str, index: int, backup_id: str) -> str:
    """A new key at every call."""
    return f'partial/{lineage}/{index:05d}/{backup_id}/{uuid.uuid4().hex}'


def pack_prefix(lineage: str, index: int, backup_id: str) -> str:
    """A new prefix at every call: a number completes it."""
    return f'packs/{lineage}/{index:05d}/{backup_id}/{uuid.uuid4().hex}-'


def parse_backup_key(key: str) -> tuple[str, str]:
    """(lineage, backup id) of a backup manifest's key. Raises InvalidInput."""
    parts = key.split('/')
    if len(parts) != 3 or parts[0] != 'backups':
        raise InvalidInput(reason=f'{key!r} is not the key of a backup manifest')
    return check_id(parts[1]), check_id(parts[2])
