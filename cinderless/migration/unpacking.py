"""Objects of a backup in Cinder's format, decompressed as far as they are read."""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, NamedTuple, Protocol

import zstandard

from chalicelib.errors import IntegrityError, UnsupportedFormat

#: Compressed bytes that are read at once.
PART = 64 << 10


class Store(Protocol):
    """Where the objects are. Raises ObjectMissing."""

    def names(self) -> Iterator[str]:
        """Yield the name of every object, folders separated by slashes."""

    def open(self, name: str) -> BinaryIO: ...


class Piece(NamedTuple):
    """One object: ``length`` bytes of the volume at ``offset``."""

    name: str
    offset: int
    length: int
    compression: str


class _Inflater:
    """A zlib stream as a file that is read forward."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._unpacker, self._tail = file, zlib.decompressobj(), b''

    def read(self, length: int) -> bytes:
        """Return up to ``length`` bytes; none only at the end. Raises zlib.error, EOFError."""
        while not self._unpacker.eof:
            packed = self._tail or self._file.read(PART)
            if not packed:
                raise EOFError('it ends early')
            data = self._unpacker.decompress(packed, length)
            self._tail = self._unpacker.unconsumed_tail
            if data:
                return data
        return b''


class _Forward(Protocol):
    """What reads an object's data from its beginning."""

    def read(self, length: int, /) -> bytes: ...


#: Cinder's names of its algorithms. None of them decompresses more than is read.
_ALGORITHMS: Mapping[str, Callable[[BinaryIO], _Forward]] = {
    **dict.fromkeys(('none', 'off', 'no'), lambda file: file),
    **dict.fromkeys(('zlib', 'gzip'), _Inflater),
    **dict.fromkeys(('bz2', 'bzip2'), bz2.BZ2File),
    'zstd': lambda file: zstandard.ZstdDecompressor().stream_reader(file),
}

#: What the decompressors raise for damaged data, and files that cannot be read.
_DAMAGE = (zlib.error, OSError, EOFError, zstandard.ZstdError)


class Unpacked:
    """The data of one object, decompressed as far as it is read; a step back begins again."""

    def __init__(self, store: Store, name: str, piece: Piece) -> None:
        self._store, self._name, self._piece = store, name, piece
        self._file: BinaryIO | None = None
        self._data: _Forward | None = None
        self._position = 0

    def read(self, offset: int, length: int) -> list[bytes]:
        """Return the parts of ``length`` bytes at an offset in the object. Raises IntegrityError."""
        if self._data is None or offset < self._position:
            self._begin()
        try:
            for _ in self._parts(offset - self._position):
                pass
            found = list(self._parts(length))
            if self._position == self._piece.length and self._data is not None and self._data.read(1):
                raise self._wrong_length()
        except _DAMAGE as error:
            raise IntegrityError(key=self._name, reason=f'it cannot be decompressed: {error}') from None
        return found

    def _parts(self, length: int) -> Iterator[bytes]:
        while length:
            part = self._data.read(length) if self._data is not None else b''
            if not part:
                raise self._wrong_length()
            self._position += len(part)
            length -= len(part)
            yield part

    def _begin(self) -> None:
        self.close()
        opened = _ALGORITHMS.get(self._piece.compression)
        if opened is None:
            known = ', '.join(_ALGORITHMS)
            raise UnsupportedFormat(f'{self._name} is compressed with {self._piece.compression}; known: {known}')
        self._file = self._store.open(self._name)
        self._data, self._position = opened(self._file), 0

    def _wrong_length(self) -> IntegrityError:
        reason = f'its data does not have the {self._piece.length} bytes of the metadata'
        return IntegrityError(key=self._name, reason=reason)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._data = None
