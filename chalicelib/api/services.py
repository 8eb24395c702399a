"""Services (os-services): one per backend, and an operator's actions on them.

An action that reaches a backend names its host or, from 3.26, its cluster, which has the same name here.
"""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.view import View, item
from chalicelib.operations import services as operations
from chalicelib.rules.microversions import Version
from chalicelib.rules.policies import authorize

services = Resource('os-services')

UPDATE = 'volume_extension:services:update'

VOLUME_BINARY = 'cinder-volume'

#: From this version on a backend may be named by its cluster.
BY_CLUSTER: Version = (3, 26)

_BACKEND = {
    'host': {'type': ['string', 'null'], 'minLength': 1, 'maxLength': 255, 'pattern': r'^[a-zA-Z0-9-._#@:/+\[\]]*$'},
    'cluster': p.SHORT_TEXT,
}
_SERVICE = {'binary': p.NAME_REQUIRED, **_BACKEND, 'service': p.NAME_REQUIRED}

BACKEND = p.members(_BACKEND)
FAILOVER = p.members({**_BACKEND, 'backend_id': p.SHORT_TEXT})

SERVICE = p.members(_SERVICE)
REASON = p.members({**_SERVICE, 'disabled_reason': {**p.NAME_REQUIRED, 'format': 'reason'}})


def _is_volume(row: dict[str, Any]) -> bool:
    return bool(row['binary'] == VOLUME_BINARY)


VIEW = View(
    item('binary'),
    item('host'),
    item('zone'),
    item('status'),
    item('state'),
    item('updated_at'),
    item('backend_state', since='3.49', when=_is_volume),
    item('cluster', since='3.7'),
    item('disabled_reason'),
    item('replication_status', when=_is_volume),
    item('active_backend_id', when=_is_volume),
    item('frozen', when=_is_volume),
)


@services.get('', policy='volume_extension:services:index')
def index(request: Request) -> dict[str, Any]:
    rows = operations.list_(request.context, request.query.get('host'), request.query.get('binary'))
    return {'services': [VIEW.of(request)(row) for row in rows]}


@services.put('/enable', policy=UPDATE, schema=SERVICE)
def enable(request: Request) -> dict[str, Any]:
    return _set_enabled(request, True)


@services.put('/disable', policy=UPDATE, schema=SERVICE)
def disable(request: Request) -> dict[str, Any]:
    return _set_enabled(request, False)


@services.put('/disable-log-reason', policy=UPDATE, schema=REASON)
def disable_log_reason(request: Request) -> dict[str, Any]:
    reason = request.body.get('disabled_reason')
    if reason is None:
        raise errors.Invalid('Missing disabled reason field')
    return {**_set_enabled(request, False, reason), 'disabled_reason': reason}


def _set_enabled(request: Request, enabled: bool, reason: str | None = None) -> dict[str, Any]:
    host, service = request.body.get('host'), request.body.get('service', '')
    if not host:
        raise errors.InvalidInput(reason='Host field is missing.')
    binary = request.body.get('binary') or service or VOLUME_BINARY
    operations.set_enabled(request.context, host, binary, enabled, reason)
    status = 'enabled' if enabled else 'disabled'
    return {'host': host, 'service': service, 'binary': binary, 'status': status, 'disabled': not enabled}


@services.put('/freeze', policy=UPDATE, schema=BACKEND)
def freeze(request: Request) -> None:
    authorize(request.context, 'volume:freeze_host')
    operations.set_frozen(request.context, backend_of(request), True)


@services.put('/thaw', policy=UPDATE, schema=BACKEND)
def thaw(request: Request) -> None:
    authorize(request.context, 'volume:thaw_host')
    operations.set_frozen(request.context, backend_of(request), False)


@services.put('/failover_host', policy=UPDATE, schema=FAILOVER, status=202)
def failover_host(request: Request) -> None:
    authorize(request.context, 'volume:failover_host')
    operations.fail_over(request.context, backend_of(request), request.body.get('backend_id'))


def backend_of(request: Request) -> str:
    """Return the backend that the body names. Raises InvalidInput unless it has exactly one name."""
    host, cluster = request.body.get('host'), request.body.get('cluster')
    if request.version < BY_CLUSTER:
        cluster, problem = None, 'Host field is missing.'
    else:
        problem = 'One and only one of cluster and host must be set.'
    if bool(host) == bool(cluster):
        raise errors.InvalidInput(reason=problem)
    return str(host or cluster)
