"""Smoke test of the artefacts: import all modules of each function from the unpacked archives only.

Functions without the data layer must load without it; workers load everything. Imports are a fresh process per
function, isolated from this machine's packages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from infra import interpreter

#: Function -> (layers, its imports at run time; a package means all its modules).
REACHES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    'api_handler': (('common',), ('chalicelib.api', 'chalicelib.identity', 'chalicelib.clients')),
    'start_workflow': (('common',), ('chalicelib.tasks.start',)),
    'reconcile': (('common',), ('chalicelib.tasks.reconcile',)),
    'report_pools': (('common',), ('chalicelib.tasks.report_pools',)),
    'backup_schedules': (('common',), ('chalicelib.tasks.schedules',)),
    'volume_worker': (('common', 'data'), ('chalicelib',)),
    'backup_worker': (('common', 'data'), ('chalicelib',)),
}

#: Run in the other interpreter: handler and packages as arguments, sys.path in the first.
_SCRIPT = """
import importlib, json, pkgutil, sys
path, handler, names = json.loads(sys.argv[1])
sys.path[:0] = path
import app
assert callable(app.app if handler == 'api_handler' else getattr(app, handler))
assert bool(app.app.middleware_handlers) == (handler == 'api_handler')
for name in names:
    found = importlib.import_module(name)
    for module in pkgutil.walk_packages(getattr(found, '__path__', ()), name + '.'):
        if not module.name.endswith('.__main__'):
            importlib.import_module(module.name)
"""

#: Environment variables that modules read at import, as in Lambda.
ENVIRONMENT = {'AWS_DEFAULT_REGION': 'us-east-1', 'AWS_REGION': 'us-east-1', 'TABLE_PREFIX': 'smoke'}


def run(python: str, folder: Path, done: Callable[[], None] = lambda: None) -> None:
    """Load each function, and call ``done`` after each. Raise RuntimeError with the name of one that does not load."""
    extra = () if is_deployed(python) else tuple(path for path in sys.path if path.endswith('site-packages'))
    for handler, (layers, names) in REACHES.items():
        path = [str(folder / 'functions'), *(str(folder / layer / 'python') for layer in layers), *extra]
        script = [python, '-I', '-S', '-c', _SCRIPT, json.dumps([path, handler, names])]
        environment = {**os.environ, **ENVIRONMENT, 'AWS_LAMBDA_FUNCTION_NAME': _named(handler)}
        answer = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
        if answer.returncode != 0:
            raise RuntimeError(f'{handler} does not load from {folder}:\n{answer.stderr}')
        done()


def _named(handler: str) -> str:
    """Return a function's name in the stack; only the API's registers routes."""
    return f'smoke-{handler.removesuffix("_handler")}'


def is_deployed(python: str) -> bool:
    """Whether an interpreter is of the deployed runtime; for others the compiled wheels of the layers do not fit."""
    return python == interpreter.find(interpreter.runtime())
