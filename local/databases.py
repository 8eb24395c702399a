"""SQLite files of the state folder, checked before they are used."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from local.settings import Refused


def check(database: sqlite3.Connection, path: Path) -> None:
    """Raise Refused, which names the file, for one that SQLite cannot use or finds damaged."""
    try:
        (found,) = database.execute('pragma quick_check(1)').fetchone()
    except sqlite3.DatabaseError as error:
        found = error
    if found != 'ok':
        raise Refused(f'{path} cannot be used ({found}): restore the folder from a copy, or FRESH=1 starts empty')
