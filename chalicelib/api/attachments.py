"""Attachments (3.27): reserve a volume for a host, connect, complete, disconnect."""

from __future__ import annotations

from typing import Any

from chalice.app import Response

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.filters import Filter, Filters, plain
from chalicelib.api.pagination import page
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.schemas import attachments as schemas
from chalicelib.api.standard_routes import add_lists, add_show
from chalicelib.api.views import attachments as views
from chalicelib.models import Attachment
from chalicelib.operations import attachments as operations
from chalicelib.rules.policies import ANY_AUTHENTICATED

attachments = Resource('attachments', not_found=errors.AttachmentNotFound, find=operations.get)

_NAMES = ('volume_id', 'status', 'instance_id', 'attach_status')

FILTERS = Filters(
    'attachment',
    Attachment,
    early=frozenset(_NAMES),
    known={**{name: Filter(plain) for name in _NAMES}, 'status': Filter(plain, 'attach_status')},
)


add_lists(
    attachments,
    'attachments',
    operations.list_,
    FILTERS,
    brief=views.BRIEF,
    detail=views.DETAIL,
    policy=ANY_AUTHENTICATED,
    since='3.27',
)
add_show(attachments, 'attachment', views.DETAIL, operations.get, policy=ANY_AUTHENTICATED, since='3.27')


@attachments.post('', policy='volume:attachment_create', schema=schemas.CREATE, since='3.27')
def create(request: Request) -> dict[str, Any]:
    body = request.body['attachment']
    created = operations.create(
        request.context,
        volume_id=body['volume_uuid'],
        instance_id=body.get('instance_uuid'),
        connector=body.get('connector') or None,
        mode=body.get('mode', 'null'),
    )
    return {'attachment': views.CONNECTED.of(request)(created)}


@attachments.put('/{id}', policy='volume:attachment_update', schema=schemas.UPDATE, since='3.27')
def update(request: Request, id: str) -> dict[str, Any]:
    changed = operations.update(request.context, id, request.body['attachment']['connector'])
    return {'attachment': views.CONNECTED.of(request)(changed)}


@attachments.delete('/{id}', policy='volume:attachment_delete', since='3.27')
def delete(request: Request, id: str) -> Response:
    """Disconnect, and return the attachments that the volume still has."""
    left = operations.delete(request.context, id)
    return page(request, 'attachments', views.BRIEF, left, links=None, path='attachments')


@attachments.action('os-complete', policy='volume:attachment_complete', schema=p.ANYTHING, since='3.44', status=204)
def complete(request: Request, id: str) -> None:
    operations.complete(request.context, id)
