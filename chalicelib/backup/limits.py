"""Limits of one call of the engine, and the threads that it may use."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from chalicelib.backup.layout import KIB, MIB

T = TypeVar('T')

#: Returns the seconds left to the caller, as a Lambda's context reports them; infinite without a limit.
SecondsLeft = Callable[[], float]

#: Receives the bytes of the shard (or backup, for a verification) that are done; it may raise to stop the work.
Progress = Callable[[int], None]

#: What a caller stores between two calls: JSON, below 1 KiB.
Cursor = dict[str, int | str]


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """Memory stays below ``pack_size * 2 * (uploads + 1)`` for a backup, ``run_size * (downloads + 1)`` for a restore.

    ``uploads``, ``downloads`` and ``lookups`` are requests under way at once; 0 sends them from the caller's thread.
    """

    #: Bytes of a pack, at most; one block fits in any case.
    pack_size: int = 32 * MIB
    uploads: int = 2
    downloads: int = 4
    #: Shard manifests looked at, at once, by a commit.
    lookups: int = 16
    #: Bytes of one range read, at most.
    run_size: int = 8 * MIB
    #: Bytes between two frames, at most, that one request reads and drops, instead of two requests.
    gap_size: int = 128 * KIB
    #: Blocks restored or verified between two checks of the time.
    step_blocks: int = 256
    #: Seconds kept back to store what is in memory before the time is up.
    reserve: float = 20.0


class Pool:
    """Runs calls in ``width`` threads, or in the caller's thread when ``width`` is 0."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._threads = ThreadPoolExecutor(width) if width else None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._threads:
            self._threads.shutdown(cancel_futures=True)

    def submit(self, call: Callable[[], T]) -> Future[T]:
        if self._threads:
            return self._threads.submit(call)
        future: Future[T] = Future()
        try:
            future.set_result(call())
        except BaseException as error:  # as a thread does: the future raises it
            future.set_exception(error)
        return future

    def ordered(self, calls: Iterable[Callable[[], T]]) -> Iterator[Future[T]]:
        """Yield the calls' futures in order, with at most ``width`` of them running or waiting to be consumed."""
        window: collections.deque[Future[T]] = collections.deque()
        for call in calls:
            window.append(self.submit(call))
            if len(window) >= self.width:
                yield window.popleft()
        yield from window


def no_progress(done: int) -> None:
    """Ignore progress."""
