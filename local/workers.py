"""Map tasks to workers, from the state machines; a task that no state machine names runs on the volume worker."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra import asl

FOLDER = Path(__file__).parent.parent / 'stepfunctions'

#: Placeholder in the state machines -> function.
WORKERS = {'${VolumeWorkerArn}': 'volume_worker', '${BackupWorkerArn}': 'backup_worker'}


@functools.cache
def tasks() -> dict[str, set[str]]:
    """{task: workers}."""
    found: dict[str, set[str]] = {}
    for path in FOLDER.glob('*.asl.yaml'):
        for task, worker in _tasks(asl.load(path)):
            found.setdefault(task, set()).add(worker)
    return found


def _tasks(node: Any) -> Iterator[tuple[str, str]]:
    """(task, worker) of every state, those inside a Map too."""
    if not isinstance(node, dict):
        return
    if node.get('Resource') in WORKERS:
        yield node['Parameters']['task'], WORKERS[node['Resource']]
    for value in node.values():
        yield from _tasks(value)


def workers_of(task: str) -> tuple[str, ...]:
    return tuple(sorted(tasks().get(task, {'volume_worker'})))
