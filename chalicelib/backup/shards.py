"""The shard manifest: every block of one shard and where it is stored, without reference to other listings.

    header | references (JSON, zstd) | entries (48 bytes a block, zstd, sealed)

References name whole objects and are not encrypted, so the collector needs no key. The manifest of an unchanged shard
is a pointer: its references name the older manifest, and it has no entries.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from typing import Any

import zstandard

from chalicelib.backup.blocks import compress
from chalicelib.backup.crypto import HASH_SIZE, DataKey, digest
from chalicelib.backup.listing import ENTRY_SIZE, Counts, Listing, Pack, ShardRef
from chalicelib.backup.repository import Repository
from chalicelib.errors import IntegrityError

MAGIC = b'CLSHARD1'
LISTING, POINTER, PARTIAL = 1, 2, 3

#: magic, kind, blocks, data blocks, new blocks, packs and their bytes, lengths and digests of references and entries.
_HEADER = struct.Struct('<8s5IQ2I32s32s')
HEADER_SIZE = _HEADER.size + HASH_SIZE

#: Bytes that a peek reads: the header and, nearly always, the references.
PEEK_SIZE = 16 << 10

#: References never grow beyond this; a larger claim is damage.
_REFERENCES_LIMIT = 16 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Header:
    """``mac``, the authentication code in hex, identifies the whole manifest wherever it is referred to."""

    kind: int
    counts: Counts
    references_size: int
    entries_size: int
    references_digest: bytes
    entries_digest: bytes
    mac: str

    @property
    def size(self) -> int:
        """Bytes of the whole object."""
        return HEADER_SIZE + self.references_size + self.entries_size


def encode_listing(key: DataKey, object_key: str, listing: Listing, counts: Counts, kind: int = LISTING) -> bytes:
    sealed = key.seal_table(object_key, compress(listing.entries))
    return _encode(key, object_key, kind, counts, {'packs': listing.packs}, sealed)


def encode_pointer(key: DataKey, object_key: str, target: ShardRef, counts: Counts) -> bytes:
    return _encode(key, object_key, POINTER, counts, {'shard': target}, b'')


def _encode(key: DataKey, object_key: str, kind: int, counts: Counts, named: dict[str, Any], sealed: bytes) -> bytes:
    references = compress(json.dumps(named, separators=(',', ':')).encode())
    fields = (kind, *counts, len(references), len(sealed), digest(references), digest(sealed))
    header = _HEADER.pack(MAGIC, *fields)
    return header + key.mac(object_key, header) + references + sealed


def decode_header(object_key: str, data: bytes, key: DataKey | None = None) -> Header:
    """Read the header from an object's first bytes; with ``key``, verify it. Raises IntegrityError."""
    if len(data) < HEADER_SIZE or data[: len(MAGIC)] != MAGIC:
        raise IntegrityError(key=object_key, reason='it is not a shard manifest')
    mac = data[_HEADER.size : HEADER_SIZE]
    if key is not None:
        key.check_mac(object_key, data[: _HEADER.size], mac)
    _, kind, *numbers, references, entries = _HEADER.unpack_from(data)
    references_size, entries_size = numbers[5:]
    return Header(kind, Counts(*numbers[:5]), references_size, entries_size, references, entries, mac.hex())


def decode_references(object_key: str, header: Header, data: bytes) -> list[Pack] | ShardRef:
    """Return what the manifest names: the packs of a listing, or the listing that a pointer refers to.

    ``data`` begins with header and references.
    """
    references = data[HEADER_SIZE : HEADER_SIZE + header.references_size]
    if digest(references) != header.references_digest:
        raise IntegrityError(key=object_key, reason='its references are damaged')
    try:
        named = json.loads(_decompress(object_key, references, _REFERENCES_LIMIT))
        if header.kind == POINTER:
            return ShardRef(*named['shard'])
        return [Pack(*pack) for pack in named['packs']]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise IntegrityError(key=object_key, reason='its references are damaged') from error


def decode_listing(key: DataKey, object_key: str, data: bytes) -> tuple[Header, Listing]:
    """Read and verify a whole listing. Raises IntegrityError."""
    header = decode_header(object_key, data, key)
    packs = decode_references(object_key, header, data)
    sealed = data[HEADER_SIZE + header.references_size :]
    if len(data) != header.size or digest(sealed) != header.entries_digest or isinstance(packs, ShardRef):
        raise IntegrityError(key=object_key, reason='its entries are damaged')
    size = header.counts.blocks * ENTRY_SIZE
    entries = _decompress(object_key, key.open_table(object_key, sealed), size)
    if len(entries) != size:
        raise IntegrityError(key=object_key, reason='its entries are damaged')
    return header, Listing(packs, bytearray(entries))


def peek(repository: Repository, object_key: str, key: DataKey | None = None) -> tuple[Header, list[Pack] | ShardRef]:
    """Read a manifest's header and references, without entries. Raises ObjectMissing, IntegrityError."""
    content = repository.get(object_key, 0, PEEK_SIZE)
    header = decode_header(object_key, content.data, key)
    if content.size != header.size:
        raise IntegrityError(key=object_key, reason=f'it has {content.size} bytes, not {header.size}')
    missing = HEADER_SIZE + header.references_size - len(content.data)
    rest = repository.get(object_key, len(content.data), missing).data if missing > 0 else b''
    return header, decode_references(object_key, header, content.data + rest)


def load(repository: Repository, key: DataKey, object_key: str) -> tuple[Header, Listing]:
    """Read a whole listing. Raises ObjectMissing, IntegrityError."""
    return decode_listing(key, object_key, repository.get(object_key).data)


def _decompress(object_key: str, data: bytes, limit: int) -> bytes:
    """Decompress a frame, which states its size; a frame above ``limit`` bytes is refused."""
    try:
        if 0 <= zstandard.frame_content_size(data) <= limit:
            return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as error:
        raise IntegrityError(key=object_key, reason='it does not decompress') from error
    raise IntegrityError(key=object_key, reason=f'it decompresses to more than {limit} bytes')
