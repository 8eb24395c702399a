"""Databases that a real Cinder 29 builds, in .venv-cinder, and the table of backends that the tests map them with."""

from __future__ import annotations

import functools
import json
import subprocess
from pathlib import Path
from typing import Any

from cinderless.migration import hosts
from tests.system import environments

SCRIPT = Path(__file__).with_name('cinder_database.py')

HOSTS = hosts.parse(
    """
    # what the tests' two backends take over
    old@lvm   -> cinderless@fast#pool
    old@ontap#vol1 -> cinderless@big#pool  keep-exports
    old@ceph -> unmanaged
    """
)


def run(step: str, url: str, *, revision: str | None = None, volumes: int = 0) -> dict[str, str]:
    """Run a step of the script on a database; return {name: id} of what it made."""
    request = {'step': step, 'url': url, 'revision': revision, 'volumes': volumes}
    done = subprocess.run(
        [environments.ensure('cinder'), '-W', 'ignore', SCRIPT],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    made: dict[str, str] = json.loads(done.stdout)
    return made


@functools.cache
def _built(folder: Path, revision: str | None) -> tuple[bytes, dict[str, str]]:
    path = folder / f'{revision}.sqlite'
    made = run('build', f'sqlite:///{path}', revision=revision, volumes=3)
    return path.read_bytes(), made


def database(folder: Path, revision: str | None = None) -> tuple[Path, dict[str, Any]]:
    """Return a new copy of a database of a revision, and what is in it. Each is built once in a process."""
    content, made = _built(folder.parent, revision)
    path = folder / 'cinder.sqlite'
    path.write_bytes(content)
    return path, made
