"""Byte code made ahead: it runs without its source, and does not depend on when it was made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra import bytecode, interpreter

SOURCE = '''"""A module."""


def double(number: int) -> int:
    """Twice."""
    assert number
    return 2 * number


def nothing() -> None:
    """All there is."""


class Kept:
    """A class."""
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / 'tree').mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / 'tree'))
    path = tmp_path / 'tree' / 'ahead_of_time.py'
    path.write_text(SOURCE)
    return path


def test_alone_it_runs_and_keeps_what_runs(module: Path) -> None:
    bytecode.main(module.parent, alone=True)
    assert [path.name for path in module.parent.iterdir()] == ['ahead_of_time.pyc']
    import ahead_of_time  # type: ignore[import-not-found]

    try:
        assert ahead_of_time.double(2) == 4
        assert ahead_of_time.nothing() is None
        assert ahead_of_time.__doc__ is ahead_of_time.double.__doc__ is None
        assert ahead_of_time.Kept.__doc__ == 'A class.'
        with pytest.raises(AssertionError):
            ahead_of_time.double(0)
    finally:
        del sys.modules['ahead_of_time']


def test_beside_its_source_it_is_taken_whatever_the_source_says_since(module: Path) -> None:
    bytecode.main(module.parent, alone=False)
    module.write_text('raise RuntimeError("compiled again")')
    os.utime(module, (0, 0))
    subprocess.run([sys.executable, '-c', 'import ahead_of_time'], cwd=module.parent, check=True)


def test_the_time_of_the_source_does_not_matter(module: Path) -> None:
    first = bytecode.compiled(module.read_bytes(), 'a.py', alone=False)
    os.utime(module, (0, 0))
    assert bytecode.compiled(module.read_bytes(), 'a.py', alone=False) == first


def test_an_interpreter_is_found_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter.find.cache_clear()
    version = f'{sys.version_info.major}.{sys.version_info.minor}'
    monkeypatch.setenv(f'PYTHON{version.replace(".", "")}', sys.executable)
    assert interpreter.find(version) == sys.executable
    interpreter.find.cache_clear()


def test_no_interpreter_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    interpreter.find.cache_clear()
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.delenv('PYTHON313', raising=False)
    assert interpreter.find('3.13') is None
    interpreter.find.cache_clear()
