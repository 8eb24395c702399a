"""Doubles for the engine's tests: a repository in memory, a device in memory, and their faults."""

from __future__ import annotations

import collections
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from chalicelib.backup.repository import Content, Data, ObjectInfo, Repository
from chalicelib.device import Extent
from chalicelib.errors import DeviceError, ObjectExists, ObjectMissing


class MemoryRepository:
    """Objects in a dict. ``clock`` gives the time that puts are stamped with."""

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.objects: dict[str, bytes] = {}
        self.times: dict[str, float] = {}
        #: Keys that were locked after they had been put.
        self.retained: set[str] = set()
        self._clock = clock
        self._lock = threading.Lock()

    def put(self, key: str, data: Data, *, if_none_match: bool = False) -> None:
        with self._lock:
            if if_none_match and key in self.objects:
                raise ObjectExists(key=key)
            self.objects[key] = bytes(data)
            self.times[key] = self._clock()

    def get(self, key: str, start: int = 0, length: int | None = None) -> Content:
        data = self._find(key)
        return Content(data[start:] if length is None else data[start : start + length], len(data))

    def head(self, key: str) -> ObjectInfo:
        return ObjectInfo(key, len(self._find(key)), self.times[key])

    def _find(self, key: str) -> bytes:
        try:
            return self.objects[key]
        except KeyError:
            raise ObjectMissing(key=key) from None

    def list(self, prefix: str, start_after: str = '') -> Iterator[ObjectInfo]:
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > start_after)
        return iter([self.head(key) for key in keys])

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.objects.pop(key, None)

    def retain(self, key: str) -> None:
        self.retained.add(self.head(key).key)

    def copy(self) -> MemoryRepository:
        other = MemoryRepository(self._clock)
        other.objects, other.times = dict(self.objects), dict(self.times)
        return other


class Killed(BaseException):
    """The process dies here: nothing that handles errors may handle this."""


class Wrapped:
    """A repository whose every call is made by ``around``: it gets the method, and makes the call or does not."""

    def __init__(self, repository: Repository, around: Callable[[str, Callable[[], Any]], Any]) -> None:
        self._repository = repository
        self._around = around

    def put(self, key: str, data: Data, *, if_none_match: bool = False) -> None:
        self._around('put', lambda: self._repository.put(key, data, if_none_match=if_none_match))

    def get(self, key: str, start: int = 0, length: int | None = None) -> Content:
        content: Content = self._around('get', lambda: self._repository.get(key, start, length))
        return content

    def head(self, key: str) -> ObjectInfo:
        info: ObjectInfo = self._around('head', lambda: self._repository.head(key))
        return info

    def list(self, prefix: str, start_after: str = '') -> Iterator[ObjectInfo]:
        return iter(self._around('list', lambda: list(self._repository.list(prefix, start_after))))

    def retain(self, key: str) -> None:
        self._around('retain', lambda: self._repository.retain(key))  # type: ignore[attr-defined]

    def delete(self, keys: Sequence[str]) -> None:
        self._around('delete', lambda: self._repository.delete(keys))


class Meter:
    """Counts calls by method."""

    def __init__(self) -> None:
        self.calls: collections.Counter[str] = collections.Counter()

    def __call__(self, method: str, call: Callable[[], Any]) -> Any:
        self.calls[method] += 1
        return call()


class KillAt:
    """Kills the caller at its call number ``number`` (from 0), before or after it had its effect."""

    def __init__(self, number: int, *, after: bool) -> None:
        self._left = number
        self._after = after

    def __call__(self, method: str, call: Callable[[], Any]) -> Any:
        self._left -= 1
        if self._left >= 0:
            return call()
        if self._left == -1 and self._after:
            call()
        raise Killed


class MemoryDevice:
    """A volume in memory. ``stale`` is what a thin device would have mapped; None: everything.

    Records the calls: ``reads`` and ``writes`` as (offset, length), ``zeroed`` likewise.
    """

    block_size = 512

    def __init__(self, data: bytes | bytearray, allocated: Sequence[tuple[int, int]] | None = None) -> None:
        self.data = bytearray(data)
        self.reads: list[tuple[int, int]] = []
        self.writes: list[tuple[int, int]] = []
        self.zeroed: list[tuple[int, int]] = []
        self.flushed = 0
        self._allocated = allocated

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        self._check(offset, length)
        self.reads.append((offset, length))
        return bytes(self.data[offset : offset + length])

    def read_many(self, ranges: Iterable[tuple[int, int]]) -> Iterator[Extent]:
        """One buffer, overwritten by the next read, as the contract allows."""
        buffer = bytearray(1 << 20)
        for offset, length in ranges:
            buffer[:length] = self.read(offset, length)
            yield offset, memoryview(buffer)[:length]
            buffer[:length] = b'\xee' * length

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self._check(offset, len(data))
        self.writes.append((offset, len(data)))
        self.data[offset : offset + len(data)] = data

    def write_many(self, extents: Iterable[Extent]) -> None:
        for offset, data in extents:
            self.write(offset, data)

    def zero(self, offset: int, length: int) -> None:
        self._check(offset, length)
        self.zeroed.append((offset, length))
        self.data[offset : offset + length] = bytes(length)

    def allocated(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        for start, size in self._allocated if self._allocated is not None else [(0, self.size)]:
            first, last = max(start, offset), min(start + size, offset + length)
            if first < last:
                yield first, last - first

    def flush(self) -> None:
        self.flushed += 1

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> MemoryDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, offset: int, length: int) -> None:
        if offset % self.block_size or length % self.block_size or not 0 < length <= self.size - offset:
            raise DeviceError(device='memory', reason=f'{length} bytes at {offset} of {self.size}')


WORDS = b'volume snapshot backup attachment transfer group pool backend candidate connector'.split()


def image(size: int, seed: int, tile: int = 4096) -> bytearray:
    """Half random, a quarter zero, a quarter like text, in tiles."""
    draw = random.Random(seed)
    data = bytearray()
    while len(data) < size:
        kind = draw.choice('rrzt')
        text = b' '.join(draw.choice(WORDS) for _ in range(64)) * (tile // 256)
        data += {'r': draw.randbytes(tile), 'z': bytes(tile), 't': text[:tile].ljust(tile)}[kind]
    return data[:size]
