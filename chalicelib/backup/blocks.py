"""One block between a device and a pack: compressed when that helps, sealed, named by its keyed hash."""

from __future__ import annotations

import threading

import zstandard
from cryptography.exceptions import InvalidTag

from chalicelib.backup.crypto import SEAL_SIZE, DataKey
from chalicelib.backup.listing import COMPRESSED, STORED, Entry
from chalicelib.backup.repository import Data
from chalicelib.errors import IntegrityError

#: Measured: level 3 halves the speed and saves half a percent; faster levels cost five percent of size.
_LEVEL = 1

#: Bytes that decide in nearly all cases, without a copy, that a block is not zero.
_PROBE = 256


#: One compressor per thread, which keeps its tables.
_own = threading.local()


def compress(data: Data) -> bytes:
    """A zstd frame that states its content's size."""
    try:
        zstd: zstandard.ZstdCompressor = _own.zstd
    except AttributeError:
        zstd = _own.zstd = zstandard.ZstdCompressor(level=_LEVEL)
    return zstd.compress(data)


def payload(data: Data) -> tuple[Data, int]:
    """Return (the bytes to seal, flags of the entry)."""
    compressed = compress(data)
    if len(compressed) < len(data):
        return compressed, STORED | COMPRESSED
    return data, STORED


class Opener:
    """Turns frames into blocks and verifies that each is the stored one. Not thread-safe: it has one buffer."""

    def __init__(self, key: DataKey, block_size: int) -> None:
        self._key = key
        self._buffer = memoryview(bytearray(block_size))
        self._zstd = zstandard.ZstdDecompressor()

    def open(self, pack_key: str, entry: Entry, frame: memoryview, length: int) -> memoryview:
        """Return the block's ``length`` bytes, valid until the next call. Raises IntegrityError if damaged."""
        try:
            data = self._plain(entry, frame, length)
        except (InvalidTag, ValueError, zstandard.ZstdError) as error:
            raise _damaged(pack_key, entry) from error
        if len(data) != length or self._key.identity(data) != entry.identity:
            raise _damaged(pack_key, entry)
        return data

    def _plain(self, entry: Entry, frame: memoryview, length: int) -> memoryview:
        payload = self._buffer[: max(0, len(frame) - SEAL_SIZE)]
        self._key.open_block(entry.identity, frame, payload)
        if not entry.flags & COMPRESSED:
            return payload
        if zstandard.frame_content_size(payload) != length:
            raise ValueError('the block has another length')
        return memoryview(self._zstd.decompress(payload))


def is_zero(data: memoryview, zeroes: bytes) -> bool:
    """Whether ``data`` is all zero; ``zeroes`` has its length.

    Comparing a view byte by byte is thirty times slower than copying it first, so only likely ones are copied.
    """
    return bytes(data[:_PROBE]) == zeroes[:_PROBE] and bytes(data) == zeroes


def _damaged(pack_key: str, entry: Entry) -> IntegrityError:
    where = f'bytes {entry.offset} to {entry.offset + entry.length}'
    return IntegrityError(key=pack_key, reason=f'{where} are not the block that was stored there')
