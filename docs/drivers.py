"""docs/reference/drivers.md: the calls of each operation to its backend."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

#: {driver: {operation: calls}}, counted by tests/contract/calls.py.
CALLS = Path(__file__).with_name('driver-calls.json')

#: Calls of the EBS direct APIs that move data, a block of 512 KiB each.
DATA = ('GetSnapshotBlock', 'PutSnapshotBlock')

#: Operation -> the most calls within its whole budget of AWS calls, after its own writes of records, the queue and the
#: state machine: 8 for a create, 7 for delete, extend and snapshot, 6 for an attach. A host's first attachment may
#: create objects for its next ones; on ONTAP it also checks that its account was not removed as idle. A backup and a
#: restore create, open, close and remove objects: 11, besides the 2,048 blocks of a GiB.
CEILINGS: Mapping[str, int] = {
    'create': 4,
    'create from snapshot': 4,
    'clone': 4,
    'delete': 3,
    'extend': 3,
    'snapshot': 3,
    'delete snapshot': 3,
    'attach': 4,
    'attach to a host for the first time': 7,
    'detach': 4,
    'backup': 11,
    'backup, for each GiB of data': 2048,
    'restore': 11,
    'restore, for each GiB of data': 2048,
}


def calls() -> list[list[str]]:
    """Return the rows of the table, its head first."""
    known = json.loads(CALLS.read_text())
    operations = list(dict.fromkeys(name for counts in known.values() for name in _in_order(counts)))
    rows = [[name, *(str(known[kind].get(name, '-')) for kind in known), _ceiling(name)] for name in operations]
    return [['operation', *known, 'at most'], *rows]


def _in_order(counts: Mapping[str, int]) -> list[str]:
    """Return the operations, those with a ceiling first."""
    return [*(name for name in CEILINGS if name in counts), *(name for name in counts if name not in CEILINGS)]


def _ceiling(operation: str) -> str:
    return str(CEILINGS.get(operation, '-'))
