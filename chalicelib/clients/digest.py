"""A hash that one process can suspend and another one resume.

A copy of an image is hashed as a whole, but runs in several Lambda functions, one after the other. hashlib hides the
state of a hash; OpenSSL's own functions keep it in a struct of at most 216 bytes without pointers, which is stored in
the cursor. hashlib's module is linked to the same OpenSSL, so nothing else is loaded. Elsewhere, and for algorithms not
in the table, the hash cannot be suspended, and the next process hashes from the beginning.
"""

from __future__ import annotations

import _hashlib
import base64
import binascii
import ctypes
import functools
import hashlib
from collections.abc import Mapping
from typing import Protocol

#: Bytes reserved for a state: above OpenSSL's largest (SHA512_CTX, 216).
_STATE = 256

#: Algorithm as Glance names it -> (prefix of OpenSSL's functions, bytes of the struct, bytes of the digest).
_PAUSABLE: Mapping[str, tuple[str, int, int]] = {
    'sha512': ('SHA512', 216, 64),
    'sha256': ('SHA256', 112, 32),
    'md5': ('MD5', 92, 16),
}

#: Algorithms for the verification of an image; hashlib has all.
ALGORITHMS = frozenset({'md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512'})


class Digest(Protocol):
    """A hash of the data so far."""

    def update(self, data: bytes) -> None: ...

    def hexdigest(self) -> str:
        """Return the digest; ``update`` must not follow."""

    def state(self) -> str:
        """Return the state for ``begin`` as text; '' if hashing must start from the beginning."""


class _Resumable:
    """OpenSSL's functions on a buffer of this process."""

    def __init__(self, algorithm: str, state: bytes) -> None:
        prefix, self._size, self._length = _PAUSABLE[algorithm]
        library = _library()
        self._update, self._final = getattr(library, f'{prefix}_Update'), getattr(library, f'{prefix}_Final')
        self._context = ctypes.create_string_buffer(state, _STATE)
        if not state:
            getattr(library, f'{prefix}_Init')(self._context)

    def update(self, data: bytes) -> None:
        self._update(self._context, data, ctypes.c_size_t(len(data)))

    def hexdigest(self) -> str:
        digest = ctypes.create_string_buffer(self._length)
        self._final(digest, self._context)
        return digest.raw.hex()

    def state(self) -> str:
        return base64.b64encode(self._context.raw[: self._size]).decode()


class _Unresumable:
    """hashlib's implementation, whose state cannot be stored."""

    def __init__(self, algorithm: str) -> None:
        self._hash = hashlib.new(algorithm, usedforsecurity=False)
        self.update, self.hexdigest = self._hash.update, self._hash.hexdigest

    def state(self) -> str:
        return ''


def begin(algorithm: str, state: str = '') -> Digest:
    """Begin a hash, or resume it from ``state``. Raises ValueError for a state that is not the algorithm's."""
    if algorithm in _PAUSABLE and is_pausable():
        return _Resumable(algorithm, _state(algorithm, state))
    if state:
        raise ValueError(f'the state of a {algorithm} hash cannot be resumed here')
    whole: Digest = _Unresumable(algorithm)
    return whole


def _state(algorithm: str, text: str) -> bytes:
    try:
        state = base64.b64decode(text, validate=True)
    except binascii.Error:
        state = b'-'
    if text and len(state) != _PAUSABLE[algorithm][1]:
        raise ValueError(f'this is not the state of a {algorithm} hash')
    return state


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(_hashlib.__file__)


@functools.cache
def is_pausable() -> bool:
    """Whether OpenSSL's functions are available."""
    try:
        return all(hasattr(_library(), f'{prefix}_Init') for prefix, _, _ in _PAUSABLE.values())
    except (AttributeError, OSError):  # hashlib is built into the interpreter
        return False
