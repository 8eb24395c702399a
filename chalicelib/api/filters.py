"""Filters of lists: their allowed names, and the meaning of their values.

Administrators may use any column (an unknown one matches nothing). Others may use those that the operator lists per
resource; from 3.31 an unknown name is refused, before it is ignored. A name with ``~`` at its end matches a part of the
value, from 3.34.
"""

from __future__ import annotations

import ast
import datetime
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from chalicelib.api.request import Request
from chalicelib.errors import Invalid, InvalidInput, InvalidParameterValue
from chalicelib.models.base import Record
from chalicelib.rules import microversions
from chalicelib.rules.microversions import Version

#: The filters in GET /resource_filters, allowed for all callers from 3.31: Cinder's default configuration.
RESOURCE_FILTERS: Mapping[str, tuple[str, ...]] = {
    'volume': (
        'name', 'status', 'metadata', 'bootable', 'migration_status', 'availability_zone', 'group_id', 'size',
        'created_at', 'updated_at', 'consumes_quota',
    ),
    'backup': ('name', 'status', 'volume_id'),
    'snapshot': ('name', 'status', 'volume_id', 'metadata', 'availability_zone', 'consumes_quota'),
    'group': ('name',),
    'group_snapshot': ('name', 'status', 'group_id'),
    'attachment': ('volume_id', 'status', 'instance_id', 'attach_status'),
    'message': ('resource_uuid', 'resource_type', 'event_id', 'request_id', 'message_level'),
    'pool': ('name', 'volume_type'),
    'volume_type': ('is_public', 'extra_specs'),
}  # fmt: skip

#: The same for resources that Cinder does not have.
EXTENSIONS: Mapping[str, tuple[str, ...]] = {
    'backup_schedule': ('name', 'volume_id'),
    'operation': ('resource_id', 'resource_type', 'action', 'status', 'since'),
}

CONFIGURABLE: Version = (3, 31)
LIKE: Version = (3, 34)

TRUE = frozenset(('t', 'true', 'on', 'y', 'yes', '1'))
FALSE = frozenset(('f', 'false', 'off', 'n', 'no', '0'))

#: Receives the filter's name, its text and the version.
Reader = Callable[[str, str, Version], Any]


NO_BOOLEAN = "Value '{text}' for '{name}' is not a boolean."


def boolean(name: str, text: str, refusal: str = NO_BOOLEAN) -> bool:
    """A query parameter that is yes or no. Raises InvalidParameterValue with ``refusal``."""
    if text.lower() not in TRUE | FALSE:
        raise InvalidParameterValue(err=refusal.format(text=text, name=name))
    return text.lower() in TRUE


def flag(name: str, text: str, version: Version) -> bool:
    """Parse a boolean filter with Cinder's column name."""
    return boolean({'consumes_quota': 'use_quota'}.get(name, name), text)


def bootable(name: str, text: str, version: Version) -> bool:
    """Strict from 3.2; before, everything but ``false`` is true."""
    if version < (3, 2):
        return text not in ('', 'False', 'false', 'FALSE')
    if text.lower() not in TRUE | FALSE:
        raise InvalidInput(reason=f"'{name} = {text}'")
    return text.lower() in TRUE


def plain(name: str, text: str, version: Version) -> str:
    """Return the text unchanged."""
    return text


def literal(name: str, text: str, version: Version) -> Any:
    """A Python literal, as Cinder reads filters: ``{'key': 'value'}``, ``None``, a list; else the text itself.

    Also for what is a literal's form and no value: ``{[]: 1}`` raises TypeError, since a list cannot be a key.
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return text


#: The name of a filter that no record matches.
UNMATCHED = 'unmatched'

#: Comparisons of a time.
_VERBS = ('gt', 'gte', 'eq', 'neq', 'lt', 'lte')


def period(name: str, text: str, version: Version) -> str:
    """Comparisons of a time, ``gt:2026-11-01T00:00:00,lt:...``, in the form of the records. Raises Invalid."""
    terms = []
    for term in text.split(','):
        verb, _, time = term.partition(':')
        if verb not in _VERBS:
            raise Invalid(f'Invalid {verb} operator')
        terms.append(f'{verb}:{_timestamp(time)}')
    return ','.join(terms)


def _timestamp(text: str) -> str:
    """Return a time in UTC with microseconds, as in records; one without a zone is UTC."""
    try:
        time = datetime.datetime.fromisoformat(text)
        time = time.astimezone(datetime.UTC) if time.tzinfo else time
    except (ValueError, OverflowError):
        raise Invalid(f'Invalid {text} value') from None
    return time.strftime('%Y-%m-%dT%H:%M:%S.%f')


class Filter(NamedTuple):
    """One filter. ``attribute`` of the record defaults to ``name``; before ``since`` the filter is ignored."""

    read: Reader = literal
    attribute: str | None = None
    since: str = '3.0'


class Filters(NamedTuple):
    """The filters of one list. ``early``: those that all callers may use before 3.31."""

    resource: str
    #: The listed records: their attributes are the sort keys.
    kind: type[Record]
    early: frozenset[str]
    known: Mapping[str, Filter]
    #: Parameters that the list reads itself.
    apart: tuple[str, ...] = ()
    #: The message for an administrator whose ``all_tenants`` is not a boolean.
    no_boolean: str = NO_BOOLEAN
    #: Whether the list has with_count; in other lists that is an ordinary filter.
    counted: bool = False
    #: From this version on ``name`` is a sort key; before, the column's own name is.
    named: Version = microversions.MINIMUM
    #: From this version on unknown names are refused.
    configurable: Version = CONFIGURABLE

    def read(self, request: Request, sent: Mapping[str, str]) -> dict[str, Any]:
        """Return {attribute: value}; an attribute ends in ``~`` for a partial match."""
        version = request.version
        kept = {name: text for name, text in sent.items() if name not in self.apart}
        if version < LIKE:
            kept = {name: text for name, text in kept.items() if not name.endswith('~')}
        if version >= self.configurable:
            refuse_unknown(request, self.resource, kept)
        elif not request.context.is_admin:
            kept = {name: text for name, text in kept.items() if name in self.early}
        values: dict[str, Any] = {}
        for name, text in kept.items():
            like = '~' if name.endswith('~') else ''
            one = self.known.get(name.rstrip('~'), Filter())
            if microversions.parse(one.since) <= version:
                attribute = one.attribute or name.rstrip('~')
                values[attribute + like] = text if like else one.read(name, text, version)
        return values


class ShownFilter(Filters):
    """Any caller may filter by the shown members (``known``); by other names no record matches."""

    def read(self, request: Request, sent: Mapping[str, str]) -> dict[str, Any]:
        kept = {name: text for name, text in sent.items() if name not in self.apart}
        if any(name not in self.known for name in kept):
            return {UNMATCHED: ''}
        return {self.known[name].attribute or name: text for name, text in kept.items()}


class NoFilter(Filters):
    """Filters are ignored."""

    def read(self, request: Request, sent: Mapping[str, str]) -> dict[str, Any]:
        return {}


def refuse_unknown(request: Request, resource: str, sent: Mapping[str, str], *, admins_too: bool = False) -> None:
    """Raise Invalid for names that the operator does not list for ``resource``."""
    if not all(name.isascii() for name in sent):
        raise Invalid('Filter keys can only contain ASCII characters.')
    if request.context.is_admin and not admins_too:
        return
    listed = {**RESOURCE_FILTERS, **EXTENSIONS}[resource]
    unknown = [name for name in sent if name not in listed and f'{name}~' not in listed]
    if unknown:
        raise Invalid(f'Invalid filters {",".join(unknown)} are found in query options.')
