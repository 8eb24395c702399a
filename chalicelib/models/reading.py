"""Records that are likely to be needed, read in one call: one BatchGetItem in place of a GetItem for each.

A request or task names keys with ``together`` before it reads its first record. That first read fetches all of them,
consistently. The ``find`` of each other record then returns it, once, without a call.

A process caches which records belong together (``remember``), so that a request can name the type of a volume that it
has not read yet. It caches keys, never the records' content: a wrong key costs one read unit, and the right record is
read instead.

A record that was fetched with others was read within the same request, like one that is read alone. It is dropped after
FRESH seconds, when this process writes the record, and when a worker is invoked, which may write it.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

from chalicelib import errors, models
from chalicelib.context_values import bound
from chalicelib.models.connection import COLLISIONS, connection

if TYPE_CHECKING:
    from chalicelib.models.base import Record

#: (name of its class, project_id, id) of a record. A name, so that no class is made that is not read.
Key = tuple[str, str, str]

#: The classes that are fetched together; a function's role must allow BatchGetItem on those that it reads.
TOGETHER = frozenset(
    {'Attachment', 'Backup', 'DefaultType', 'Name', 'Quota', 'Service', 'Snapshot', 'Volume', 'VolumeType'}
)

#: Classes with so few records that the one used last is a good guess.
FEW = frozenset({'VolumeType', 'Service'})

#: Seconds for which a record that was fetched with others may be used.
FRESH = 1.0

#: Records whose related ones a process caches.
REMEMBERED = 2000

#: The keys of the records related to one record, the most recently used record last.
_related: dict[Key, list[Key]] = {}

#: Class -> the key cached last: the guess for a record without a cached relation.
_last: dict[str, Key] = {}


class Fetched(NamedTuple):
    """A record as it was read (None: it does not exist), and the time until which it may be used."""

    record: Record | None
    until: float


class _Scope:
    """The records that one request or task will read, and those that it has fetched but not used yet."""

    def __init__(self, keys: Iterable[Key], along: Iterable[str]) -> None:
        self._wanted = dict.fromkeys(keys)
        self._along = frozenset(along)
        self._fetched: dict[Key, Fetched] = {}
        self._read: set[Key] = set()
        known = [one for key in self._wanted for one in _related.get(key, ()) if one[0] in self._along]
        self._wanted.update(dict.fromkeys(known))
        unknown = self._along - {kind for kind, _, _ in self._wanted}
        self._wanted.update({_last[kind]: None for kind in unknown & FEW if kind in _last})

    def take(self, keys: tuple[Key, ...]) -> list[Record | None] | None:
        """Return the records; None when a common fetch has no advantage: the caller reads them."""
        found = {key: one for key in keys if (one := self._taken(key))}
        missing = [key for key in keys if key not in found]
        others = [key for key in self._wanted if key not in keys]
        if len(missing) == len(keys) and not others:
            self._note(keys)
            return None
        if missing:
            self._note(missing)
            fetched = _fetch([*missing, *others])
            self._wanted.clear()
            self._fetched.update({key: fetched[key] for key in others})
            found.update({key: fetched[key] for key in missing})
        return [found[key].record for key in keys]

    def _taken(self, key: Key) -> Fetched | None:
        found = self._fetched.pop(key, None)
        return found if found and time.monotonic() < found.until else None

    def _note(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._read.add(key)
            self._wanted.pop(key, None)

    def follow(self, record: Record) -> None:
        """Add the related records to the fetch, unless they were read before."""
        for key in record.related():
            if key[0] in self._along and key not in self._fetched and key not in self._read:
                self._wanted[key] = None

    def drop(self, key: Key | None) -> None:
        """Drop the fetched copy of one record, or all (None)."""
        if key is None:
            self._fetched.clear()
        else:
            self._fetched.pop(key, None)


_scope: contextvars.ContextVar[_Scope | None] = contextvars.ContextVar('reading_scope', default=None)


def together(*keys: Key, along: Iterable[str] = ()) -> AbstractContextManager[None]:
    """Fetch these records with the first one that is read in the context.

    ``along``: classes of related records to fetch, too. The process has cached the relation, or the records read first
    contain it; for a class with few records the one used last is the guess.
    """
    return bound(_scope, _Scope(keys, along))


def take(*keys: Key) -> list[Record | None] | None:
    """Return records from the context's fetch (None for one that does not exist).

    Return None when nothing is to be fetched along: the caller reads them itself, consistently.
    """
    scope = _scope.get()
    return scope.take(keys) if scope and all(name in TOGETHER for name, _, _ in keys) else None


def remember(record: Record) -> None:
    """Note which records are related to one that was read or written."""
    related = record.related()
    if related:
        key = record.key(record.project_id, record.id)
        _related.pop(key, None)
        _related[key] = related
        _last.update({one[0]: one for one in related})
        if len(_related) > REMEMBERED:
            del _related[next(iter(_related))]
        if scope := _scope.get():
            scope.follow(record)


def drop(record: Record | None = None) -> None:
    """Forget what was fetched of a record that is about to change, or of all records."""
    if scope := _scope.get():
        scope.drop(record.key(record.project_id, record.id) if record is not None else None)


def forget() -> None:
    """Forget which records belong together, as a new process has."""
    _related.clear()
    _last.clear()


def as_payload(record: Record, *others: Record, along: Iterable[str]) -> list[list[str]]:
    """Return the keys that a worker will read with a record, as JSON for a message or payload.

    They are those of ``others``, and of what is related to any of them, of the classes ``along``.
    """
    kinds = frozenset(along)
    named = [one.key(one.project_id, one.id) for one in others]
    keys = [key for key in [*named, *(key for one in (record, *others) for key in one.related())] if key[0] in kinds]
    return [list(key) for key in dict.fromkeys(keys)]


def of_payload(payload: Mapping[str, Any]) -> list[Key]:
    """Return the keys that ``as_payload`` made; none of a payload that has none."""
    return [(name, project_id, id) for name, project_id, id in payload.get('related') or () if name in TOGETHER]


def _fetch(keys: list[Key]) -> dict[Key, Fetched]:
    """Read records of any tables, consistently, in one call. Raises ServiceUnavailable."""
    until = time.monotonic() + FRESH
    kinds = {name: getattr(models, name) for name, _, _ in keys}
    names = {kind.Meta.table_name: name for name, kind in kinds.items()}
    pending: Any = {table: {'Keys': _keys_of(name, keys), 'ConsistentRead': True} for table, name in names.items()}
    found: dict[Key, Fetched] = {key: Fetched(None, until) for key in keys}
    for _ in range(COLLISIONS):
        answer = connection()._make_api_call('BatchGetItem', {'RequestItems': pending})
        for table, items in answer['Responses'].items():
            for item in items:
                name = names[table]
                found[name, item['project_id']['S'], item['id']['S']] = Fetched(kinds[name].from_raw_data(item), until)
        pending = answer.get('UnprocessedKeys')
        if not pending:
            return found
    raise errors.ServiceUnavailable(reason='the database is busy; try again')


def _keys_of(name: str, keys: Iterable[Key]) -> list[dict[str, dict[str, str]]]:
    return [{'project_id': {'S': project_id}, 'id': {'S': id}} for kind, project_id, id in keys if kind == name]
