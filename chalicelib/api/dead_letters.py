"""The dead-letter queue of accepted work, as administrators read it and move it back: an extension of Cinder's API."""

from __future__ import annotations

from typing import Any

from chalicelib.api.request import Request
from chalicelib.api.services import services
from chalicelib.operations import dead_letters as operations

READ, REDRIVE = 'volume_extension:services:index', 'volume_extension:services:update'


@services.get('/dead-letters', policy=READ)
def index(request: Request) -> dict[str, Any]:
    """List dead letters: messages of work that did not begin after five tries."""
    return operations.list_(request.context)


@services.post('/dead-letters', policy=REDRIVE, status=202)
def redrive(request: Request) -> dict[str, Any]:
    """Move dead letters back to the work queue."""
    return operations.redrive(request.context)
