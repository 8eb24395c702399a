"""What the agent asks of a store of volumes and snapshots.

A store knows objects by name and size, not which volume a snapshot is of. Its verbs are atomic: an object of a given
name is there complete, or is not there, even if the host dies in the middle. The caller holds the locks of all objects
named. Sizes are bytes.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from appliance.errors import Full, Unavailable
from appliance.names import Key

#: Suffixes of what is not an object (yet, or any more). Names given by requests hold no '.'.
NEW = '.new'
TRASH = '.trash'


class Object(NamedTuple):
    """``used`` counts bytes shared with other objects, too, where the store cannot tell."""

    size: int
    used: int


class Medium(NamedTuple):
    """What all pools share."""

    total: int
    free: int


class Store(Protocol):
    #: Copies are instant and of one moment, even while a host writes.
    copies_attached: bool
    #: tgt's ``bsoflags`` for this store's objects.
    flags: str

    def path(self, key: Key) -> str:
        """What tgtd opens."""

    def objects(self, pool: str) -> Mapping[str, Object]:
        """All objects of the pool by name."""

    def size(self, key: Key) -> int | None:
        """The object's size, or None if it does not exist."""

    def create(self, key: Key, size: int) -> None:
        """Make an object of zeroes."""

    def copy(self, source: Key, target: Key, size: int) -> None:
        """Make ``target`` with the source's data, grown to ``size``; an older ``target`` is replaced at once."""

    def flush(self, key: Key) -> None:
        """Write back what hosts have written, so that a copy soon after takes little time."""

    def grow(self, key: Key, size: int) -> None:
        """Grow an object; what is new reads as zeroes."""

    def rename(self, key: Key, name: str) -> None:
        """Give an object another name in its pool."""

    def delete(self, key: Key) -> None:
        """Remove an object if it exists."""

    def recover(self) -> None:
        """Finish or undo what a crash left half done."""

    def medium(self) -> Medium: ...

    def close(self) -> None:
        """Give back what ``__init__`` took, such as a mount."""


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn an OSError of a store into Full or Unavailable, without paths."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise Full(f'{what}: {error.strerror}') from error
        raise Unavailable(f'{what}: {error.strerror}') from error
