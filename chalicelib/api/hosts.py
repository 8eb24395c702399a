"""Hosts (os-hosts): the services in an older form, and the use of a backend by project.

Changing a host never worked in Cinder: it is refused here, with the alternatives.
"""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.operations import hosts as operations
from chalicelib.operations import services

hosts = Resource('os-hosts', not_found=errors.HostNotFound)

POLICY = 'volume_extension:hosts'


@hosts.get('', policy=POLICY)
def index(request: Request) -> dict[str, Any]:
    zone = request.query.get('zone')
    rows = services.list_(request.context)
    return {'hosts': [_shown(row) for row in rows if not zone or row['zone'] == zone]}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        'host_name': row['host'],
        'service': row['binary'],
        'zone': row['zone'],
        'service-status': 'available' if row['state'] == 'up' else 'unavailable',
        'service-state': row['status'],
        'last-update': row['updated_at'],
    }


@hosts.get('/{id}', policy=POLICY)
def show(request: Request, id: str) -> dict[str, Any]:
    return {'host': [{'resource': row} for row in operations.usage(request.context, id)]}


@hosts.put('', policy=POLICY)
@hosts.put('/{id}', policy=POLICY)
def update(request: Request, **ids: str) -> None:
    raise errors.Invalid('Hosts cannot be changed here: use PUT /os-services/enable or /os-services/disable.')
