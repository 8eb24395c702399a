"""Schedules of backups, and what one run of a schedule does (an extension of Cinder's API)."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib import errors
from chalicelib.context import Context, implied_roles
from chalicelib.models import Backup, BackupSchedule, base
from chalicelib.operations import backups, common, volumes
from chalicelib.rules import retention

#: The form of every stored moment.
_FORMAT = '%Y-%m-%dT%H:%M:%S.%f'

#: Most enabled and disabled schedules of a project.
LIMIT = 100


def get(context: Context, id: str) -> BackupSchedule:
    """The schedule, of the caller's project or (admins) of any. Raises BackupScheduleNotFound."""
    return common.find(context, BackupSchedule, id)


def list_(context: Context, query: common.ListQuery) -> tuple[list[BackupSchedule], bool]:
    return common.list_records(context, BackupSchedule, query)


def create(context: Context, *, volume_id: str, cron: str, **facts: Any) -> BackupSchedule:
    """Accept a schedule of a volume that the caller sees; its first run is the next moment that ``cron`` names."""
    volume = volumes.get(context, volume_id)
    if sum(1 for _ in base.every(BackupSchedule, context.project_id)) >= LIMIT:
        raise errors.InvalidInput(reason=f'A project has at most {LIMIT} backup schedules: delete one.')
    schedule = BackupSchedule(
        context.project_id,
        str(uuid.uuid4()),
        created_at=base.now(),
        user_id=context.user_id,
        volume_id=volume.id,
        cron=cron,
        next_run_at=_next(cron, _utc_now()),
        **facts,
    )
    schedule.due = '1' if schedule.enabled else None
    schedule.save(BackupSchedule.id.does_not_exist())
    return schedule


def update(context: Context, id: str, changes: Mapping[str, Any]) -> BackupSchedule:
    """Change what is named; another ``cron``, or being enabled again, sets the next run anew."""
    schedule = get(context, id)
    enabled = changes.get('enabled', schedule.enabled)
    derived: dict[str, Any] = {'due': '1' if enabled else None}
    if 'cron' in changes or enabled != schedule.enabled:
        derived['next_run_at'] = _next(changes.get('cron', schedule.cron), _utc_now())
    actions = [
        common.set_or_remove(getattr(BackupSchedule, name), value) for name, value in {**changes, **derived}.items()
    ]
    base.update(schedule, [*actions, *base.touched(BackupSchedule)])
    return schedule


def delete(context: Context, id: str) -> None:
    """Remove a schedule; the backups that it made stay."""
    get(context, id).delete()


def due(moment: str) -> Iterator[BackupSchedule]:
    """Enabled schedules whose run is due at ``moment``, oldest first."""
    for key in BackupSchedule.query('1', BackupSchedule.next_run_at <= moment, index_name='due'):
        try:
            schedule = BackupSchedule.find(key.project_id, key.id)
        except errors.NotFound:
            continue
        if schedule.due and schedule.next_run_at <= moment:
            yield schedule


def run(schedule: BackupSchedule) -> None:
    """Ask for the backup that is due, then for the removal of those that need not stay, then wait for the next.

    A run that comes twice asks for the same backup: its id follows from schedule and moment. What was missed while
    nobody looked is done once.
    """
    context = _context(schedule)
    id, error = str(uuid.uuid5(uuid.UUID(schedule.id), schedule.next_run_at)), None
    try:
        _back_up(context, schedule, id)
    except (errors.Invalid, errors.NotFound, errors.OverQuota) as refused:
        error = refused.message
    _prune(context, schedule)
    told = {'last_error': error} if error else {'last_error': None, 'last_backup_id': id}
    actions = [common.set_or_remove(getattr(BackupSchedule, name), value) for name, value in told.items()]
    following = [
        BackupSchedule.next_run_at.set(_next(schedule.cron, _utc_now())),
        BackupSchedule.last_run_at.set(base.now()),
    ]
    same = BackupSchedule.next_run_at == schedule.next_run_at
    base.update(schedule, [*actions, *following, *base.touched(BackupSchedule)], same)


def _back_up(context: Context, schedule: BackupSchedule, id: str) -> None:
    if _is_there(schedule.project_id, id):
        return
    backups.create(
        context,
        id=id,
        schedule_id=schedule.id,
        volume_id=schedule.volume_id,
        name=f'{schedule.name or "scheduled"}-{schedule.next_run_at[:16]}',
        description=None,
        container=schedule.container,
        incremental=_is_incremental(schedule),
        force=True,
        snapshot_id=None,
        metadata={},
        availability_zone=None,
    )


def _is_there(project_id: str, id: str) -> bool:
    try:
        Backup.find(project_id, id)
    except errors.BackupNotFound:
        return False
    return True


def _is_incremental(schedule: BackupSchedule) -> bool:
    """Whether the next one builds on what is there: on a chain that is not too long, of a volume that is backed up."""
    usable = [
        backup
        for backup in base.every(Backup, schedule.project_id)
        if backup.lineage == schedule.volume_id and backup.status == 'available' and not backup.location
    ]
    since_full = 0
    for backup in sorted(usable, key=lambda backup: str(backup.data_timestamp), reverse=True):
        since_full += 1
        if backup.parent_id is None:
            break
    return bool(usable) and (not schedule.full_every or since_full < schedule.full_every)


def _prune(context: Context, schedule: BackupSchedule) -> None:
    made = [backup for backup in base.every(Backup, schedule.project_id) if backup.schedule_id == schedule.id]
    moments = {
        backup.id: datetime.datetime.strptime(str(backup.created_at), _FORMAT)
        for backup in made
        if backup.status == 'available'
    }
    for id in moments.keys() - retention.kept(moments, schedule.keep):
        _remove(context, id)


def _remove(context: Context, id: str) -> None:
    try:
        backups.delete(context, id)
    except (errors.InvalidBackup, errors.NotFound):
        return  # somebody is at it: the next run looks again


def _context(schedule: BackupSchedule) -> Context:
    """Who asks: the user who made the schedule, as a member of its project."""
    return Context(user_id=schedule.user_id, project_id=schedule.project_id, roles=implied_roles(['member']))


def _utc_now() -> datetime.datetime:
    return datetime.datetime.strptime(base.now(), _FORMAT)


def _next(expression: str, moment: datetime.datetime) -> str:
    from chalicelib.rules import cron  # compiles what few requests ask for

    return cron.parse(expression).after(moment).strftime(_FORMAT)
