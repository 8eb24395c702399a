"""The port to the display of long work: the program's (cinderless/progress.py), or none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

#: Reports what is done so far, in the unit of the total.
Show = Callable[[int], None]


class Progress(Protocol):
    """Shows the work of a block. ``unit`` is 'bytes', or the plural of what is counted."""

    def __call__(self, what: str, total: int, *, unit: str = 'bytes') -> contextlib.AbstractContextManager[Show]: ...


@contextlib.contextmanager
def silent(what: str, total: int, *, unit: str = 'bytes') -> Iterator[Show]:
    """Show nothing."""
    yield lambda done: None


class Counter:
    """Call it after each step of the work that ``show`` displays."""

    def __init__(self, show: Show) -> None:
        self._show, self._done = show, 0

    def __call__(self) -> None:
        self._done += 1
        self._show(self._done)
