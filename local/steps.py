"""The steps of a start, each printed with its seconds; on a terminal also the time left, judged by the last start."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

#: Parts of the bar, and the sequence that clears the rest of a line.
WIDTH, CLEAR = 20, '\x1b[K'


class Steps:
    """Call it with the name of each step as it begins, and ``done`` after the last one.

    ``memory`` is the file that keeps the seconds of the last start.
    """

    def __init__(self, stream: TextIO, memory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._memory, self._clock = stream, memory, clock
        self._expected = _seconds(memory)
        self._started = self._since = clock()
        self._name = ''

    def __call__(self, name: str) -> None:
        self._end()
        self._name, self._since = name, self._clock()
        if self._stream.isatty():
            self._stream.write(f'\r{self._bar()}{name} ...{CLEAR}')
            self._stream.flush()

    def _end(self) -> None:
        if self._name:
            begin = f'\r{CLEAR}' if self._stream.isatty() else ''
            print(f'{begin}{self._clock() - self._since:7.2f} s  {self._name}', file=self._stream, flush=True)

    def _bar(self) -> str:
        """The part that is done and the seconds left; '' at a first start."""
        if not self._expected:
            return ''
        passed = self._clock() - self._started
        filled = min(WIDTH, int(WIDTH * passed / self._expected))
        left = max(0.0, self._expected - passed)
        return f'[{"#" * filled}{"." * (WIDTH - filled)}] about {left:.0f} s left: '

    def done(self) -> None:
        """Print the sum, and keep it for the next start."""
        self._end()
        self._name = ''
        seconds = self._clock() - self._started
        print(f'{seconds:7.2f} s  in all', file=self._stream, flush=True)
        self._memory.write_text(json.dumps({'seconds': round(seconds, 2)}))


def _seconds(memory: Path) -> float:
    """Seconds of the last start; 0 if unknown."""
    try:
        return max(0.0, float(json.loads(memory.read_text())['seconds']))
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return 0.0
