"""The steps of a start, as they are printed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from local.steps import Steps


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def started(stream: io.StringIO, memory: Path) -> None:
    clock = Clock()
    steps = Steps(stream, memory, clock)
    for name, seconds in (('render', 1.5), ('deploy', 2.25)):
        steps(name)
        clock.now += seconds
    steps.done()


def test_each_step_is_a_line_with_its_seconds(tmp_path: Path) -> None:
    stream = io.StringIO()
    started(stream, tmp_path / 'start.json')
    assert stream.getvalue() == '   1.50 s  render\n   2.25 s  deploy\n   3.75 s  in all\n'
    assert json.loads((tmp_path / 'start.json').read_text()) == {'seconds': 3.75}


def test_a_terminal_shows_how_far_it_is_as_the_last_start_went(tmp_path: Path) -> None:
    first, second = Terminal(), Terminal()
    started(first, tmp_path / 'start.json')
    assert 'left' not in first.getvalue()
    started(second, tmp_path / 'start.json')
    assert '\r[........' in second.getvalue()
    assert 'about 4 s left: render ...' in second.getvalue()
    assert '[########............] about 2 s left: deploy ...' in second.getvalue()


@pytest.mark.parametrize('text', ['', 'null', '{"seconds": "x"}', '{"seconds": -1}', '[' * 100_000])
def test_a_memory_that_is_damaged_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / 'start.json').write_text(text)
    stream = Terminal()
    started(stream, tmp_path / 'start.json')
    assert stream.getvalue().endswith('3.75 s  in all\n')
