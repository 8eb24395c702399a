"""Schedules of backups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pynamodb.attributes import BooleanAttribute, JSONAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection

from chalicelib import errors
from chalicelib.models import base


class Due(GlobalSecondaryIndex[Any]):
    """The schedules that are enabled, by their next run."""

    class Meta:
        index_name = 'due'
        projection = KeysOnlyProjection()

    due = UnicodeAttribute(hash_key=True)
    next_run_at = UnicodeAttribute(range_key=True)


class BackupSchedule(base.Record):
    """When a volume is backed up, how, and which backups are kept; or when its backups are copied or checked.

    ``due`` is set while it is enabled.
    """

    Meta = base.meta('backup-schedules')
    resource = 'backup_schedule'
    not_found = errors.BackupScheduleNotFound

    by_created_at = base.ByCreatedAt()
    by_id = base.ById()
    due_index = Due()

    user_id = UnicodeAttribute()
    name = UnicodeAttribute(null=True)
    description = UnicodeAttribute(null=True)
    volume_id = UnicodeAttribute()
    cron = UnicodeAttribute()
    #: backup, copy, scrub or drill.
    action = UnicodeAttribute(default='backup')
    #: Percent of the blocks that a scrub reads.
    sample = NumberAttribute(default=100)
    #: {'last', 'hourly', 'daily', 'weekly', 'monthly'} -> how many are kept.
    keep = JSONAttribute(default=dict)
    #: Every n-th backup is full; 0: only the first.
    full_every = NumberAttribute(default=0)
    container = UnicodeAttribute(null=True)
    #: S3's storage class of each backup's packs; none: S3's default.
    storage_class = UnicodeAttribute(null=True)
    #: The target of the copies (operations/backup_copies.py).
    target = UnicodeAttribute(null=True)
    #: Days for which each backup is locked.
    lock_days = NumberAttribute(default=0)
    enabled = BooleanAttribute(default=True)
    due = UnicodeAttribute(null=True)
    #: The next run; while a run is being retried, the time of the next attempt.
    next_run_at = UnicodeAttribute()
    #: The ``next_run_at`` of the run that is being retried, and its number of attempts; none between runs.
    moment = UnicodeAttribute(null=True)
    attempts = NumberAttribute(null=True)
    last_run_at = UnicodeAttribute(null=True)
    last_backup_id = UnicodeAttribute(null=True)
    #: Why the last run did not make, copy or check a backup.
    last_error = UnicodeAttribute(null=True)
    #: Since when the due run has been retried.
    trying_since = UnicodeAttribute(null=True)


def due(timestamp: str) -> Iterator[BackupSchedule]:
    """Enabled schedules whose run is due at ``timestamp``, oldest first."""
    for key in BackupSchedule.query('1', BackupSchedule.next_run_at <= timestamp, index_name='due'):
        schedule = BackupSchedule.find_or_none(key.project_id, key.id)
        if schedule is not None and schedule.due and schedule.next_run_at <= timestamp:
            yield schedule
