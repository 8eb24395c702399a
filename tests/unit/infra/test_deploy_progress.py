"""Progress of a deploy: read from the AWS CLI's own display, and from CloudFormation's answers."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from awscli.customizations.s3uploader import ProgressPercentage

from infra import deploy_progress
from infra.deploy_progress import Uploads, stack_progress
from infra.progress import Show


def shown_by_the_cli(files: dict[Path, int]) -> str:
    """Standard error of the AWS CLI for files, each sent in so many parts."""
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        for path, parts in files.items():
            observer = ProgressPercentage(str(path), f'mine/{path.name}')
            for _ in range(parts):
                observer.on_progress(None, path.stat().st_size // parts)
            errors.write('\n')
    return errors.getvalue()


@pytest.mark.parametrize('part', [1, 7, 4096])
def test_uploads_are_the_sum_of_the_files(tmp_path: Path, part: int) -> None:
    for name, size in (('a.zip', 4000), ('b.zip', 600)):
        (tmp_path / name).write_bytes(b'x' * size)
    text = shown_by_the_cli({tmp_path / 'a.zip': 4, tmp_path / 'b.zip': 2})
    seen: list[int] = []
    uploads = Uploads(4600, seen.append)
    for begin in range(0, len(text), part):
        uploads(text[begin : begin + part])
    assert seen == sorted(seen)
    assert seen[-1] == 4600
    assert part > 7 or {1000, 2000, 3000, 4000, 4300, 4600} <= set(seen)


def test_other_output_is_no_progress() -> None:
    seen: list[int] = []
    Uploads(10, seen.append)('File with same data already exists at mine/a.zip, skipping upload\n')
    assert seen == []


class Stack:
    """CloudFormation's answers, one list after another; the last is repeated. ``refuses`` are verbs that fail."""

    def __init__(self, *lists: list[tuple[str, str, str]], change_sets: tuple[str, ...], refuses: str = '') -> None:
        self.lists, self.change_sets, self.refuses = list(lists), list(change_sets), refuses
        self.looks: list[str] = []

    def look(self, service: str, verb: str, *words: str) -> str | None:
        self.looks.append(verb)
        if verb == self.refuses:
            return None
        if verb == 'describe-stacks':
            return json.dumps(self.change_sets.pop(0) if len(self.change_sets) > 1 else self.change_sets[0])
        if verb == 'describe-change-set':
            return json.dumps(['Api', 'Table', 'Queue'])
        return json.dumps(self.lists.pop(0) if len(self.lists) > 1 else self.lists[0])


class Display:
    """Records what is shown; ``until`` ends when a value was shown."""

    def __init__(self) -> None:
        self.shown: list[int] = []
        self.total = 0

    @contextlib.contextmanager
    def __call__(self, what: str, total: int, *, unit: str = 'bytes') -> Iterator[Show]:
        assert (what, unit) == ('deploy', 'resources')
        self.total = total
        yield self.shown.append


OLD = [('Api', 'UPDATE_COMPLETE', '1'), ('Table', 'CREATE_COMPLETE', '1'), ('Role', 'CREATE_COMPLETE', '1')]
HALF = [('Api', 'UPDATE_COMPLETE', '2'), ('Table', 'UPDATE_IN_PROGRESS', '2'), ('Role', 'CREATE_COMPLETE', '2')]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy_progress, 'INTERVAL', 0.01)


def wait_for(true: Any) -> None:
    for _ in range(1000):
        if true():
            return
        deploy_progress.threading.Event().wait(0.01)
    pytest.fail('it took too long')


def test_the_resources_that_the_change_set_changes_are_counted() -> None:
    stack, display = Stack(OLD, OLD, HALF, change_sets=('old', 'old', 'new')), Display()
    with stack_progress('mine', stack, display):
        wait_for(lambda: 1 in display.shown)
    assert display.total == 3
    assert display.shown[0] == 0
    assert display.shown[-1] == 3
    assert set(display.shown) == {0, 1, 3}


def test_a_deploy_that_fails_is_not_shown_as_complete() -> None:
    stack, display = Stack([], HALF, change_sets=('null', 'new')), Display()

    def fail() -> None:
        wait_for(lambda: display.shown)
        raise ValueError('ROLLBACK')

    with pytest.raises(ValueError, match='ROLLBACK'), stack_progress('mine', stack, display):
        fail()
    assert 3 not in display.shown


@pytest.mark.parametrize('verb', ['describe-stacks', 'describe-change-set', 'list-stack-resources'])
def test_what_aws_refuses_ends_no_deploy(verb: str) -> None:
    stack, display = Stack(OLD, change_sets=('old', 'new'), refuses=verb), Display()
    with stack_progress('mine', stack, display):
        wait_for(lambda: len(stack.looks) > 8)
    assert display.shown in ([], [3]) or set(display.shown) == {0, 3}


def test_an_update_that_changes_nothing_shows_nothing() -> None:
    stack, display = Stack(OLD, change_sets=('old',)), Display()
    with stack_progress('mine', stack, display):
        wait_for(lambda: len(stack.looks) > 6)
    assert (display.shown, display.total) == ([], 0)
