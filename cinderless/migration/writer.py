"""Records of a migration in DynamoDB: written with their marks, names and counters, or not at all.

A batch of units is one transaction. When one of its conditions fails, each unit is written alone, so that one record
that is taken keeps no other away. Every write may be repeated: the mark's condition lets it take effect once.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from chalicelib import aws, errors, models
from chalicelib.models import bounded
from cinderless.migration import checks, counters, items, ledger, overlays
from cinderless.migration.items import Item, Unit
from cinderless.migration.ledger import Mark
from cinderless.migration.report import Outcome, Report
from cinderless.migration.transactions import Writes

#: Items that are read together, and writes of one transaction: DynamoDB takes 100.
BATCH_ITEMS, LARGEST = 100, 90

#: Most items of one unit, or removals, in a transaction.
PIECE = 15

Key = tuple[str, str, str]

_SEE = 'compare both, then delete one of them, and run again'


class Writer:
    """Writes units, or with ``apply`` unset only counts what it would write. ``rate``: records a second at most."""

    def __init__(self, report: Report, *, rate: float | None = None) -> None:
        self._report, self._rate = report, rate
        self._waiting: list[Unit] = []
        #: Hashes of the keys of all items: a number each, so that a large database takes little memory.
        self._seen = set[int]()
        self._started, self._written = time.monotonic(), 0

    def add(self, unit: Unit) -> None:
        """Take a unit; it is written with the next batch."""
        self._waiting.append(unit)
        self._seen.update(hash(item.key) for item in unit)
        named = [(item.project_id, item.values.get('encryption_key_id')) for item in unit]
        self._seen.update(hash(('Secret', project_id, id)) for project_id, id in named if id)
        if sum(map(len, self._waiting)) >= BATCH_ITEMS:
            self.flush()

    def has_seen(self, mark: Mark) -> bool:
        """Return whether an item of this run has the record of a mark."""
        return hash(mark.key) in self._seen

    def flush(self) -> None:
        """Write what is waiting."""
        units, self._waiting = self._waiting, []
        marks = ledger.marks_of(item for unit in units for item in unit)
        ready = [kept for unit in units if (kept := self._changes(unit, marks))]
        if self._report.applied:
            self._commit(ready, marks)
        else:
            self._count(ready, marks)

    def _changes(self, unit: Unit, marks: Mapping[Key, Mark]) -> Unit:
        """Return the items of a unit that are new or have changed in Cinder."""
        changed = [item for item in unit if item.key not in marks or marks[item.key].digest != item.digest]
        same = [item for item in unit if item not in changed]
        for item in same:
            self._report.count(item.kind, Outcome.SAME)
        return changed

    def _count(self, units: Iterable[Unit], marks: Mapping[Key, Mark]) -> None:
        """Count what a run would write, and report what it would find taken, too large, or changed here."""
        ready = list(units)
        refused = checks.refused([item for unit in ready for item in unit], marks)
        for unit in ready:
            problems = [refused[item.key] for item in unit if item.key in refused]
            if problems:
                self._keep(unit, problems[0])
            for item in () if problems else unit:
                self._report.count(item.kind, Outcome.CHANGED if item.key in marks else Outcome.NEW)

    def _keep(self, unit: Unit, reason: str) -> None:
        for item in unit:
            self._report.count(item.kind, Outcome.KEPT)
        self._report.findings.append(items.left_out(unit[0].kind, unit[0].id, reason, _SEE))

    def _commit(self, units: list[Unit], marks: Mapping[Key, Mark]) -> None:
        for part in _parts(units):
            try:
                self._write(part, marks)
            except _REFUSALS:
                for unit in part:
                    self._write_alone(unit, marks)
            self._slow_down(sum(map(len, part)))

    def _write_alone(self, unit: Unit, marks: Mapping[Key, Mark]) -> None:
        """Write one unit, or report why it cannot be written."""
        try:
            self._write([unit], marks)
        except errors.StateChanged:
            self._keep_unless_written(unit)
        except _REFUSALS as error:
            self._keep(unit, str(error))

    def _keep_unless_written(self, unit: Unit) -> None:
        """Report a unit that is taken; another run may have written it meanwhile."""
        marks = ledger.marks_of(unit)
        if all(item.key in marks and marks[item.key].digest == item.digest for item in unit):
            for item in unit:
                self._report.count(item.kind, Outcome.SAME)
        else:
            self._keep(unit, checks.TAKEN)

    def _write(self, units: Iterable[Unit], marks: Mapping[Key, Mark]) -> None:
        writes, outcomes = Writes(), list[tuple[str, Outcome]]()
        for item in (item for unit in units for item in unit):
            outcomes.append((item.kind, self._add_item(writes, item, marks.get(item.key))))
        writes.commit()
        for kind, outcome in outcomes:
            self._report.count(kind, outcome)

    def _add_item(self, writes: Writes, item: Item, mark: Mark | None) -> Outcome:
        if item.kind in overlays.KINDS:
            overlays.add(writes, item, mark)
        elif mark is None:
            _add_new(writes, item)
        else:
            _add_change(writes, item, mark)
        return Outcome.NEW if mark is None else Outcome.CHANGED

    def _slow_down(self, written: int) -> None:
        self._written += written
        if self._rate:
            ahead = self._written / self._rate - (time.monotonic() - self._started)
            time.sleep(max(0.0, ahead))


class _Kept(Exception):
    """A record stays as it is here; the text is the reason."""


#: Errors of one unit, which keep no other from being written.
_REFUSALS = (errors.StateChanged, errors.AttributeTooLarge, errors.RecordTooLarge, _Kept)


def _parts(units: Iterable[Unit]) -> Iterator[list[Unit]]:
    """Divide units into transactions; a unit that is too large for one is divided, too."""
    part: list[Unit] = []
    for unit in units:
        for start in range(0, len(unit), PIECE):
            piece = unit[start : start + PIECE]
            if part and _weight([*part, piece]) > LARGEST:
                yield part
                part = []
            part.append(piece)
    if part:
        yield part


def _weight(units: Iterable[Unit]) -> int:
    """Return the most writes of units: records, marks, names, and the records that count them before and after."""
    found = [item for unit in units for item in unit]
    counted = {counter[:3] for item in found for counter in counters.of(item.kind, item.project_id, item.values)}
    named = [item for item in found if counters.name_of(*item.key, item.values)]
    return 2 * (len(found) + len(counted) + len(named))


def _sealed(item: Item) -> Any:
    """Return the record of an item, its secret sealed. Raises AttributeTooLarge."""
    record = checks.record_of(item)
    if item.secret:
        record.sealed = aws.seal(json.dumps(dict(item.secret)), item.id)
        bounded.fit_record(record)
    return record


def _add_new(writes: Writes, item: Item) -> None:
    record = _sealed(item)
    writes.put(record)
    writes.mark(Mark(*item.key, item.digest, int(record.revision)), None)
    writes.add_counts(counters.of(item.kind, item.project_id, item.values))
    writes.take_name(counters.name_of(*item.key, item.values), record.created_at)


def _add_change(writes: Writes, item: Item, mark: Mark) -> None:
    """Set what the row has now, unless the record was changed here since."""
    found = _unchanged(mark)
    if found is None:
        raise _Kept(checks.CHANGED)
    before, record = dict(found.attribute_values), _sealed(item)
    writes.replace(found, record)
    writes.mark(Mark(*item.key, item.digest, mark.revision + 1), mark)
    writes.add_counts(counters.of(item.kind, item.project_id, item.values))
    writes.add_counts(counters.of(item.kind, item.project_id, before), -1)
    old, new = counters.name_of(*item.key, before), counters.name_of(*item.key, item.values)
    if old != new:
        writes.take_name(new, record.created_at)
        writes.release_name(old)


def _unchanged(mark: Mark) -> Any:
    """Return the record of a mark as the migration wrote it; None for one that was changed or deleted here since."""
    found = getattr(models, mark.kind).find_or_none(mark.project_id, mark.id)
    return found if found is not None and int(found.revision) == mark.revision else None


def batches(marks: Iterable[Mark], size: int) -> Iterator[list[Mark]]:
    """Yield lists of at most ``size`` marks."""
    remaining = iter(marks)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


def records_of(kind: str, marks: Iterable[Mark]) -> dict[Mark, Any]:
    """Return the records of marks of one kind; those that are gone are missing. At most 100 marks."""
    wanted = {(mark.project_id, mark.id): mark for mark in marks}
    found = getattr(models, kind).batch_get(list(wanted), consistent_read=True)
    return {wanted[record.project_id, record.id]: record for record in found}


def remove(mark: Mark, *, revision: int | None = None) -> bool:
    """Remove the record of a mark with the mark; return False for a record that was changed here, which stays.

    A record that is gone already leaves only its mark to be removed. ``revision``: the record's, if the caller has
    changed it.
    """
    if mark.kind in overlays.KINDS:
        return overlays.remove(mark)
    found = getattr(models, mark.kind).find_or_none(mark.project_id, mark.id)
    if found is not None and int(found.revision) != (mark.revision if revision is None else revision):
        return False
    return _remove([(mark, found)])


def remove_together(marks: Iterable[Mark]) -> set[Mark]:
    """Remove the records of at most PIECE marks of one kind as ``remove`` does; return the marks of those that stay."""
    wanted = list(marks)
    if not wanted or wanted[0].kind in overlays.KINDS:
        return {mark for mark in wanted if not remove(mark)}
    found = records_of(wanted[0].kind, wanted)
    pairs = [(mark, found.get(mark)) for mark in wanted]
    ready = [pair for pair in pairs if pair[1] is None or int(pair[1].revision) == pair[0].revision]
    stay = {mark for mark, _ in pairs} - {mark for mark, _ in ready}
    if _remove(ready):
        return stay
    return stay | {mark for mark, _ in ready if not remove(mark)}


def _remove(pairs: Iterable[tuple[Mark, Any]]) -> bool:
    """Remove marks with their records in one transaction; return False, with nothing removed, when one has changed."""
    writes = Writes()
    for mark, found in pairs:
        if found is not None:
            values = dict(found.attribute_values)
            writes.delete(found)
            writes.add_counts(counters.of(mark.kind, mark.project_id, values), -1)
            writes.release_name(counters.name_of(*mark.key, values))
        writes.unmark(mark)
    try:
        writes.commit()
    except errors.StateChanged:
        return False
    return True
