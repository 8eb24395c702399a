"""JSON documents in one SQLite file: small, atomic, and durable when ``save`` returns."""

from __future__ import annotations

import base64
import datetime
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from local import databases

Document = Any

#: (kind, id) -> document to store, None to delete it.
Changes = Mapping[tuple[str, str], Document | None]


class Documents:
    """Documents by kind and id. Thread-safe. Values are JSON's, and bytes, dates and sets."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        databases.check(self._database, path)
        self._database.execute('pragma journal_mode=wal')
        self._database.execute('pragma synchronous=full')
        self._database.execute(
            'create table if not exists documents (kind text, id text, body text, primary key (kind, id)) without rowid'
        )

    def save(self, changes: Changes) -> None:
        """Store documents by (kind, id), and delete those that are None, in one transaction. Raises sqlite3.Error."""
        stored = [(*key, dumps(body)) for key, body in changes.items() if body is not None]
        deleted = [key for key, body in changes.items() if body is None]
        with self._lock, self._database:
            self._database.execute('begin immediate')
            self._database.executemany('insert or replace into documents values (?, ?, ?)', stored)
            self._database.executemany('delete from documents where kind = ? and id = ?', deleted)

    def all(self, kind: str) -> Iterator[tuple[str, Document]]:
        """(id, document) of every document of a kind."""
        with self._lock:
            found = self._database.execute('select id, body from documents where kind = ?', (kind,)).fetchall()
        return ((id, json.loads(body, object_hook=_decoded)) for id, body in found)

    def close(self) -> None:
        with self._lock:
            self._database.close()


class Changed:
    """Documents of one kind of which only those are written that differ from what is stored."""

    def __init__(self, documents: Documents, kind: str) -> None:
        self._documents = documents
        self._kind = kind
        #: The documents that were stored at the start.
        self.stored = dict(documents.all(kind))
        self._texts = {id: dumps(document) for id, document in self.stored.items()}

    def save(
        self, now: Mapping[str, Any], others: Mapping[tuple[str, str], Document | None] = MappingProxyType({})
    ) -> None:
        """Make ``now`` what is stored, together with ``others``. Raises sqlite3.Error, and then has stored nothing."""
        texts = {id: dumps(document) for id, document in now.items()}
        changes: dict[tuple[str, str], Any] = {
            (self._kind, id): document for id, document in now.items() if texts[id] != self._texts.get(id)
        }
        changes |= {(self._kind, id): None for id in self._texts.keys() - texts.keys()}
        if changes or others:
            self._documents.save({**changes, **others})
            self._texts = texts


def dumps(body: Document) -> str:
    """The text under which a document is stored. Raises TypeError for a value that cannot be stored."""
    return json.dumps(body, default=_encoded, separators=(',', ':'))


def _encoded(value: Any) -> dict[str, Any]:
    if isinstance(value, bytes):
        return {'$bytes': base64.b64encode(value).decode()}
    if isinstance(value, datetime.datetime):
        return {'$time': value.isoformat()}
    if isinstance(value, set | frozenset):
        return {'$set': sorted(value)}
    raise TypeError(f'{type(value).__name__} cannot be stored')


def _decoded(found: dict[str, Any]) -> Any:
    match found:
        case {'$bytes': text}:
            return base64.b64decode(text)
        case {'$time': text}:
            return datetime.datetime.fromisoformat(text)
        case {'$set': values}:
            return set(values)
    return found


def described(thing: Any, *left_out: str) -> dict[str, Any]:
    """An object's attributes as a document, without those that are named."""
    return {name: value for name, value in vars(thing).items() if name not in left_out}


def restored(thing: Any, document: Mapping[str, Any]) -> Any:
    """Give a new object the stored attributes; one that its class no longer has is ignored."""
    vars(thing).update({name: value for name, value in document.items() if name in vars(thing)})
    return thing
