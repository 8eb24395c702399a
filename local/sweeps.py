"""Resume the removal of deleted backups' data: it waits a grace time in executions, which end with an instance.

On AWS they would have continued. The records are gone by then, so the reconciler does not know the backups; their
tombstones in the repository do.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from local.functions import Outcome

log = logging.getLogger('local.sweeps')

#: Seconds between two attempts, and attempts at one lineage: another collector may hold its lease.
PAUSE, ATTEMPTS = 60, 30


class Lineage(NamedTuple):
    """Backups of one volume, by the folder of the bucket that holds them."""

    project_id: str
    container: str
    lineage: str


def start(bucket: str, client: Any, work: Callable[[dict[str, Any]], Outcome], grace: float) -> None:
    """Collect each lineage with a tombstone, once that is older than ``grace`` seconds, from a thread."""
    threading.Thread(target=_run, args=(bucket, client, work, grace), name='sweeps', daemon=True).start()


def _run(bucket: str, client: Any, work: Callable[[dict[str, Any]], Outcome], grace: float) -> None:
    pages = client.get_paginator('list_objects_v2').paginate(Bucket=bucket)
    for due, lineage, backup in deleted(found for page in pages for found in page.get('Contents', ())):
        wait = grace + 1
        time.sleep(min(wait, max(0.0, due + wait - time.time())))  # not for longer after a step of the clock
        collect(lineage, backup, work)


def deleted(objects: Iterable[Mapping[str, Any]]) -> Iterator[tuple[float, Lineage, str]]:
    """Yield (time of its last tombstone, lineage, a deleted backup), the oldest first."""
    found: dict[Lineage, tuple[float, str]] = {}
    for one in objects:
        prefix, *rest = one['Key'].rsplit('/', 3)
        if len(rest) == 3 and rest[0] == 'deleted' and '/' in prefix:
            project_id, _, container = prefix.partition('/')
            lineage = Lineage(project_id, container, rest[1])
            found[lineage] = max(found.get(lineage, (0.0, '')), (one['LastModified'].timestamp(), rest[2]))
    for lineage, (when, backup) in sorted(found.items(), key=lambda item: item[1]):
        yield when, lineage, backup


def collect(lineage: Lineage, backup: str, work: Callable[[dict[str, Any]], Outcome], pause: float = PAUSE) -> None:
    """Sweep a lineage to its end, as the workflow that ended would have."""
    left: dict[str, Any] = {'lineage': lineage.lineage, 'container': lineage.container, 'location': None}
    for _ in range(ATTEMPTS):
        given = {'project_id': lineage.project_id, 'id': backup, 'left': left}
        outcome = work({'task': 'collect_backup', 'input': given})
        if outcome.error:
            log.warning('deleted backups of %s remain for now: %s', lineage.lineage, outcome.result.get('errorType'))
            time.sleep(pause)
        elif outcome.result['done']:
            return
        else:
            left = outcome.result
