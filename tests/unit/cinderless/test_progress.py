"""Progress on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest

from cinderless.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, total: int, unit: str = 'bytes') -> str:
    with progress('restore', total, unit=unit, stream=stream) as show:
        for done in range(1, total + 1):
            show(done)
    return stream.getvalue()


def test_elsewhere_it_is_ten_lines_with_rate_and_time_left() -> None:
    lines = shown(io.StringIO(), 1000).splitlines()
    assert len(lines) == 10
    assert lines[0].startswith('restore: 10 %  100 B of 1000 B  ')
    assert '/s  ' in lines[0]
    assert lines[0].endswith(' s left')
    assert lines[-1].startswith('restore: 100 %  1000 B of 1000 B  ')
    assert not lines[-1].endswith('left')


def test_things_are_counted_by_their_name() -> None:
    assert '5 of 10 steps' in shown(io.StringIO(), 10, 'steps')


def test_nothing_to_do_is_no_error() -> None:
    stream = io.StringIO()
    with progress('restore', 0, stream=stream) as show:
        show(0)
    assert stream.getvalue().startswith('restore: 100 %')


@pytest.mark.parametrize('unit', ['bytes', 'steps'])
def test_on_a_terminal_one_line_is_drawn_again(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('TERM', 'xterm')
    text = shown(Terminal(), 1000, unit)
    assert '\x1b[' in text
    assert '100%' in text
    assert text.count('\n') <= 2
