"""Reports of the comparison of backends with the records, and their confirmation: an extension of Cinder's API."""

from __future__ import annotations

from typing import Any

from chalicelib.api import parameters as p
from chalicelib.api.request import Request
from chalicelib.api.services import services
from chalicelib.operations import reconciliations as operations

READ, CONFIRM = 'volume_extension:services:index', 'volume_extension:services:update'

BACKEND = p.members({'host': p.NAME_REQUIRED}, required=('host',))


@services.get('/reconciliation', policy=READ)
def index(request: Request) -> dict[str, Any]:
    """List each backend's orphans, differences and removed objects."""
    return {'reconciliations': operations.list_(request.context, request.query.get('host'))}


@services.put('/confirm-reconciliation', policy=CONFIRM, schema=BACKEND)
def confirm(request: Request) -> dict[str, Any]:
    """Allow the deletion of the objects in the newest report of a backend."""
    return {'reconciliation': operations.confirm(request.context, request.body['host'])}
