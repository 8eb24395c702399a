"""The interface of a store of volumes and snapshots.

A store holds objects by name and size; it does not know which volume a snapshot is of. Its verbs are atomic: an object
exists completely or not at all, even if the host crashes half-way. The caller holds the locks of all named objects.
Sizes are bytes.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from appliance.errors import OutOfSpace, Unavailable
from appliance.names import Key

#: Suffixes of incomplete and deleted objects. Names in requests contain no '.'.
NEW = '.new'
TRASH = '.trash'


class Object(NamedTuple):
    """``used`` includes bytes shared with other objects where the store cannot separate them."""

    size: int
    used: int


class Medium(NamedTuple):
    """The space that all pools share."""

    total: int
    free: int


class Store(Protocol):
    #: Copies are instant and point-in-time consistent, even while a host writes.
    copies_attached: bool
    #: tgt's ``bsoflags`` for this store's objects.
    flags: str

    def path(self, key: Key) -> str:
        """Return the path that tgtd opens."""

    def objects(self, pool: str) -> Mapping[str, Object]:
        """Return all objects of the pool by name."""

    def size(self, key: Key) -> int | None:
        """Return the object's size, or None if it does not exist."""

    def create(self, key: Key, size: int) -> None:
        """Create an object of zeroes."""

    def copy(self, source: Key, target: Key, size: int) -> None:
        """Create ``target`` with the source's data, grown to ``size``; an older ``target`` is replaced atomically."""

    def compares(self) -> bool:
        """Whether a snapshot shares what nothing has overwritten since, and ``changes`` lists the rest."""

    def exclusive(self, key: Key) -> int:
        """Return the bytes that deleting a snapshot frees; 0 where the store does not know, but its medium does."""

    def changes(self, new: Key, old: Key, start: int, stop: int) -> Iterable[tuple[int, int]]:
        """Return the (start, stop) from ``start`` to ``stop`` in which two snapshots of a volume may differ, ascending.

        Both are at least ``stop`` long, and nothing writes to them. Raises NotComparable.
        """

    def flush(self, key: Key) -> None:
        """Write back cached writes of hosts, so that a copy soon after is fast."""

    def grow(self, key: Key, size: int) -> None:
        """Grow an object; the new part reads as zeroes."""

    def rename(self, key: Key, name: str) -> None:
        """Rename an object in its pool."""

    def delete(self, key: Key) -> None:
        """Delete an object if it exists."""

    def recover(self) -> None:
        """Finish or undo what a crash interrupted."""

    def medium(self) -> Medium: ...

    def close(self) -> None:
        """Release what ``__init__`` acquired, such as a mount."""


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Translate a store's OSError to Full or Unavailable, without paths."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OutOfSpace(f'{what}: {error.strerror}') from error
        raise Unavailable(f'{what}: {error.strerror}') from error
