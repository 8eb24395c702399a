"""A local cloud as another process sees it: its lock, its status, its stop and its logs."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cinderless import program
from cinderless.errors import NOT_RUNNING, REFUSED
from cinderless.instance import holder
from local.children import bound
from local.state import LOCK, MARKER
from tests.unit.cinderless.test_program import ROOT

#: A process that holds the lock of a folder, as a server does, until SIGTERM.
HOLDER = """
import fcntl, json, os, signal, sys, time
lock = open(sys.argv[1], 'a+')
fcntl.flock(lock, fcntl.LOCK_EX)
lock.truncate(0)
lock.write(json.dumps({'pid': os.getpid(), 'started': 'today', 'ports': {'PORT': 1}}))
lock.flush()
if sys.argv[2] == 'deaf':
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('held', flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def held(folder: Path, mode: str = '') -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, '-c', HOLDER, str(folder / LOCK), mode]
    with subprocess.Popen(bound(command), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / MARKER).write_text(json.dumps({'version': 1, 'durable': True}))
    (tmp_path / 'logs').mkdir()
    return tmp_path


def test_the_holder_of_a_lock_is_found_without_taking_it(folder: Path) -> None:
    assert holder(folder / LOCK) is None
    with held(folder) as process:
        assert holder(folder / LOCK) == process.pid
    assert holder(folder / LOCK) is None


def test_a_lock_file_that_names_another_process_is_not_believed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Left by a killed server, its pid taken by another program since."""
    (folder / LOCK).write_text(json.dumps({'pid': os.getpid(), 'started': 'today', 'ports': {}}))
    assert program.main(['stop', '--state-dir', str(folder)]) == 0
    assert capsys.readouterr().out == f'no local cloud uses {folder}\n'


def test_stop_ends_the_holder_and_waits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with held(folder) as process:
        assert program.main(['stop', '--state-dir', str(folder)]) == 0
        assert process.wait(5) == -15
    assert f'pid {process.pid}) has stopped' in capsys.readouterr().out


def test_a_server_that_does_not_stop_is_reported(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('cinderless.commands.stop.PATIENCE', 0.3)
    with held(folder, 'deaf') as process:
        assert program.main(['stop', '--state-dir', str(folder)]) == 1
        assert f'pid {process.pid} still runs' in capsys.readouterr().err


def test_the_status_of_a_server_that_starts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with held(folder) as process:
        (folder / 'ready.json').write_text(json.dumps({'pid': 1}))  # of a server that was killed
        assert program.main(['status', '--json', '--state-dir', str(folder)]) == NOT_RUNNING
        facts = json.loads(capsys.readouterr().out)
        assert (facts['status'], facts['pid'], facts['durable']) == ('starting', process.pid, True)


@pytest.mark.parametrize('command', [['status'], ['stop'], ['logs'], ['history', 'req-12345678'], ['user', 'list']])
def test_a_folder_without_a_local_cloud(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'thesis').mkdir()
    (tmp_path / 'file').touch()
    expected = {'new': NOT_RUNNING, 'thesis': REFUSED, 'file': REFUSED}
    for name, code in expected.items():
        assert program.main([*command, '--state-dir', str(tmp_path / name)]) == code
        assert f'STATE_DIR={tmp_path / name}' in capsys.readouterr().err
    assert not (tmp_path / 'new').exists()


def line(number: int, **facts: Any) -> str:
    return json.dumps({'timestamp': f't{number}', 'level': 'INFO', 'message': f'message {number}', **facts}) + '\n'


def shown(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> list[str]:
    assert program.main(['logs', '--state-dir', str(folder), *words]) == 0
    return [found.split('message ')[1].split()[0] for found in capsys.readouterr().out.splitlines()]


def test_logs_are_shown_with_the_rotated_ones_and_by_id(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for age, (name, numbers) in enumerate({'functions.jsonl.1': (1, 2), 'functions.jsonl': (3, 4)}.items()):
        path = folder / 'logs' / name
        path.write_text(''.join(line(number, id=f'volume-{number % 2}') for number in numbers) + '{"cut')
        os.utime(path, (age, age))
    assert shown(capsys, folder, '--volume', 'volume-1') == ['1', '3']
    assert shown(capsys, folder, '-n', '1') == ['4']


def test_new_lines_are_followed_over_a_rotation(folder: Path) -> None:
    path = folder / 'logs' / 'functions.jsonl'
    path.write_text(line(1))
    command = [sys.executable, '-u', '-m', 'cinderless', 'logs', '-f', '--json', '--state-dir', str(folder)]
    with subprocess.Popen(bound(command), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == line(1)
        with path.open('a') as file:
            file.write(line(2)[:10])
            file.flush()
            time.sleep(0.3)
            file.write(line(2)[10:])
        assert process.stdout.readline() == line(2)
        path.rename(path.with_suffix('.jsonl.1'))
        path.write_text(line(3))
        assert process.stdout.readline() == line(3)
        process.terminate()


def test_the_log_of_a_program_has_no_ids(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / 'logs' / 'dynamodb.log').write_text('started\n')
    assert program.main(['logs', '--of', 'dynamodb', '--state-dir', str(folder)]) == 0
    assert capsys.readouterr().out == 'started\n'
    assert program.main(['logs', '--of', 'dynamodb', '--volume', 'x', '--state-dir', str(folder)]) == REFUSED
