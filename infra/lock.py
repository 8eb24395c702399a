"""The exact set of installed packages: ``make lock`` writes ``requirements-dev.lock`` and ``infra/layers/*.txt``.

``requirements-dev.lock`` names every package of the environment that builds and tests, for each Python that is
supported, with the hashes of all its files. ``make setup`` installs nothing else.

The layers come from requirements.txt. Each file names every package of one layer, including indirect requirements, with
its version, which is the tested one, and the SHA-256 of the wheel for Lambda. ``make package`` installs nothing else.
pip evaluates markers (``python_version < '3.12'``) for its own interpreter, so this needs the deployed one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from infra import interpreter
from infra.layers import locked, platform_options
from infra.render import ROOT

#: Packages of requirements.txt that only the workers need: compiled, and slow to load.
DATA = ('blake3', 'cryptography', 'zstandard')

#: At run time Chalice is two files without requirements; the requirements of its command line are left out.
ALONE = ('chalice',)

#: The packages that ``make setup`` installs.
DEVELOPMENT = ROOT / 'requirements-dev.lock'

#: The oldest Python that is supported; the lock holds for later ones, too.
OLDEST = '3.11'

#: What ``requirements-dev.lock`` comes from.
ASKED = 'pyproject.toml (group dev) and requirements.txt'

HEADER = '# Made by make lock from {}; do not edit.\n'


def main() -> int:
    lock_development()
    runtime = interpreter.runtime()
    python = interpreter.find(runtime)
    if python is None:
        print(f'make lock needs Python {runtime}: {interpreter.ADVICE}', file=sys.stderr)
        return 1
    direct = dict(line.split('==') for line in requirements())
    common = [name for name in direct if name not in DATA]
    for layer, names in (('common', common), ('data', list(DATA))):
        lines = sorted(_lines(python, runtime, [f'{name}=={direct[name]}' for name in names]))
        locked(layer).write_text(HEADER.format('requirements.txt') + '\n'.join(lines) + '\n')
        print(f'{locked(layer).relative_to(ROOT)}: {len(lines)} packages')
    return 0


def lock_development() -> None:
    """Write ``requirements-dev.lock``: locked versions stay, unless pyproject.toml or requirements.txt names others."""
    command = [sys.executable, '-m', 'uv', 'pip', 'compile', '--quiet', '--universal', '--python-version', OLDEST]
    command += ['--generate-hashes', '--no-annotate', '--no-header', '--output-file', str(DEVELOPMENT)]
    locked_before = DEVELOPMENT.read_text().removeprefix(HEADER.format(ASKED))
    DEVELOPMENT.write_text(locked_before)
    subprocess.run([*command, 'requirements.txt', '--group', 'dev'], check=True, cwd=ROOT)  # noqa: S603
    DEVELOPMENT.write_text(HEADER.format(ASKED) + DEVELOPMENT.read_text())
    print(f'{DEVELOPMENT.relative_to(ROOT)}: {DEVELOPMENT.read_text().count("==")} packages')


def tested_versions() -> list[tuple[str, str]]:
    """Return (name, version) of each package of ``requirements-dev.lock``."""
    return re.findall(r'^([A-Za-z0-9._-]+)==([^\s;]+)', DEVELOPMENT.read_text(encoding='utf-8'), re.MULTILINE)


def requirements() -> Iterator[str]:
    """Return the lines of requirements.txt: ``name==version``."""
    for line in (ROOT / 'requirements.txt').read_text().splitlines():
        requirement = line.partition('#')[0].strip()
        if requirement:
            yield requirement


def _lines(python: str, runtime: str, wanted: list[str]) -> Iterator[str]:
    whole = [line for line in wanted if line.partition('==')[0] not in ALONE]
    for package in [*_resolved(python, runtime, whole), *_resolved(python, runtime, _alone(wanted), '--no-deps')]:
        facts = package['metadata']
        digest = package['download_info']['archive_info']['hashes']['sha256']
        yield f'{facts["name"].lower()}=={facts["version"]} --hash=sha256:{digest}'


def _alone(wanted: list[str]) -> list[str]:
    return [line for line in wanted if line.partition('==')[0] in ALONE]


def _resolved(python: str, runtime: str, wanted: list[str], *options: str) -> list[dict[str, Any]]:
    """Return the packages that pip would install, from its report."""
    if not wanted:
        return []
    command = [python, '-m', 'pip', 'install', '-q', '--dry-run', '--ignore-installed', '--report', '-', *options]
    with tempfile.NamedTemporaryFile('w', suffix='.txt') as tested:
        tested.write('\n'.join(f'{name}=={version}' for name, version in tested_versions()))
        tested.flush()
        command += ['--constraint', tested.name, '--target', 'nowhere', *platform_options(runtime), *wanted]
        answer = subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    found: list[dict[str, Any]] = json.loads(answer.stdout)['install']
    return found


if __name__ == '__main__':
    sys.exit(main())
