"""Group snapshots (3.14)."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.filters import Filter, Filters, plain
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.schemas import groups as schemas
from chalicelib.api.standard_routes import add_delete, add_lists, add_show
from chalicelib.api.views import groups as views
from chalicelib.models import GroupSnapshot
from chalicelib.operations import group_snapshots as operations

group_snapshots = Resource('group_snapshots', not_found=errors.GroupSnapshotNotFound, find=operations.get)

SINCE = '3.14'

FILTERS = Filters(
    'group_snapshot',
    GroupSnapshot,
    early=frozenset(('name', 'status', 'group_id')),
    known={name: Filter(plain) for name in ('name', 'status', 'group_id')},
)


add_lists(
    group_snapshots,
    'group_snapshots',
    operations.list_,
    FILTERS,
    brief=views.BRIEF,
    detail=views.SNAPSHOT,
    links='group_snapshot_links',
    policy='group:get_all_group_snapshots',
    since=SINCE,
)
add_show(
    group_snapshots, 'group_snapshot', views.SNAPSHOT, operations.get, policy='group:get_group_snapshot', since=SINCE
)
add_delete(group_snapshots, operations.delete, policy='group:delete_group_snapshot', since=SINCE)


@group_snapshots.post('', policy='group:create_group_snapshot', schema=schemas.CREATE_SNAPSHOT, status=202, since=SINCE)
def create(request: Request) -> dict[str, Any]:
    body = request.body['group_snapshot']
    created = operations.create(
        request.context,
        body['group_id'],
        name=p.stripped(body, 'name'),
        description=p.stripped(body, 'description'),
    )
    return {'group_snapshot': views.CREATED_SNAPSHOT.of(request)(created)}


@group_snapshots.action(
    'reset_status', policy='group:reset_group_snapshot_status', schema=schemas.SNAPSHOT_RESET_STATUS, since='3.19'
)
def reset_status(request: Request, id: str) -> None:
    operations.reset_status(request.context, id, request.body['status'].lower())
