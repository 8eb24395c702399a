"""``make release``: the release of the version in pyproject.toml, as one commit and one tag. Nothing is pushed.

CHANGELOG's section "Unreleased" becomes the version's, ``infra/released/<version>.json`` keeps what later versions are
compared with, and the tag's message is the section. A release that lacks its upgrade note is refused, and so is one
that would lose data of a deployed stack.
"""

from __future__ import annotations

import datetime
import io
import re
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from infra import changes
from infra.render import ROOT, write

CHANGELOG, UPGRADE = 'CHANGELOG.md', 'docs/how-to/upgrade.md'

UNRELEASED = '## Unreleased'


def git(*words: str, root: Path = ROOT) -> str:
    """Run git and return its output. Raises CalledProcessError."""
    done = subprocess.run(['git', *words], cwd=root, check=True, capture_output=True, text=True)  # noqa: S603, S607
    return done.stdout.strip()


def version(root: Path = ROOT) -> str:
    return str(tomllib.loads((root / 'pyproject.toml').read_text(encoding='utf-8'))['project']['version'])


def section(root: Path = ROOT) -> str:
    """Return the text of CHANGELOG's section "Unreleased", '' without one."""
    found = re.search(rf'^{UNRELEASED}\n(.*?)(?=^## |\Z)', (root / CHANGELOG).read_text(), re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ''


def complaints(number: str, root: Path = ROOT) -> Iterator[str]:
    """Return what a release lacks, a line each."""
    last, old = changes.last_release()
    if _numbers(number) <= _numbers(last):
        yield f'pyproject.toml has the version {number}, and the last release is {last}: give a higher one'
    if git('tag', '--list', f'v{number}', root=root):
        yield f'the tag v{number} exists'
    if git('status', '--porcelain', root=root):
        yield 'there are changes that are not committed'
    if not section(root):
        yield f'{CHANGELOG} has no text under "{UNRELEASED}"'
    if f'## From {last} to {number}' not in (root / UPGRADE).read_text(encoding='utf-8'):
        yield f'{UPGRADE} has no section "From {last} to {number}"'
    for change in changes.changes(old, changes.current()):
        if change.is_loss:
            yield f'{change.kind} of {change.name} loses data of deployed stacks (make changes)'


def _numbers(number: str) -> tuple[int, ...]:
    return tuple(map(int, number.split('.')))


def release(number: str, root: Path = ROOT) -> None:
    """Write the release's files, commit them and tag the commit."""
    notes, today = section(root), datetime.date.today()
    path = root / CHANGELOG
    text = path.read_text(encoding='utf-8')
    path.write_text(text.replace(UNRELEASED, f'{UNRELEASED}\n\n## {number} - {today}', 1), encoding='utf-8')
    kept = root / 'infra' / 'released' / f'{number}.json'
    write(kept, changes.kept(changes.current()))
    git('add', CHANGELOG, str(kept.relative_to(root)), root=root)
    git('commit', '-q', '-m', f'Release {number}', root=root)
    git('tag', '-a', f'v{number}', '-m', f'{number}\n\n{notes}', '--cleanup=verbatim', root=root)


def extract(number: str, facts: changes.Template, folder: Path, root: Path = ROOT) -> None:
    """Write a release's source to a folder: that of its tag, or of the commit that its file names.

    Raises CalledProcessError where the repository has neither (a shallow clone: git fetch --unshallow --tags).
    """
    named = facts.get('Commit', f'v{number}')
    archive = subprocess.run(['git', 'archive', named], cwd=root, check=True, capture_output=True)  # noqa: S603, S607
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter='data')


def main() -> int:
    number = version()
    if found := list(complaints(number)):
        print('\n  '.join(['not released:', *found]), file=sys.stderr)
        return 1
    release(number)
    print(f'v{number} is tagged; push it with: git push --follow-tags')
    return 0


if __name__ == '__main__':
    sys.exit(main())
