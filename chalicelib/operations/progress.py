"""How far the copy of a volume's data is: kept on the record that is under way, a backup or a volume being restored.

Each range of a volume counts its own bytes from its start, so a worker that repeats another's work counts nothing
twice. Progress is reported as a position: skipped bytes of unallocated ranges count as done.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from chalicelib.models import Backup, Volume, base
from chalicelib.rules import states

Record = Backup | Volume

#: Seconds between two writes, at least.
INTERVAL = 30.0

#: Bytes.
GIB = 1024**3

_TOTAL, _STARTED, _NOTED = 'total', 'started', 'noted'


def begun(size: int) -> dict[str, int]:
    """Return the ``progress`` of a copy of ``size`` GiB that begins now: it is part of what accepts the work."""
    now = int(time.time())
    return {_TOTAL: size * GIB, _STARTED: now, _NOTED: now}


def note(record: Record, held: Condition, part: str, done: int) -> None:
    """Store the bytes that are done of one part, unless anything was stored in the last INTERVAL seconds.

    ``held``: the condition that the request still owns the record.
    """
    kind, now = type(record), time.time()
    counts: Any = kind.progress
    due = held & (counts[_NOTED] <= int(now - INTERVAL))
    _write(record, [counts[part].set(done), counts[_NOTED].set(int(now))], due)


def _write(record: Record, actions: list[Action], condition: Condition) -> None:
    """No revision: a count must not keep anybody's write from taking place."""
    with contextlib.suppress(*base.moved_on(type(record))):
        base.update(record, actions, condition)


def shown(record: Record) -> dict[str, int | None] | None:
    """Return bytes done and in all, average bytes a second, and seconds left at that rate; None when not copying."""
    counts = dict(record.progress.attribute_values) if record.progress else {}
    if record.status not in states.WITH_PROGRESS or _TOTAL not in counts:
        return None
    total, started = int(counts.pop(_TOTAL)), int(counts.pop(_STARTED))
    counts.pop(_NOTED, None)
    done = min(total, sum(map(int, counts.values())))
    rate = done // max(1, int(time.time()) - started)
    left = -(-(total - done) // rate) if rate else None
    return {'bytes_done': done, 'bytes_total': total, 'bytes_per_second': rate, 'seconds_left': left}
