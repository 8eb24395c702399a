"""What the engine asks of the place where backups lie. Implementations: ``s3.S3Repository``, ``files.FileRepository``.

The comments below are the contract; one behaviour suite runs on every implementation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from chalicelib.errors import ObjectMissing

Data = bytes | bytearray | memoryview


class ObjectInfo(NamedTuple):
    """``size`` in bytes, ``modified`` in seconds since the epoch by the repository's clock."""

    key: str
    size: int
    modified: float


class Content(NamedTuple):
    """Bytes of an object, or of a range of it; ``size`` is that of the whole object, so that none may grow unseen."""

    data: bytes
    size: int


class Repository(Protocol):
    """Objects under keys. Thread-safe. Strongly consistent: what a call did, every later call sees.

    Keys are '/'-separated segments of letters, digits, '-' and '_'. Every method raises RepositoryError when the
    repository refuses or cannot be reached; such a call may have had its effect, and may be repeated.
    """

    def put(self, key: str, data: Data, *, if_none_match: bool = False) -> None:
        """Store an object: wholly or not at all, and durably on return. The caller may reuse ``data`` afterwards.

        With ``if_none_match`` an existing object stays and ObjectExists is raised. A repeated put (after a lost
        answer) may then find the caller's own object.
        """

    def get(self, key: str, start: int = 0, length: int | None = None) -> Content:
        """Read ``length`` bytes from ``start``; fewer, or none, where the object ends sooner. Raises ObjectMissing."""

    def head(self, key: str) -> ObjectInfo:
        """Raises ObjectMissing."""

    def list(self, prefix: str, start_after: str = '') -> Iterator[ObjectInfo]:
        """Yield what begins with ``prefix``, ascending by key in byte order, keys above ``start_after`` only."""

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; one that is missing already is no error."""


def exists(repository: Repository, key: str) -> bool:
    try:
        repository.head(key)
    except ObjectMissing:
        return False
    return True
