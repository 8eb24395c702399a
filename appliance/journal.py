"""Data that a store cannot hold: the exports of each object, and the volume of each snapshot.

One JSON file per object is replaced atomically and durably before a verb returns. An export is written before tgtd gets
it, marked ``ending`` before tgtd removes it, and deleted after tgtd confirmed that. So tgtd never has more than the
journal, and interrupted changes are finished from the journal alone. A crash may leave a record without its object:
the next start deletes it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appliance.errors import Unavailable
from appliance.files import sync_folder
from appliance.names import Key

_RECORD = '.json'


@dataclasses.dataclass(frozen=True)
class Export:
    """Access of one initiator. ``mode`` is 'rw' or 'ro', ``iqn`` its target; ``ending`` while it is being removed."""

    initiator: str
    mode: str
    iqn: str
    ending: bool = False


@dataclasses.dataclass(frozen=True)
class Record:
    """``source`` is the name of a snapshot's volume, or of the object that a volume was made from.

    ``deployment`` is the mark of the service that made the object; '' without one. ``kept`` is when a backup's snapshot
    was kept for comparisons, in seconds since the epoch; 0 for all other objects.
    """

    source: str = ''
    exports: dict[str, Export] = dataclasses.field(default_factory=dict)
    deployment: str = ''
    kept: int = 0

    @property
    def iqns(self) -> set[str]:
        """Return the names of the object's targets."""
        return {export.iqn for export in self.exports.values()}

    def with_export(self, export_id: str, export: Export) -> Record:
        return dataclasses.replace(self, exports={**self.exports, export_id: export})

    def without_export(self, export_id: str) -> Record:
        kept = {other: export for other, export in self.exports.items() if other != export_id}
        return dataclasses.replace(self, exports=kept)


class Journal:
    """Writers of one object hold its lock; readers of all objects may see a slightly old state."""

    def __init__(self, folder: Path, pools: list[str]) -> None:
        self._folder = folder
        self._records: dict[Key, Record] = {}
        self._measured: dict[Key, int] = {}
        for pool in pools:
            (folder / pool).mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in sorted((folder / pool).iterdir()):
                self._load(pool, path)

    def get(self, key: Key) -> Record:
        """The object's record; an object that is not in the journal has an empty one."""
        return self._records.get(key, Record())

    def items(self) -> list[tuple[Key, Record]]:
        return list(self._records.items())

    def kept(self, pool: str) -> dict[str, int]:
        """Return the names of the snapshots that are kept for comparisons, each with the bytes of ``measured``."""
        kept = [key for key, record in self.items() if record.kept and key.pool == pool]
        return {key.name: self._measured.get(key, 0) for key in kept}

    def measured(self, key: Key, size: int) -> None:
        """Note the bytes that only a kept snapshot has, until the next start."""
        self._measured[key] = size

    def put(self, key: Key, record: Record) -> None:
        """Raises Unavailable. Then ``get`` returns what a restart would: the record may exist, and may be lost with
        host."""
        path = self._path(key)
        new = path.with_name(path.name + '.new')
        with _writing(key):
            with new.open('w') as file:
                json.dump(_document(record), file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
            self._records[key] = record
            sync_folder(path.parent)

    def remove(self, key: Key) -> None:
        """Raises Unavailable, as ``put`` does."""
        with _writing(key):
            self._measured.pop(key, None)
            self._path(key).unlink(missing_ok=True)
            if self._records.pop(key, None) is not None:
                sync_folder(self._path(key).parent)

    def _path(self, key: Key) -> Path:
        return self._folder / key.pool / (key.name + _RECORD)

    def _load(self, pool: str, path: Path) -> None:
        """Delete an incomplete file; set an unreadable one aside, so that the others are served."""
        if path.suffix != _RECORD:
            if path.suffix == '.new':
                path.unlink()
            return
        try:
            self._records[Key(pool, path.name[: -len(_RECORD)])] = _parse(json.loads(path.read_text()))
        except (ValueError, KeyError, TypeError) as error:
            print(f'{path} is damaged ({error}): set aside; its exports are lost', file=sys.stderr)
            path.rename(path.with_suffix('.damaged'))


@contextlib.contextmanager
def _writing(key: Key) -> Iterator[None]:
    """Translate file system errors to Unavailable: a full state folder is not a full pool."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f'the agent cannot record {key} in its state folder: {error.strerror}') from error


def _document(record: Record) -> dict[str, Any]:
    """Write ``ending`` only when true, so that earlier versions can read the rest."""
    document = dataclasses.asdict(record)
    for export in document['exports'].values():
        if not export['ending']:
            del export['ending']
    return document


def _parse(document: dict[str, Any]) -> Record:
    exports = {export_id: Export(**export) for export_id, export in document['exports'].items()}
    return Record(document['source'], exports, document.get('deployment', ''), document.get('kept', 0))
