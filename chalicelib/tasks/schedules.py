"""Runs the backup schedules that are due. Called every minute; each call does a bounded amount of work."""

from __future__ import annotations

import itertools
import logging
import time

from chalicelib import errors
from chalicelib.models import BackupSchedule, backup_schedule, base

logger = logging.getLogger(__name__)

#: Schedules that one call runs; the others are due a minute later.
LIMIT = 500

#: Seconds after which a call begins no more runs; the function has 55.
BUDGET = 40


def run() -> None:
    """One that fails keeps no other waiting: it is tried again later and later, until it is given up."""
    until = time.monotonic() + BUDGET
    for schedule in itertools.islice(backup_schedule.due(base.now()), LIMIT):
        if time.monotonic() > until:
            break
        _run(schedule)


def _run(schedule: BackupSchedule) -> None:
    from chalicelib.operations import backup_schedules  # and with it all of backups: most minutes nothing is due

    try:
        backup_schedules.put_off(schedule)
        backup_schedules.run(schedule)
    except (errors.StateChanged, errors.BackupScheduleNotFound):
        logger.info('schedule %s was run by another call, changed or removed', schedule.id)
    except Exception:  # tried again when it was put off to
        logger.exception('schedule %s could not be run', schedule.id)
