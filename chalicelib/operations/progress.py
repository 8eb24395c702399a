"""How far the copy of a volume's data is: kept on the record that is under way, a backup or a volume being restored.

Each range of a volume counts its own bytes from its start, so a worker that repeats another's work counts nothing
twice. What was copied is told as a position: bytes that are passed by because nothing is there count as done.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from chalicelib import errors
from chalicelib.models import Backup, Volume, base
from chalicelib.rules.states import Transition

Record = Backup | Volume

#: Statuses in which a record's progress is shown.
SHOWN_IN = frozenset({'creating', 'restoring-backup'})

_TOTAL, _STARTED = 'total', 'started'


def begin(record: Record, row: Transition, request_id: str, total: int) -> None:
    """Start to count, of ``total`` bytes; whoever lost the record counts nothing."""
    kind = type(record)
    _write(record, row, request_id, kind.progress.set({_TOTAL: total, _STARTED: int(time.time())}))


def note(record: Record, row: Transition, request_id: str, part: str, done: int) -> None:
    """Store the bytes that are done of one part."""
    counts: Any = type(record).progress
    _write(record, row, request_id, counts[part].set(done))


def _write(record: Record, row: Transition, request_id: str, action: Any) -> None:
    """No revision: a count must not keep anybody's write from taking place."""
    with contextlib.suppress(errors.StateChanged, errors.NotFound):
        base.update(record, [action], base.owned_by(type(record), row, request_id))


def shown(record: Record) -> dict[str, int | None] | None:
    """Bytes done and in all, bytes a second on average, and seconds left as far as that tells; None when at rest."""
    counts = dict(record.progress.attribute_values) if record.progress else {}
    if record.status not in SHOWN_IN or _TOTAL not in counts:
        return None
    total, started = int(counts.pop(_TOTAL)), int(counts.pop(_STARTED))
    done = min(total, sum(map(int, counts.values())))
    rate = done // max(1, int(time.time()) - started)
    left = -(-(total - done) // rate) if rate else None
    return {'bytes_done': done, 'bytes_total': total, 'bytes_per_second': rate, 'seconds_left': left}
