"""The root of the repository stays small enough to read: few entries, and each tool's files in the tool's folder."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from tests.system.environments import OPTIONS, requirements_of

ROOT = Path(__file__).resolve().parent.parent

#: Entries of the root that belong to the repository, files and folders, those with a leading dot included.
MOST_ENTRIES = 22


def entries() -> set[str]:
    """Return the names in the root that .gitignore does not exclude."""
    ignored = [line.rstrip('/') for line in (ROOT / '.gitignore').read_text().splitlines() if line]
    names = {path.name for path in ROOT.iterdir()} - {'.git'}
    return {name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in ignored)}


def test_the_root_has_few_entries() -> None:
    assert len(entries()) <= MOST_ENTRIES, sorted(entries())


def test_the_root_has_the_projects_own_requirements_only() -> None:
    found = {name for name in entries() if name.startswith('requirements')}
    assert found == {'requirements.txt', 'requirements-dev.txt', 'requirements-dev.lock'}


def test_each_environment_has_its_requirements() -> None:
    listed = {path.stem for path in (ROOT / 'tests' / 'requirements').glob('*.txt')}
    assert set(OPTIONS) <= listed
    assert [name for name in listed if not requirements_of(name).is_file()] == []
