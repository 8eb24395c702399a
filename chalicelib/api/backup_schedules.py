"""Backup schedules: an extension of Cinder's API, documented in docs/how-to/backup-schedules.md."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.filters import Filter, Filters, plain
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.schemas.backups import SAMPLE
from chalicelib.api.standard_routes import add_delete, add_lists, add_show
from chalicelib.api.view import View, attribute, links
from chalicelib.models import BackupSchedule
from chalicelib.operations import backup_schedules as operations
from chalicelib.operations.backups import STORAGE_CLASSES
from chalicelib.rules import retention

backup_schedules = Resource(
    'backup-schedules', not_found=errors.BackupScheduleNotFound, find=operations.get, shown_by='backup_schedule:get'
)

_COUNT = {'type': 'integer', 'minimum': 0, 'maximum': 1000}

_PROPERTIES = {
    'name': p.SHORT_TEXT,
    'description': p.PRINTABLE_TEXT,
    'cron': {'type': 'string', 'minLength': 9, 'maxLength': 255},
    'sample': SAMPLE,
    'keep': p.members(dict.fromkeys(retention.KEEPS, _COUNT)),
    'full_every': _COUNT,
    'lock_days': {'type': 'integer', 'minimum': 0, 'maximum': 36500},
    'container': p.CONTAINER,
    'storage_class': {'type': ['string', 'null'], 'enum': [*STORAGE_CLASSES, None]},
    'enabled': {'type': 'boolean'},
}

#: Members that cannot be changed.
_FIXED = {
    'volume_id': p.UUID,
    'action': {'type': 'string', 'enum': list(operations.ACTIONS)},
    'target': p.NAME_REQUIRED,
}

CREATE = p.only('backup_schedule', p.members({**_FIXED, **_PROPERTIES}, required=('volume_id', 'cron')))
UPDATE = p.only('backup_schedule', p.members(_PROPERTIES))

VIEW = View(
    attribute('id'),
    attribute('name'),
    attribute('description'),
    attribute('project_id'),
    attribute('user_id'),
    attribute('volume_id'),
    attribute('cron'),
    attribute('action'),
    attribute('target'),
    attribute('sample'),
    attribute('keep'),
    attribute('full_every'),
    attribute('lock_days'),
    attribute('container'),
    attribute('storage_class'),
    attribute('enabled'),
    attribute('next_run_at'),
    attribute('last_run_at'),
    attribute('last_backup_id'),
    attribute('last_error'),
    attribute('created_at'),
    attribute('updated_at'),
    links('backup-schedules'),
)

FILTERS = Filters(
    'backup_schedule',
    BackupSchedule,
    early=frozenset(),
    known={'name': Filter(plain), 'volume_id': Filter(plain)},
)


def _whole(request: Request, schedule: BackupSchedule) -> dict[str, Any]:
    return {'backup_schedule': VIEW.of(request)(schedule)}


add_lists(
    backup_schedules,
    'backup_schedules',
    operations.list_,
    FILTERS,
    brief=VIEW,
    links='backup_schedules_links',
    policy='backup_schedule:get_all',
)
add_show(backup_schedules, 'backup_schedule', VIEW, operations.get, policy='backup_schedule:get')
add_delete(backup_schedules, operations.delete, policy='backup_schedule:delete', status=204)


@backup_schedules.post('', policy='backup_schedule:create', schema=CREATE, status=201)
def create(request: Request) -> dict[str, Any]:
    return _whole(request, operations.create(request.context, **request.body['backup_schedule']))


@backup_schedules.put('/{id}', policy='backup_schedule:update', schema=UPDATE)
def update(request: Request, id: str) -> dict[str, Any]:
    return _whole(request, operations.update(request.context, id, request.body['backup_schedule']))
