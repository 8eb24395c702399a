"""Snapshots that backends keep of finished backups: delete those that no backup can be compared with any more.

A backend deletes a kept snapshot with its volume, and when it keeps the next one. The rest is left by a backend that
did not answer, by a worker that died, and by volumes that are no longer backed up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable

from chalicelib import errors
from chalicelib.config import settings
from chalicelib.drivers.base import KEPT_DAYS, Driver, Kept, SnapshotRef, StoredObject, VolumeRef

logger = logging.getLogger(__name__)

DAY = 86_400


def sweep(
    driver: Driver,
    host: str,
    found: Iterable[StoredObject],
    *,
    volumes: Collection[str],
    backups: Collection[str],
    busy: Collection[str],
) -> int:
    """Delete this deployment's kept snapshots that are of no use; return how many of the backend's are left.

    ``volumes``: names of those at rest on this backend. ``backups``: names that their snapshots would have. ``busy``:
    names of objects with work under way, which may be using them. A failure is logged; the next comparison tries again.
    """
    days = int(driver.options.get('keep_backup_snapshots_days', KEPT_DAYS))
    left = 0
    for one in found:
        if one.kept is None:
            continue
        idle = one.deployment == settings().deployment and not {one.name, one.kept.volume} & set(busy)
        useless = one.kept.volume not in volumes or one.name not in backups or _age(one.kept) > days * DAY
        left += not (idle and useless and _delete(driver, host, one))
    return left


def _age(kept: Kept) -> float:
    """Seconds."""
    return time.time() - kept.since


def _delete(driver: Driver, host: str, one: StoredObject) -> bool:
    """Delete it; a missing one is success, too."""
    volume = VolumeRef('-', 0, '-', f'{host}#{one.pool}')
    try:
        driver.delete_snapshot(SnapshotRef(one.name.partition('-')[2], 0, volume))
    except errors.CinderlessError as error:
        logger.warning('%s, kept of a backup, stays on backend %s: %s', one.name, host, error.message)
        return False
    logger.info('%s was kept of a backup on backend %s, and is of no use any more: removed', one.name, host)
    return True
