"""The interpreter of the runtime that is deployed, where this machine has one."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess

from infra.render import templates

ADVICE = 'install it, or name it in PYTHON313'

#: Says where it really is: what PATH leads to may be a launcher.
_WHERE = 'import sys; print(sys.executable if sys.implementation.name == "cpython" else "")'


def runtime() -> str:
    """'3.13' of the template's python3.13."""
    template = json.loads((templates() / 'template.json').read_text())
    return str(template['Globals']['Function']['Runtime']).removeprefix('python')


@functools.cache
def find(version: str) -> str | None:
    """The path of CPython ``version`` ('3.13'), or None.

    ``PYTHON313`` names it; else ``python3.13`` of the PATH is taken. pyenv's launchers of that name work only for
    the version that is chosen, so it is chosen (PYENV_VERSION; others do not look at it).
    """
    named = os.environ.get(f'PYTHON{version.replace(".", "")}')
    found = shutil.which(named or f'python{version}')
    if found is None:
        return None
    told = {**os.environ, 'PYENV_VERSION': version}
    answer = subprocess.run([found, '-c', _WHERE], env=told, capture_output=True, text=True, check=False)  # noqa: S603
    return answer.stdout.strip() or None
