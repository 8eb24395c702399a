"""The standalone identity in the API function: ``/identity/v3`` over ``chalicelib.identity``."""

from __future__ import annotations

from typing import Any

from chalice.app import Blueprint, Response
from chalice.app import Request as HttpRequest

from chalicelib.api import faults, front_door, tokens
from chalicelib.api.request import endpoint_of, lower_headers, path_of, query_of, raw_body
from chalicelib.config import settings

#: Paths below the mount, with their methods; Keystone answers HEAD wherever it answers GET.
PATHS = {
    '': ('GET', 'HEAD'),
    '/v3': ('GET', 'HEAD'),
    '/v3/auth/tokens': ('GET', 'HEAD', 'POST', 'DELETE'),
    '/v3/auth/projects': ('GET', 'HEAD'),
    '/v3/auth/catalog': ('GET', 'HEAD'),
    '/v3/auth/domains': ('GET', 'HEAD'),
    '/v3/auth/system': ('GET', 'HEAD'),
    '/v3/{collection}': ('GET', 'HEAD'),
    '/v3/{collection}/{id}': ('GET', 'HEAD'),
    '/v3/{collection}/{id}/{inner}': ('GET', 'HEAD'),
}


def routes() -> Blueprint:
    """Return a Blueprint of every path of the identity."""
    blueprint = Blueprint(__name__)
    for path, methods in PATHS.items():
        blueprint.route(tokens.MOUNT + path, methods=list(methods), content_types=['*/*'])(view)
    return blueprint


def view(**ids: Any) -> Response:
    """Answer any request below the mount; with an external Keystone the paths do not exist."""
    return front_door.guarded(lambda http, _: faults.no_route() if settings().keystone_url else _answer(http))


def _answer(http: HttpRequest) -> Response:
    from chalicelib.identity.handler import IdentityRequest, handle

    headers = lower_headers(http)
    request = IdentityRequest(
        method=http.method,
        path=path_of(http).removeprefix(tokens.MOUNT),
        headers=headers,
        query=query_of(http),
        body=raw_body(http),
        address=str((http.context.get('identity') or {}).get('sourceIp') or ''),
    )
    answer = handle(request, tokens.identity(endpoint_of(http, headers)))
    return Response(answer.body.decode(), dict(answer.headers), answer.status)
