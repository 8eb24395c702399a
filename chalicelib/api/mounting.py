"""The API in a Chalice app. Every path below /v3 is there twice: with and without the project's id.

A function that serves registers a path when it is first asked for: that imports the path's own modules, and nothing of
the other paths (docs/decisions/0034-imports.md). Who packages the app, or serves it on one machine, wants all at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence

from chalice.app import Chalice, Response
from chalice.app import Request as HttpRequest

from chalicelib.api import front_door, resources
from chalicelib.api.resource import Route
from chalicelib.api.resources import PREFIXES

#: First part of a path outside /v3 -> the module whose ``routes`` are a Blueprint of it.
BESIDE: Mapping[str, str] = {
    '': 'versions',
    'v3': 'versions',
    'openapi.json': 'versions',
    'healthcheck': 'healthcheck',
    'identity': 'identity',
    'key-manager': 'key_manager',
}


def mount(app: Chalice) -> None:
    """Register every path with the app."""
    app.register_middleware(front_door.remember, 'http')
    for module in dict.fromkeys(BESIDE.values()):
        _mount_beside(app, module)
    for path in dict.fromkeys(route.path for route in resources.routes()):
        _mount_path(app, path)
    _mount_options(app)


def mount_on_demand(app: Chalice) -> None:
    """Have the app register a path when it is first asked for: API Gateway has the table, and names the path."""

    def find(http: HttpRequest, get_response: Callable[[HttpRequest], Response]) -> Response:
        place = str(http.context['resourcePath'])
        if place not in app.routes:
            _mount_place(app, place)
            _mount_options(app)
        return get_response(http)

    app.register_middleware(front_door.remember, 'http')
    app.register_middleware(find, 'http')


def _mount_options(app: Chalice) -> None:
    """Give every path that is registered by now the method OPTIONS: browsers ask by it before they send a token.

    Not the form with the project's id: each method is 700 bytes of the template, which may have 1 MB.
    """
    for path, methods in app.routes.items():
        if 'OPTIONS' not in methods and '{project_id}' not in path:
            app.route(path, methods=['OPTIONS'], content_types=['*/*'])(front_door.options)


def _mount_place(app: Chalice, place: str) -> None:
    """Register what serves one resource of API Gateway: ``/v3/{project_id}/volumes/{id}``."""
    path = place.removeprefix(PREFIXES[0]).removeprefix('/{project_id}')
    if place.startswith(f'{PREFIXES[0]}/'):
        _mount_path(app, path)
    elif (module := BESIDE.get(place.split('/')[1])) is not None:
        _mount_beside(app, module)


def _mount_beside(app: Chalice, module: str) -> None:
    app.register_blueprint(importlib.import_module(f'chalicelib.api.{module}').routes())


def _mount_path(app: Chalice, path: str) -> None:
    """Register one path, in both forms."""
    by_method: dict[str, list[Route]] = {}
    for route in resources.routes_of(path):
        by_method.setdefault(route.method, []).append(route)
    for method, routes in by_method.items():
        for prefix in PREFIXES:
            # Any content type: the pipeline judges it, in Cinder's words.
            app.route(prefix + path, methods=[method], content_types=['*/*'])(_view(routes))


def _view(routes: Sequence[Route]) -> Callable[..., Response]:
    def view(**ids: str) -> Response:
        return front_door.serve(routes, ids)

    return view
