"""Reports of the comparison of backends with the records, and an administrator's confirmation of one.

A report is kept on the record of the backend's service. ``confirm`` allows the removal of exactly the objects that the
confirmed report names, lets the sizes that it names be made one, and makes the tables that it was written with the
known ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Service, base
from chalicelib.operations.services import VOLUME_BINARY

#: {'kind': 'object', 'export', 'unnamed' (an export without an id) or 'access' (of an initiator without an export),
#: 'name', 'first_seen', of all but the last 'pool', and of exports 'export_id', 'host'}.
Finding = dict[str, Any]

#: Findings of each kind that a report holds; the oldest first.
MOST_FINDINGS = 50

#: Why nothing is removed.
TOO_MANY = 'too many objects are on no record: confirm the report, or find out why their records are gone'
MANY_SIZES = 'too many volumes have another size than in their records: confirm the report, or find out why'
TABLES_CHANGED = 'a table was restored or replaced: live data may be on no record; compare, then confirm the report'

#: What a report shows to administrators.
SHOWN = ('at', 'objects', 'exports', 'kept', 'unknown_count', 'stopped', 'differences', 'removed')


def _service(host: str) -> Service:
    """Raises ServiceNotFoundOnHost."""
    try:
        return Service.find(base.GLOBAL, f'{VOLUME_BINARY}:{host}')
    except errors.NotFound:
        raise errors.ServiceNotFoundOnHost(binary=VOLUME_BINARY, host=host) from None


def report_of(host: str) -> dict[str, Any] | None:
    """Return the newest report of a backend; None before the first."""
    service = Service.find_or_none(base.GLOBAL, f'{VOLUME_BINARY}:{host}')
    return service.reconciliation if service else None


def confirmation_of(host: str) -> Mapping[str, Any]:
    """Return what an administrator confirmed: {'keys', 'tables', 'by', 'at'}; {} for nothing."""
    service = Service.find_or_none(base.GLOBAL, f'{VOLUME_BINARY}:{host}')
    return (service.reconciliation_confirmed if service else None) or {}


def write(host: str, report: Mapping[str, Any]) -> None:
    """Keep a report. Raises ServiceNotFound for a backend that never reported."""
    service = Service(base.GLOBAL, f'{VOLUME_BINARY}:{host}')
    base.update(service, [Service.reconciliation.set(dict(report)), *base.touched(Service)])


def bounded(findings: Mapping[str, Finding]) -> dict[str, Finding]:
    """Return as many findings as a report holds, the oldest first."""
    oldest = sorted(findings.items(), key=lambda item: (item[1]['first_seen'], item[0]))
    return dict(oldest[:MOST_FINDINGS])


def is_restored(identity: str) -> bool:
    """Return whether a table was made by a restore (models/base.py: table_identity)."""
    return identity.endswith(base.RESTORED)


def list_(context: Context, host: str | None = None) -> list[dict[str, Any]]:
    """Return the newest report of each backend (``host``: of one), by host."""
    services = sorted(base.every(Service, base.GLOBAL), key=lambda service: str(service.host))
    return [
        _shown(service)
        for service in services
        if service.binary == VOLUME_BINARY and service.reconciliation and host in (None, service.host)
    ]


def _shown(service: Service) -> dict[str, Any]:
    report = service.reconciliation or {}
    unknown = [report['unknown'][key] for key in sorted(report['unknown'])]
    return {'host': service.host, **{name: report.get(name) for name in SHOWN}, 'unknown': unknown}


def confirm(context: Context, host: str) -> dict[str, Any]:
    """Confirm the newest report of a backend: what it names as unknown may be removed; return the report.

    Raises ServiceNotFoundOnHost, InvalidInput before the first report.
    """
    service = _service(host)
    report = service.reconciliation
    if report is None:
        raise errors.InvalidInput(reason=f'backend {host} was not compared with the records yet')
    confirmed = {
        'keys': [key for key, finding in report['unknown'].items() if finding['kind'] in ('object', 'unnamed')],
        'sizes': [one['name'] for one in report['differences'] if one['kind'] == 'size'],
        'tables': report['tables_found'],
        'by': context.user_id,
        'at': base.now(),
    }
    base.update(service, [Service.reconciliation_confirmed.set(confirmed), *base.touched(Service)])
    return _shown(service)
