"""A release: what it refuses, and the commit and tag that it makes, in a repository of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra import changes, release

CHANGES = """# Changelog

## Unreleased

- Something new.

## 0.1.0 - 2026-11-22

- The first one.
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that is ready for the release 0.2.0."""
    (tmp_path / 'docs' / 'how-to').mkdir(parents=True)
    (tmp_path / 'infra' / 'released').mkdir(parents=True)
    (tmp_path / 'pyproject.toml').write_text('[project]\nversion = "0.2.0"\n')
    (tmp_path / 'CHANGELOG.md').write_text(CHANGES)
    (tmp_path / 'docs' / 'how-to' / 'upgrade.md').write_text('# Upgrade\n\n## From 0.1.0 to 0.2.0\n')
    release.git('init', '-q', root=tmp_path)
    for name, value in (('user.name', 'Any'), ('user.email', 'any@example.org'), ('commit.gpgsign', 'false')):
        release.git('config', name, value, root=tmp_path)
    release.git('add', '-A', root=tmp_path)
    release.git('commit', '-q', '-m', 'Begin', root=tmp_path)
    monkeypatch.setattr(changes, 'current', lambda: {'Resources': {}})
    monkeypatch.setattr(changes, 'last_release', lambda: ('0.1.0', {'Resources': {}}))
    return tmp_path


def test_a_release_is_a_commit_with_a_tag(root: Path) -> None:
    assert list(release.complaints('0.2.0', root)) == []
    release.release('0.2.0', root)
    assert release.git('status', '--porcelain', root=root) == ''
    assert '- Something new.' in release.git('tag', '-l', '-n9', 'v0.2.0', root=root)
    assert json.loads((root / 'infra' / 'released' / '0.2.0.json').read_text())['Machines'] == {}
    text = (root / 'CHANGELOG.md').read_text()
    assert text.index('## Unreleased') < text.index('## 0.2.0 - ') < text.index('- Something new.')
    assert release.section(root) == ''


@pytest.mark.parametrize(
    ('path', 'text', 'complaint'),
    [
        ('CHANGELOG.md', '# Changelog\n\n## Unreleased\n\n## 0.1.0\n', 'has no text under'),
        ('docs/how-to/upgrade.md', '# Upgrade\n', 'has no section "From 0.1.0 to 0.2.0"'),
    ],
)
def test_a_release_without_its_texts_is_refused(root: Path, path: str, text: str, complaint: str) -> None:
    (root / path).write_text(text)
    release.git('commit', '-qam', 'Change', root=root)
    [line] = release.complaints('0.2.0', root)
    assert complaint in line


def test_a_version_is_released_once_and_in_order(root: Path) -> None:
    release.git('tag', 'v0.2.0', root=root)
    assert list(release.complaints('0.2.0', root)) == ['the tag v0.2.0 exists']
    assert any('give a higher one' in line for line in release.complaints('0.1.0', root))


def test_a_changed_tree_is_not_released(root: Path) -> None:
    (root / 'new').write_text('')
    assert list(release.complaints('0.2.0', root)) == ['there are changes that are not committed']


def test_a_release_that_loses_data_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {'VolumesTable': {'Type': 'AWS::DynamoDB::Table', 'Properties': {}}}
    monkeypatch.setattr(changes, 'last_release', lambda: ('0.1.0', {'Resources': table}))
    [line] = release.complaints('0.2.0', root)
    assert line.startswith('Remove of VolumesTable loses data')


def test_the_source_of_a_release_is_that_of_its_tag_or_commit(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    release.release('0.2.0', root)
    commit = release.git('rev-parse', 'HEAD~1', root=root)
    for facts, text in (({}, '## 0.2.0 - '), ({'Commit': commit}, CHANGES)):
        folder = tmp_path_factory.mktemp('source')
        release.extract('0.2.0', facts, folder, root)
        assert text in (folder / 'CHANGELOG.md').read_text()
