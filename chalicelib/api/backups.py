"""Backups: create, list, show, change, restore, delete, and their actions."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.filters import Filter, Filters, plain
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource, Visibility
from chalicelib.api.schemas import backups as schemas
from chalicelib.api.standard_routes import add_delete, add_lists, add_show
from chalicelib.api.views import backups as views
from chalicelib.models import Backup
from chalicelib.operations import backup_checks as checks
from chalicelib.operations import backup_copies as copies
from chalicelib.operations import backup_records as records
from chalicelib.operations import backups as operations
from chalicelib.operations import common
from chalicelib.rules.policies import authorize

backups = Resource('backups', not_found=errors.BackupNotFound, find=operations.get)

ADMIN_ACTION = 'volume_extension:backup_admin_actions'

FILTERS = Filters(
    'backup',
    Backup,
    early=frozenset(('name', 'status', 'volume_id')),
    counted=True,
    named=(3, 37),
    known={'name': Filter(plain), 'display_name': Filter(plain, 'name'), 'status': Filter(plain)},
    no_boolean="all_tenants must be a boolean, got '{text}'.",
)


add_lists(
    backups,
    'backups',
    operations.list_,
    FILTERS,
    brief=views.BRIEF,
    detail=views.DETAIL,
    links='backups_links',
    count=lambda context, wanted: common.count(context, Backup, wanted),
    policy='backup:get_all',
)
add_show(backups, 'backup', views.DETAIL, operations.get, policy='backup:get')
add_delete(backups, operations.delete, policy='backup:delete')


@backups.post(
    '',
    policy='backup:create',
    schema=schemas.CREATE,
    status=202,
    visible=Visibility('volume:get', errors.VolumeNotFound, lambda ids, body: body['backup']['volume_id']),
)
def create(request: Request) -> dict[str, Any]:
    body = request.body['backup']
    created = operations.create(
        request.context,
        volume_id=body['volume_id'],
        name=p.stripped(body, 'name'),
        description=p.stripped(body, 'description'),
        container=body.get('container'),
        incremental=p.is_yes(body.get('incremental', False)),
        force=p.is_yes(body.get('force', False)),
        snapshot_id=body.get('snapshot_id'),
        metadata=body.get('metadata') or {},
        availability_zone=body.get('availability_zone'),
        storage_class=body.get('cinderless:storage_class'),
        locked_until=body.get('cinderless:locked_until'),
    )
    return {'backup': views.BRIEF.of(request)(created)}


@backups.put('/{id}', policy='backup:update', schema=schemas.UPDATE, since='3.9')
def update(request: Request, id: str) -> dict[str, Any]:
    body = request.body['backup'] or {}
    changes = {**p.texts(body), **({'metadata': body['metadata']} if 'metadata' in body else {})}
    return {'backup': views.BRIEF.of(request)(operations.update(request.context, id, changes))}


@backups.get('/{id}/export_record', policy='backup:export-import')
def export_record(request: Request, id: str) -> dict[str, Any]:
    return {'backup-record': records.export(request.context, id)}


@backups.post('/import_record', policy='backup:backup-import', schema=schemas.IMPORT_RECORD, status=201)
def import_record(request: Request) -> dict[str, Any]:
    """The name is unknown until the manifest is read, as in Cinder."""
    record = request.body['backup-record']
    imported = records.import_(request.context, record['backup_service'], record['backup_url'])
    return {'backup': views.BRIEF.of(request)(imported)}


@backups.post('/{id}/restore', policy='backup:restore', schema=schemas.RESTORE, status=202)
def restore(request: Request, id: str) -> dict[str, Any]:
    """Restore to the named volume, or to a new one; Cinder would block until that one exists."""
    body = request.body['restore'] or {}
    backup, volume = operations.restore(
        request.context, id, volume_id=body.get('volume_id'), name=p.stripped(body, 'name')
    )
    return {'restore': {'backup_id': backup.id, 'volume_id': volume.id, 'volume_name': volume.name}}


@backups.action('os-force_delete', policy=f'{ADMIN_ACTION}:force_delete', schema=p.ANYTHING)
def force_delete(request: Request, id: str) -> None:
    authorize(request.context, 'backup:delete', find=lambda: operations.get(request.context, id))
    operations.delete(request.context, id, force=True)


@backups.action('os-reset_status', policy=f'{ADMIN_ACTION}:reset_status', schema=schemas.RESET_STATUS)
def reset_status(request: Request, id: str) -> None:
    operations.reset_status(request.context, id, request.body['status'].lower())


@backups.action('cinderless:scrub', policy='backup:scrub', schema=schemas.SCRUB)
def scrub(request: Request, id: str) -> None:
    """Not Cinder's: docs/how-to/backup-checks.md."""
    checks.scrub(request.context, id, **(request.body or {}))


@backups.action('cinderless:drill', policy='backup:drill', schema=p.ANYTHING)
def drill(request: Request, id: str) -> None:
    """Not Cinder's: docs/how-to/backup-checks.md."""
    checks.drill(request.context, id)


@backups.action('cinderless:copy', policy='backup:copy', schema=schemas.COPY)
def copy(request: Request, id: str) -> dict[str, Any]:
    """Not Cinder's: docs/how-to/backup-copies.md."""
    body = request.body
    texts = {'name': p.stripped(body, 'name'), 'description': p.stripped(body, 'description')}
    return {'backup': views.BRIEF.of(request)(copies.create(request.context, id, target=body['target'], **texts))}
