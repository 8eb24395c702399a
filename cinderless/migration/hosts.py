"""The table of backends: which pool of this deployment a pool of Cinder is, and what becomes of its volumes.

One line a pool or backend, comments begin with ``#`` at the start of a line:

    old-host@lvm#lvm       -> cinderless@storage1#data
    old-host@netapp        -> cinderless@ontap#vol1  keep-exports
    old-host@ceph          -> unmanaged

A pool is mapped by its own line, else by that of its backend. ``keep-exports``: attached volumes are moved, because the
storage serves their exports without Cinder; without it they are listed. ``unmanaged``: no backend here has the data.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from cinderless.errors import REFUSED, Failure

#: The right-hand side of a backend whose data is copied later.
UNMANAGED = 'unmanaged'

KEEP_EXPORTS = 'keep-exports'

_LINE = re.compile(r'(?P<old>\S+@\S+)\s*->\s*(?P<new>\S+)(?:\s+(?P<flag>\S+))?')
_POOL = re.compile(r'[^@#\s]+@[^@#\s]+#\S+')


class Place(NamedTuple):
    """Where volumes of a backend are. ``pool``: ``host@backend#pool``, None for unmanaged ones."""

    pool: str | None
    keeps_exports: bool = False


#: What becomes of a volume whose backend no line names.
NOWHERE = Place(None)


class HostMap:
    """The lines of a table, by their left-hand side."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        self._places = places

    def of(self, host: str) -> Place:
        """Return the place of ``host@backend#pool``: its own line, else its backend's, else NOWHERE."""
        return self._places.get(host) or self._places.get(host.partition('#')[0]) or NOWHERE

    def names(self, host: str) -> bool:
        """Return whether a line names the pool or its backend."""
        return host in self._places or host.partition('#')[0] in self._places

    def pools(self) -> list[str]:
        """Return the pools of this deployment that the lines name."""
        return sorted({place.pool for place in self._places.values() if place.pool})


def parse(text: str) -> HostMap:
    """Read a table. Raises Failure with the number of the first line that is wrong."""
    places: dict[str, Place] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith('#'):
            continue
        places |= _read(number, line.strip(), places)
    return HostMap(places)


def _read(number: int, line: str, known: Mapping[str, Place]) -> dict[str, Place]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise _wrong(number, f'{line!r} is not "old host@backend#pool -> new host@backend#pool"')
    old, new, flag = match['old'], match['new'], match['flag']
    if old in known:
        raise _wrong(number, f'{old} has a line already')
    if new != UNMANAGED and not _POOL.fullmatch(new):
        raise _wrong(number, f'{new!r} is neither host@backend#pool nor {UNMANAGED}')
    if flag not in (None, KEEP_EXPORTS) or (flag and new == UNMANAGED):
        raise _wrong(number, f'{flag!r} is not known here; a pool may have {KEEP_EXPORTS}')
    return {old: NOWHERE if new == UNMANAGED else Place(new, flag == KEEP_EXPORTS)}


def _wrong(number: int, reason: str) -> Failure:
    return Failure(f'line {number} of the table of backends: {reason}', REFUSED)


def check_pools(hosts: HostMap, known: Collection[str]) -> None:
    """Raise Failure for pools in the table that this deployment has no report of."""
    missing = [pool for pool in hosts.pools() if pool not in known]
    if missing:
        raise Failure(
            f'no backend here reports the pools {", ".join(missing)}; known are {", ".join(sorted(known)) or "none"}: '
            'correct the table, or wait for the first report (cinderless backends show)',
            REFUSED,
        )
