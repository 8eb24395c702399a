"""Actions on a volume: ``POST /volumes/{id}/action`` with the action's name as the one member of the body."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.request import Request
from chalicelib.api.schemas import volumes as schemas
from chalicelib.api.volumes import volumes
from chalicelib.operations import legacy_attachments, moves, reverts
from chalicelib.operations import volumes as operations
from chalicelib.rules.policies import authorize

STATUSES = ('status', 'attach_status', 'migration_status')

ACTION = 'volume_extension:volume_actions'
ADMIN_ACTION = 'volume_extension:volume_admin_actions'


@volumes.action('os-extend', policy='volume:extend', schema=schemas.EXTEND)
def extend(request: Request, id: str) -> None:
    operations.extend(request.context, id, p.size(request.body['new_size']))


@volumes.action(
    'os-extend_volume_completion',
    policy=f'{ADMIN_ACTION}:extend_volume_completion',
    schema=schemas.EXTEND_COMPLETION,
)
def extend_completion(request: Request, id: str) -> None:
    operations.complete_extension(request.context, id, _failed(request.body))


def _failed(body: dict[str, Any]) -> bool:
    """Whether a server reports a failure; Cinder takes a text as true unless it is a word for no."""
    return body.get('error') not in (None, False, '', *p.NO)


@volumes.action('os-retype', policy='volume:retype', schema=schemas.RETYPE)
def retype(request: Request, id: str) -> None:
    body = request.body
    moves.retype(request.context, id, body['new_type'], body.get('migration_policy', 'never'))


@volumes.action('revert', policy='volume:revert_to_snapshot', schema=schemas.REVERT, since='3.40', hides=False)
def revert(request: Request, id: str) -> None:
    reverts.revert(request.context, id, request.body.get('snapshot_id'))


@volumes.action('os-migrate_volume', policy=f'{ADMIN_ACTION}:migrate_volume', schema=schemas.MIGRATE, until='3.15')
@volumes.action(
    'os-migrate_volume', policy=f'{ADMIN_ACTION}:migrate_volume', schema=schemas.MIGRATE_CLUSTER, since='3.16'
)
def migrate(request: Request, id: str) -> None:
    body = request.body
    moves.migrate(
        request.context,
        id,
        host=body.get('host'),
        cluster=body.get('cluster'),
        force_host_copy=p.is_yes(body.get('force_host_copy', False)),
        lock_volume=p.is_yes(body.get('lock_volume', False)),
    )


@volumes.action(
    'os-migrate_volume_completion',
    policy=f'{ADMIN_ACTION}:migrate_volume_completion',
    schema=schemas.MIGRATE_COMPLETION,
    status=200,
)
def migrate_completion(request: Request, id: str) -> dict[str, Any]:
    body = request.body
    kept = moves.complete_migration(request.context, id, body['new_volume'], _failed(body))
    return {'save_volume_id': kept}


@volumes.action('os-reserve', policy=f'{ACTION}:reserve', schema=p.ANYTHING)
def reserve(request: Request, id: str) -> None:
    legacy_attachments.reserve(request.context, id)


@volumes.action('os-unreserve', policy=f'{ACTION}:unreserve', schema=p.ANYTHING)
def unreserve(request: Request, id: str) -> None:
    legacy_attachments.unreserve(request.context, id)


@volumes.action('os-begin_detaching', policy=f'{ACTION}:begin_detaching', schema=p.ANYTHING)
def begin_detaching(request: Request, id: str) -> None:
    legacy_attachments.begin_detaching(request.context, id)


@volumes.action('os-roll_detaching', policy=f'{ACTION}:roll_detaching', schema=p.ANYTHING)
def roll_detaching(request: Request, id: str) -> None:
    legacy_attachments.roll_detaching(request.context, id)


@volumes.action('os-attach', policy=f'{ACTION}:attach', schema=schemas.ATTACH)
def attach(request: Request, id: str) -> None:
    body = request.body
    legacy_attachments.attach(
        request.context,
        id,
        instance_id=body.get('instance_uuid'),
        host_name=body.get('host_name'),
        mountpoint=body['mountpoint'],
        mode=body.get('mode', 'rw'),
    )


@volumes.action('os-detach', policy=f'{ACTION}:detach', schema=schemas.DETACH)
def detach(request: Request, id: str) -> None:
    legacy_attachments.detach(request.context, id, (request.body or {}).get('attachment_id'))


@volumes.action(
    'os-initialize_connection',
    policy=f'{ACTION}:initialize_connection',
    schema=schemas.INITIALIZE_CONNECTION,
    status=200,
)
def initialize_connection(request: Request, id: str) -> dict[str, Any]:
    connector = _connector(request.body)
    return {'connection_info': legacy_attachments.initialize_connection(request.context, id, connector or {})}


@volumes.action('os-terminate_connection', policy=f'{ACTION}:terminate_connection', schema=schemas.TERMINATE_CONNECTION)
def terminate_connection(request: Request, id: str) -> None:
    legacy_attachments.terminate_connection(request.context, id, _connector(request.body))


def _connector(body: dict[str, Any]) -> dict[str, Any] | None:
    """Return the host's connector; Cinder's schema accepts a text, which cannot name a host."""
    connector = body.get('connector')
    if isinstance(connector, str):
        raise errors.InvalidInput(reason=f'Connector must be an object that names the host, not {connector!r}.')
    return connector


@volumes.action('os-force_detach', policy=f'{ADMIN_ACTION}:force_detach', schema=schemas.FORCE_DETACH)
def force_detach(request: Request, id: str) -> None:
    for rule in f'{ACTION}:terminate_connection', f'{ACTION}:detach':
        authorize(request.context, rule, find=lambda: operations.get(request.context, id))
    legacy_attachments.force_detach(
        request.context, id, request.body.get('attachment_id') or None, _connector(request.body)
    )


@volumes.action('os-force_delete', policy=f'{ADMIN_ACTION}:force_delete', schema=p.ANYTHING)
def force_delete(request: Request, id: str) -> None:
    authorize(request.context, 'volume:delete', find=lambda: operations.get(request.context, id))
    operations.delete(request.context, id, force=True)


@volumes.action('os-reset_status', policy=f'{ADMIN_ACTION}:reset_status', schema=schemas.RESET_STATUS, hides=False)
def reset_status(request: Request, id: str) -> None:
    """Set any of three statuses; Cinder accepts them case-insensitively."""
    given = {name: (request.body.get(name) or '').lower() or None for name in STATUSES}
    if not any(given.values()):
        raise errors.InvalidParameterValue(
            err="Must specify 'status', 'attach_status' or 'migration_status' for update."
        )
    operations.reset_status(request.context, id, **given)


@volumes.action('os-set_bootable', policy='volume:update', schema=schemas.SET_BOOTABLE, status=200)
def set_bootable(request: Request, id: str) -> None:
    operations.set_bootable(request.context, id, p.is_yes(request.body['bootable']))


@volumes.action('os-update_readonly_flag', policy='volume:update_readonly_flag', schema=schemas.UPDATE_READONLY)
def update_readonly_flag(request: Request, id: str) -> None:
    operations.set_readonly(request.context, id, p.is_yes(request.body['readonly']))
