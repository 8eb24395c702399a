"""Clusters: one per backend, which any number of workers serves at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.filters import boolean
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.services import VOLUME_BINARY
from chalicelib.api.view import View, item
from chalicelib.operations import clusters as operations
from chalicelib.rules import microversions

clusters = Resource('clusters', not_found=errors.ClusterNotFound)

SINCE = '3.7'
REPLICATION = '3.26'

_ENABLE = {'name': p.NAME_REQUIRED, 'binary': p.SHORT_TEXT}

ENABLE = p.members(_ENABLE, required=('name',))
DISABLE = p.members(
    {**_ENABLE, 'disabled_reason': {'type': ['string', 'null'], 'maxLength': 255, 'format': 'reason'}},
    required=('name',),
)

BRIEF = View(
    item('name'),
    item('binary'),
    item('state'),
    item('status'),
    item('replication_status', since=REPLICATION),
)

CHANGED = BRIEF.and_(item('disabled_reason'))

DETAIL = CHANGED.and_(
    item('num_hosts'),
    item('num_down_hosts'),
    item('last_heartbeat'),
    item('created_at'),
    item('updated_at'),
    item('frozen', since=REPLICATION),
    item('active_backend_id', since=REPLICATION),
)

#: Filter -> (value of a row, version since which it exists).
FILTERS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    'name': (lambda row: row['name'], SINCE),
    'binary': (lambda row: row['binary'], SINCE),
    'is_up': (lambda row: row['state'] == 'up', SINCE),
    'disabled': (lambda row: row['status'] == 'disabled', SINCE),
    'num_hosts': (lambda row: row['num_hosts'], SINCE),
    'num_down_hosts': (lambda row: row['num_down_hosts'], SINCE),
    'replication_status': (lambda row: row['replication_status'], REPLICATION),
    'frozen': (lambda row: row['frozen'], REPLICATION),
    'active_backend_id': (lambda row: row['active_backend_id'], REPLICATION),
}


@clusters.get('', policy='clusters:get_all', since=SINCE)
def index(request: Request) -> dict[str, Any]:
    return _list(request, BRIEF)


@clusters.get('/detail', policy='clusters:get_all', since=SINCE)
def detail(request: Request) -> dict[str, Any]:
    return _list(request, DETAIL)


def _list(request: Request, view: View) -> dict[str, Any]:
    unknown = sorted(name for name in request.query if not _knows(request, name))
    if unknown:
        raise errors.InvalidInput(reason=f'Invalid filter keys: {", ".join(unknown)}')
    show = view.of(request)
    return {'clusters': [show(row) for row in operations.list_(request.context) if _matches(row, request)]}


def _knows(request: Request, name: str) -> bool:
    return name in FILTERS and microversions.parse(FILTERS[name][1]) <= request.version


def _matches(row: dict[str, Any], request: Request) -> bool:
    return all(_equals(FILTERS[name][0](row), name, text) for name, text in request.query.items())


def _equals(found: Any, name: str, text: str) -> bool:
    return boolean(name, text) == found if isinstance(found, bool) else str(found) == text


@clusters.get('/{id}', policy='clusters:get', since=SINCE)
def show(request: Request, id: str) -> dict[str, Any]:
    return {'cluster': DETAIL.of(request)(operations.get(request.context, id, request.query.get('binary')))}


@clusters.put('/enable', policy='clusters:update', schema=ENABLE, since=SINCE)
def enable(request: Request) -> dict[str, Any]:
    return _set_enabled(request, True)


@clusters.put('/disable', policy='clusters:update', schema=DISABLE, since=SINCE)
def disable(request: Request) -> dict[str, Any]:
    return _set_enabled(request, False)


def _set_enabled(request: Request, enabled: bool) -> dict[str, Any]:
    body = request.body
    binary = body.get('binary') or VOLUME_BINARY
    changed = operations.set_enabled(request.context, body['name'], binary, enabled, body.get('disabled_reason'))
    return {'cluster': CHANGED.of(request)(changed)}
