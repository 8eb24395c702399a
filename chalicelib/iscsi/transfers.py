"""Transfers in flight: a queue of commands over ranges of bytes, and the memory they read into or write from."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator

from chalicelib.device import Extent
from chalicelib.errors import DeviceError
from chalicelib.iscsi.path import Path
from chalicelib.iscsi.session import Command


@dataclasses.dataclass(slots=True)
class Transfer:
    """A command over a range of bytes.

    ``extent`` is what its end makes available: a range that is now read whole, or a copy that was written.
    """

    offset: int
    length: int
    command: Command
    extent: Extent | None = None

    def overlaps(self, other: Transfer) -> bool:
        return self.offset < other.offset + other.length and other.offset < self.offset + self.length


class Buffers:
    """Memory that is used again: there are as many buffers as were in use at once."""

    def __init__(self) -> None:
        self._idle: list[bytearray] = []

    def take(self, length: int) -> memoryview:
        buffer = self._idle.pop() if self._idle else bytearray()
        return memoryview(buffer if len(buffer) >= length else bytearray(length))[:length]

    def give_back(self, view: memoryview) -> None:
        assert isinstance(view.obj, bytearray)
        self._idle.append(view.obj)


def pipeline(path: Path, transfers: Iterable[Transfer], depth: int) -> Iterator[Transfer]:
    """Keep ``depth`` transfers in flight; yield them in order, as they end. Raises DeviceError.

    While the caller looks at one, ``depth`` others are in flight. A device may reorder what is in flight, so a
    transfer waits for those it overlaps. However it ends, nothing is in flight afterwards: a write that nobody waits
    for could come after a later one, out of memory that is the caller's again.
    """
    flying: deque[Transfer] = deque()
    try:
        for transfer in transfers:
            landed = []
            while len(flying) >= depth or any(map(transfer.overlaps, flying)):
                landed.append(_land(path, flying))
            path.submit(transfer.command)
            flying.append(transfer)
            yield from landed
        while flying:
            yield _land(path, flying)
    finally:
        while flying:
            # The caller has an error of its own, or does not want to know.
            with contextlib.suppress(DeviceError):
                _land(path, flying)


def finish(path: Path, transfers: Iterable[Transfer], depth: int) -> None:
    """Run all transfers to their end."""
    deque(pipeline(path, transfers, depth), maxlen=0)


def _land(path: Path, flying: deque[Transfer]) -> Transfer:
    """See the oldest transfer done."""
    transfer = flying.popleft()
    path.wait(transfer.command)
    return transfer
