"""A plan, a run, a verification and a rollback, from the database to the report."""

from __future__ import annotations

import collections
import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

from chalicelib import errors, models
from chalicelib.models import DefaultType, Group, base
from chalicelib.operations import type_locks, volume_types
from cinderless.migration import copying, counters, items, keys, ledger, overlays
from cinderless.migration.hosts import HostMap
from cinderless.migration.items import Item
from cinderless.migration.ledger import Mark
from cinderless.migration.report import Outcome, Report
from cinderless.migration.source import Source
from cinderless.migration.stages import Stages
from cinderless.migration.writer import PIECE, Writer, batches, records_of, remove, remove_together

#: Reports the number of rows that are done.
Show = Callable[[int], None]

#: The order of a rollback: what names a record is removed after the record, apart from what a volume counts.
ROLLBACK = (
    *('Message', 'Volume', 'Snapshot', 'Attachment', 'Transfer', 'Backup', 'GroupSnapshot', 'Group', 'DefaultType'),
    *('Secret', 'Service', 'Quota', 'GroupType', 'VolumeType', 'QosSpecs'),
)

#: Kinds whose records belong to a volume, and stay with one that stays.
OF_VOLUMES = frozenset({'Snapshot', 'Attachment', 'Transfer'})

#: Records that a run removes at most, unless it is called with more: another database would have none of their rows.
MOST_REMOVALS = 100

_CHANGED = 'it was changed here since it was brought'


def migrate(
    source: Source,
    hosts: HostMap,
    *,
    apply: bool,
    rate: float | None = None,
    most_removals: int = MOST_REMOVALS,
    secrets_of: keys.SecretsOf | None = None,
    show: Show = lambda _: None,
) -> Report:
    """Map every row; with ``apply`` write the records, and remove those of earlier runs that have no row any more.

    A row has none if it was deleted, or if it is left out now: a volume that was attached since must not stay
    available here. Without ``apply`` nothing is written. ``rate``: at most so many records a second.
    ``secrets_of``: where the keys of encrypted volumes are brought from.
    """
    started = time.monotonic()
    report = Report(source.name, source.check(), apply)
    writer, done = Writer(report, rate=rate), itertools.count(1)
    if apply:
        volume_types.remove_generated_default()
    for stage in Stages(source, hosts):
        for mapped in stage.mapped():
            report.findings += mapped.findings
            if mapped.unit:
                writer.add(mapped.unit)
            if secrets_of is None:
                report.findings += itertools.chain.from_iterable(map(keys.missing, mapped.unit))
            show(next(done))
        writer.flush()
    _remove_absent(writer, report, most_removals)
    if apply and secrets_of is not None:
        keys.bring(report, secrets_of)
    report.seconds = time.monotonic() - started
    return report


def _remove_absent(writer: Writer, report: Report, most: int) -> None:
    """Remove the records of marks that no row of this run has; none of them when there are too many."""
    count = sum(1 for kind in ROLLBACK for mark in ledger.every(kind) if not writer.has_seen(mark))
    if count > most:
        problem = f'{count} records of earlier runs have no row in this database, and are kept'
        advice = f'is it the right database? then repeat this with --most-removals {count}'
        report.findings.append(items.left_out('all', '-', problem, advice))
        return
    removal = _Removal(report.applied)
    for kind in ROLLBACK:
        for marks in batches((mark for mark in ledger.every(kind) if not writer.has_seen(mark)), PIECE):
            _take(removal, kind, marks, report, f'its row was deleted or is left out now, and {_CHANGED}')


def _take(removal: _Removal, kind: str, marks: list[Mark], report: Report, reason: str) -> None:
    """Remove records of one kind; report those that stay with the reason."""
    stay = removal.take(kind, marks)
    for mark in marks:
        report.count(kind, Outcome.KEPT if mark in stay else Outcome.REMOVED)
    for mark in sorted(stay):
        report.findings.append(items.left_out(kind, mark.id, reason, 'delete it with the API, or keep it'))


def rollback(*, apply: bool, show: Show = lambda _: None) -> Report:
    """Remove exactly the records that runs brought; what was changed here since stays, and is reported."""
    started, report = time.monotonic(), Report('-', '-', apply)
    removal, done = _Removal(apply), 0
    for kind in ROLLBACK:
        for marks in batches(ledger.every(kind), PIECE):
            _take(removal, kind, marks, report, f'{_CHANGED}, or it is in use')
            done += len(marks)
            show(done)
    report.seconds = time.monotonic() - started
    return report


class _Removal:
    """The removals of a rollback. Without ``apply``, what would be removed is subtracted from what records count."""

    def __init__(self, apply: bool) -> None:
        self._apply = apply
        self._kept_volumes, self._kept_keys = set[str](), set[str]()
        self._subtracted: collections.Counter[counters.Counter] = collections.Counter()

    def take(self, kind: str, marks: list[Mark]) -> set[Mark]:
        """Remove the records of marks of one kind; return the marks of those that stay."""
        found = records_of(kind, marks)
        free = [mark for mark in marks if self._is_free(mark, found.get(mark))]
        if not self._apply:
            gone = {mark for mark in free if _is_unchanged(mark, found.get(mark))}
            for mark in gone & found.keys():
                values = found[mark].attribute_values
                self._subtracted.update(counters.of(kind, mark.project_id, values))
        elif kind == 'VolumeType':
            gone = {mark for mark in free if _remove_type(mark)}
        else:
            gone = set(free) - remove_together(free)
        stay = set(marks) - gone
        self._kept_volumes |= {mark.id for mark in stay if kind == 'Volume'}
        kept = [found[mark] for mark in stay & found.keys()]
        self._kept_keys |= {one.encryption_key_id for one in kept if kind in keys.KINDS and one.encryption_key_id}
        return stay

    def _is_free(self, mark: Mark, found: Any) -> bool:
        """Return whether nothing that stays uses the record of a mark."""
        if found is None:
            return True
        if mark.kind == 'Secret':
            return mark.id not in self._kept_keys
        if mark.kind in OF_VOLUMES:
            return found.volume_id not in self._kept_volumes
        if mark.kind == 'GroupType' and self._apply:
            return not any(group.group_type_id == mark.id for group in base.every(Group, None))
        names = ('volume_count', 'group_snapshot_count', 'association_count')
        keys = [counters.Counter(*mark.key, name) for name in names]
        return all(int(getattr(found, key.attribute, 0)) <= self._subtracted[key] for key in keys)


def _is_unchanged(mark: Mark, found: Any) -> bool:
    if mark.kind in overlays.KINDS:
        return found is None or overlays.digest_of(mark.kind, found) == mark.digest
    return found is None or int(found.revision) == mark.revision


def _remove_type(mark: Mark) -> bool:
    """Remove a volume type that nothing here uses: closed first, so that no new volume begins to."""
    found = models.VolumeType.find_or_none(mark.project_id, mark.id)
    if found is None or int(found.revision) != mark.revision:
        return remove(mark)
    if _is_used(mark.id):
        return False
    with contextlib.suppress(errors.TypeChanged), type_locks.closed(found):
        if not _is_used(mark.id) and remove(mark, revision=int(found.revision)):
            volume_types.forget()
            return True
        raise errors.TypeChanged(resource='volume_type', id=mark.id)  # opens it again
    return False


def _is_used(type_id: str) -> bool:
    return (
        volume_types.is_in_use(type_id)
        or any(one.volume_type_id == type_id for one in base.every(DefaultType, base.GLOBAL))
        or any(type_id in group.volume_type_ids for group in base.every(Group, None))
    )


def differences(item: Item, found: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield (attribute, value of the row, value here) of each attribute in which a record differs from its row."""
    if found is None:
        yield 'record', 'a row', None
        return
    stored = overlays.values_of(item.kind, found) if item.kind in overlays.KINDS else found.attribute_values
    copied = item.kind == 'Volume' and copying.is_copied(found)
    for name, value in item.values.items():
        if copied and name in copying.CHANGED:
            continue
        here = stored.get(name)
        if here != value and not (value in ({}, [], 0, False) and not here):
            yield name, value, here


def verify(source: Source, hosts: HostMap, *, show: Show = lambda _: None) -> Report:
    """Compare each row with its record, attribute by attribute, and the counters of each project with its records."""
    started = time.monotonic()
    report, done = Report(source.name, source.check(), False), itertools.count(1)
    for stage in Stages(source, hosts):
        for mapped in stage.mapped():
            report.findings += mapped.findings
            for item in mapped.unit:
                _compare(item, report)
                report.findings += keys.missing(item)
            show(next(done))
    _compare_counters(report)
    report.seconds = time.monotonic() - started
    return report


def _compare(item: Item, report: Report) -> None:
    found = getattr(models, item.kind).find_or_none(item.project_id, item.id)
    different = list(differences(item, found))
    report.count(item.kind, Outcome.KEPT if different else Outcome.SAME)
    for name, there, here in different:
        problem = f'{name} is {there!r} in Cinder and {here!r} here'
        report.findings.append(items.left_out(item.kind, item.id, problem, 'run again, or see what changed it here'))


def _compare_counters(report: Report) -> None:
    """Compare the usage of each project with what its records count."""
    counted: dict[counters.Counter, int] = {}
    for kind in ('Volume', 'Snapshot', 'Backup', 'Group'):
        for record in base.every(getattr(models, kind), None):
            for counter, amount in counters.of(kind, record.project_id, record.attribute_values).items():
                counted[counter] = counted.get(counter, 0) + amount
    for quota in models.Quota.scan(consistent_read=True):
        for name, used in quota.usage.attribute_values.items():
            wanted = counted.pop(counters.Counter('Quota', quota.project_id, quota.id, name), 0)
            if int(used) != wanted:
                problem = f'{name} counts {int(used)}, and the records {wanted}'
                advice = 'a request may have been under way: verify again'
                report.findings.append(items.left_out('Quota', quota.project_id, problem, advice))
