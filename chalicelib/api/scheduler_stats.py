"""The pools of the scheduler."""

from __future__ import annotations

from typing import Any

from chalicelib.api.filters import CONFIGURABLE, boolean, refuse_unknown
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.operations import services
from chalicelib.rules.microversions import Version

scheduler_stats = Resource('scheduler-stats')

#: From these versions on pools can be filtered, and filtered by type.
FILTERED: Version = (3, 28)
BY_TYPE: Version = (3, 35)


@scheduler_stats.get('/get_pools', policy='scheduler_extension:scheduler_stats:get_pools')
def get_pools(request: Request) -> dict[str, Any]:
    detail = boolean('detail', request.query.get('detail', 'false'))
    return {'pools': services.pools(request.context, _filters(request), detail)}


def _filters(request: Request) -> dict[str, str]:
    """From 3.31 on only the names that the operator lists; before, any capability; before 3.28, none."""
    if request.version < FILTERED:
        return {}
    sent = {name: text for name, text in request.query.items() if name != 'detail'}
    if request.version >= CONFIGURABLE:
        refuse_unknown(request, 'pool', sent, admins_too=True)
    if request.version < BY_TYPE:
        sent.pop('volume_type', None)
    return sent
