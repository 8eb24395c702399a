"""Merging, and what makes templates stale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra import render


@pytest.mark.parametrize(
    ('own', 'theirs', 'expected'),
    [
        ({'a': {'b': 1}}, {'a': {'c': 2}, 'd': 3}, {'a': {'b': 1, 'c': 2}, 'd': 3}),
        ({'a': [1]}, {'a': [2, 3]}, {'a': [1]}),
        ({'a': 1}, {'a': {'b': 2}}, {'a': 1}),
        ({'a': {'Ref': 'X'}}, {'a': {'Fn::Sub': 'y'}}, {'a': {'Ref': 'X'}}),
        ({'a': {'b': 1}}, {'a': {'Fn::GetAtt': ['X', 'Arn']}}, {'a': {'b': 1}}),
    ],
)
def test_ours_is_laid_over_theirs(own: Any, theirs: Any, expected: Any) -> None:
    assert render.merged(own, theirs) == expected


def test_machine_ids_are_words() -> None:
    assert render.machine_id('create_volume') == 'CreateVolumeMachine'


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(render, 'ROOT', tmp_path)
    monkeypatch.setattr(render, 'BUILD', tmp_path / '.build')
    (tmp_path / '.build').mkdir()
    (tmp_path / 'app.py').write_text('one')
    (tmp_path / 'README.md').write_text('one')
    return tmp_path


def test_templates_are_current_until_an_input_changes(tree: Path) -> None:
    assert not render.is_current()
    (tree / '.build' / 'inputs.sha256').write_text(render.digest())
    assert render.is_current()
    (tree / 'README.md').write_text('two')
    assert render.is_current()
    (tree / 'app.py').write_text('two')
    assert not render.is_current()


def test_a_renamed_input_makes_templates_stale(tree: Path) -> None:
    (tree / 'infra').mkdir()
    (tree / 'infra' / 'a.yaml').write_text('same')
    before = render.digest()
    (tree / 'infra' / 'a.yaml').rename(tree / 'infra' / 'b.yaml')
    assert render.digest() != before


def test_a_file_that_vanishes_while_it_is_read_is_not_an_input(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editor's temporary file, or a checkout of another branch during the start."""
    expected = render.digest()
    passing = tree / 'infra' / '.swap'
    passing.parent.mkdir()
    passing.write_text('short-lived')
    read = Path.read_bytes

    def vanishing(path: Path) -> bytes:
        passing.unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(Path, 'read_bytes', vanishing)
    assert render.digest() == expected


def test_templates_that_are_current_need_no_right_to_write(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / '.build' / 'inputs.sha256').write_text(render.digest())
    monkeypatch.setattr(render, 'locked', None)
    assert render.templates() == tree / '.build'


def test_outdated_templates_of_another_user_are_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:
        raise PermissionError(13, 'Permission denied', path)

    monkeypatch.setattr(render, 'locked', refused)
    with pytest.raises(RuntimeError, match=r'\.build is outdated \(Permission denied\): .*make package'):
        render.templates()


def test_a_document_is_put_in_place_whole(tmp_path: Path) -> None:
    render.write(tmp_path / 'plain.json', {'b': 1, 'a': 2})
    assert (tmp_path / 'plain.json').read_text().index('"a"') < (tmp_path / 'plain.json').read_text().index('"b"')
    assert [path.name for path in tmp_path.iterdir()] == ['plain.json']


def test_a_machine_names_only_the_functions_it_uses() -> None:
    machine = render._machine('nap', '{"Resource":"${VolumeWorkerArn}"}')['Properties']
    assert machine['StateMachineName'] == {'Fn::Sub': '${AWS::StackName}-nap'}
    assert list(machine['DefinitionString']['Fn::Sub'][1]) == ['VolumeWorkerArn']
    assert render._machine('still', '{}')['Properties']['DefinitionString'] == '{}'
