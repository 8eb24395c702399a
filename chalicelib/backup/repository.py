"""The contract of a backup store. Implementations: ``s3.S3Repository``, ``files.FileRepository``.

The comments below are the contract; one behaviour suite runs on every implementation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from chalicelib.errors import ObjectExists, ObjectMissing

Data = bytes | bytearray | memoryview


class ObjectInfo(NamedTuple):
    """``size`` in bytes, ``modified`` in seconds since the epoch by the repository's clock."""

    key: str
    size: int
    modified: float


class Content(NamedTuple):
    """Bytes of an object, or of a range of it. ``size`` is that of the whole object, so that growth is detected."""

    data: bytes
    size: int


class Repository(Protocol):
    """Objects under keys. Thread-safe. Strongly consistent: later calls see the effect of every earlier one.

    Keys are '/'-separated segments of letters, digits, '-' and '_'. Every method raises RepositoryError when the
    repository refuses or cannot be reached; such a call may have taken effect, and may be repeated.
    """

    def put(self, key: str, data: Data, *, if_none_match: bool = False) -> None:
        """Store an object completely or not at all, durably on return. The caller may reuse ``data`` afterwards.

        With ``if_none_match`` an existing object stays, and ObjectExists is raised. After a lost response, a repeated
        put may find the caller's own object.
        """

    def get(self, key: str, start: int = 0, length: int | None = None) -> Content:
        """Read ``length`` bytes from ``start``; fewer, or none, where the object ends sooner. Raises ObjectMissing."""

    def head(self, key: str) -> ObjectInfo:
        """Raises ObjectMissing."""

    def list(self, prefix: str, start_after: str = '') -> Iterator[ObjectInfo]:
        """Yield what begins with ``prefix``, ascending by key in byte order, keys above ``start_after`` only."""

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; a missing one is not an error."""


def exists(repository: Repository, key: str) -> bool:
    try:
        repository.head(key)
    except ObjectMissing:
        return False
    return True


def put_once(repository: Repository, key: str, data: Data) -> None:
    """Store an object unless it exists: another attempt has stored the same, and counts."""
    with contextlib.suppress(ObjectExists):
        repository.put(key, data, if_none_match=True)
