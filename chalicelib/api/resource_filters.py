"""The filters of lists (3.33)."""

from __future__ import annotations

from typing import Any

from chalicelib.api.filters import RESOURCE_FILTERS
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.rules.policies import ANY_AUTHENTICATED

resource_filters = Resource('resource_filters')


@resource_filters.get('', policy=ANY_AUTHENTICATED, since='3.33')
def index(request: Request) -> dict[str, Any]:
    wanted = request.query.get('resource')
    shown = [
        {'resource': resource, 'filters': list(filters)}
        for resource, filters in RESOURCE_FILTERS.items()
        if wanted in (None, '', resource)
    ]
    return {'resource_filters': shown}
