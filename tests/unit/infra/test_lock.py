"""What make setup installs is locked by hashes, and is what requirements-dev.txt asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from infra import lock
from infra.layers import LAYERS, locked
from infra.render import ROOT

#: A locked package: name, version, a marker perhaps, then its hashes on lines of their own.
PACKAGE = re.compile(
    r'^([A-Za-z0-9._-]+)==(\S+)(?: ; [^\\]*)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$', re.MULTILINE
)


def asked(path: Path) -> Iterator[tuple[str, str]]:
    """(name, version) of each line of a file of requirements, and of the files that it includes."""
    for line in path.read_text().splitlines():
        if line.startswith('-r '):
            yield from asked(path.parent / line.removeprefix('-r '))
        elif line.partition('#')[0].strip():
            name, _, version = line.partition('#')[0].strip().partition('==')
            yield normal(name), version


def normal(name: str) -> str:
    return re.sub('[-_.]+', '-', name.partition('[')[0]).lower()


def packages() -> dict[str, str]:
    return {normal(name): version for name, version, _ in PACKAGE.findall(lock.DEVELOPMENT.read_text())}


def test_every_package_has_hashes() -> None:
    text = lock.DEVELOPMENT.read_text()
    assert len(packages()) == text.count('==') - text.count("== '") - text.count('=="')
    assert len(packages()) > 100


def test_the_lock_is_of_what_is_asked_for() -> None:
    known = packages()
    assert {name: known.get(name) for name, _ in asked(ROOT / 'requirements-dev.txt')} == dict(
        asked(ROOT / 'requirements-dev.txt')
    )


def test_what_is_deployed_is_what_is_tested() -> None:
    """The layers' wheels have the versions of the lock, and one of its hashes."""
    text, known = lock.DEVELOPMENT.read_text(), packages()
    for layer in LAYERS:
        for name, version, digest in re.findall(r'^(\S+)==(\S+) --hash=sha256:(\w+)$', locked(layer).read_text(), re.M):
            assert known[normal(name)] == version, name
            assert digest in text, name


def test_setup_takes_nothing_without_a_hash() -> None:
    [line] = [line for line in (ROOT / 'local' / 'setup.sh').read_text().splitlines() if 'pip install' in line]
    assert '--require-hashes -r requirements-dev.lock' in line
