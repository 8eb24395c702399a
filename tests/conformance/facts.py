"""The recorded facts, and the shape of a check."""

from __future__ import annotations

import functools
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

Entry = dict[str, Any]

#: A name, and a function that returns what is wrong; None when nothing is.
Check = tuple[str, Callable[[], str | None]]
Checks = Iterator[Check]

#: The project's own tables; API_FACTS names a folder with complete recordings instead.
OWN = pathlib.Path(__file__).resolve().parents[1] / 'vectors' / 'api'
FOLDER = pathlib.Path(os.environ.get('API_FACTS', OWN))

#: Entries that no client uses, or that Cinder serves by accident: answering them with a refusal is right.
ACCIDENTAL_TIER = 5


@functools.cache
def entries() -> dict[str, Entry]:
    """Entry by its id, ``POST /volumes/{id}/action os-extend``."""
    surface = json.loads((FOLDER / 'surface.json').read_text())
    return {entry['id']: expanded(entry) for entry in surface['entries']}


def expanded(entry: Entry) -> Entry:
    """Return an entry as it is recorded; the project's own tables condense its fields."""
    if 'response' not in entry:
        return entry
    policies = [{'name': name} for name in entry['policies']]
    fields = [_field(line) for line in entry['response']]
    return {**entry, 'policies': policies, 'response_fields': fields, 'request_fields': entry['request']}


def _field(line: str) -> dict[str, Any]:
    """Return the field of ``name  type  since  [admin]  [when]``: two blanks apart, since a name may have one."""
    name, kind, since, *flags = line.split('  ')
    return {'name': name, 'type': kind, 'min_version': since, 'admin_only': 'admin' in flags, 'when': 'when' in flags}


def accidental(entry: Entry) -> bool:
    """Whether an entry may be refused instead of answered."""
    return bool(entry['tier'] >= ACCIDENTAL_TIER)


@functools.cache
def states() -> dict[str, Any]:
    return dict(json.loads((FOLDER / 'states.json').read_text()))


@functools.cache
def vectors() -> list[dict[str, Any]]:
    path = pathlib.Path(os.environ.get('EDGE_VECTORS', FOLDER))
    path = path / 'edge_vectors.json' if path.is_dir() else path
    return list(json.loads(path.read_text())['vectors'])


def version(text: str | None) -> tuple[int, int]:
    """(3, 71) of ``3.71``; the newest for None."""
    major, minor = (text or '3.71').split('.')
    return int(major), int(minor)
