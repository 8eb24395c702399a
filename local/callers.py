"""Find the function on whose behalf code runs, from the stack.

From the code outwards, the first frame that is a function's entry decides. A thread belongs to the function that
started it. Calls by moto, which emulates AWS, belong to no function. Tests also call packages without an entry.
Operations that only the api calls then belong to the api, the backup engine to the backup worker, and a driver to
either worker.
"""

from __future__ import annotations

import functools
import re
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

from local.workers import tasks, workers_of

ROOT = Path(__file__).parent.parent

#: Where a function's own code begins: (file, function in it) -> name.
ENTRIES = {
    ('chalicelib/api/front_door.py', 'serve'): 'api',
    ('chalicelib/api/front_door.py', 'guarded'): 'api',
    ('chalicelib/tasks/start.py', 'run'): 'start_workflow',
    ('chalicelib/tasks/reconcile.py', 'run'): 'reconcile',
    ('chalicelib/tasks/report_pools.py', 'run'): 'report_pools',
    ('chalicelib/tasks/schedules.py', 'run'): 'backup_schedules',
}

#: The entry of both workers; its event names the task.
TASK = ('chalicelib/tasks/__init__.py', 'run')

#: In the place of a function: one of the two workers.
SOME_WORKER = 'some worker'

#: Packages that only workers call: their tests call them without an entry.
ROOMS = {'chalicelib/drivers/': (SOME_WORKER,), 'chalicelib/backup/': ('backup_worker',)}

#: Files that run test code in the middle of a function's work: tests add their fakes.
OTHERS: set[str] = set()

#: ``from chalicelib.operations import volumes as operations, quotas``.
_IMPORTS = re.compile(r'^\s*from chalicelib\.operations import ([\w, ]+)', re.MULTILINE)

#: ``from chalicelib.operations.volume_creation import create, dry_run``, in a module of operations that shows them.
_SHOWN = re.compile(r'^from chalicelib\.operations\.(\w+) import ([\w, ]+)', re.MULTILINE)


def callers() -> tuple[str, ...]:
    """Return the functions on whose behalf this code runs, () for none."""
    frame: types.FrameType | None = sys._getframe(1)
    room: tuple[str, ...] = ()
    while frame is not None:
        path = _place(frame.f_code.co_filename)
        if path == 'moto':
            return ()
        if path in OTHERS or path.rpartition('/')[2].startswith('test_'):
            return room  # a test acts in the middle of a function's work, or calls a package directly
        entry = (path, frame.f_code.co_name)
        if entry in ENTRIES:
            return (ENTRIES[entry],)
        if entry == TASK:
            return workers_of(str(frame.f_locals['event'].get('task')))
        room = _asked(*entry) or room or _room(path)
        frame = frame.f_back
    return getattr(threading.current_thread(), 'cinderless_functions', ()) or room


@functools.cache
def _place(filename: str) -> str:
    """A file's path in the project, 'moto' for any of moto's, else ''."""
    if '/moto/' in filename:
        return 'moto'
    return filename.removeprefix(f'{ROOT}/') if filename.startswith(f'{ROOT}/') else ''


@functools.cache
def _room(path: str) -> tuple[str, ...]:
    return next((functions for room, functions in ROOMS.items() if path.startswith(room)), ())


@functools.cache
def _asked(path: str, name: str) -> tuple[str, ...]:
    """Return the workers of a task that is called directly; the api for operations that only the api calls."""
    if path.startswith('chalicelib/tasks/') and name in tasks():
        return workers_of(name)
    if path.startswith('chalicelib/operations/') and (Path(path).stem, name) in _of_the_api():
        return ('api',)
    return ()


@functools.cache
def _of_the_api() -> frozenset[tuple[str, str]]:
    return frozenset(_named('api')) - frozenset(_named('tasks'))


def _named(room: str) -> Iterator[tuple[str, str]]:
    """Yield (module, function) pairs of ``operations`` that the files of a package name."""
    for text in _files(room):
        for module, alias in _modules(text):
            shown = _shown(module)
            yield from ((shown.get(name, module), name) for name in re.findall(rf'\b{alias}\.([a-z]\w*)', text))


def _files(room: str) -> Iterator[str]:
    return (path.read_text(encoding='utf-8') for path in (ROOT / 'chalicelib' / room).rglob('*.py'))


@functools.cache
def _shown(module: str) -> dict[str, str]:
    """Return the functions that a module of operations imports from others: {function: its module}."""
    text = (ROOT / 'chalicelib' / 'operations' / f'{module}.py').read_text(encoding='utf-8')
    return {name.strip(): source for source, names in _SHOWN.findall(text) for name in names.split(',')}


def _modules(text: str) -> Iterator[tuple[str, str]]:
    """(module of operations, its name in the file)."""
    for line in _IMPORTS.findall(text):
        for each in line.split(','):
            module, _, alias = each.strip().partition(' as ')
            yield module, alias or module
