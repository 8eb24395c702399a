"""Records that their backend does not bear out: listed, and sizes that differ are made one.

A size differs after an extension that was given up while its backend carried it out, or after a backend lost one. The
smaller side grows, so no data is cut off: see operations/extensions.py. A missing object or export is reported only.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from chalicelib import errors
from chalicelib.drivers.base import GIB, Driver, StoredExport, StoredObject
from chalicelib.models import Volume, base
from chalicelib.operations import extensions, reconciliations
from chalicelib.rules import states

logger = logging.getLogger(__name__)

#: {'kind': 'missing', 'size' or 'missing_export', 'name', 'status', 'expected' (GiB), 'first_seen'}; of a size also
#: 'found' (GiB, rounded up) and, once it was worked on, 'tried_at'; of a missing export 'export_id'.
Difference = dict[str, Any]

#: Seconds that a size must differ before it is worked on: a comparison may have met an extension. And seconds until a
#: size that still differs is worked on again: its quota may be full, or its backend may refuse.
GRACE, AGAIN = 900, 86_400

#: With more sizes than this that differ, none is worked on without a confirmation: it may be the backend's reports.
MOST = 5


#: Errors of an extension that may begin at another time.
LATER: tuple[type[errors.CinderlessError], ...] = (
    *base.moved_on(Volume),
    errors.VolumeSizeExceedsAvailableQuota,
    errors.QuotaUsageOverflow,
    errors.ServiceUnavailable,
)


def list_(
    objects: Iterable[StoredObject],
    found: Iterable[StoredExport],
    volumes: Mapping[str, Volume],
    before: Iterable[Difference],
) -> list[Difference]:
    """Return what differs, the oldest first. ``volumes``: by their objects' names. ``before``: the last report's."""
    sizes = {one.name: -(-one.size // GIB) for one in objects}
    exports = {(export.object, export.export_id) for export in found}
    seen = {_key(one): one for one in before}
    different = [
        {**one, **_history(seen.get(_key(one)))}
        for name, volume in volumes.items()
        for one in [*_of_object(name, volume, sizes.get(name)), *_missing_exports(name, volume, exports)]
    ]
    return sorted(different, key=lambda one: str(one['first_seen']))


def _key(one: Difference) -> tuple[Any, ...]:
    return tuple(one.get(name) for name in ('kind', 'name', 'expected', 'found', 'export_id'))


def _history(earlier: Difference | None) -> Difference:
    if earlier is None:
        return {'first_seen': base.now()}
    return {name: earlier[name] for name in ('first_seen', 'tried_at') if name in earlier} or {'first_seen': base.now()}


def _facts(kind: str, name: str, volume: Volume) -> Difference:
    return {'kind': kind, 'name': name, 'status': volume.status, 'expected': int(volume.size)}


def _of_object(name: str, volume: Volume, size: int | None) -> list[Difference]:
    if size is None:
        return [_facts('missing', name, volume)] if volume.status in states.SETTLED else []
    if size == int(volume.size) or states.ERROR_DELETING in volume.status:
        return []
    return [{**_facts('size', name, volume), 'found': size}]


def _missing_exports(name: str, volume: Volume, exports: Collection[tuple[str, str | None]]) -> list[Difference]:
    named = {entry.get('attachment_id') for entry in volume.exports.values()}
    return [
        {**_facts('missing_export', name, volume), 'export_id': id}
        for id, link in volume.attachments.items()
        if link['attach_status'] == states.ATTACHED and link.get('host_name')
        and (name, id) not in exports and id not in named
    ]  # fmt: skip


def finish(
    driver: Driver,
    different: Iterable[Difference],
    volumes: Mapping[str, Volume],
    stopped: str | None,
    confirmed: Collection[str],
) -> str | None:
    """Begin to make one of the sizes that stayed different; return why work stopped, if it did.

    ``stopped``: why the removal of objects did. ``confirmed``: names whose sizes an administrator confirmed.
    """
    sizes = [one for one in different if one['kind'] == 'size']
    if stopped == reconciliations.TABLES_CHANGED:
        return stopped
    doubtful = [one for one in sizes if one['name'] not in confirmed]
    many = len(doubtful) > MOST
    for one in sizes:
        if _is_due(one) and not (many and one in doubtful):
            one['tried_at'] = base.now()
            _finish(driver, volumes[one['name']], one)
    return stopped or (reconciliations.MANY_SIZES if many else None)


def _is_due(one: Difference) -> bool:
    return one['first_seen'] <= base.after(-GRACE) and str(one.get('tried_at', '')) <= base.after(-AGAIN)


def _finish(driver: Driver, volume: Volume, one: Difference) -> None:
    if volume.status not in extensions.ROW.allowed or (volume.attachments and not driver.capabilities.online_extend):
        return
    try:
        extensions.finish(volume, int(one['found']))
    except LATER as error:
        logger.warning('volume %s keeps another size than its object: %s', volume.id, error.message)
        return
    logger.warning('volume %s has %s GiB, its object %s: they are made one', volume.id, volume.size, one['found'])
