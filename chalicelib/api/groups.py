"""Generic volume groups (3.13). Their actions are in ``group_actions``."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.filters import Filter, Filters, boolean, plain
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.schemas import groups as schemas
from chalicelib.api.standard_routes import add_lists, add_show
from chalicelib.api.view import View
from chalicelib.api.views import groups as views
from chalicelib.models import Group
from chalicelib.operations import group_creation
from chalicelib.operations import groups as operations
from chalicelib.rules.microversions import Version

groups = Resource('groups', not_found=errors.GroupNotFound, find=operations.get)

SINCE = '3.13'
LIST_VOLUME: Version = (3, 25)

FILTERS = Filters(
    'group', Group, early=frozenset(('name', 'status')), known={'name': Filter(plain)}, apart=('list_volume',)
)


def _detail(request: Request) -> View:
    """Include the groups' volumes, if requested."""
    wanted = request.version >= LIST_VOLUME and boolean('list_volume', request.query.get('list_volume', 'false'))
    return views.with_volumes(operations.members(request.context)) if wanted else views.DETAIL


add_lists(
    groups,
    'groups',
    operations.list_,
    FILTERS,
    brief=views.BRIEF,
    detail=_detail,
    links='group_links',
    policy='group:get_all',
    since=SINCE,
)
add_show(groups, 'group', _detail, operations.get, policy='group:get', since=SINCE)


@groups.post('', policy='group:create', schema=schemas.CREATE, status=202, since=SINCE)
def create(request: Request) -> dict[str, Any]:
    body = request.body['group']
    created = group_creation.create(
        request.context,
        name=p.stripped(body, 'name'),
        description=p.stripped(body, 'description'),
        group_type=body['group_type'],
        volume_types_=body['volume_types'],
        availability_zone=body.get('availability_zone'),
    )
    return {'group': views.BRIEF.of(request)(created)}


@groups.put('/{id}', policy='group:update', schema=schemas.UPDATE, status=202, since=SINCE)
def update(request: Request, id: str) -> None:
    change(request, id, request.body['group'])


def change(request: Request, id: str, body: dict[str, Any]) -> None:
    """Change texts and volumes of a group; ids are one text."""
    operations.update(
        request.context, id, p.texts(body), add=ids(body.get('add_volumes')), remove=ids(body.get('remove_volumes'))
    )


def ids(text: str | None) -> list[str]:
    """Return the ids of a text, separated by commas."""
    return [id.strip() for id in (text or '').split(',') if id.strip()]
