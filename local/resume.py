"""Resume the operations of the last instance, whose queue and executions ended with it.

On AWS they would have continued. So the local cloud calls the reconciler for each record in a transitional status, as
if its execution had been aborted, before the record is overdue.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

from local import events
from local.functions import Outcome

log = logging.getLogger('local.resume')

#: Later than every deadline.
_END = '9999'


def start(reconcile: Callable[[dict[str, Any]], Outcome]) -> None:
    """Call ``reconcile`` with an event per record under way, one after another, from a thread."""
    found = list(interrupted())
    threading.Thread(target=_run, args=(reconcile, found), name='resume', daemon=True).start()


def interrupted() -> Iterator[dict[str, Any]]:
    """Yield an event for each interrupted operation."""
    from chalicelib.models import base
    from chalicelib.tasks.reconcile import KINDS

    for resource, kind in KINDS.items():
        for record in base.overdue(kind, _END):
            payload = {'resource': resource, 'project_id': record.project_id, 'id': record.id}
            detail = {'executionArn': f'restart/{resource}/{record.id}', 'status': 'ABORTED'}
            yield events.execution_ended({**detail, 'input': json.dumps(payload)})


def _run(reconcile: Callable[[dict[str, Any]], Outcome], found: list[dict[str, Any]]) -> None:
    for event in found:
        reconcile(event)
