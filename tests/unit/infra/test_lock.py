"""What make setup installs is locked by hashes, and is what pyproject.toml and requirements.txt require."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

from infra import lock
from infra.layers import LAYERS, locked
from infra.render import ROOT

#: A locked package: name, version, a marker perhaps, then its hashes on lines of their own.
PACKAGE = re.compile(
    r'^([A-Za-z0-9._-]+)==(\S+)(?: ; [^\\]*)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$', re.MULTILINE
)


def asked() -> Iterator[tuple[str, str]]:
    """(name, version) of each requirement of pyproject.toml's group and of requirements.txt."""
    group = tomllib.loads((ROOT / 'pyproject.toml').read_text())['dependency-groups']['dev']
    for requirement in [*group, *lock.requirements()]:
        name, _, version = requirement.partition('==')
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
    known, wanted = packages(), dict(asked())
    assert {name: known.get(name) for name in wanted} == wanted
    assert {'click', 'rich', 'boto3'} <= wanted.keys()


def test_what_is_deployed_is_what_is_tested() -> None:
    """The layers' wheels have the versions of the lock, and one of its hashes."""
    text, known = lock.DEVELOPMENT.read_text(), packages()
    for layer in LAYERS:
        for name, version, digest in re.findall(r'^(\S+)==(\S+) --hash=sha256:(\w+)$', locked(layer).read_text(), re.M):
            assert known[normal(name)] == version, name
            assert digest in text, name


def test_setup_takes_nothing_without_a_hash() -> None:
    """The second line installs the source tree itself, with what the first one installed."""
    lines = re.sub(r'\\\n\s*', '', (ROOT / 'local' / 'setup.sh').read_text()).splitlines()
    packages, own = [line for line in lines if 'pip install' in line]
    assert '--require-hashes -r requirements-dev.lock' in packages
    assert '--no-index --no-deps --no-build-isolation --editable .' in own
