"""Schedules of backups, and what one run of a schedule does (an extension of Cinder's API)."""

from __future__ import annotations

import datetime
import logging
import random
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib import errors
from chalicelib.context import Context, implied_roles
from chalicelib.models import Backup, BackupSchedule, base, claims
from chalicelib.operations import backup_checks, backup_copies, backups, cloud, common, keys, messages, volumes
from chalicelib.rules import retention, states
from chalicelib.rules.messages import Action, Detail
from chalicelib.rules.sentences import for_users

logger = logging.getLogger(__name__)

#: The form of every stored timestamp.
_FORMAT = '%Y-%m-%dT%H:%M:%S.%f'

#: Most enabled and disabled schedules of a project.
LIMIT = 100

#: Seconds for which a run that failed with a passing error is retried; then the schedule reports the error.
PATIENCE = 900

#: Seconds after which a run that failed is tried again; twice as late each time.
FIRST_PAUSE = 60


def get(context: Context, id: str) -> BackupSchedule:
    """The schedule, of the caller's project or (admins) of any. Raises BackupScheduleNotFound."""
    return common.find(context, BackupSchedule, id)


def list_(context: Context, query: common.ListQuery) -> tuple[list[BackupSchedule], bool]:
    return common.list_records(context, BackupSchedule, query)


@claims.made_once('BackupSchedule')
def create(context: Context, *, volume_id: str, cron: str, action: str = 'backup', **facts: Any) -> BackupSchedule:
    """Accept a schedule of a volume that the caller sees; its first run is at the next time that ``cron`` names."""
    volume = volumes.get(context, volume_id)
    _check_target(action, facts.get('target'))
    _check_lock(action, facts)
    if action in ('backup', 'copy'):  # a copy has a key of its own
        keys.check_unattended(volume.encryption_key_id)
    if sum(1 for _ in base.every(BackupSchedule, context.project_id)) >= LIMIT:
        raise errors.InvalidInput(reason=f'A project has at most {LIMIT} backup schedules: delete one.')
    schedule = BackupSchedule(
        context.project_id,
        str(uuid.uuid4()),
        created_at=base.now(),
        user_id=context.user_id,
        volume_id=volume.id,
        cron=cron,
        action=action,
        next_run_at=_next(cron, _utc_now()),
        **facts,
    )
    schedule.due = '1' if schedule.enabled else None
    base.put(schedule, BackupSchedule.id.does_not_exist())
    return schedule


def _check_target(action: str, target: str | None) -> None:
    """Raises InvalidInput unless just the schedules of copies name a place, and one that there is."""
    if (action == 'copy') != (target is not None):
        raise errors.InvalidInput(reason='A schedule of copies, and no other, names the place (target) for them.')
    if target is not None:
        backup_copies.place_of(target)


def _check_lock(action: str, facts: Mapping[str, Any]) -> None:
    days = facts.get('lock_days', 0)
    if days and action == 'copy':
        raise errors.InvalidInput(reason='Copies are not locked: give the bucket there a default retention.')
    backups.check_lock(days)


def update(context: Context, id: str, changes: Mapping[str, Any]) -> BackupSchedule:
    """Change the named fields; another ``cron``, or a change of ``enabled``, recomputes the next run."""
    schedule = get(context, id)
    _check_lock(str(schedule.action), changes)
    enabled = changes.get('enabled', schedule.enabled)
    derived: dict[str, Any] = {'due': '1' if enabled else None}
    if 'cron' in changes or enabled != schedule.enabled:
        derived['next_run_at'] = _next(changes.get('cron', schedule.cron), _utc_now())
        derived |= dict.fromkeys(('moment', 'attempts', 'trying_since'))
    if enabled and not schedule.enabled and context.project_id == schedule.project_id:
        derived['user_id'] = context.user_id  # whose rights the runs have from now on
    actions = [
        common.set_or_remove(getattr(BackupSchedule, name), value) for name, value in {**changes, **derived}.items()
    ]
    base.update(schedule, [*actions, *base.touched(BackupSchedule)])
    return schedule


def delete(context: Context, id: str) -> None:
    """Remove a schedule; the backups that it made stay."""
    base.remove(get(context, id))


def put_off(schedule: BackupSchedule) -> None:
    """Record on ``schedule`` that a run begins, and when it is retried if it fails.

    So a schedule whose run fails, or takes the process with it, does not stay at the head of those that are due.
    Raises StateChanged when another call has begun it.
    """
    attempts = int(schedule.attempts or 0) + 1
    pause = min(FIRST_PAUSE * 2 ** min(attempts - 1, 10), PATIENCE)
    actions = [
        BackupSchedule.moment.set(_moment(schedule)),
        BackupSchedule.attempts.set(attempts),
        BackupSchedule.next_run_at.set(base.after(pause * random.uniform(0.5, 1))),  # noqa: S311 - jitter, no secret
        *base.touched(BackupSchedule),
    ]
    base.update(schedule, actions, BackupSchedule.next_run_at == schedule.next_run_at)


def _moment(schedule: BackupSchedule) -> str:
    """Return the scheduled time of a run, however late it is tried."""
    return str(schedule.moment or schedule.next_run_at)


def run(schedule: BackupSchedule) -> None:
    """Start the due action, then the removal of backups that need not stay, then set the next scheduled time.

    A repeated run requests the same work: its request id follows from schedule and scheduled time. Missed runs are made
    up for by one. The schedule records a failure; a user message reports it unless the previous run failed likewise.
    Raises errors that a retry may overcome.
    """
    context = _context(schedule)
    if 'member' not in context.roles:
        _pause(context, schedule)
        return
    facts = _attempt(context, schedule)
    error = facts['last_error']
    if error and error != schedule.last_error:
        row = Action.BACKUP_SCHEDULE_RUN, Detail.BACKUP_SCHEDULE_RUN_ERROR
        messages.create(schedule, context.request_id, *row, cause=error)
    actions = [common.set_or_remove(getattr(BackupSchedule, name), value) for name, value in facts.items()]
    following = [
        BackupSchedule.next_run_at.set(_next(schedule.cron, _utc_now())),
        BackupSchedule.last_run_at.set(base.now()),
        *(one.remove() for one in (BackupSchedule.trying_since, BackupSchedule.moment, BackupSchedule.attempts)),
    ]
    same = BackupSchedule.next_run_at == schedule.next_run_at
    base.update(schedule, [*actions, *following, *base.touched(BackupSchedule)], same)


#: Why a schedule was paused, for users.
OWNER_GONE = (
    'The user who made the schedule is no longer a member of the project, so the schedule is paused. Enable it again '
    'as a member, who then owns it.'
)


def _pause(context: Context, schedule: BackupSchedule) -> None:
    """Disable a schedule whose user is not a member of the project any more, and write a user message."""
    owner = schedule.user_id, schedule.project_id
    logger.warning('schedule %s is paused: user %s is not a member of project %s', schedule.id, *owner)
    row = Action.BACKUP_SCHEDULE_RUN, Detail.BACKUP_SCHEDULE_RUN_ERROR
    messages.create(schedule, context.request_id, *row, cause=OWNER_GONE)
    between_runs = (BackupSchedule.due, BackupSchedule.trying_since, BackupSchedule.moment, BackupSchedule.attempts)
    actions = [
        BackupSchedule.enabled.set(False),
        BackupSchedule.last_error.set(OWNER_GONE),
        *(attribute.remove() for attribute in between_runs),
        *base.touched(BackupSchedule),
    ]
    base.update(schedule, actions, BackupSchedule.next_run_at == schedule.next_run_at)


def _attempt(context: Context, schedule: BackupSchedule) -> dict[str, str | None]:
    """What a run came to, for the schedule. Raises what may pass, while there is time to try it again."""
    try:
        facts = _run_action(context, schedule)
        _prune(context, schedule)
        return facts
    except errors.StateChanged:
        raise
    except Exception as failed:
        if base.now() < _patience_ends(schedule):
            raise
        whole = getattr(failed, 'message', '')
        logger.warning('the run of schedule %s is given up: %s %s', schedule.id, type(failed).__name__, whole)
        return {'last_error': for_users(type(failed).__name__, whole)}


def _patience_ends(schedule: BackupSchedule) -> str:
    """When trying a run again is given up; the first failure is noted."""
    if schedule.trying_since is None:
        actions = [BackupSchedule.trying_since.set(base.now()), *base.touched(BackupSchedule)]
        base.update(schedule, actions, BackupSchedule.next_run_at == schedule.next_run_at)
    since = datetime.datetime.strptime(str(schedule.trying_since), _FORMAT)
    return (since + datetime.timedelta(seconds=PATIENCE)).strftime(_FORMAT)


def _run_action(context: Context, schedule: BackupSchedule) -> dict[str, str | None]:
    try:
        return {'last_error': None, 'last_backup_id': ACTIONS[schedule.action](context, schedule)}
    except (errors.Invalid, errors.NotFound, errors.OverQuota) as refused:
        return {'last_error': refused.message}


def _run_id(schedule: BackupSchedule) -> str:
    """Return the id of one scheduled time, the same however often it is run."""
    return str(uuid.uuid5(uuid.UUID(schedule.id), _moment(schedule)))


def _back_up(context: Context, schedule: BackupSchedule) -> str:
    id = _run_id(schedule)
    if Backup.find_or_none(schedule.project_id, id):
        return id
    backups.create(
        context,
        id=id,
        schedule_id=schedule.id,
        volume_id=schedule.volume_id,
        name=f'{schedule.name or "scheduled"}-{_moment(schedule)[:16]}',
        description=None,
        container=schedule.container,
        incremental=_is_incremental(schedule),
        force=True,
        snapshot_id=None,
        metadata={},
        availability_zone=None,
        storage_class=schedule.storage_class,
        locked_until=base.after(int(schedule.lock_days) * 86_400) if schedule.lock_days else None,
    )
    return id


def _copy(context: Context, schedule: BackupSchedule) -> str:
    """Copy the newest backup; one whose copy is there, or on its way, is not copied again."""
    target = str(schedule.target)
    newest = max(_usable(schedule, 'copy'), key=lambda backup: str(backup.created_at))
    copy = Backup.find_or_none(schedule.project_id, backup_copies.id_of(newest, backup_copies.place_of(target)))
    if copy is None:
        copy = backup_copies.create(
            context, newest.id, target=target, name=None, description=None, schedule_id=schedule.id
        )
    if copy.status == states.ERROR:
        raise errors.InvalidBackup(reason=f'copy {copy.id} of backup {newest.id} failed: {copy.fail_reason}')
    return copy.id


def _scrub(context: Context, schedule: BackupSchedule) -> str:
    backup = _to_check(schedule, context, lambda backup: backup.scrub)
    backup_checks.scrub(context, backup.id, sample=int(schedule.sample))
    return backup.id


def _drill(context: Context, schedule: BackupSchedule) -> str:
    backup = _to_check(schedule, context, lambda backup: backup.drill)
    backup_checks.drill(context, backup.id)
    return backup.id


def _to_check(schedule: BackupSchedule, context: Context, found: Callable[[Backup], dict[str, Any] | None]) -> Backup:
    """The one that this run chose before; else the newest that was never checked, or the one checked longest ago.

    Raises InvalidBackup when there is none.
    """
    usable = _usable(schedule, 'check')
    for backup in usable:
        if context.request_id in {backup.owner, (found(backup) or {}).get('request_id')}:
            return backup
    newest_first = sorted(usable, key=lambda backup: str(backup.created_at), reverse=True)
    return min(newest_first, key=lambda backup: str((found(backup) or {}).get('checked_at', '')))


def _usable(schedule: BackupSchedule, purpose: str) -> list[Backup]:
    """Return the volume's available backups; to copy, without those that are copies. Raises InvalidBackup for none."""
    found = [
        backup
        for backup in base.every(Backup, schedule.project_id)
        if backup.volume_id == schedule.volume_id and backup.status == states.AVAILABLE
        if purpose != 'copy' or not backup.location
    ]
    if not found:
        raise errors.InvalidBackup(reason=f'volume {schedule.volume_id} has no available backup to {purpose}')
    return found


#: A schedule's action -> the function that starts it for one run and returns the backup's id.
ACTIONS: Mapping[str, Callable[[Context, BackupSchedule], str]] = {
    'backup': _back_up,
    'copy': _copy,
    'scrub': _scrub,
    'drill': _drill,
}


def _is_incremental(schedule: BackupSchedule) -> bool:
    """Whether the next backup is incremental: the volume has a usable one, and the chain is below ``full_every``."""
    usable = [
        backup
        for backup in base.every(Backup, schedule.project_id)
        if backup.lineage == schedule.volume_id and backup.status == states.AVAILABLE and not backup.location
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
        if backup.status == states.AVAILABLE
    }
    for id in moments.keys() - retention.kept(moments, schedule.keep):
        _remove(context, id)


def _remove(context: Context, id: str) -> None:
    try:
        backups.delete(context, id)
    except (errors.InvalidBackup, errors.BackupNotFound):
        return  # another request uses it or has removed it: the next run looks again


def _context(schedule: BackupSchedule) -> Context:
    """Return the context of the user who made or enabled the schedule: current roles, at most those of a member."""
    held, member = cloud.roles_of(schedule.user_id, schedule.project_id), implied_roles(['member'])
    return Context(
        user_id=schedule.user_id,
        project_id=schedule.project_id,
        roles=member if held is None else held & member,
        request_id=f'req-{_run_id(schedule)}',
    )


def _utc_now() -> datetime.datetime:
    return datetime.datetime.strptime(base.now(), _FORMAT)


def _next(expression: str, moment: datetime.datetime) -> str:
    from chalicelib.rules import cron  # compiles patterns that few requests need

    return cron.parse(expression).after(moment).strftime(_FORMAT)
