"""One transaction of a migration: records, marks, names, and the sums of their counters, one write for each record."""

from __future__ import annotations

import collections
from typing import Any

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from chalicelib import models
from chalicelib.models import Name, Quota, base
from cinderless.migration.counters import Counter, Counts
from cinderless.migration.ledger import Mark

#: Attributes that the service itself keeps of a record: a change of the row leaves them as they are.
KEPT = frozenset({
    'project_id', 'id', 'revision', 'schema_version', 'write_token', 'write_token_1', 'write_token_2', 'reader_count',
    'association_count', 'volume_count', 'group_snapshot_count', 'attempt', 'exports',
})  # fmt: skip


class Writes:
    """Collects writes; ``commit`` applies all or none. Raises StateChanged when a condition does not hold."""

    def __init__(self) -> None:
        self._transaction = base.Transaction()
        self._counts: collections.Counter[Counter] = collections.Counter()

    def put(self, record: base.Record) -> None:
        """Create a record; its id must be free."""
        self._transaction.put(record, type(record).id.does_not_exist())

    def replace(self, found: base.Record, new: base.Record) -> None:
        """Give a record the attributes of another one, under the condition that it is as it was read."""
        kind = type(found)
        actions: list[Action] = [kind.revision.add(1)]
        for name in kind.get_attributes():
            value, attribute = new.attribute_values.get(name), getattr(kind, name)
            if name not in KEPT:
                actions.append(attribute.remove() if value is None else attribute.set(value))
        self._transaction.update(found, actions, kind.revision == found.revision)

    def delete(self, found: base.Record) -> None:
        """Delete a record as it was read."""
        self._transaction.delete(found, type(found).revision == found.revision)

    def update(self, record: base.Record, actions: list[Action], condition: Condition) -> None:
        self._transaction.update(record, actions, condition)

    def mark(self, mark: Mark, before: Mark | None) -> None:
        """Write a mark in the place of the one that was read, None for none."""
        condition = Name.id.does_not_exist() if before is None else Name.owner == before.record().owner
        self._transaction.put(mark.record(), condition)

    def unmark(self, mark: Mark) -> None:
        record = mark.record()
        self._transaction.delete(record, Name.owner == record.owner)

    def take_name(self, name: tuple[str, str] | None, created_at: str) -> None:
        """Take a unique name, which must be free."""
        if name is not None:
            record = Name(base.GLOBAL, name[0], created_at=created_at, owner=name[1])
            self._transaction.put(record, Name.id.does_not_exist())

    def release_name(self, name: tuple[str, str] | None) -> None:
        """Release a name, whose owner must still have it."""
        if name is not None:
            self._transaction.delete(Name(base.GLOBAL, name[0]), Name.owner == name[1])

    def add_counts(self, counts: Counts, factor: int = 1) -> None:
        for counter, amount in counts.items():
            self._counts[counter] += factor * amount

    def commit(self) -> None:
        by_record: dict[tuple[str, str, str], dict[str, int]] = {}
        for counter, amount in self._counts.items():
            if amount:
                by_record.setdefault(counter[:3], {})[counter.attribute] = amount
        for (kind, project_id, id), amounts in by_record.items():
            self._add_counters(kind, project_id, id, amounts)
        self._transaction.commit()

    def _add_counters(self, kind: str, project_id: str, id: str, amounts: dict[str, int]) -> None:
        """Add amounts to the counters of one record. The record's revision stays: its row has not changed."""
        model: Any = getattr(models, kind)
        if kind == 'Quota':
            ensure_quota(project_id, id)
            usage: Any = model.usage
            actions = [usage[name].set((usage[name] | 0) + amount) for name, amount in amounts.items()]
        else:
            actions = [getattr(model, name).add(amount) for name, amount in amounts.items()]
        self._transaction.update(model(project_id, id), actions, model.id.exists())


def ensure_quota(project_id: str, id: str) -> Quota:
    """Return a quota record, created without limits and usage if it is missing."""
    found = Quota.find_or_none(project_id, id)
    if found is None:
        found = Quota(project_id, id, created_at=base.now())
        base.put(found, Quota.id.does_not_exist())
    return found
