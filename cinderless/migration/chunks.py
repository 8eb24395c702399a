"""Backups that Cinder's chunked drivers wrote (metadata version 1.0.0): POSIX, NFS, S3, Swift and Google.

A backup is objects beside each other, whose names begin with its prefix:

    <prefix>_metadata     JSON: version, backup_id, volume_id, parent_id, created_at, objects [{name: {offset, length,
                          compression, md5}}]; ``length`` is that of the data, before its compression
    <prefix>_sha256file   JSON: chunk_size (bytes of one hashed block), sha256s of all blocks of the volume, in order
    <prefix>-00001 ...    data: a range of the volume each; an incremental backup has only the ranges that changed

An incremental backup is read over its parent. Every block is checked against the newest hashes before it is used.
Source: cinder/backup/chunkeddriver.py and drivers/ of Cinder 29.
"""

from __future__ import annotations

import collections
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from chalicelib.device import Closing, Extent
from chalicelib.errors import IntegrityError, InvalidBackup, NotSupported, ObjectMissing, UnsupportedFormat
from cinderless.migration.unpacking import Piece, Store, Unpacked

VERSION = '1.0.0'

_METADATA, _HASHES = '_metadata', '_sha256file'

#: Bytes of the largest document: the hashes of 16 TiB in blocks of 32 KiB take 35 GiB, so 1 GiB is a volume of 480 GiB.
MOST_BYTES = 1 << 30

#: Bytes of the largest volume: 1 PiB.
LARGEST = 1 << 50

#: Bytes of a document that are read at once.
DOCUMENT_PART = 1 << 20

#: Objects that are kept open: an incremental backup is read from as many as it has ancestors, in turns.
OPEN = 16

#: Bytes of a read that fit into the cache of a CPU.
STEP = 512 << 10

#: Bytes of the largest block whose zeroes are recognised by their hash.
LARGEST_ZERO = 16 << 20

_ID = re.compile(r'[A-Za-z0-9][A-Za-z0-9_-]{0,63}')


class Folder:
    """Files of the POSIX and NFS drivers, or Swift objects that were downloaded. Links are not followed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> Iterator[str]:
        for path in sorted(self._root.rglob('*')):
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(self._root).as_posix()

    def open(self, name: str) -> BinaryIO:
        """Open a regular file: names come from metadata, which may be anyone's."""
        root = self._root.resolve()
        path = root / name  # an absolute name replaces the folder
        try:
            if path.resolve() != path or not path.is_relative_to(root) or not path.is_file():
                raise ObjectMissing(key=name)
            return path.open('rb', buffering=0)
        except (FileNotFoundError, ValueError) as error:  # ValueError: not a name of a file
            raise ObjectMissing(key=name) from error


class ChunkedBackup(NamedTuple):
    """One backup of Cinder. ``container``: what precedes the names of its objects in the store."""

    id: str
    volume_id: str
    parent_id: str | None
    name: str | None
    description: str | None
    created_at: str
    container: str
    prefix: str
    pieces: tuple[Piece, ...]

    @property
    def hashes_name(self) -> str:
        return f'{self.container}{self.prefix}{_HASHES}'

    @property
    def end(self) -> int:
        """The end of its last object in the volume, in bytes."""
        return max((piece.offset + piece.length for piece in self.pieces), default=0)


def find_backups(store: Store) -> Iterator[ChunkedBackup | InvalidBackup]:
    """Yield every backup of a store, and an error for each that cannot be read."""
    for name in store.names():
        if name.endswith(_METADATA):
            try:
                yield read_metadata(store, name)
            except (InvalidBackup, UnsupportedFormat, IntegrityError) as error:
                yield InvalidBackup(reason=f'{name}: {error.message}')


def read_metadata(store: Store, name: str) -> ChunkedBackup:
    """Read the metadata of one backup. Raises UnsupportedFormat for another version, IntegrityError."""
    facts = _document(store, name)
    if facts.get('version') != VERSION:
        raise UnsupportedFormat(f'{name} has version {facts.get("version")!r}; {VERSION} can be read')
    try:
        pieces = tuple(_piece(object_name, one) for each in facts['objects'] for object_name, one in each.items())
        id, volume_id, parent_id = facts['backup_id'], facts['volume_id'], facts['parent_id']
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise IntegrityError(key=name, reason=f'its metadata has no usable {error}') from None
    if not all(isinstance(one, str) and _ID.fullmatch(one) for one in (id, volume_id, parent_id or id)):
        raise IntegrityError(key=name, reason='its ids are not ids')
    container, prefix = _split(name, pieces)
    created_at = str(facts.get('created_at') or '1970-01-01').replace(' ', 'T')
    described = facts.get('backup_name'), facts.get('backup_description')
    return ChunkedBackup(id, volume_id, parent_id, *described, created_at, container, prefix, pieces)


def _piece(name: str, facts: Mapping[str, Any]) -> Piece:
    offset, length = int(facts['offset']), int(facts['length'])
    if offset < 0 or length <= 0 or offset + length > LARGEST:
        raise ValueError('offset or length')
    return Piece(str(name), offset, length, str(facts['compression']).lower())


def _split(name: str, pieces: Iterable[Piece]) -> tuple[str, str]:
    """Return container and prefix: the names of all objects have the prefix, which may have slashes itself."""
    whole = name.removesuffix(_METADATA)
    prefixes = {piece.name.rpartition('-')[0] for piece in pieces} or {whole.rpartition('/')[2]}
    prefix = min(prefixes)
    if len(prefixes) > 1 or not whole.endswith(prefix):
        raise IntegrityError(key=name, reason=f'it names objects of another backup ({prefix})')
    return whole.removesuffix(prefix), prefix


def _document(store: Store, name: str) -> dict[str, Any]:
    with store.open(name) as file:
        data = b''.join(iter(lambda: file.read(DOCUMENT_PART), b''))
    try:
        found = json.loads(data) if len(data) <= MOST_BYTES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise IntegrityError(key=name, reason='it is not a JSON object')
    return found


def chain_of(backup: ChunkedBackup, known: Mapping[str, ChunkedBackup]) -> list[ChunkedBackup]:
    """Return a backup with its ancestors, the full one first. Raises InvalidBackup for one that is missing."""
    chain, seen = [backup], {backup.id}
    while parent_id := chain[0].parent_id:
        parent = known.get(parent_id)
        if parent is None or parent.id in seen or parent.volume_id != backup.volume_id:
            raise InvalidBackup(reason=f'its ancestor {parent_id} is not in this place: backup {backup.id} needs it')
        chain.insert(0, parent)
        seen.add(parent.id)
    return chain


class ChunkedDevice(Closing):
    """The volume as a chain of backups has it, as a read-only BlockDevice. ``size`` in bytes.

    A read raises IntegrityError for a block that differs from the hash in the newest backup.
    """

    block_size = 512

    def __init__(self, store: Store, chain: list[ChunkedBackup]) -> None:
        self._store, self._chain = store, chain
        self._newest = chain[-1]
        hashes = _document(store, self._newest.hashes_name)
        try:
            self._hashed, self._hashes = int(hashes['chunk_size']), list(hashes['sha256s'])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise IntegrityError(key=self._newest.hashes_name, reason='it has no hashes') from None
        self.size = chain[0].end
        if self._hashed <= 0 or len(self._hashes) != -(-self.size // self._hashed):
            reason = f'it has {len(self._hashes)} hashes of {self._hashed} bytes, the volume has {self.size} bytes'
            raise IntegrityError(key=self._newest.hashes_name, reason=reason)
        self._objects: collections.OrderedDict[tuple[str, str], Unpacked] = collections.OrderedDict()
        self._segments = _overlaid(chain)
        self._zeroes = bytes(self._hashed if self._hashed <= LARGEST_ZERO else 0)
        self._zero = hashlib.sha256(self._zeroes).hexdigest()
        #: The range that was read last: (offset, checked data). Blocks may be larger than what is read at once.
        self._last = (0, b'')

    @property
    def step(self) -> int:
        """Bytes that are read at once at best: whole blocks that fit into the cache of a CPU."""
        return max(1, STEP // self._hashed) * self._hashed

    def changes(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges in which the newest backup differs from its parent (the ``Changes`` of a backup)."""
        for piece in self._newest.pieces:
            start, stop = max(offset, piece.offset), min(offset + length, piece.offset + piece.length)
            if start < stop:
                yield start, stop - start

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes, checked."""
        first, last = offset // self._hashed, -(-(offset + length) // self._hashed)
        start, stop = first * self._hashed, min(last * self._hashed, self.size)
        if not (self._last[0] <= start and stop <= self._last[0] + len(self._last[1])):
            data = self._assemble(start, stop - start)
            self._check(first, data)
            self._last = (start, data)
        start, data = self._last
        return data[offset - start : offset - start + length]

    def _check(self, first: int, data: bytes) -> None:
        """Compare whole blocks, the first of which is number ``first``, with their hashes."""
        view, size = memoryview(data), self._hashed
        for block, place in enumerate(range(0, len(data), size), first):
            expected, part = self._hashes[block], view[place : place + size]
            if expected == self._zero and part == self._zeroes:
                continue
            if hashlib.sha256(part).hexdigest() != expected:
                reason = f'bytes {block * size} to {(block + 1) * size} have another sha256'
                raise IntegrityError(key=self._newest.hashes_name, reason=reason)

    def is_zero(self, offset: int, length: int) -> bool:
        """Return whether a range of whole blocks is zeroes by its hashes."""
        first, last = offset // self._hashed, -(-(offset + length) // self._hashed)
        return self._hashes[first:last] == [self._zero] * (last - first)

    def _assemble(self, offset: int, length: int) -> bytes:
        """Return bytes of the objects; what was read last is not read again, since objects are read forward."""
        begin, known = self._last
        parts = [known[offset - begin :]] if begin <= offset < begin + len(known) < offset + length else []
        done = offset + sum(map(len, parts))
        for segment in _between(self._segments, done, offset + length):
            start, stop = max(done, segment.start), min(offset + length, segment.stop)
            parts += self._object(segment).read(start - segment.piece.offset, stop - start)
        found = parts[0] if len(parts) == 1 else b''.join(parts)
        if len(found) != length:
            raise IntegrityError(key=self._newest.hashes_name, reason=f'no object has the {length} bytes at {offset}')
        return found

    def _object(self, segment: Segment) -> Unpacked:
        key = segment.container, segment.piece.name
        if key not in self._objects:
            self._objects[key] = Unpacked(self._store, f'{segment.container}{segment.piece.name}', segment.piece)
            while len(self._objects) > OPEN:
                self._objects.popitem(last=False)[1].close()
        self._objects.move_to_end(key)
        return self._objects[key]

    def read_many(self, ranges: Iterable[tuple[int, int]]) -> Iterator[Extent]:
        for offset, length in ranges:
            yield offset, memoryview(self.read(offset, length))

    def allocated(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        yield offset, length

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        raise NotSupported(operation='write', backend='a backup', reason='it is read only')

    def write_many(self, extents: Iterable[Extent]) -> None:
        raise NotSupported(operation='write', backend='a backup', reason='it is read only')

    def zero(self, offset: int, length: int) -> None:
        raise NotSupported(operation='write', backend='a backup', reason='it is read only')

    def flush(self) -> None:
        """Nothing is written."""

    def close(self) -> None:
        while self._objects:
            self._objects.popitem()[1].close()


class Segment(NamedTuple):
    """A range of the volume, and the object that has its newest content."""

    start: int
    stop: int
    container: str
    piece: Piece


def _overlaid(chain: Iterable[ChunkedBackup]) -> list[Segment]:
    """Return the ranges of the volume, ascending, each with the newest object that has it."""
    found: list[Segment] = []
    for backup in chain:
        own = [
            Segment(piece.offset, piece.offset + piece.length, backup.container, piece)
            for piece in sorted(backup.pieces, key=lambda piece: piece.offset)
        ]
        found = list(_merged(found, own)) if found else own
    return found


def _merged(older: Iterable[Segment], newer: list[Segment]) -> Iterator[Segment]:
    """Yield the older ranges without what the newer ones cover, and the newer ones, by their beginning."""
    left = [part for segment in older for part in _uncovered(segment, newer)]
    yield from sorted([*left, *newer], key=lambda segment: segment.start)


def _uncovered(segment: Segment, newer: list[Segment]) -> Iterator[Segment]:
    start = segment.start
    for cover in _between(newer, segment.start, segment.stop):
        if cover.start > start:
            yield segment._replace(start=start, stop=cover.start)
        start = max(start, cover.stop)
    if start < segment.stop:
        yield segment._replace(start=start)


def _between(segments: list[Segment], start: int, stop: int) -> Iterator[Segment]:
    """Yield the segments that overlap a range; they are sorted and do not overlap each other."""
    low, high = 0, len(segments)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if segments[middle].stop <= start else (low, middle)
    for index in range(low, len(segments)):
        if segments[index].start >= stop:
            return
        yield segments[index]
