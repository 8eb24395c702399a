"""What rows of Cinder become: items, which are records to be written, and findings about rows that are not mapped."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

#: Partition of records without a project (models.base.GLOBAL).
GLOBAL = '-'


class Verdict(enum.StrEnum):
    """What a finding means for its row."""

    #: The row is not brought over until its cause is removed.
    LEFT_OUT = 'left out'
    #: The row is brought over with a difference.
    ADAPTED = 'adapted'
    #: The operator has to decide or do something; the row is brought over.
    DECISION = 'needs a decision'


class Finding(NamedTuple):
    """A row that is not mapped as it is. ``advice``: what to do about it."""

    verdict: Verdict
    table: str
    id: str
    problem: str
    advice: str


class Item(NamedTuple):
    """A record to be written. ``kind``: the name of its class in chalicelib.models; ``values``: its attributes.

    ``secret`` values are sealed when the record is written, and have no part in ``digest``.
    """

    kind: str
    project_id: str
    id: str
    values: Mapping[str, Any]
    secret: Mapping[str, Any] = {}

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.project_id, self.id

    @property
    def digest(self) -> str:
        """A digest of the values: another one means that the row has changed since the record was written."""
        text = json.dumps(dict(self.values), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


#: Items that belong together (a volume with its snapshots, attachments and transfer): written in one transaction.
Unit = list[Item]


class Mapped(NamedTuple):
    """The result of mapping one row and what belongs to it."""

    unit: Unit
    findings: list[Finding]


def left_out(table: str, id: Any, problem: str, advice: str) -> Finding:
    return Finding(Verdict.LEFT_OUT, table, str(id), problem, advice)


def adapted(table: str, id: Any, problem: str, advice: str) -> Finding:
    return Finding(Verdict.ADAPTED, table, str(id), problem, advice)


def decision(table: str, id: Any, problem: str, advice: str) -> Finding:
    return Finding(Verdict.DECISION, table, str(id), problem, advice)


def set_values(**values: Any) -> dict[str, Any]:
    """Return the values that are set."""
    return {name: value for name, value in values.items() if value is not None}


def by(rows: Iterable[Mapping[str, Any]], column: str) -> dict[Any, list[Mapping[str, Any]]]:
    """Return rows by the value of a column."""
    found: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found


def pairs(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the {key: value} of rows that have these columns."""
    return {str(row['key']): '' if row['value'] is None else str(row['value']) for row in rows}
