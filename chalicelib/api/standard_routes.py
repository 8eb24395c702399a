"""Routes that several resources have in the same form: lists, one record, its removal, and maps of a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from chalice.app import Response

from chalicelib import errors
from chalicelib.api.filters import Filters
from chalicelib.api.pagination import page, query
from chalicelib.api.parameters import Schema
from chalicelib.api.reply import reply
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.view import View
from chalicelib.context import Context
from chalicelib.operations.common import ListQuery

MISMATCH = 'Request body and URI mismatch'

#: A view, or how a request chooses it.
Shown = View | Callable[[Request], View]

#: Returns one page of records and whether more follow.
List = Callable[[Context, ListQuery], tuple[list[Any], bool]]


def add_lists(
    resource: Resource,
    name: str,
    list_: List,
    filters: Filters,
    *,
    brief: Shown,
    detail: Shown | None = None,
    links: str | None = None,
    count: Callable[[Context, ListQuery], int] | None = None,
    **facts: Any,
) -> None:
    """Declare ``GET ''`` and, with ``detail``, ``GET /detail``: pages of records under ``name``.

    ``links``: the member with the link to the next page. ``count``: the number of records that a query matches.
    ``facts``: those of a route (api/resource.py).
    """

    def listing(view: Shown, path: str) -> Callable[[Request], Response]:
        def index(request: Request) -> Response:
            chosen = _view(view, request)
            wanted = query(request, filters)._replace(attributes=chosen.attributes(filters.kind))
            records, _ = list_(request.context, wanted)
            counted = (lambda: count(request.context, wanted)) if count else None
            return page(request, name, chosen, records, links=links, path=path, count=counted)

        return index

    resource.get('', **facts)(listing(brief, resource.collection))
    if detail:
        resource.get('/detail', **facts)(listing(detail, f'{resource.collection}/detail'))


def add_show(resource: Resource, name: str, view: Shown, find: Callable[[Context, str], Any], **facts: Any) -> None:
    """Declare ``GET /{id}``: one record under ``name``."""

    def show(request: Request, id: str) -> dict[str, Any]:
        return {name: _view(view, request).of(request)(find(request.context, id))}

    resource.get('/{id}', **facts)(show)


def _view(view: Shown, request: Request) -> View:
    return view if isinstance(view, View) else view(request)


def add_delete(resource: Resource, delete_: Callable[[Context, str], None], *, status: int = 202, **facts: Any) -> None:
    """Declare ``DELETE /{id}``."""

    def delete(request: Request, id: str) -> None:
        delete_(request.context, id)

    resource.delete('/{id}', status=status, **facts)(delete)


class MapOperations(NamedTuple):
    """What a map of a record (metadata, specs) can do. ``missing``: the error of a key that it does not have."""

    read: Callable[[Request, str], Mapping[str, Any]]
    change: Callable[[Context, str, Mapping[str, str]], Any]
    delete: Callable[[Context, str, str], None]
    missing: type[errors.NotFound]


def add_specs(
    resource: Resource,
    name: str,
    specs: MapOperations,
    *,
    policies: Mapping[str, str],
    schemas: tuple[Schema, Schema],
    status: int = 200,
    **facts: Any,
) -> None:
    """Declare the routes of ``/{id}/<name>``: all specs, and one of them as the bare pair.

    ``policies``: index, show, create, update and delete -> rule. ``schemas``: of all specs and of a pair. ``status``:
    of a creation.
    """

    def index(request: Request, id: str) -> dict[str, Any]:
        return {name: specs.read(request, id)}

    def show(request: Request, id: str, key: str) -> dict[str, Any]:
        return {key: value_of(specs, request, id, key)}

    def create(request: Request, id: str) -> dict[str, Any]:
        specs.change(request.context, id, request.body[name])
        return dict(request.body)

    def update(request: Request, id: str, key: str) -> dict[str, Any]:
        check_key(request.body, key)
        if len(request.body) > 1:
            raise errors.Invalid('Request body contains too many items')
        specs.change(request.context, id, request.body)
        return dict(request.body)

    def delete(request: Request, id: str, key: str) -> None:
        specs.delete(request.context, id, key)

    _move_to_module_of(specs.read, index, show, create, update, delete)
    every, one = f'/{{id}}/{name}', f'/{{id}}/{name}/{{key}}'
    resource.get(every, policy=policies['index'], **facts)(index)
    resource.post(every, policy=policies['create'], schema=schemas[0], status=status, **facts)(create)
    resource.get(one, policy=policies['show'], **facts)(show)
    resource.put(one, policy=policies['update'], schema=schemas[1], **facts)(update)
    resource.delete(one, policy=policies['delete'], status=202, **facts)(delete)


def _move_to_module_of(read: Callable[..., Any], *handlers: Callable[..., Any]) -> None:
    """Attribute handlers to the module that declares their routes."""
    for handler in handlers:
        handler.__module__ = read.__module__


def value_of(map_: MapOperations, request: Request, id: str, key: str) -> Any:
    """Return the value of a key of a record's map. Raises the map's ``missing``."""
    known = map_.read(request, id)
    if key not in known:
        raise map_.missing(id=id, key=key)
    return known[key]


def check_key(body: Mapping[str, Any], key: str) -> None:
    """Raise Invalid for a body without the key that the path names."""
    if key not in body:
        raise errors.Invalid(MISMATCH)


def add_metadata(
    resource: Resource,
    metadata: MapOperations,
    replace: Callable[[Context, str, Mapping[str, str]], Any],
    *,
    policies: Mapping[str, str],
    schemas: tuple[Schema, Schema],
    headers: Callable[[Request, Mapping[str, str]], dict[str, str]] = lambda request, shown: {},
    is_current: Callable[[Request, str], bool] = lambda request, id: True,
) -> None:
    """Declare the routes of ``/{id}/metadata``: all pairs under ``metadata``, and one of them under ``meta``.

    ``policies``: get, create, update and delete -> rule. ``schemas``: of all pairs and of one. ``headers``: of the
    list. A change that is not ``is_current`` is answered 412.
    """

    def index(request: Request, id: str) -> Response:
        shown = metadata.read(request, id)
        return reply(200, {'metadata': shown}, headers(request, shown))

    def show(request: Request, id: str, key: str) -> dict[str, Any]:
        return {'meta': {key: value_of(metadata, request, id, key)}}

    def create(request: Request, id: str) -> dict[str, Any]:
        return {'metadata': metadata.change(request.context, id, request.body['metadata'])}

    def update_all(request: Request, id: str) -> dict[str, Any] | Response:
        if not is_current(request, id):
            return reply(412)
        return {'metadata': replace(request.context, id, request.body['metadata'])}

    def update(request: Request, id: str, key: str) -> dict[str, Any] | Response:
        meta = request.body['meta']
        check_key(meta, key)
        if not is_current(request, id):
            return reply(412)
        metadata.change(request.context, id, meta)
        return {'meta': meta}

    def delete(request: Request, id: str, key: str) -> None:
        metadata.delete(request.context, id, key)

    _move_to_module_of(metadata.read, index, show, create, update_all, update, delete)
    every, one = '/{id}/metadata', '/{id}/metadata/{key}'
    resource.get(every, policy=policies['get'])(index)
    resource.post(every, policy=policies['create'], schema=schemas[0])(create)
    resource.put(every, policy=policies['update'], schema=schemas[0])(update_all)
    resource.get(one, policy=policies['get'])(show)
    resource.put(one, policy=policies['update'], schema=schemas[1])(update)
    resource.delete(one, policy=policies['delete'])(delete)
