"""ONTAP's query language: which records, which fields of them, and how many a page."""

from __future__ import annotations

import fnmatch
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from tests.ontap.errors import OntapError

Record = dict[str, Any]

#: Query parameters that are not fields.
CONTROLS = frozenset({'fields', 'max_records', 'return_records', 'return_timeout', 'order_by'})


class Resource:
    """The fields that a query of a collection may name, dotted, as far as the double has them.

    ``keys`` are always in an answer. ``expensive`` ones only if they are named, and by no ``*``.
    """

    def __init__(self, keys: str, fields: str, expensive: str = '') -> None:
        self.keys = keys.split()
        self.expensive = expensive.split()
        self.fields = {*self.keys, *fields.split(), *self.expensive}

    def answer(self, records: list[Record], path: str, query: Mapping[str, str], page: int) -> Record:
        """The document of a GET on the collection. ``page`` is the most records of one answer."""
        chosen = sorted((one for one in records if self._matches(one, query)), key=self._position)
        start = query.get('start')
        if start is not None:
            chosen = [one for one in chosen if self._position(one) > start]
        limit = min(page, int(query.get('max_records', page)))
        shown = chosen[:limit]
        document: Record = {'records': [self.view(one, query) for one in shown], 'num_records': len(shown)}
        if len(chosen) > limit:
            parameters = {**query, 'start': self._position(shown[-1]), 'max_records': str(limit)}
            document['_links'] = {'next': {'href': f'/api{path}?{urllib.parse.urlencode(parameters)}'}}
        return document

    def view(self, record: Record, query: Mapping[str, str]) -> Record:
        names = {*self.keys, *self._named(query.get('fields', ''))}
        shown: Record = {}
        for name in sorted(names):
            _merge(shown, _cut(record, name.split('.')))
        return shown

    def _named(self, fields: str) -> Iterator[str]:
        for field in filter(None, fields.split(',')):
            if field == '*':
                yield from self.fields - set(self.expensive)
            elif not self._knows(field):
                raise OntapError('262197', 'fields', field)
            else:
                yield field

    def _knows(self, field: str) -> bool:
        """A field, one above it, or one in a list below it."""
        return any(f'{one}.'.startswith(f'{field}.') or f'{field}.'.startswith(f'{one}.') for one in self.fields)

    def _matches(self, record: Record, query: Mapping[str, str]) -> bool:
        for field, pattern in query.items():
            if field in CONTROLS or field == 'start':
                continue
            if field not in self.fields:
                raise OntapError('262179', field)
            if not any(_fits(value, pattern) for value in values(record, field.split('.'))):
                return False
        return True

    def _position(self, record: Record) -> str:
        return ' '.join(str(value) for key in self.keys for value in values(record, key.split('.')))


def values(record: Any, path: list[str]) -> Iterator[Any]:
    """Every value at a dotted path; lists are looked through."""
    if isinstance(record, list):
        for one in record:
            yield from values(one, path)
    elif not path:
        yield record
    elif isinstance(record, dict) and path[0] in record:
        yield from values(record[path[0]], path[1:])


def names(body: Any, prefix: str = '') -> Iterator[str]:
    """The dotted names of what a body sets."""
    if not isinstance(body, dict):
        yield prefix
        return
    for key, value in body.items():
        yield from names(value, f'{prefix}.{key}' if prefix else key)


def _fits(value: Any, pattern: str) -> bool:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return any(fnmatch.fnmatchcase(text, one) for one in pattern.split('|'))


def _cut(record: Any, path: list[str]) -> Any:
    if isinstance(record, list):
        return [_cut(one, path) for one in record]
    if not path or not isinstance(record, dict):
        return record
    return {path[0]: _cut(record[path[0]], path[1:])} if path[0] in record else {}


def _merge(into: Any, more: Any) -> None:
    for key, value in more.items():
        if isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        elif isinstance(value, list) and key in into:
            for old, new in zip(into[key], value, strict=True):
                _merge(old, new)
        else:
            into[key] = (
                [dict(one) if isinstance(one, dict) else one for one in value] if isinstance(value, list) else value
            )
