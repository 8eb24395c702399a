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

FOLDER = pathlib.Path(os.environ.get('API_FACTS', '../shared/api'))

#: Entries that no client uses, or that Cinder serves by accident: answering them with a refusal is right.
ACCIDENTAL_TIER = 5


@functools.cache
def entries() -> dict[str, Entry]:
    """Entry by its id, ``POST /volumes/{id}/action os-extend``."""
    surface = json.loads((FOLDER / 'surface.json').read_text())
    return {entry['id']: entry for entry in surface['entries']}


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
