"""Register the API's routes with a Chalice app. Every path below /v3 exists twice: with and without a project id.

On Lambda and in the local cloud a path is registered at its first request: that imports only the path's own modules
(docs/decisions/0034-imports.md). Packaging registers all paths at once.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping, Sequence

from chalice.app import Chalice, Response
from chalice.app import Request as HttpRequest

from chalicelib.api import front_door, resources
from chalicelib.api.resource import Route
from chalicelib.api.resources import PREFIXES

#: First part of a path outside /v3 -> the module whose ``routes`` return its Blueprint.
BESIDE: Mapping[str, str] = {
    '': 'versions',
    'v3': 'versions',
    'openapi.json': 'versions',
    'healthcheck': 'healthcheck',
    'identity': 'identity',
    'key-manager': 'key_manager',
    'console': 'console',
}


def register_all(app: Chalice) -> None:
    """Register every path with the app."""
    app.register_middleware(front_door.with_request, 'http')
    for module in dict.fromkeys(BESIDE.values()):
        _register_other(app, module)
    for path in dict.fromkeys(route.path for route in resources.routes()):
        _register_path(app, path)
    _register_options(app)


def register_on_demand(app: Chalice) -> None:
    """Register a path at its first request: API Gateway has all paths, and passes the matching one.

    The local cloud serves requests side by side. The lock keeps a second request for a path from finding half of it.
    """
    registering = threading.Lock()

    def find(http: HttpRequest, get_response: Callable[[HttpRequest], Response]) -> Response:
        place = str(http.context['resourcePath'])
        with registering:
            if place not in app.routes:
                _register_gateway_path(app, place)
                _register_options(app)
        return get_response(http)

    app.register_middleware(front_door.with_request, 'http')
    app.register_middleware(find, 'http')


def _register_options(app: Chalice) -> None:
    """Add the method OPTIONS to every registered path: browsers use it before they send a token.

    The form with the project's id is left out: each method adds 700 bytes to the template, which is limited to 1 MB.
    """
    for path, methods in app.routes.items():
        if 'OPTIONS' not in methods and '{project_id}' not in path:
            app.route(path, methods=['OPTIONS'], content_types=['*/*'])(front_door.options)


def _register_gateway_path(app: Chalice, place: str) -> None:
    """Register one path of API Gateway, such as ``/v3/{project_id}/volumes/{id}``."""
    path = place.removeprefix(PREFIXES[0]).removeprefix('/{project_id}')
    if place.startswith(f'{PREFIXES[0]}/'):
        _register_path(app, path)
    elif (module := BESIDE.get(place.split('/')[1])) is not None:
        _register_other(app, module)


def _register_other(app: Chalice, module: str) -> None:
    app.register_blueprint(importlib.import_module(f'chalicelib.api.{module}').routes())


def _register_path(app: Chalice, path: str) -> None:
    """Register one path, in both forms."""
    by_method: dict[str, list[Route]] = {}
    for route in resources.routes_of(path):
        by_method.setdefault(route.method, []).append(route)
    for method, routes in by_method.items():
        for prefix in PREFIXES:
            # Any content type: the pipeline checks it, with Cinder's messages.
            app.route(prefix + path, methods=[method], content_types=['*/*'])(_view(routes))


def _view(routes: Sequence[Route]) -> Callable[..., Response]:
    def view(**ids: str) -> Response:
        return front_door.serve(routes, ids)

    return view
