"""What the layers hold, to the byte: ``make lock`` writes ``infra/layers/*.txt`` from requirements.txt.

Each file names every package of one layer, those that are needed only by others too, with its version and the SHA-256
of the wheel for Lambda. ``make package`` takes nothing else. pip reads markers (``python_version < '3.12'``) of the
interpreter it runs in, so this needs the one that is deployed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from infra import interpreter
from infra.layers import locked, platform_options
from infra.render import ROOT

#: Requirements of requirements.txt that only the workers need: compiled, and slow to load.
DATA = ('blake3', 'cryptography', 'zstandard')

#: At run time Chalice is two files without requirements; what its command line needs stays away.
ALONE = ('chalice',)

HEADER = '# Made by make lock from requirements.txt; do not edit.\n'


def main() -> int:
    runtime = interpreter.runtime()
    python = interpreter.find(runtime)
    if python is None:
        print(f'make lock needs Python {runtime}: {interpreter.ADVICE}', file=sys.stderr)
        return 1
    direct = dict(line.split('==') for line in requirements())
    common = [name for name in direct if name not in DATA]
    for layer, names in (('common', common), ('data', list(DATA))):
        lines = sorted(_lines(python, runtime, [f'{name}=={direct[name]}' for name in names]))
        locked(layer).write_text(HEADER + '\n'.join(lines) + '\n')
        print(f'{locked(layer).relative_to(ROOT)}: {len(lines)} packages')
    return 0


def requirements() -> Iterator[str]:
    """The lines of requirements.txt: ``name==version``."""
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
    """What pip would install, as its report says it."""
    if not wanted:
        return []
    command = [python, '-m', 'pip', 'install', '-q', '--dry-run', '--ignore-installed', '--report', '-', *options]
    command += ['--target', 'nowhere', *platform_options(runtime), *wanted]
    answer = subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    found: list[dict[str, Any]] = json.loads(answer.stdout)['install']
    return found


if __name__ == '__main__':
    sys.exit(main())
