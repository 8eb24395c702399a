"""Records in DynamoDB: one item per resource, keyed (project_id, id), and one way to change each.

* A project's show and list are strongly consistent: the table itself, and the local index on ``created_at``.
* ``by_id`` (keys only, eventually consistent) finds a record without its project: for administrators.
* ``in_flight`` (keys only, sparse) holds the records in a transitional status, by deadline: for the reconciler.
* A status changes through ``transition``: one conditional write of one row of ``rules/states.py``.
* Changes that belong together are one ``Transaction``; one that collides with another is retried with jitter.
* Every write takes effect once, also when its answer is lost and the SDK retries it (models/writes.py).
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Self, TypeVar

from pynamodb.attributes import (
    BooleanAttribute,
    JSONAttribute,
    NumberAttribute,
    UnicodeAttribute,
)
from pynamodb.connection.table import TableConnection
from pynamodb.exceptions import DoesNotExist
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex, KeysOnlyProjection, LocalSecondaryIndex
from pynamodb.models import Model

from chalicelib import errors
from chalicelib.config import settings
from chalicelib.models import decoding, reading
from chalicelib.models.connection import connection
from chalicelib.models.writes import Transaction, put, remove, state_changed, write
from chalicelib.rules.states import PREVIOUS
from chalicelib.rules.workflows import Workflow

#: Format of the records written by this version; readers accept this and the previous one.
SCHEMA_VERSION = 1

#: Partition of records without a project (types, pools, services).
GLOBAL = '-'

#: Seconds that accepted work may wait for its state machine; after them the reconciler checks whether it runs.
START_DEADLINE = 60

#: Seconds before the queries of an index that may be stale. An empty result is queried twice.
SETTLING = (0, 0.05, 0.1, 0.2, 0.4, 0.8)

R = TypeVar('R', bound='Record')

_FIRST_USE = threading.Lock()

__all__ = ['Transaction', 'put', 'remove', 'state_changed', 'write']


def now() -> str:
    """UTC with microseconds, as stored and sorted: 2026-11-22T00:40:09.123456."""
    return datetime.datetime.now(datetime.UTC).strftime('%Y-%m-%dT%H:%M:%S.%f')


def after(seconds: float) -> str:
    """The timestamp ``seconds`` from now, in the form of ``now``."""
    timestamp = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return timestamp.strftime('%Y-%m-%dT%H:%M:%S.%f')


def meta(name: str, **facts: Any) -> Any:
    """The Meta class of a table, whose name has the deployment's prefix."""
    return type('Meta', (), {'table_name': f'{settings().table_prefix}-{name}', 'region': settings().region, **facts})


class ByCreatedAt(LocalSecondaryIndex[Any]):
    """Sorts a project's records by age."""

    class Meta:
        index_name = 'by_created_at'
        projection = AllProjection()

    project_id = UnicodeAttribute(hash_key=True)
    created_at = UnicodeAttribute(range_key=True)


class ById(GlobalSecondaryIndex[Any]):
    """Finds a record by its id alone."""

    class Meta:
        index_name = 'by_id'
        projection = KeysOnlyProjection()

    id = UnicodeAttribute(hash_key=True)


class InFlight(GlobalSecondaryIndex[Any]):
    """Sparse: the records in a transitional status, by deadline."""

    class Meta:
        index_name = 'in_flight'
        projection = KeysOnlyProjection()

    in_flight = UnicodeAttribute(hash_key=True)
    deadline = UnicodeAttribute(range_key=True)


class Record(Model):
    """The common attributes of all records. Subclasses declare their Meta, indexes and own attributes."""

    #: Cinder's word for the resource in messages: 'volume', 'snapshot', ...
    resource: ClassVar[str] = 'resource'
    not_found: ClassVar[type[errors.NotFound]] = errors.NotFound
    #: Attributes by which lists may not be filtered or sorted: even the order would reveal a secret, bit by bit.
    secret: ClassVar[frozenset[str]] = frozenset()

    project_id = UnicodeAttribute(hash_key=True)
    id = UnicodeAttribute(range_key=True)
    created_at = UnicodeAttribute()
    updated_at = UnicodeAttribute(null=True)
    schema_version = NumberAttribute(default=SCHEMA_VERSION)
    #: Counts every write; a read-modify-write uses it in its condition.
    revision = NumberAttribute(default=0)
    #: Tokens of the last three single writes of this record, newest first (models/writes.py).
    write_token = UnicodeAttribute(null=True, attr_name='w0')
    write_token_1 = UnicodeAttribute(null=True, attr_name='w1')
    write_token_2 = UnicodeAttribute(null=True, attr_name='w2')

    @classmethod
    def _get_connection(cls) -> TableConnection:
        """PynamoDB's method, changed to use the connection that all tables share."""
        shared = connection()
        with _FIRST_USE:  # threads of one function (tasks/side_by_side.py) may use a table first at the same time
            table = super()._get_connection()
            if table.connection is not shared:
                shared.add_meta_table(table.connection.get_meta_table(table.table_name))
                table.connection = shared
        return table

    @classmethod
    def from_raw_data(cls, data: dict[str, dict[str, Any]]) -> Self:
        """PynamoDB's method, but faster, which halves a list's time: attributes are set once, text is not decoded."""
        record = cls.__new__(cls)
        attributes, constants, made = decoding.attributes(cls)
        record.attribute_values = values = constants.copy()
        for stored, found in data.items():
            attribute = attributes.get(stored)
            if attribute is not None and 'NULL' not in found:
                name, kind, read = attribute
                values[name] = read(found[kind]) if read else found[kind]
        for name, default in made:
            if name not in values:
                values[name] = default()
        return record

    @classmethod
    def find_or_none(cls, project_id: str, id: str) -> Self | None:
        """Return the record, read consistently, or None when it does not exist."""
        try:
            return cls.find(project_id, id)
        except cls.not_found:
            return None

    @classmethod
    def find(cls, project_id: str, id: str) -> Self:
        """Return the project's record, read consistently; raise the resource's NotFound."""
        fetched = reading.take(cls.key(project_id, id))
        try:
            record = fetched[0] if fetched else cls.get(project_id, id, consistent_read=True)
        except DoesNotExist:
            record = None
        if not isinstance(record, cls):
            raise cls.not_found(id=id)
        reading.remember(record)
        return record

    @classmethod
    def key(cls, project_id: str, id: str) -> reading.Key:
        """Return the key of a record of this class for ``reading.together``."""
        return cls.__name__, project_id, id

    def related(self) -> list[reading.Key]:
        """Return the keys of the records that are usually read with this one (models/reading.py)."""
        return []

    @classmethod
    def find_anywhere(cls, id: str) -> Self:
        """Return the record of any project: for administrators, and tasks without a project id.

        The index is stale by some milliseconds, seldom more: after a transfer it has the old project, both, or none. So
        every key is tried, and a missing record is queried again, longer where there were keys. Raises NotFound, which
        proves nothing for a record that was just written.
        """
        for pause in SETTLING:
            time.sleep(pause)
            keys = list(cls.query(id, index_name='by_id'))
            for key in keys:
                found = cls.find_or_none(key.project_id, id)
                if found is not None:
                    return found
            if not keys and pause:
                break
        raise cls.not_found(id=id)

    @classmethod
    def locate(cls, project_id: str, id: str) -> Self:
        """Return a record of the project, else of any (it was transferred, or an administrator works on it).

        Raises the resource's NotFound.
        """
        return cls.find_or_none(project_id, id) or cls.find_anywhere(id)

    def reload(self) -> Self:
        """Return the current record, read consistently; raise NotFound when it was deleted."""
        return type(self).find(self.project_id, self.id)


class TypeRecord(Record):
    """What a volume type and a group type have in common."""

    by_created_at = ByCreatedAt()

    name = UnicodeAttribute()
    description = UnicodeAttribute(null=True)
    is_public = BooleanAttribute(default=True)
    #: Set during a change that requires the type to be unused (operations/type_locks.py).
    closed = BooleanAttribute(null=True)


class StatefulRecord(Record):
    """A record with a status, an owner of its transitional status, and a deadline for it."""

    by_created_at = ByCreatedAt()
    by_id = ById()
    in_flight_index = InFlight()

    user_id = UnicodeAttribute()
    name = UnicodeAttribute(null=True)
    description = UnicodeAttribute(null=True)
    status = UnicodeAttribute()
    previous_status = UnicodeAttribute(null=True)
    #: {'action', 'attempt', ...facts the workflow needs}: what is under way; none in a final status.
    operation = JSONAttribute(null=True)
    #: The request that owns the transitional status.
    owner = UnicodeAttribute(null=True)
    in_flight = UnicodeAttribute(null=True)
    deadline = UnicodeAttribute(null=True)
    #: Consecutive checks of the reconciler without progress; None for none.
    looks = NumberAttribute(null=True)


def service_key(host: str) -> reading.Key:
    """Return the key of the volume service of ``host@backend``, or of a pool of it."""
    return 'Service', GLOBAL, f'cinder-volume:{host.partition("#")[0]}'


def begin_actions(
    record: type[StatefulRecord], row: Workflow, owner: str, operation: dict[str, Any], previous: str | None = None
) -> list[Action]:
    """Update actions that enter a row's transitional status, owned by the request ``owner``, until a deadline.

    ``previous``: the status to which PREVIOUS returns; None for the current one.
    """
    return [
        record.previous_status.set(record.status if previous is None else previous),
        record.status.set(row.running),
        record.operation.set(operation),
        record.owner.set(owner),
        record.in_flight.set('1'),
        record.deadline.set(first_deadline(row)),
        record.looks.remove(),
        *touched(record),
    ]


def first_deadline(row: Workflow) -> str:
    """When the reconciler first checks a record that enters this row's status."""
    return after(min(row.deadline, START_DEADLINE) if row.machine else row.deadline)


def end_actions(record: StatefulRecord, status: str) -> list[Action]:
    """Update actions that enter a final status and clear owner and deadline."""
    kind = type(record)
    final = kind.previous_status if status == PREVIOUS else status
    return [
        kind.status.set(final),
        kind.operation.remove(),
        kind.owner.remove(),
        kind.in_flight.remove(),
        kind.deadline.remove(),
        kind.looks.remove(),
        *touched(kind),
    ]


def touched(record: type[Record]) -> list[Action]:
    """Update actions that are part of every write."""
    return [record.updated_at.set(now()), record.revision.add(1)]


def is_allowed(record: type[StatefulRecord], row: Workflow) -> Condition:
    """The condition that a record is in one of the statuses a row may start from."""
    return record.status.is_in(*sorted(row.allowed))


def owned_by(record: type[StatefulRecord], row: Workflow, request_id: str) -> Condition:
    """The condition that this request's operation still owns the record's transitional status."""
    return (record.status == row.running) & (record.owner == request_id)


def begin(
    record: StatefulRecord,
    row: Workflow,
    owner: str,
    operation: dict[str, Any],
    *,
    also: Iterable[Action] = (),
    condition: Condition | None = None,
) -> None:
    """Enter the row's transitional status in one conditional write; raises StateChanged with the current status."""
    kind = type(record)
    allowed = is_allowed(kind, row)
    actions = [*begin_actions(kind, row, owner, operation), *also]
    update(record, actions, allowed if condition is None else allowed & condition)


def update(record: Record, actions: list[Action], condition: Condition | None = None) -> None:
    """Change an existing record in one conditional write.

    Raises StateChanged, NotFound when it was deleted, or AttributeTooLarge (rules/bounds.py).
    """
    exists = type(record).id.exists()
    write(record, actions, exists if condition is None else exists & condition)


def moved_on(kind: type[Record]) -> tuple[type[errors.CinderlessError], ...]:
    """Return the errors with which ``update`` reports that a record of this kind was changed or deleted."""
    return errors.StateChanged, kind.not_found


def page(
    kind: type[R],
    project_id: str,
    *,
    limit: int,
    marker: R | None = None,
    attributes: frozenset[str] | None = None,
) -> list[R]:
    """One page of a project's records by ``created_at``, newest first. ``marker`` is the last one seen.

    ``attributes``: what is read of each record besides its key, None for all. It costs the same read units.
    """
    declared = kind.get_attributes()
    keys = {'project_id', 'id', 'created_at'}
    wanted = None if attributes is None else sorted(declared[name].attr_name for name in attributes | keys)
    start = _start_key(marker) if marker is not None else None
    found = kind.query(
        project_id,
        index_name='by_created_at',
        consistent_read=True,
        scan_index_forward=False,
        limit=limit,
        last_evaluated_key=start,
        attributes_to_get=wanted,
    )
    return list(found)


def _start_key(marker: Record) -> dict[str, dict[str, Any]]:
    return {
        'project_id': {'S': marker.project_id},
        'id': {'S': marker.id},
        'created_at': {'S': marker.created_at},
    }


#: Texts before and after every timestamp.
EARLIEST, LATEST = ' ', '~'


def newest_first(kind: type[R], project_id: str, *, since: str | None = None, marker: R | None = None) -> Iterator[R]:
    """A project's records, newest first, read a hundred at a time; ``since``: the oldest ``created_at``.

    They follow ``marker``, which may be older than ``since``, or of another project (an administrator's).
    """
    if marker is None or marker.project_id == project_id:
        until, start, after = None, None if marker is None else _start_key(marker), None
    else:  # DynamoDB refuses a start key that is not within the query
        until, start, after = marker.created_at, None, (marker.created_at, marker.id)
    if marker is not None and since is not None and marker.created_at < since:
        return iter(())
    found = kind.query(
        project_id,
        kind.created_at.between(since or EARLIEST, until or LATEST),
        index_name='by_created_at',
        consistent_read=True,
        scan_index_forward=False,
        page_size=100,
        last_evaluated_key=start,
    )
    return (each for each in found if after is None or (each.created_at, each.id) < after)


def projects_of(kind: type[Record]) -> Iterator[str]:
    """The projects that have records of a kind, one read for each: a scan has a project's records together.

    The next read starts behind the last id that a project can have.
    """
    start: dict[str, dict[str, Any]] | None = None
    while (found := next(iter(kind.scan(consistent_read=True, limit=1, last_evaluated_key=start)), None)) is not None:
        yield found.project_id
        start = {'project_id': {'S': found.project_id}, 'id': {'S': '\U0010ffff'}}


def has_order(kind: type[Record], attribute: str) -> bool:
    """Whether records can be sorted by this attribute: it exists, and it is neither a map nor secret."""
    known = isinstance(kind.get_attributes().get(attribute), (UnicodeAttribute, NumberAttribute, BooleanAttribute))
    return known and attribute not in kind.secret


def every(kind: type[R], project_id: str | None) -> Iterator[R]:
    """All records of a project, or of all projects (an administrator's all_tenants), unordered."""
    if project_id is None:
        return iter(kind.scan(consistent_read=True))
    return iter(kind.query(project_id, consistent_read=True))


def overdue(kind: type[StatefulRecord], timestamp: str) -> Iterator[StatefulRecord]:
    """Return keys of records whose transitional status is past its deadline at ``timestamp``, oldest first.

    They come from an index, which may be stale: read the record (``is_overdue``).
    """
    return iter(kind.query('1', kind.deadline <= timestamp, index_name='in_flight'))


def is_overdue(record: StatefulRecord, timestamp: str) -> bool:
    """Return whether a record's transitional status is past its deadline."""
    return record.in_flight is not None and record.deadline is not None and record.deadline <= timestamp


#: The end of ``table_identity`` for a table made by a restore.
RESTORED = ' restored'


def table_identity(kind: type[Record]) -> str:
    """Return what distinguishes a table from others of its name: a restore of DynamoDB always makes a new table."""
    described = connection().describe_table(kind.Meta.table_name)
    return f'{described.get("TableId", "")}{RESTORED if "RestoreSummary" in described else ""}'
