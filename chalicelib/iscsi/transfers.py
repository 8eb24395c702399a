"""Transfers in flight: a queue of commands over ranges of bytes, and their buffers."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator

from chalicelib.device import Extent
from chalicelib.errors import DeviceError
from chalicelib.iscsi.reconnect import ReconnectingSession
from chalicelib.iscsi.session import Command


@dataclasses.dataclass(slots=True)
class Transfer:
    """A command over a range of bytes.

    ``extent`` becomes available when it ends: a range that has been read completely, or a copy that was written.
    """

    offset: int
    length: int
    command: Command
    extent: Extent | None = None

    def overlaps(self, other: Transfer) -> bool:
        return self.offset < other.offset + other.length and other.offset < self.offset + self.length


class Buffers:
    """A pool of reusable buffers: it holds as many as were in use at once."""

    def __init__(self) -> None:
        self._idle: list[bytearray] = []

    def take(self, length: int) -> memoryview:
        buffer = self._idle.pop() if self._idle else bytearray()
        return memoryview(buffer if len(buffer) >= length else bytearray(length))[:length]

    def release(self, view: memoryview) -> None:
        assert isinstance(view.obj, bytearray)
        self._idle.append(view.obj)


def pipeline(session: ReconnectingSession, transfers: Iterable[Transfer], depth: int) -> Iterator[Transfer]:
    """Keep ``depth`` transfers in flight; yield them in order, as they end. Raises DeviceError.

    While the caller processes one, ``depth`` others are in flight. A device may reorder commands in flight, so a
    transfer waits for those that it overlaps. Nothing is in flight after the end, also after an error: a write still in
    flight could follow a later one, from memory that the caller has reused.
    """
    in_flight: deque[Transfer] = deque()
    try:
        for transfer in transfers:
            finished = []
            while len(in_flight) >= depth or any(map(transfer.overlaps, in_flight)):
                finished.append(_await_oldest(session, in_flight))
            session.submit(transfer.command)
            in_flight.append(transfer)
            yield from finished
        while in_flight:
            yield _await_oldest(session, in_flight)
    finally:
        while in_flight:
            # The caller has an error of its own, or stopped iterating.
            with contextlib.suppress(DeviceError):
                _await_oldest(session, in_flight)


def finish(session: ReconnectingSession, transfers: Iterable[Transfer], depth: int) -> None:
    """Run all transfers to completion."""
    deque(pipeline(session, transfers, depth), maxlen=0)


def _await_oldest(session: ReconnectingSession, in_flight: deque[Transfer]) -> Transfer:
    """Wait for the oldest transfer."""
    transfer = in_flight.popleft()
    session.wait(transfer.command)
    return transfer
