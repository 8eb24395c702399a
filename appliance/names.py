"""The grammar of every name that reaches a file system, an LVM command or tgtd.

No name starts with '-' or '.', or contains '/', '.', ',' or '=': none can leave its folder, be parsed as an option, or
add a parameter to a control request. The stores' own temporary names contain a '.', so requests cannot name them.
"""

from __future__ import annotations

import re
from re import Pattern
from typing import NamedTuple

from appliance.errors import BadInitiator, Invalid

#: Cinder's volume_name_template and snapshot_name_template: an orphan is recognised by its name.
VOLUME = 'volume-'
SNAPSHOT = 'snapshot-'

_WORD = r'[A-Za-z0-9][A-Za-z0-9_-]{0,%d}'

GRAMMAR: dict[str, Pattern[str]] = {
    'pool': re.compile(_WORD % 62),
    'volume': re.compile(VOLUME + _WORD % 63),
    'snapshot': re.compile(SNAPSHOT + _WORD % 63),
    'object': re.compile(f'({VOLUME}|{SNAPSHOT})' + _WORD % 63),
    'any': re.compile(_WORD % 99),
    'older': re.compile(SNAPSHOT + _WORD % 63),
    'start': re.compile('[0-9]{1,16}'),
    'stop': re.compile('[0-9]{1,16}'),
    'export_id': re.compile(_WORD % 99),
    # RFC 7143, section 4.2.7, without the characters beyond ASCII, which tgt does not support.
    'initiator': re.compile(
        r'(iqn\.[0-9]{4}-[0-9]{2}\.[A-Za-z0-9.:_-]{1,211}|eui\.[0-9A-Fa-f]{16}|naa\.[0-9A-Fa-f]{16,32})'
    ),
}


def check(kind: str, name: object) -> str:
    """Return ``name`` if it is valid for ``kind``. Raises Invalid."""
    if not isinstance(name, str) or not GRAMMAR[kind].fullmatch(name):
        refusal = BadInitiator if kind == 'initiator' else Invalid
        raise refusal(f'{name!r:.120} is not a valid name of kind {kind!r}')
    return name


class Key(NamedTuple):
    """A volume or snapshot within the agent."""

    pool: str
    name: str

    @property
    def is_snapshot(self) -> bool:
        return self.name.startswith(SNAPSHOT)

    def __str__(self) -> str:
        return f'{self.pool}/{self.name}'
