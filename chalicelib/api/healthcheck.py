"""``/healthcheck`` for load balancers and monitors, without a token, like oslo.middleware in Cinder's pipeline.

It shows that the function runs and is configured. It reads no table: a probe each second must cost nothing.
"""

from __future__ import annotations

from chalice.app import Blueprint, Response
from chalice.app import Request as HttpRequest

from chalicelib.api import front_door
from chalicelib.api.negotiation import Stamp
from chalicelib.api.reply import reply
from chalicelib.api.request import lower_headers

REASON = 'OK'


def routes() -> Blueprint:
    """Return a Blueprint of the path."""
    blueprint = Blueprint(__name__)
    blueprint.route('/healthcheck', methods=['GET', 'HEAD', 'OPTIONS'], content_types=['*/*'])(view)
    return blueprint


def view() -> Response:
    return front_door.guarded(_answer)


def _answer(http: HttpRequest, stamp: Stamp) -> Response:
    if http.method == 'HEAD':
        return reply(204)
    if 'application/json' in lower_headers(http).get('accept', ''):
        return reply(200, {'detailed': False, 'reasons': [REASON]})
    return Response(REASON, {'Content-Type': 'text/plain; charset=UTF-8'}, 200)
