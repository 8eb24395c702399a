"""Nonces of served requests, in memory and in a file for the agent's next start.

A line is written to the kernel before its request is served, so it survives a kill of the agent. It may be lost with
the host: the file names the boot that it belongs to, and is emptied after another one.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from appliance.errors import Replayed, Unavailable

_BOOT = Path('/proc/sys/kernel/random/boot_id')

#: Lines after which the file is rewritten without expired ones.
_MOST_LINES = 20_000


class Nonces:
    """Thread-safe. Requests signed before ``since``, in seconds since the epoch, may have been served before."""

    def __init__(self, path: Path | None, clock: Callable[[], float]) -> None:
        """Without ``path`` nothing is kept for the next start."""
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        #: Nonce -> the time until which it could be used again, in order of arrival.
        self._seen: OrderedDict[str, int] = OrderedDict()
        self.since = int(clock())
        if path is not None:
            self._load(path)
            self._rewrite(path)

    def __len__(self) -> int:
        return len(self._seen)

    def use(self, nonce: str, good_until: int) -> None:
        """Raises Replayed for a used nonce; Unavailable if it cannot be stored."""
        with self._lock:
            self._forget()
            if nonce in self._seen:
                raise Replayed('this request was served before: sign it again')
            self._note(nonce, good_until)
            self._seen[nonce] = good_until

    def _forget(self) -> None:
        """Drop expired nonces, oldest first; arrival and expiry differ at most by the skew."""
        now = self._clock()
        while self._seen and next(iter(self._seen.values())) < now:
            self._seen.popitem(last=False)

    def _note(self, nonce: str, good_until: int) -> None:
        if self._path is None:
            return
        try:
            if self._lines > max(_MOST_LINES, 2 * len(self._seen)):
                self._rewrite(self._path)
            os.write(self._file, f'{good_until} {nonce}\n'.encode())
        except OSError as error:
            raise Unavailable(f'the agent cannot write to its state folder: {error.strerror}') from error
        self._lines += 1

    def _load(self, path: Path) -> None:
        try:
            (boot, since), *rows = (line.split(' ') for line in path.read_text().splitlines())
            if boot == _boot():
                self.since = int(since)
                self._seen.update((nonce, int(good_until)) for good_until, nonce in rows)
        except (FileNotFoundError, ValueError):
            self._seen.clear()
            self.since = int(self._clock())

    def _rewrite(self, path: Path) -> None:
        new = path.with_name(path.name + '.new')
        rows = [f'{_boot()} {self.since}', *(f'{until} {nonce}' for nonce, until in self._seen.items())]
        new.write_text('\n'.join([*rows, '']))
        file = os.open(new, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        new.replace(path)
        old, self._file, self._lines = getattr(self, '_file', None), file, len(rows)
        if old is not None:
            os.close(old)


def _boot() -> str:
    return _BOOT.read_text().strip()
