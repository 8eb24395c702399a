"""What a deployment does to every request: reads that lag behind writes, instances with their own caches and clocks."""

from __future__ import annotations

import collections
import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib import aws
from chalicelib.models import base, reading
from chalicelib.operations import pools, volume_types
from tests.small_dynamodb import SmallDynamoDB

WRITES = ('PutItem', 'UpdateItem', 'DeleteItem', 'TransactWriteItems')

#: What one process remembers: (module, name) of each cache.
CACHES = (
    (aws, '_documents'), (pools, '_known'), (reading, '_related'), (reading, '_last'),
    (volume_types, '_known'), (volume_types, '_names'),
)  # fmt: skip


class LaggingReads:
    """DynamoDB whose eventually consistent reads miss the last ``lag`` writes, until time passes."""

    def __init__(self, store: SmallDynamoDB) -> None:
        self.store, self.lag = store, 0
        self._past: collections.deque[SmallDynamoDB] = collections.deque()
        #: Reads that were answered from the past.
        self.stale = 0

    def call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        if self._past and is_eventual(operation, request):
            old, new = self._past[0].call(operation, request), self.store.call(operation, request)
            self.stale += old != new
            return old
        if self.lag and operation in WRITES:
            self._past.append(self.store.copy())
            while len(self._past) > self.lag:
                self._past.popleft()
        return self.store.call(operation, request)

    def catch_up(self, seconds: float = 0) -> None:
        """Let time pass: every replica has every write."""
        self._past.clear()

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Read what is stored, as the test itself does."""
        past, self._past = self._past, collections.deque()
        yield
        self._past = past


def is_eventual(operation: str, request: dict[str, Any]) -> bool:
    """Whether DynamoDB may answer a call from a replica that is behind."""
    if operation == 'BatchGetItem':
        return not all(wanted.get('ConsistentRead') for wanted in request['RequestItems'].values())
    return operation in ('GetItem', 'Query', 'Scan') and not request.get('ConsistentRead')


class Instances:
    """Function instances in one process: one at a time is in its caches and on its clock.

    ``offsets``: seconds by which each one's clock is ahead.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.offsets = [0.0, 0.0]
        self._current = 0
        self._kept: dict[int, list[Any]] = {}
        after = base.after
        patch.setattr(base, 'after', lambda seconds: after(seconds + self.offsets[self._current]))
        patch.setattr(base, 'now', self._now)

    def _now(self) -> str:
        return base.after(0)

    def switch(self) -> None:
        """Serve what follows from the next instance."""
        self._kept[self._current] = [copy.copy(getattr(module, name)) for module, name in CACHES]
        self._current = (self._current + 1) % len(self.offsets)
        remembered = self._kept.get(self._current)
        for number, (module, name) in enumerate(CACHES):
            cache = getattr(module, name)
            cache.clear()
            if remembered:
                cache.extend(remembered[number]) if isinstance(cache, list) else cache.update(remembered[number])

    def forget(self) -> None:
        """All instances are new ones."""
        self._kept.clear()
