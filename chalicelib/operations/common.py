"""What every resource's operations share: find, list, change a map, hand accepted work to the queue."""

from __future__ import annotations

import contextlib
import logging
import operator
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from pynamodb.expressions.update import Action

from chalicelib import aws, errors, telemetry
from chalicelib.context import Context
from chalicelib.models import base, reading
from chalicelib.rules.workflows import Workflow

logger = logging.getLogger(__name__)

R = TypeVar('R', bound=base.Record)
T = TypeVar('T')

#: Longest id that anything has; DynamoDB refuses keys beyond 1,024 bytes.
LONGEST_ID = 255

#: Times that a record under concurrent change is read again before the caller must retry.
CONTENDED = 8

#: Cinder's order of every list, and the only one that a page is read in without reading the rest.
NEWEST_FIRST = (('created_at', 'desc'), ('id', 'desc'))

#: Decides whether a record matches the value of one filter.
Matcher = Callable[[Any, Any], bool]


class ListQuery(NamedTuple):
    """One page of a list. ``sort``: (attribute, 'asc' or 'desc') pairs; a filter's name may end in ``~`` (contains).

    ``attributes``: the ones of each record that the caller needs, None for all; the others may be missing.
    """

    limit: int = 1000
    marker: str | None = None
    offset: int = 0
    sort: tuple[tuple[str, str], ...] = NEWEST_FIRST
    filters: Mapping[str, Any] = types.MappingProxyType({})
    all_tenants: bool = False
    attributes: frozenset[str] | None = None


def find(context: Context, kind: type[R], id: str) -> R:
    """Return the caller's record, read consistently; administrators also find those of other projects.

    Raises the resource's NotFound, for another project's record as well: the caller must not see that it exists.
    """
    if not 0 < len(id) <= LONGEST_ID:
        raise kind.not_found(id=id)
    try:
        return kind.find(context.project_id, id)
    except errors.NotFound:
        if not context.is_admin or not hasattr(kind, 'by_id'):
            raise
    return kind.find_anywhere(id)


def reading_with(
    context: Context, kind: type[base.Record], id: str, *others: reading.Key, along: Iterable[str] = ()
) -> contextlib.AbstractContextManager[None]:
    """Fetch the caller's record with others (``reading.together``); a request reads all that it needs in one call."""
    named = [kind.key(context.project_id, id)] if 0 < len(id) <= LONGEST_ID else []
    return reading.together(*named, *others, along=along)


def list_records(
    context: Context, kind: type[R], query: ListQuery, matchers: Mapping[str, Matcher] | None = None
) -> tuple[list[R], bool]:
    """Return one page and whether more follow.

    Newest first without filters reads as much as it returns; anything else reads the project's records once.
    Raises the resource's NotFound for an unknown marker, InvalidInput for a sort key that the resource lacks.
    """
    marker = None if query.marker is None else find(context, kind, query.marker)
    if query.limit == 0:
        return [], False
    own = marker is None or marker.project_id == context.project_id  # an administrator's may be of another project
    if query.sort == NEWEST_FIRST and not query.filters and not query.all_tenants and own:
        most = query.offset + query.limit + 1
        found = base.page(kind, context.project_id, limit=most, marker=marker, attributes=query.attributes)
        return _cut(found, query)
    return paged(_all(context, kind, query), query, marker, matchers)


def paged(
    records: Iterable[R], query: ListQuery, marker: R | None = None, matchers: Mapping[str, Matcher] | None = None
) -> tuple[list[R], bool]:
    """Return one page of records that were read already, and whether more follow."""
    found = [record for record in records if _matches(record, query.filters, matchers or {})]
    return _cut(_after(marker, found, query.sort), query)


def count(
    context: Context, kind: type[base.Record], query: ListQuery, matchers: Mapping[str, Matcher] | None = None
) -> int:
    """Return the number of records that a query matches, whatever its page (Cinder's with_count)."""
    return sum(_matches(record, query.filters, matchers or {}) for record in _all(context, kind, query))


def _all(context: Context, kind: type[R], query: ListQuery) -> Iterable[R]:
    everywhere = query.all_tenants and context.is_admin
    return base.every(kind, None if everywhere else context.project_id)


def _cut(found: list[R], query: ListQuery) -> tuple[list[R], bool]:
    end = query.offset + query.limit
    return found[query.offset : end], len(found) > end


def _matches(record: base.Record, filters: Mapping[str, Any], matchers: Mapping[str, Matcher]) -> bool:
    if any(name.rstrip('~') in record.secret for name in filters):
        return False
    return all(_matcher(name, matchers)(record, value) for name, value in filters.items())


def _matcher(name: str, matchers: Mapping[str, Matcher]) -> Matcher:
    if name in matchers:
        return matchers[name]
    if name.endswith('~'):
        return lambda record, value: contains(getattr(record, name[:-1], None), str(value))
    if name in {'created_at', 'updated_at'}:
        return lambda record, value: _in_period(getattr(record, name), str(value))
    return lambda record, value: equals(getattr(record, name, None), value)


def is_at(host: str | None, wanted: str) -> bool:
    """Whether a pool's host, ``host@backend#pool``, is in what a filter names: a pool, a backend or a host."""
    pool = host or ''
    backend = pool.partition('#')[0]
    return wanted in (pool, backend, backend.partition('@')[0])


def contains(found: Any, part: str) -> bool:
    """Whether a value has a part, in any case of letters. What is not there has none, not even the empty one."""
    return found is not None and part.casefold() in str(found).casefold()


def equals(found: Any, wanted: Any) -> bool:
    """Compare an attribute with a filter's value: maps by the wanted keys, lists by membership, the rest as text.

    What is not there equals None, which is not the text ``None``.
    """
    if isinstance(found, dict) and isinstance(wanted, Mapping):
        return all(found.get(key) == value for key, value in wanted.items())
    if isinstance(wanted, list | tuple):
        return any(equals(found, one) for one in wanted)
    if isinstance(found, bool) or isinstance(wanted, bool):
        return str(found).lower() == str(wanted).lower()
    if found is None or wanted is None:
        return found is wanted
    return str(found) == str(wanted)


#: Comparisons of a time filter (3.60): ``gt:2026-11-01T00:00:00,lt:...``.
_PERIOD: Mapping[str, Callable[[str, str], bool]] = {
    'gt': operator.gt, 'gte': operator.ge, 'eq': operator.eq, 'neq': operator.ne, 'lt': operator.lt, 'lte': operator.le,
}  # fmt: skip


def _in_period(moment: str | None, wanted: str) -> bool:
    if moment is None:
        return False
    terms = [
        term.partition(':') if term.partition(':')[0] in _PERIOD else ('eq', ':', term) for term in wanted.split(',')
    ]
    return all(_PERIOD[verb](moment, _with_microseconds(time)) for verb, _, time in terms)


def _with_microseconds(time: str) -> str:
    """A time in the form of the records, so that texts compare as times do."""
    return time if '.' in time else f'{time.removesuffix("Z")}.000000'


def _sorted(records: list[R], sort: tuple[tuple[str, str], ...]) -> list[R]:
    """Sort by several keys; the id breaks ties, so that pages do not overlap. Nothing comes before something."""
    keys = [*sort, ('id', sort[-1][1] if sort else 'desc')]
    for name, direction in reversed(keys):
        records.sort(key=lambda record: _sort_key(record, name), reverse=direction == 'desc')
    return records


def _sort_key(record: base.Record, name: str) -> tuple[bool, Any]:
    if name not in record.get_attributes():
        raise errors.InvalidInput(reason='Invalid sort key')
    value = getattr(record, name)
    return value is not None, str(value) if isinstance(value, dict | list) else value


def _after(marker: R | None, records: list[R], sort: tuple[tuple[str, str], ...]) -> list[R]:
    """Return the sorted records that follow the marker, which need not match the filters itself."""
    if marker is None:
        return _sorted(records, sort)
    placed = _sorted([marker, *(record for record in records if record.id != marker.id)], sort)
    return placed[[record.id for record in placed].index(marker.id) + 1 :]


def set_or_remove(attribute: Any, value: Any) -> Action:
    """Return the update action that stores a value, or removes the attribute for None."""
    action: Action = attribute.remove() if value is None else attribute.set(value)
    return action


def change_map(
    record: R, name: str, change: Callable[[dict[str, Any]], dict[str, Any]], check: Callable[[R], None]
) -> dict[str, Any]:
    """Rewrite a map of the record under the condition that the record is unchanged since it was read; return the map.

    ``check`` raises when the record, read again, does not allow the change any more.
    """
    kind = type(record)

    def attempt(record: R) -> dict[str, Any]:
        check(record)
        changed = change(dict(getattr(record, name)))
        actions = [getattr(kind, name).set(changed), *base.touched(kind)]
        base.update(record, actions, kind.revision == record.revision)
        return changed

    return with_newest(record, attempt)


def with_newest(record: R, attempt: Callable[[R], T]) -> T:
    """Return what ``attempt`` returns for the record; call it again with the record as it is then, while that changes.

    Raises ServiceUnavailable after CONTENDED calls that ended in StateChanged.
    """
    for _ in range(CONTENDED):
        try:
            return attempt(record)
        except errors.StateChanged:
            record = record.reload()
    raise contended(record)


def contended(record: base.Record) -> errors.ServiceUnavailable:
    """Return the error of a request whose record other requests change all the time."""
    reason = f'{record.resource} {record.id} is being changed by too many requests; try again'
    return errors.ServiceUnavailable(reason=reason)


def any_status(_: base.Record) -> None:
    """The check of a change that every status allows."""


def operation(row: Workflow, **facts: Any) -> dict[str, Any]:
    """Describe the work behind a transitional status, as the reconciler reads it."""
    return {'action': row.action, 'attempt': 0, **facts}


#: Classes of records that the first task of a workflow reads with its own.
_READ_BY_TASKS = ('Volume', 'VolumeType')

#: (resource, action) of work for which the task also reads the backend's service (services.takes_work).
_ASKS_SERVICE = frozenset({('volume', 'extend'), ('volume', 'extend_attached'), ('volume', 'retype'),
                           ('snapshot', 'create')})  # fmt: skip


def send(context: Context, action: str, record: base.Record, *others: base.Record) -> None:
    """Send the work of the caller's request to the queue; ``others`` are records that it reads too."""
    enqueue(record, action, context.request_id, *others)


def enqueue(record: base.Record, action: str, request_id: str, *others: base.Record) -> None:
    """Hand recorded work to the queue; what cannot be sent now, the reconciler starts."""
    service = ('Service',) if (record.resource, action) in _ASKS_SERVICE else ()
    message = {
        'action': action,
        'resource': record.resource,
        'id': record.id,
        'project_id': record.project_id,
        'request_id': request_id,
        'related': reading.as_payload(record, *others, along=(*_READ_BY_TASKS, *service)),
    }
    try:
        aws.enqueue(message)
        telemetry.count('Operations', asked=action, of=record.resource)
        logger.info('%s of %s %s is accepted', action, record.resource, record.id)
    except errors.CinderlessError:  # the request was accepted
        logger.exception('%s of %s %s is left to the reconciler', action, record.resource, record.id)


def without(key: str, missing: errors.NotFound, known: dict[str, Any]) -> dict[str, Any]:
    """Return a map without one key; raises ``missing`` when it has none."""
    if key not in known:
        raise missing
    return {name: value for name, value in known.items() if name != key}
