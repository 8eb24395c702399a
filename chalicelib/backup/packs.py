"""Packs: blocks of one shard stored together, so that a GiB takes about thirty requests instead of two thousand."""

from __future__ import annotations

import collections
import contextlib
import functools
import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from chalicelib.backup.crypto import SEAL_SIZE, DataKey
from chalicelib.backup.limits import Limits, Pool
from chalicelib.backup.listing import Entry, Pack
from chalicelib.backup.repository import Data, Repository
from chalicelib.errors import IntegrityError

#: Free pack buffers for reuse: a new one costs a page fault for each 4 KiB of it.
_spare: collections.deque[memoryview] = collections.deque(maxlen=3)


class PackWriter:
    """Fills packs, and stores full ones while the next one fills.

    ``first`` is the number of the first pack; every key begins with ``prefix``. ``packs`` are those filled so far; they
    are stored once ``finish`` has returned.
    """

    def __init__(
        self, repository: Repository, key: DataKey, prefix: str, first: int, capacity: int, pool: Pool
    ) -> None:
        self.packs: list[Pack] = []
        self._repository = repository
        self._key = key
        self._prefix = prefix
        self._first = first
        self._capacity = capacity
        self._pool = pool
        self._buffer: memoryview | None = None
        self._used = 0
        self._under_way: collections.deque[tuple[Future[None], memoryview]] = collections.deque()

    def add(self, identity: bytes, payload: Data, flags: int) -> Entry:
        """Seal a payload into the current pack; return its entry."""
        length = len(payload) + SEAL_SIZE
        if self._used + length > self._capacity:
            self._send()
        buffer = self._buffer = self._buffer or self._take_buffer()
        self._key.seal_block(identity, payload, buffer[self._used : self._used + length])
        entry = Entry(identity, self._first + len(self.packs), self._used, length, flags)
        self._used += length
        return entry

    def finish(self) -> None:
        """Store what remains and wait for all puts. Raises what any put raised."""
        if self._buffer is not None:
            self._seal(self._buffer)()  # in this thread, which would only wait
            _spare.append(self._buffer)
            self._buffer = None
        while self._under_way:
            _spare.append(self._reclaim())

    def _send(self) -> None:
        if self._buffer is not None:
            self._under_way.append((self._pool.submit(self._seal(self._buffer)), self._buffer))
            self._buffer = None

    def _seal(self, buffer: memoryview) -> Callable[[], None]:
        """Close the pack; return the call that stores it."""
        pack = Pack(f'{self._prefix}{len(self.packs):04d}', self._used)
        self.packs.append(pack)
        self._used = 0
        return functools.partial(self._repository.put, pack.key, buffer[: pack.size])

    def _take_buffer(self) -> memoryview:
        """Return a free buffer; those of finished puts are reused."""
        if len(self._under_way) > self._pool.width:
            return self._reclaim()
        with contextlib.suppress(IndexError):
            spare = _spare.pop()
            if len(spare) == self._capacity:
                return spare
        return memoryview(mmap.mmap(-1, self._capacity, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

    def _reclaim(self) -> memoryview:
        future, buffer = self._under_way.popleft()
        future.result()
        return buffer


class Frame(NamedTuple):
    """One stored block, and the blocks of the shard that have its content."""

    entry: Entry
    blocks: list[int]


class Run(NamedTuple):
    """Frames of one pack that one range read fetches: bytes ``start`` to ``stop``."""

    pack: Pack
    start: int
    stop: int
    frames: list[Frame]

    def fetch(self, repository: Repository) -> memoryview:
        """Raises IntegrityError when the pack's size is not the stored one."""
        content = repository.get(self.pack.key, self.start, self.stop - self.start)
        if content.size != self.pack.size or len(content.data) != self.stop - self.start:
            reason = f'it has {content.size} bytes, {self.pack.size} were stored'
            raise IntegrityError(key=self.pack.key, reason=reason)
        return memoryview(content.data)

    def cut(self, data: memoryview, frame: Frame) -> memoryview:
        """Return a frame of the bytes that ``fetch`` returned."""
        start = frame.entry.offset - self.start
        return data[start : start + frame.entry.length]


def gather(stored: Iterable[tuple[int, Entry]]) -> list[Frame]:
    """Return each stored block once, in the order of packs."""
    frames: dict[tuple[int, int], Frame] = {}
    for block, entry in stored:
        frames.setdefault((entry.pack, entry.offset), Frame(entry, [])).blocks.append(block)
    return [frames[place] for place in sorted(frames)]


def runs(frames: Iterable[Frame], packs: Sequence[Pack], limits: Limits) -> Iterator[Run]:
    """Join neighbouring frames into range reads."""
    run: Run | None = None
    for frame in frames:
        if run is None or not _joins(run, packs, frame.entry, limits):
            if run:
                yield run
            run = Run(packs[frame.entry.pack], frame.entry.offset, 0, [])
        run.frames.append(frame)
        run = run._replace(stop=frame.entry.offset + frame.entry.length)
    if run:
        yield run


def _joins(run: Run, packs: Sequence[Pack], entry: Entry, limits: Limits) -> bool:
    near = entry.offset - run.stop <= limits.gap_size
    small = entry.offset + entry.length - run.start <= limits.run_size
    return near and small and packs[entry.pack] is run.pack


def fetch_all(repository: Repository, pool: Pool, wanted: Sequence[Run]) -> Iterator[tuple[Run, Future[memoryview]]]:
    """Fetch runs, several at once, and yield them in order. A single one needs no thread."""
    if len(wanted) == 1:
        pool = Pool(0)
    return zip(wanted, pool.ordered(functools.partial(run.fetch, repository) for run in wanted), strict=True)
