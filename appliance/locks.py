"""One lock per object: a request waits only for earlier requests of the same object."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Hashable, Iterator

from appliance.errors import Unavailable


class KeyedLocks:
    """Locks exist from their first user to their last."""

    def __init__(self, timeout: float = 15.0) -> None:
        """``timeout`` in seconds is below the driver's time-out, so that the driver receives the error."""
        self._timeout = timeout
        self._guard = threading.Lock()
        self._locks: dict[Hashable, tuple[threading.Lock, int]] = {}

    @contextlib.contextmanager
    def holding(self, *keys: Hashable) -> Iterator[None]:
        """Hold the locks of all keys, acquired in a fixed order. Raises Unavailable."""
        with contextlib.ExitStack() as held:
            for key in sorted(set(keys), key=str):
                held.enter_context(self._one(key))
            yield

    @contextlib.contextmanager
    def _one(self, key: Hashable) -> Iterator[None]:
        lock = self._register(key)
        try:
            if not lock.acquire(timeout=self._timeout):
                raise Unavailable(f'{key} is in use by another request; retry later')
            try:
                yield
            finally:
                lock.release()
        finally:
            self._unregister(key)

    def _register(self, key: Hashable) -> threading.Lock:
        with self._guard:
            lock, users = self._locks.get(key, (threading.Lock(), 0))
            self._locks[key] = (lock, users + 1)
            return lock

    def _unregister(self, key: Hashable) -> None:
        with self._guard:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = (lock, users - 1)
