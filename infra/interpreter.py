"""The interpreter of the deployed runtime, if this machine has one."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess

from infra.render import templates

ADVICE = 'install it, or name it in PYTHON313'

#: Prints the real path: the PATH may contain a launcher.
_WHERE = 'import sys; print(sys.executable if sys.implementation.name == "cpython" else "")'


def runtime() -> str:
    """Return '3.13' for the template's python3.13."""
    template = json.loads((templates() / 'template.json').read_text())
    return str(template['Globals']['Function']['Runtime']).removeprefix('python')


@functools.cache
def find(version: str) -> str | None:
    """Return the path of CPython ``version`` ('3.13'), or None.

    ``PYTHON313`` names it; otherwise ``python3.13`` of the PATH is used. pyenv's launchers of that name work only for
    the selected version, so PYENV_VERSION selects it (other launchers ignore it).
    """
    named = os.environ.get(f'PYTHON{version.replace(".", "")}')
    found = shutil.which(named or f'python{version}')
    if found is None:
        return None
    environment = {**os.environ, 'PYENV_VERSION': version}
    answer = subprocess.run([found, '-c', _WHERE], env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    return answer.stdout.strip() or None
