"""Python environments beside ours, for programs from PyPI that our own code is tested against.

``python -m tests.system.environments`` makes them all and leaves; the tests make each when it is not there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

#: Name -> how pip installs its requirements-<name>.txt: of those that ``make test`` needs.
OPTIONS = {'keystone': (), 'nova': ('--no-deps', '--no-compile')}


def ensure(name: str) -> Path:
    """Make ``.venv-<name>`` unless it holds what requirements-<name>.txt asks for; returns its Python.

    Safe to call from many processes at once.
    """
    environment, requirements = ROOT / f'.venv-{name}', ROOT / f'requirements-{name}.txt'
    python, stamp = environment / 'bin' / 'python', environment / '.requirements'
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    with requirements.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            subprocess.run([sys.executable, '-m', 'venv', '--clear', environment], check=True)
            subprocess.run(
                [python, '-m', 'pip', 'install', '-qq', *OPTIONS.get(name, ()), '-r', requirements], check=True
            )
            stamp.write_text(wanted)
    return python


def run(name: str, arguments: list[str], told: Any) -> Any:
    """Run the environment's Python with ``told`` as JSON on its input; returns its output's JSON."""
    done = subprocess.run(
        [ensure(name), '-W', 'ignore', *arguments],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


if __name__ == '__main__':
    print(*map(ensure, OPTIONS), sep='\n')
