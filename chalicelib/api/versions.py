"""Discovery: the versions (``GET /`` and ``GET /v3``) and the OpenAPI document. Only these need no token."""

from __future__ import annotations

from typing import Any

from chalice.app import Blueprint, Response
from chalice.app import Request as HttpRequest

from chalicelib.api import front_door, negotiation
from chalicelib.api.negotiation import Stamp
from chalicelib.api.reply import reply
from chalicelib.api.request import endpoint_of, lower_headers
from chalicelib.rules import microversions

DOCUMENTATION = 'https://docs.openstack.org/'


def routes() -> Blueprint:
    """Return a Blueprint of the paths; the root answers 300, as if there were several versions."""
    blueprint = Blueprint(__name__)
    for path, status in (('/', 300), ('/v3', 200)):
        # Load balancers probe with HEAD and OPTIONS, which Cinder's discovery answers like GET.
        blueprint.route(path, methods=['GET', 'HEAD', 'OPTIONS'], content_types=['*/*'])(_view(status))
    blueprint.route('/openapi.json', methods=['GET'], content_types=['*/*'])(_described)
    return blueprint


def _described() -> Response:
    return front_door.guarded(_openapi)


def _openapi(http: HttpRequest, stamp: Stamp) -> Response:
    """Return the document, with the requested URL as the server. It is imported here: a cold start does not need it."""
    from chalicelib.api import openapi

    endpoint = endpoint_of(http, lower_headers(http))
    servers = [{'url': f'{endpoint}/v3'}, {'url': f'{endpoint}/v3/{{project_id}}', 'variables': _PROJECT}]
    return reply(200, {**openapi.document(), 'servers': servers})


#: The variable of the second form of every path.
_PROJECT = {'project_id': {'default': '0', 'description': 'The project that the token is scoped to.'}}


def _view(status: int) -> Any:
    def view() -> Response:
        return front_door.guarded(lambda http, stamp: _answer(http, stamp, status))

    return view


def _answer(http: HttpRequest, stamp: Stamp, status: int) -> Response:
    headers = lower_headers(http)
    stamp.version = negotiation.requested(headers.get(negotiation.HEADER.lower()))
    negotiation.check(stamp.version)
    return reply(status, None if http.method == 'HEAD' else {'versions': [version(endpoint_of(http, headers))]})


def version(endpoint: str) -> dict[str, Any]:
    """Return the only version."""
    return {
        'id': 'v3.0',
        'status': 'CURRENT',
        'version': microversions.text(microversions.MAXIMUM),
        'min_version': microversions.text(microversions.MINIMUM),
        'updated': microversions.UPDATED,
        'links': [
            {'rel': 'describedby', 'type': 'text/html', 'href': DOCUMENTATION},
            {'rel': 'self', 'href': f'{endpoint}/v3/'},
        ],
        'media-types': [{'base': 'application/json', 'type': 'application/vnd.openstack.volume+json;version=3'}],
    }
