"""The listing of a shard: the identity of each block, and where it is stored."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from typing import NamedTuple

from chalicelib.backup.crypto import HASH_SIZE

#: Identity, pack, offset, length, flags. All zero: the block is zero and stored nowhere.
_ENTRY = struct.Struct('<32s4I')
ENTRY_SIZE = _ENTRY.size

#: Entries that one comparison covers, coarse and then fine: where all are zero, as in a hole, one comparison suffices.
_COARSE, _FINE = 1024, 64
_ZEROES = bytes(_COARSE * ENTRY_SIZE)

#: Flags of an entry.
STORED, COMPRESSED = 1, 2


class Pack(NamedTuple):
    """``size`` in bytes: every range read compares it, and so detects a pack that shrank or grew."""

    key: str
    size: int


class Entry(NamedTuple):
    """One stored block: its frame is ``length`` bytes at ``offset`` of pack number ``pack``."""

    identity: bytes
    pack: int
    offset: int
    length: int
    flags: int


class Counts(NamedTuple):
    """What one backup stored of one shard. ``new`` blocks are in packs of its own, ``stored`` is the bytes of those."""

    blocks: int = 0
    data: int = 0
    new: int = 0
    packs: int = 0
    stored: int = 0


@dataclasses.dataclass(slots=True)
class Listing:
    """All blocks of a shard: ``entries`` holds ENTRY_SIZE bytes each."""

    packs: list[Pack]
    entries: bytearray

    @classmethod
    def blank(cls, blocks: int) -> Listing:
        return cls([], bytearray(blocks * ENTRY_SIZE))

    @property
    def blocks(self) -> int:
        return len(self.entries) // ENTRY_SIZE

    def raw(self, block: int) -> bytes:
        start = block * ENTRY_SIZE
        return bytes(self.entries[start : start + ENTRY_SIZE])

    def identity(self, block: int) -> bytes:
        start = block * ENTRY_SIZE
        return bytes(self.entries[start : start + HASH_SIZE])

    def set(self, block: int, raw: bytes) -> None:
        start = block * ENTRY_SIZE
        self.entries[start : start + ENTRY_SIZE] = raw

    def stored(self, start: int, stop: int) -> Iterator[tuple[int, Entry]]:
        """Yield (block, entry) of the blocks in [start, stop) that are not zero."""
        for coarse, part in self._parts(start, stop, _COARSE):
            for first, entries in self._parts(coarse, coarse + len(part) // ENTRY_SIZE, _FINE):
                for block, fields in enumerate(_ENTRY.iter_unpack(entries), first):
                    if fields[4]:
                        yield block, Entry(*fields)

    def _parts(self, start: int, stop: int, stride: int) -> Iterator[tuple[int, bytearray]]:
        """(first block, entries) of stretches of up to ``stride`` blocks that are not all zero."""
        for first in range(start, stop, stride):
            part = self.entries[first * ENTRY_SIZE : min(first + stride, stop) * ENTRY_SIZE]
            if part != _ZEROES[: len(part)]:
                yield first, part

    def compact(self) -> Listing:
        """Return the same listing without packs that no entry refers to."""
        used = sorted({entry.pack for _, entry in self.stored(0, self.blocks)})
        if len(used) == len(self.packs):
            return self
        renumbered = {old: new for new, old in enumerate(used)}
        compacted = Listing([self.packs[old] for old in used], bytearray(self.entries))
        for block, entry in self.stored(0, self.blocks):
            compacted.set(block, encode_entry(entry._replace(pack=renumbered[entry.pack])))
        return compacted

    def same_content(self, other: Listing) -> bool:
        """Return whether both list the same blocks, wherever these are stored."""
        if self.entries == other.entries:
            return True
        if self.blocks != other.blocks:
            return False
        return all(self.identity(block) == other.identity(block) for block in range(self.blocks))


class ShardRef(NamedTuple):
    """A reference to a listing: the backup that wrote it, and the authentication code (hex) that it must have."""

    backup: str
    mac: str


def encode_entry(entry: Entry) -> bytes:
    return _ENTRY.pack(*entry)
