"""Volume transfers under both names: ``os-volume-transfer`` is the older one.

They differ in the options of a transfer (snapshots left out, encrypted volumes) and in lists: the older one has no
paging, and treats paging parameters as filters, which nothing matches.
"""

from __future__ import annotations

from typing import Any

from chalice.app import Response

from chalicelib import errors
from chalicelib.api import pagination
from chalicelib.api import parameters as p
from chalicelib.api.filters import Filter, ShownFilter, plain
from chalicelib.api.reply import reply
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.schemas import transfers as schemas
from chalicelib.api.view import View
from chalicelib.api.views import transfers as views
from chalicelib.models import Transfer
from chalicelib.operations import transfers as operations
from chalicelib.operations.common import ListQuery
from chalicelib.rules.microversions import Version

old_transfers = Resource('os-volume-transfer', not_found=errors.TransferNotFound, find=operations.get)
volume_transfers = Resource('volume-transfers', not_found=errors.TransferNotFound, find=operations.get)

#: Encrypted volumes may be transferred; lists have pages.
ENCRYPTED: Version = (3, 70)
PAGED: Version = (3, 59)

GET_ALL = 'volume:get_all_transfers'


#: The members of a transfer; Cinder allows any column, the hash of the key included.
_NAMES = ('id', 'name', 'volume_id', 'no_snapshots', 'created_at', 'project_id')

FILTERS = ShownFilter(
    'transfer',
    Transfer,
    early=frozenset(),
    known={
        **{name: Filter(plain) for name in _NAMES},
        'display_name': Filter(plain, 'name'),
        'source_project_id': Filter(plain, 'project_id'),
    },
)


@old_transfers.get('', policy=GET_ALL)
def old_index(request: Request) -> Response:
    return _whole_list(request, views.BRIEF)


@old_transfers.get('/detail', policy=GET_ALL)
def old_detail(request: Request) -> Response:
    return _whole_list(request, views.DETAIL)


@volume_transfers.get('', policy=GET_ALL)
def index(request: Request) -> Response:
    return _list(request, views.BRIEF, 'volume-transfers')


@volume_transfers.get('/detail', policy=GET_ALL)
def detail(request: Request) -> Response:
    return _list(request, views.DETAIL, 'volume-transfers/detail')


def _list(request: Request, view: View, path: str) -> Response:
    if request.version < PAGED:
        return _whole_list(request, view)
    records, _ = operations.list_(request.context, pagination.query(request, FILTERS))
    return pagination.page(request, 'transfers', view, records, links='transfers_links', path=path)


def _whole_list(request: Request, view: View) -> Response:
    pagination.limit(request), pagination.offset(request)  # without effect, but validated
    sent = {name: text for name, text in request.query.items() if name != 'all_tenants'}
    query = ListQuery(filters=FILTERS.read(request, sent), all_tenants=pagination.all_tenants(request))
    records, _ = operations.list_(request.context, query)
    return reply(200, {'transfers': [*map(view.of(request), records)]})


@volume_transfers.get('/{id}', policy='volume:get_transfer')
@old_transfers.get('/{id}', policy='volume:get_transfer')
def show(request: Request, id: str) -> dict[str, Any]:
    return {'transfer': views.DETAIL.of(request)(operations.get(request.context, id))}


@volume_transfers.post('', policy='volume:create_transfer', schema=schemas.CREATE, status=202)
def create(request: Request) -> dict[str, Any]:
    return _create(request, allow_encrypted=request.version >= ENCRYPTED)


@old_transfers.post('', policy='volume:create_transfer', schema=schemas.CREATE_OLD, status=202)
def old_create(request: Request) -> dict[str, Any]:
    return _create(request, allow_encrypted=False)


def _create(request: Request, *, allow_encrypted: bool) -> dict[str, Any]:
    body = request.body['transfer']
    transfer, auth_key = operations.create(
        request.context,
        body['volume_id'],
        name=p.stripped(body, 'name'),
        no_snapshots=p.is_yes(body.get('no_snapshots', False)),
        allow_encrypted=allow_encrypted,
    )
    return {'transfer': views.with_key(views.DETAIL.of(request)(transfer), auth_key)}


@volume_transfers.post('/{id}/accept', policy='volume:accept_transfer', schema=schemas.ACCEPT, status=202)
@old_transfers.post('/{id}/accept', policy='volume:accept_transfer', schema=schemas.ACCEPT, status=202)
def accept(request: Request, id: str) -> dict[str, Any]:
    taken = operations.accept(request.context, id, str(request.body['accept']['auth_key']))
    return {'transfer': views.BRIEF.of(request)(taken)}


@volume_transfers.delete('/{id}', policy='volume:delete_transfer', status=202)
@old_transfers.delete('/{id}', policy='volume:delete_transfer', status=202)
def delete(request: Request, id: str) -> None:
    operations.delete(request.context, id)
