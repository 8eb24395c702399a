"""The root of the repository stays small enough to read: few entries, and each tool's files in the tool's folder."""

from __future__ import annotations

import fnmatch
import re
import subprocess
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
    assert found == {'requirements.txt', 'requirements-dev.lock'}


def test_each_environment_has_its_requirements() -> None:
    listed = {path.stem for path in (ROOT / 'tests' / 'requirements').glob('*.txt')}
    assert set(OPTIONS) <= listed
    assert [name for name in listed if not requirements_of(name).is_file()] == []


def test_make_help_lists_every_target_in_a_group() -> None:
    text = (ROOT / 'Makefile').read_text()
    targets = re.findall(r'^([a-z]+):', text, re.MULTILINE)
    [phony] = re.findall(r'^\.PHONY: (.*)$', text, re.MULTILINE)
    assert sorted(phony.split()) == sorted(targets)
    shown = subprocess.run(
        ['make', '--no-print-directory', 'help'], cwd=ROOT, check=True, capture_output=True, text=True
    )
    groups = re.split(r'^(\w+)$', shown.stdout, flags=re.MULTILINE)
    assert groups[1::2] == ['Use', 'Develop', 'Maintain']
    listed = [name for group in groups[2::2] for name in re.findall(r'^  make ([a-z]+) ', group, re.MULTILINE)]
    assert sorted([*listed, 'help']) == sorted(targets)
