"""The marks of a migration: which records it wrote, from which content of Cinder's row, and at which revision.

A mark is a ``Name`` in a partition of its own, written in the transaction that writes the record. It answers three
questions without another table: is the record of a migration; has the row changed since (``digest``); has the record
changed here since (``revision``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from chalicelib.models import Name, base
from cinderless.migration.items import Item

#: Prefix of the partitions; the kind follows.
PREFIX = 'migrated:'

#: Keys that DynamoDB's BatchGetItem takes.
BATCH = 100


class Mark(NamedTuple):
    """``revision``: that of the record when it was written; the service raises it with every write."""

    kind: str
    project_id: str
    id: str
    digest: str
    revision: int

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.project_id, self.id

    def record(self) -> Name:
        """Return the record of the mark."""
        return Name(
            f'{PREFIX}{self.kind}',
            f'{self.project_id}/{self.id}',
            created_at=base.now(),
            owner=f'{self.digest} {self.revision}',
        )


def _read(name: Name) -> Mark:
    project_id, _, id = str(name.id).rpartition('/')
    digest, _, revision = str(name.owner).partition(' ')
    return Mark(str(name.project_id).removeprefix(PREFIX), project_id, id, digest, int(revision))


def marks_of(items: Iterable[Item]) -> dict[tuple[str, str, str], Mark]:
    """Return the marks that exist of these items, by the items' keys."""
    keys = [(f'{PREFIX}{item.kind}', f'{item.project_id}/{item.id}') for item in items]
    found: dict[tuple[str, str, str], Mark] = {}
    for start in range(0, len(keys), BATCH):
        for name in Name.batch_get(keys[start : start + BATCH], consistent_read=True):
            mark = _read(name)
            found[mark.key] = mark
    return found


def every(kind: str) -> Iterator[Mark]:
    """Yield all marks of a kind of record."""
    return map(_read, Name.query(f'{PREFIX}{kind}', consistent_read=True))
