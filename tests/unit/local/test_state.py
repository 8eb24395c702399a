"""Whose a state folder is, and what a start does to it: nothing, before it is sure."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.settings import Refused
from local.state import KEPT, LOCK, MARKER, PARTS, VERSION, StateFolder

PORTS = {'PORT': 8776, 'AWS_PORT': 4566}


def used(path: Path, **mode: bool) -> None:
    """One life of an instance that stored a table."""
    state = StateFolder(path, **mode)
    state.check()
    with state.claimed(PORTS):
        (path / 'dynamodb').mkdir(exist_ok=True)
        (path / 'ready.json').touch()


def listing(path: Path) -> list[tuple[str, int]]:
    return sorted((str(each.relative_to(path)), each.stat().st_mtime_ns) for each in path.rglob('*'))


def test_a_new_folder_is_made_and_marked(tmp_path: Path) -> None:
    used(tmp_path / 'a' / 'b')
    assert json.loads((tmp_path / 'a' / 'b' / MARKER).read_text()) == {'version': VERSION, 'durable': True}
    assert {each.name for each in (tmp_path / 'a' / 'b').iterdir()} == {MARKER, LOCK, 'logs', 'dynamodb'}


def test_a_check_changes_nothing(tmp_path: Path) -> None:
    StateFolder(tmp_path / 'new').check()
    assert list(tmp_path.iterdir()) == []


def test_the_next_start_keeps_what_is_stored(tmp_path: Path) -> None:
    used(tmp_path)
    (tmp_path / 'dynamodb' / 'table').touch()
    used(tmp_path)
    assert (tmp_path / 'dynamodb' / 'table').exists()


def test_fresh_removes_what_is_stored_and_nothing_else(tmp_path: Path) -> None:
    used(tmp_path)
    (tmp_path / 'dynamodb' / 'table').touch()
    (tmp_path / 'notes').touch()
    used(tmp_path, fresh=True)
    assert not (tmp_path / 'dynamodb' / 'table').exists()
    assert (tmp_path / 'notes').exists()


@pytest.mark.parametrize('kept', KEPT)
def test_a_removal_that_was_killed_leaves_no_half_of_a_state(
    tmp_path: Path, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    used(tmp_path)
    for name in KEPT:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / 'content').touch()
    remove = shutil.rmtree

    def killed(path: Path) -> None:
        if path.name == kept:
            raise KeyboardInterrupt
        remove(path)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, 'rmtree', killed)
        with pytest.raises(KeyboardInterrupt):
            used(tmp_path, fresh=True)
    used(tmp_path)
    assert [name for name in KEPT if (tmp_path / name / 'content').exists()] == []


def test_a_second_start_names_the_first_and_changes_nothing(tmp_path: Path) -> None:
    first = StateFolder(tmp_path)
    first.check()
    with first.claimed(PORTS):
        before = listing(tmp_path)
        for fresh in (False, True):
            with pytest.raises(
                Refused, match=rf'STATE_DIR={tmp_path}: another local cloud \(pid {os.getpid()}, ports 8776 4566'
            ):
                StateFolder(tmp_path, fresh=fresh).check()
        assert listing(tmp_path) == before


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        'import os, sys; from pathlib import Path; from local.state import StateFolder\n'
        's = StateFolder(Path(sys.argv[1])); s.check()\n'
        'with s.claimed({}): os.kill(os.getpid(), 9)'
    )
    assert subprocess.run([sys.executable, '-c', code, str(tmp_path)], check=False).returncode == -9
    used(tmp_path)


def test_a_killed_instance_is_ready_no_more_when_the_next_one_begins(tmp_path: Path) -> None:
    used(tmp_path)
    (tmp_path / 'ready.json').touch()
    state = StateFolder(tmp_path)
    state.check()
    with state.claimed(PORTS):
        assert not (tmp_path / 'ready.json').exists()


def test_files_of_others_are_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / 'thesis.tex').write_text('all of it')
    before = listing(tmp_path)
    for fresh in (False, True):
        with pytest.raises(Refused, match='not empty and not of a local cloud'):
            StateFolder(tmp_path, fresh=fresh).check()
    assert listing(tmp_path) == before


def test_a_folder_of_0_1_0_is_refused_with_advice_and_accepted_fresh(tmp_path: Path) -> None:
    (tmp_path / 'appliance').mkdir()
    (tmp_path / 'log.jsonl').touch()
    with pytest.raises(Refused, match=r'version 0\.1\.0.*FRESH=1'):
        StateFolder(tmp_path).check()
    used(tmp_path, fresh=True)
    assert not (tmp_path / 'log.jsonl').exists()


def test_a_running_0_1_0_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / 'ready.json').write_text(json.dumps({'pid': os.getpid()}))
    with pytest.raises(Refused, match=r'version 0\.1\.0 uses it'):
        StateFolder(tmp_path, fresh=True).check()


@pytest.mark.parametrize('left', [[LOCK], [LOCK, f'{MARKER}.new']])
def test_a_start_that_was_killed_is_no_stranger(tmp_path: Path, left: list[str]) -> None:
    for name in left:
        (tmp_path / name).touch()
    used(tmp_path)


def test_another_version_is_refused_and_not_misread(tmp_path: Path) -> None:
    used(tmp_path)
    (tmp_path / MARKER).write_text(json.dumps({'version': VERSION + 1, 'durable': True}))
    with pytest.raises(Refused, match=f'version {VERSION + 1}, and this program reads version {VERSION}'):
        StateFolder(tmp_path).check()
    used(tmp_path, fresh=True)


def test_a_damaged_marker_is_refused(tmp_path: Path) -> None:
    used(tmp_path)
    (tmp_path / MARKER).write_text('')
    with pytest.raises(Refused, match='damaged'):
        StateFolder(tmp_path).check()
    used(tmp_path, fresh=True)


#: The parts of a complete state.
WHOLE = (*PARTS, 'appliance/store.img')


@pytest.mark.parametrize('part', WHOLE)
def test_a_state_that_lacks_a_part_is_refused_once_it_was_complete(tmp_path: Path, part: str) -> None:
    used(tmp_path)
    for name in WHOLE:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    state = StateFolder(tmp_path)
    state.check()
    with state.claimed(PORTS):
        state.complete('store.img')
    used(tmp_path)
    (tmp_path / part).unlink()
    with pytest.raises(Refused, match=f'STATE_DIR={tmp_path}: {part} is missing'):
        StateFolder(tmp_path).check()
    used(tmp_path, fresh=True)


def test_memory_mode_leaves_logs_alone(tmp_path: Path) -> None:
    used(tmp_path, memory=True)
    assert {each.name for each in tmp_path.iterdir()} == {LOCK, 'logs'}


def test_memory_mode_does_not_take_a_stored_state(tmp_path: Path) -> None:
    used(tmp_path)
    with pytest.raises(Refused, match='holds stored state'):
        StateFolder(tmp_path, memory=True).check()
    assert (tmp_path / 'dynamodb').exists()


def test_what_a_killed_memory_mode_left_is_not_taken_for_stored_state(tmp_path: Path) -> None:
    used(tmp_path)
    (tmp_path / MARKER).write_text(json.dumps({'version': VERSION, 'durable': False}))
    (tmp_path / 'dynamodb' / 'table').touch()
    used(tmp_path)
    assert not (tmp_path / 'dynamodb' / 'table').exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    for path in (tmp_path / 'file', tmp_path / 'file' / 'below'):
        with pytest.raises(Refused, match='is not a directory'):
            StateFolder(path).check()


def test_a_folder_that_cannot_be_made_is_refused() -> None:
    state = StateFolder(Path('/proc/nowhere/state'))
    with pytest.raises(Refused, match='STATE_DIR=/proc/nowhere/state cannot be made'), state.claimed(PORTS):
        pass
