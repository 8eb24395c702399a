"""Tells how far a range of a volume is, now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

from chalicelib.operations import progress


class Reporter:
    """``write`` is told the bytes that are done of the range that begins with ``first``, at most every 30 seconds."""

    def __init__(self, first: int, shard_size: int, write: Callable[[int], None]) -> None:
        self._first, self._shard_size, self._write = first, shard_size, write
        self._next = time.monotonic() + progress.INTERVAL

    def of(self, shard: int) -> Callable[[int], None]:
        """The engine's progress callback for one shard: told the bytes that are done of it."""

        def tell(done: int) -> None:
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + progress.INTERVAL
                self._write((shard - self._first) * self._shard_size + done)

        return tell
