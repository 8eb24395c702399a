"""Progress of long work: a bar with rate and time left on a terminal, a line for every 10 % elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

from cinderless.output import size
from infra.progress import Show

#: Parts of the total, each of which is a line where there is no terminal.
PARTS = 10


@contextlib.contextmanager
def progress(what: str, total: int, *, unit: str = 'bytes', stream: TextIO | None = None) -> Iterator[Show]:
    """Show how far the work in the block is. ``unit`` is 'bytes', or the plural of what is counted."""
    stream = stream or sys.stderr
    if stream.isatty():
        with _bar(what, total, unit, stream) as show:
            yield show
    else:
        yield _Lines(what, total, unit, stream).show


@contextlib.contextmanager
def _bar(what: str, total: int, unit: str, stream: TextIO) -> Iterator[Show]:
    from rich import progress as rich
    from rich.console import Console

    counted = unit == 'bytes'
    columns = (
        rich.TextColumn('{task.description}'),
        rich.BarColumn(),
        rich.TaskProgressColumn(),
        rich.DownloadColumn(binary_units=True) if counted else rich.MofNCompleteColumn(),
        rich.TransferSpeedColumn() if counted else _rate(unit),
        rich.TimeRemainingColumn(elapsed_when_finished=True),
    )
    with rich.Progress(*columns, console=Console(file=stream), redirect_stdout=False) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def _rate(unit: str) -> Any:
    """A column with the number of things in a second."""
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(unit if speed is None else f'{unit}, {speed:.1f}/s')

    return Rate()


class _Lines:
    """A line when another part is done."""

    def __init__(self, what: str, total: int, unit: str, stream: TextIO) -> None:
        self._what, self._total, self._unit, self._stream = what, total, unit, stream
        self._started = time.monotonic()
        self._part = 0

    def show(self, done: int) -> None:
        part = PARTS * done // self._total if self._total else PARTS
        if part > self._part:
            self._part = part
            print(self._line(done), file=self._stream, flush=True)

    def _line(self, done: int) -> str:
        seconds = max(time.monotonic() - self._started, 1e-3)
        percent = 100 * done // self._total if self._total else 100
        if self._unit == 'bytes':
            amount, rate = f'{size(done)} of {size(self._total)}', f'{size(done / seconds)}/s'
        else:
            amount, rate = f'{done} of {self._total} {self._unit}', f'{done / seconds:.1f}/s'
        left = seconds * (self._total - done) / done if done else 0
        end = f'{left:.0f} s left' if done < self._total else f'{seconds:.1f} s'
        return f'{self._what}: {percent} %  {amount}  {rate}  {end}'
