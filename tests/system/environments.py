"""Python environments beside the project's own, for programs from PyPI that the tests run the service against.

Each has its packages in ``tests/requirements``, apart from ``docs``, which builds the site of the documents.
``python -m tests.system.environments [NAME...]`` creates them, by default those that ``make test`` needs. A test
creates a missing one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from infra import interpreter

ROOT = Path(__file__).resolve().parents[2]

#: Environments that ``make test`` needs -> options of ``pip install``.
OPTIONS = {'checkov': (), 'cinder': (), 'hcl': (), 'keystone': (), 'nova': ('--no-deps', '--no-compile')}

#: The environment whose programs run the functions themselves, with its own interpreter: that of the deployed runtime.
RUNTIME = 'emulator'


def ensure(name: str) -> Path:
    """Create ``.venv-<name>`` unless it already has the packages of its requirements; return its Python.

    The requirements are ``tests/requirements/<name>.txt`` (``docs/requirements.txt`` for ``docs``). Safe to call from
    many processes at once.
    """
    environment, requirements = ROOT / f'.venv-{name}', requirements_of(name)
    python, stamp = environment / 'bin' / 'python', environment / '.requirements'
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    with requirements.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            subprocess.run([_interpreter(name), '-m', 'venv', '--clear', environment], check=True)
            subprocess.run(
                [python, '-m', 'pip', 'install', '-qq', *OPTIONS.get(name, ()), '-r', requirements], check=True
            )
            stamp.write_text(wanted)
    return python


def _interpreter(name: str) -> str:
    """Return the Python for an environment. Raises RuntimeError if this machine lacks that of the deployed runtime."""
    if name != RUNTIME:
        return sys.executable
    version = interpreter.runtime()
    found = interpreter.find(version)
    if found is None:
        raise RuntimeError(f'python{version} is not here: {interpreter.ADVICE}')
    return found


def requirements_of(name: str) -> Path:
    """Return the file that lists the packages of an environment."""
    return ROOT / 'docs' / 'requirements.txt' if name == 'docs' else ROOT / 'tests' / 'requirements' / f'{name}.txt'


def run(name: str, arguments: list[str], request: Any) -> Any:
    """Run the environment's Python with ``request`` as JSON on its input; return the JSON of its output."""
    done = subprocess.run(
        [ensure(name), '-W', 'ignore', *arguments],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


if __name__ == '__main__':
    print(*map(ensure, sys.argv[1:] or OPTIONS), sep='\n')
