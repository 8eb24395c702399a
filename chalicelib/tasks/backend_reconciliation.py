"""Compare each backend with the records: objects and exports that no record knows, and records without their object.

Runs after the pools' reports, at most every INTERVAL for each backend, in a worker. What bears this deployment's mark
and is on no record is remembered with the time of its first sighting, and removed once it stayed unknown for its grace
time. Objects of others, and those without a mark, are never touched.

Races: records are read after the backend was listed, so what is made meanwhile has its record; an object whose record
has work under way is never unknown; and what was unknown once must be unknown again a grace time later. Each step may
be repeated: removals are the drivers' own verbs, and the report is written last.

An export without an id is unknown when every export that its object's record names is there beside it. It may be an
administrator's, so it counts and waits as an object does. What lets an initiator log in that has no export left is
removed after the same grace time, and does not count: hosts come and go.

Removal stops while many objects are unknown, or while a table is not the one that this deployment has used: after a
restore of tables, live data is on no record. An administrator then looks at the report and confirms it
(operations/reconciliations.py). Exports end all the same, as long as the tables are the known ones.

Where record and object differ in size, the smaller one grows (tasks/differences.py). Snapshots kept of backups are not
findings: tasks/kept_snapshots.py deletes the useless ones.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from chalicelib import aws, errors, telemetry
from chalicelib.config import settings
from chalicelib.drivers.base import Driver, SnapshotRef, StoredExport, StoredObject, VolumeRef
from chalicelib.models import Backup, Snapshot, Volume, base
from chalicelib.operations import exports, reconciliations
from chalicelib.operations.reconciliations import Finding
from chalicelib.rules import states
from chalicelib.tasks import backends, differences, kept_snapshots, side_by_side

logger = logging.getLogger(__name__)

#: Seconds between two comparisons of one backend.
INTERVAL = 900

#: Seconds that something must stay unknown before it is removed.
OBJECT_GRACE, EXPORT_GRACE = 86_400, 900

#: With more unknown objects than this, or than this share of all, none is removed without a confirmation.
MOST_UNKNOWN, MOST_SHARE = 5, 0.01

#: Kinds of findings of which many stop their removal.
COUNTED = frozenset({'object', 'unnamed'})

#: Tables whose loss would make live data look unknown.
TABLES = (Volume, Snapshot, Backup)


def run(hosts: Iterable[str], until: float = math.inf) -> None:
    """Have workers compare the backends that are due, some at a time; the failure of one harms no other.

    ``until``: seconds of the monotonic clock after which no comparison begins.
    """
    side_by_side.each(_compare, hosts, until)


def _compare(host: str) -> None:
    try:
        if _is_due(host):
            aws.invoke(settings().volume_worker, 'reconcile_backend', {'backend': host})
    except errors.CinderlessError as error:  # the worker may still be at it; the next schedule looks again
        logger.warning('backend %s was not compared with the records: %s', host, error.message)


def _is_due(host: str) -> bool:
    report = reconciliations.report_of(host)
    return report is None or str(report['at']) < base.after(-INTERVAL)


class Known(NamedTuple):
    """The records of one backend, by the objects' names."""

    volumes: Mapping[str, Volume]
    snapshots: Mapping[str, Snapshot]
    #: Names of objects whose record has work under way, or that a backup has frozen.
    busy: frozenset[str]
    #: Names of the snapshots that backups may have kept.
    backups: frozenset[str]

    @classmethod
    def read(cls, host: str) -> Known:
        """Read every record, consistently."""
        volumes, busy = {}, set()
        for volume in base.every(Volume, None):
            names = {f'volume-{volume.id}', f'volume-{volume.name_id or volume.id}'}
            if volume.in_flight or volume.reader_count or volume.migration_status in states.MOVING:
                busy |= names
            elif volume.backend == host:
                volumes[f'volume-{volume.name_id or volume.id}'] = volume
        snapshots = {}
        for snapshot in base.every(Snapshot, None):
            if snapshot.in_flight or snapshot.reader_count:
                busy.add(f'snapshot-{snapshot.id}')
            snapshots[f'snapshot-{snapshot.id}'] = snapshot
        backups = list(base.every(Backup, None))
        busy |= {f'snapshot-{backup.id}' for backup in backups if backup.in_flight}
        return cls(volumes, snapshots, frozenset(busy), frozenset(f'snapshot-{backup.id}' for backup in backups))

    def knows(self, name: str) -> bool:
        return name in self.busy or name in self.volumes or name in self.snapshots

    def knows_export(self, export: StoredExport, there: Collection[tuple[str, str | None]]) -> bool:
        """Whether a record names the export, or its object has work under way that may have made it.

        ``there``: (object, id) of all exports. One without an id may be one that a record names and that is not there.
        """
        if export.object in self.busy:
            return True
        volume = self.volumes.get(export.object)
        named = {*volume.exports, *volume.attachments} if volume is not None else set()
        if export.export_id is None:
            return any((export.object, id) not in there for id in named)
        return export.export_id in named


def reconcile_backend(payload: Mapping[str, Any]) -> dict[str, Any] | None:
    """Compare one backend with the records; return the report. Payload: backend, as ``host@backend``."""
    host = str(payload['backend'])
    driver = backends.on(host)
    try:
        inventory, found, idle = driver.inventory(), driver.list_exports(), driver.list_idle_access()
    except errors.NotSupported:
        return None
    objects = [one for one in inventory if one.kept is None]
    known = Known.read(host)
    before = reconciliations.report_of(host) or {}
    confirmed = reconciliations.confirmation_of(host)
    tables = {kind.Meta.table_name: base.table_identity(kind) for kind in TABLES}
    unknown = _unknown(objects, found, idle, known, before.get('unknown', {}))
    stopped = _stopped(unknown, len(objects), tables, before, confirmed)
    removed = _remove(driver, host, unknown, stopped, confirmed)
    ended = _settle_entries(driver, known, found)
    different = differences.list_(objects, found, known.volumes, before.get('differences', []))
    stopped = differences.finish(driver, different, known.volumes, stopped, confirmed.get('sizes', []))
    kept = _sweep_kept(driver, host, inventory, known, stopped)
    report = {
        'at': base.now(),
        'objects': len(objects),
        'exports': len(found),
        'kept': kept,
        'unknown': reconciliations.bounded({key: one for key, one in unknown.items() if key not in removed}),
        'unknown_count': len(unknown) - len(removed),
        'differences': different[: reconciliations.MOST_FINDINGS],
        'removed': [*sorted(removed), *before.get('removed', [])][: reconciliations.MOST_FINDINGS],
        'stopped': stopped,
        'tables': tables if stopped != reconciliations.TABLES_CHANGED else before.get('tables', {}),
        'tables_found': tables,
    }
    reconciliations.write(host, report)
    _log_report(host, report, len(removed) + ended)
    return report


def _sweep_kept(
    driver: Driver, host: str, inventory: Collection[StoredObject], known: Known, stopped: str | None
) -> int:
    """Return the number of snapshots kept of backups; none is deleted while a table may lack records."""
    if stopped == reconciliations.TABLES_CHANGED:
        return sum(1 for one in inventory if one.kept is not None)
    facts = {'volumes': known.volumes, 'backups': known.backups, 'busy': known.busy}
    return kept_snapshots.sweep(driver, host, inventory, **facts)


def _log_report(host: str, report: Mapping[str, Any], removed: int) -> None:
    """Metrics for alarms, where there is something to count, and one line for the log; the report has the rest."""
    if report['unknown_count']:
        telemetry.count('UnknownObjects', report['unknown_count'], backend=host, removed=removed)
    if report['stopped']:
        telemetry.count('ReconciliationStopped', backend=host)
        telemetry.needs_attention('stopped')
    log = logger.warning if report['stopped'] or report['differences'] else logger.info
    facts = {name: report[name] for name in ('objects', 'exports', 'unknown_count', 'stopped')}
    log('backend %s was compared with the records: %s, %s removed', host, facts, removed)


def _unknown(
    objects: Iterable[StoredObject],
    found: Collection[StoredExport],
    idle: Iterable[str],
    known: Known,
    before: Mapping[str, Finding],
) -> dict[str, Finding]:
    """Return this deployment's objects, exports and accesses on no record, with the time of the first sighting."""
    now, ours = base.now(), settings().deployment
    findings: dict[str, Finding] = {}
    for one in objects:
        if one.deployment == ours and not known.knows(one.name):
            findings[one.name] = {'kind': 'object', 'name': one.name, 'pool': one.pool, 'first_seen': now}
    there = {(export.object, export.export_id) for export in found}
    for export in found:
        on_record = export.object in known.volumes or export.object in known.snapshots
        if on_record and not known.knows_export(export, there):
            facts = {'name': export.object, 'pool': export.pool, 'export_id': export.export_id, 'host': export.host}
            kind = 'export' if export.export_id is not None else 'unnamed'
            findings[f'{export.object}/{export.export_id or export.host}'] = {'kind': kind, **facts, 'first_seen': now}
    findings |= {f'access/{name}': {'kind': 'access', 'name': name, 'first_seen': now} for name in idle}
    return {key: {**finding, 'first_seen': before.get(key, finding)['first_seen']} for key, finding in findings.items()}


def _stopped(
    unknown: Mapping[str, Finding],
    total: int,
    tables: Mapping[str, str],
    before: Mapping[str, Any],
    confirmed: Mapping[str, Any],
) -> str | None:
    """Why objects may not be removed without a confirmation."""
    expected = {**before.get('tables', {}), **confirmed.get('tables', {})}
    changed = any(expected.get(name, identity) != identity for name, identity in tables.items())
    restored = any(reconciliations.is_restored(identity) for identity in tables.values()) and not expected
    if changed or restored:
        return reconciliations.TABLES_CHANGED
    doubtful = [key for key, one in unknown.items() if one['kind'] in COUNTED and key not in confirmed.get('keys', [])]
    if len(doubtful) > MOST_UNKNOWN or len(doubtful) > max(1.0, MOST_SHARE * total):
        return reconciliations.TOO_MANY
    return None


def _remove(
    driver: Driver, host: str, unknown: Mapping[str, Finding], stopped: str | None, confirmed: Mapping[str, Any]
) -> set[str]:
    """Remove what stayed unknown for its grace time; return the keys of what is gone. Snapshots go before volumes."""
    if stopped == reconciliations.TABLES_CHANGED:
        return set()
    gone = set()
    for key, finding in sorted(unknown.items(), key=lambda item: (item[1]['kind'], item[0])):
        if finding['kind'] in COUNTED and stopped and key not in confirmed.get('keys', []):
            continue
        if finding['first_seen'] > base.after(-(EXPORT_GRACE if finding['kind'] == 'export' else OBJECT_GRACE)):
            continue
        try:
            REMOVALS[finding['kind']](driver, host, finding)
        except errors.CinderlessError as error:
            logger.warning('%s stays on backend %s: %s', key, host, error.message)
            continue
        logger.warning('%s was on backend %s and on no record: removed', key, host)
        gone.add(key)
    return gone


def _remove_object(driver: Driver, host: str, finding: Finding) -> None:
    """Raises StateChanged for an object that has a record after all."""
    name, where = str(finding['name']), f'{host}#{finding["pool"]}'
    kind, _, id = name.partition('-')
    _check_no_record(kind, id)
    if kind == 'snapshot':
        driver.delete_snapshot(SnapshotRef(id, 0, VolumeRef('-', 0, '-', where)))
        return
    ref = VolumeRef(id, 0, '-', where)
    driver.terminate_connection(ref, None)
    driver.delete_volume(ref)


def _check_no_record(kind: str, id: str) -> None:
    for record in (Volume,) if kind == 'volume' else (Snapshot, Backup):
        try:
            found = record.find_anywhere(id)
        except errors.NotFound:
            continue
        if found.in_flight or kind == 'snapshot':
            raise base.state_changed(found)


def _remove_export(driver: Driver, host: str, finding: Finding) -> None:
    """End an export of an object that has a record."""
    name, where, export_id = str(finding['name']), f'{host}#{finding["pool"]}', str(finding['export_id'])
    kind, _, id = name.partition('-')
    if kind == 'snapshot':
        driver.close_snapshot(SnapshotRef(id, 0, VolumeRef('-', 0, '-', where)), export_id)
    else:
        driver.terminate_connection(VolumeRef(id, 0, '-', where), export_id)


def _remove_unnamed(driver: Driver, host: str, finding: Finding) -> None:
    driver.end_unnamed_export(StoredExport(finding['name'], finding['pool'], None, finding['host']))


def _remove_access(driver: Driver, host: str, finding: Finding) -> None:
    driver.remove_idle_access(str(finding['name']))


#: How a finding is removed, by its kind.
REMOVALS: Mapping[str, Callable[[Driver, str, Finding], None]] = {
    'object': _remove_object,
    'export': _remove_export,
    'unnamed': _remove_unnamed,
    'access': _remove_access,
}


def _settle_entries(driver: Driver, known: Known, found: Iterable[StoredExport]) -> int:
    """End what records mark as ending, and drop entries of old that the backend knows nothing of; the number."""
    on_backend = {(export.object, export.export_id) for export in found}
    count = 0
    for name, volume in known.volumes.items():
        ids = [id for id, entry in volume.exports.items() if _is_over(entry, (name, id) in on_backend)]
        if not ids:
            continue
        try:
            for id in ids:
                driver.terminate_connection(backends.volume_ref(volume), id)
            exports.drop(volume, ids)
            count += len(ids)
        except errors.CinderlessError as error:
            logger.warning('exports of volume %s stay: %s', volume.id, error.message)
    return count


def _is_over(entry: Mapping[str, Any], on_backend: bool) -> bool:
    """A mark is older than any request; an entry without an export is left from a request that died."""
    age = EXPORT_GRACE if entry.get('ending') else OBJECT_GRACE
    return str(entry['created_at']) < base.after(-age) and (bool(entry.get('ending')) or not on_backend)
