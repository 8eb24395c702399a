"""Programs that die with the local cloud."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.render import ROOT
from local import children
from local.children import Child, free_port


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / 'log'


def python(code: str, log: Path) -> Child:
    return Child([sys.executable, '-u', '-c', code], folder=log.parent, log=log)


def test_the_first_line_is_awaited(log: Path) -> None:
    child = python('print("up"); import time; time.sleep(60)', log)
    assert child.first_line(20) == 'up\n'
    assert not child.ended()
    child.stop()
    assert child.ended()


def test_a_program_that_ends_says_nothing_and_its_complaint_is_kept(log: Path) -> None:
    child = python('import sys; sys.exit("no space")', log)
    assert child.first_line(20) == ''
    child.kill()
    assert child.said() == 'no space'


def test_a_complaint_is_that_of_this_start(log: Path) -> None:
    for complaint in ('an old one', 'port in use'):
        child = python(f'import sys; sys.exit({complaint!r})', log)
        child.first_line(20)
        child.kill()
    assert child.said() == 'port in use'


def test_a_program_that_keeps_silent_is_given_up(log: Path) -> None:
    child = python('import time; time.sleep(60)', log)
    assert child.first_line(0.01) == ''
    child.kill()


def test_a_program_that_does_not_listen_is_killed(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, 'GRACE', 0.05)
    child = python('import signal, time; signal.signal(15, signal.SIG_IGN); print("deaf"); time.sleep(60)', log)
    assert child.first_line(20) == 'deaf\n'
    child.stop()
    assert child.ended()


def test_a_child_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    """At any time: here the parent is killed while the child is still starting."""
    code = """
import pathlib, sys
from local.children import Child
child = Child(['sleep', '600'], folder=pathlib.Path('/'), log=pathlib.Path(sys.argv[1]))
print(child.pid, flush=True)
sys.stdin.read()
"""
    command = [sys.executable, '-c', code, str(tmp_path / 'log')]
    parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait(10)
    deadline = time.monotonic() + 10
    while Path(f'/proc/{pid}').exists() and 'Z' not in Path(f'/proc/{pid}/stat').read_text().split(') ')[-1][:1]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize('file', [
    path for folder in ('appliance', 'bench', 'local', 'tests') for path in sorted((ROOT / folder).rglob('*.py'))
    if 'Popen(' in path.read_text(encoding='utf-8')
], ids=lambda path: str(path.relative_to(ROOT)))  # fmt: skip
def test_every_program_that_is_started_ends_with_who_started_it(file: Path) -> None:
    """By the kernel's word, or as one that ends when its standard input does: a killed run cleans nothing up."""
    text = file.read_text(encoding='utf-8')
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    started = [ast.unparse(call) for call in calls if 'subprocess.Popen' in ast.unparse(call).split(',')[0]]
    loose = [
        call for call in started if not any(word in call for word in ('bound(', 'die_with', 'stdin=subprocess.PIPE'))
    ]
    assert loose == []


def test_a_free_port_is_free() -> None:
    assert 1024 < free_port() < 65536


def test_a_free_port_is_none_that_another_program_will_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API binds its port after DynamoDB Local has chosen one from the same range."""
    first, second = free_port(), free_port()
    ports = iter([first, second])
    monkeypatch.setattr(children.random, 'randrange', lambda *_: next(ports))
    assert free_port(besides=[first]) == second
