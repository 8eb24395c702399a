"""Actions on a group, and the creation of a group from another one (``POST /groups/action``)."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.groups import SINCE, groups
from chalicelib.api.request import Request
from chalicelib.api.schemas import groups as schemas
from chalicelib.api.views import groups as views
from chalicelib.operations import group_creation, group_replication
from chalicelib.operations import groups as operations
from chalicelib.rules.policies import allowed

REPLICATION = '3.38'


@groups.post(
    '/action',
    action='create-from-src',
    policy='group:get',
    schema=schemas.CREATE_FROM_SRC,
    status=202,
    since='3.14',
)
def create_from_src(request: Request) -> dict[str, Any]:
    """Cinder reads the source first, so a caller who may read but not create gets 400 instead of 403."""
    if not allowed(request.context, 'group:create'):
        raise errors.InvalidInput(reason=errors.PolicyNotAuthorized(action='group:create').message)
    body = request.body
    created = group_creation.create_from_src(
        request.context,
        name=p.stripped(body, 'name'),
        description=p.stripped(body, 'description'),
        group_snapshot_id=body.get('group_snapshot_id'),
        source_group_id=body.get('source_group_id'),
    )
    return {'group': views.BRIEF.of(request)(created)}


@groups.action('delete', policy='group:delete', schema=schemas.DELETE, since=SINCE)
def delete(request: Request, id: str) -> None:
    operations.delete(request.context, id, delete_volumes=p.is_yes(request.body.get('delete-volumes', False)))


@groups.action('reset_status', policy='group:reset_status', schema=schemas.RESET_STATUS, since='3.20')
def reset_status(request: Request, id: str) -> None:
    operations.reset_status(request.context, id, request.body['status'].lower())


@groups.action('enable_replication', policy='group:enable_replication', schema=schemas.EMPTY, since=REPLICATION)
def enable_replication(request: Request, id: str) -> None:
    group_replication.change(request.context, id, 'enable')


@groups.action('disable_replication', policy='group:disable_replication', schema=schemas.EMPTY, since=REPLICATION)
def disable_replication(request: Request, id: str) -> None:
    group_replication.change(request.context, id, 'disable')


@groups.action('failover_replication', policy='group:failover_replication', schema=schemas.FAILOVER, since=REPLICATION)
def failover_replication(request: Request, id: str) -> None:
    group_replication.change(request.context, id, 'failover')


@groups.action(
    'list_replication_targets',
    policy='group:list_replication_targets',
    schema=schemas.EMPTY,
    status=200,
    since=REPLICATION,
)
def list_replication_targets(request: Request, id: str) -> dict[str, Any]:
    return {'replication_targets': group_replication.targets(request.context, id)}
