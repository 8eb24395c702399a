"""A resource of the API: its routes declare policy, versions and body.

    volumes = Resource('volumes', shown_by='volume:get', not_found=errors.VolumeNotFound)

    @volumes.post('', policy='volume:create', schema=CREATE, status=202)
    def create(request: Request) -> dict[str, Any]: ...

    @volumes.action('os-extend', policy='volume:extend', schema=EXTEND)
    def extend(request: Request, id: str) -> None: ...

The routes are a table: the pipeline uses it, and tests and documents read it. Routes that share a method and a
path differ by action or by version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from chalicelib import errors
from chalicelib.api.parameters import Schema, only
from chalicelib.api.schema import BodySchema
from chalicelib.context import Context
from chalicelib.rules import microversions
from chalicelib.rules.microversions import Version

Handler = TypeVar('Handler', bound=Callable[..., Any])


class Visibility(NamedTuple):
    """A rule that Cinder checks before the route's own, since it looks the resource up first: failing it is a 404."""

    rule: str
    not_found: type[errors.NotFound]
    #: The id for the message, from the path's ids and the body.
    id_of: Callable[[Mapping[str, str], Any], str] = lambda ids, body: ids['id']
    #: Looks up a resource named in the body, which Cinder does before it checks the route's own rule.
    find: Callable[[Context, str], Any] | None = None


class Route(NamedTuple):
    """One method on one path, for some versions and one action."""

    method: str
    #: Below /v3: ``/volumes/{id}``.
    path: str
    #: Receives the request and the ids of the path; returns the body, a Response, or None for an empty body.
    handler: Callable[..., Any]
    #: Rule of rules/policies.py.
    policy: str
    status: int = 200
    schema: BodySchema | None = None
    since: Version = microversions.MINIMUM
    until: Version = microversions.MAXIMUM
    #: Name of the action, for ``POST .../action``.
    action: str | None = None
    visible: Visibility | None = None
    not_found: type[errors.NotFound] = errors.NotFound
    #: Looks the path's ``id`` up; raises NotFound. Records of other projects are a 404 before a 403.
    find: Callable[[Context, str], Any] | None = None
    #: Name of the id in the path that is itself the owning project, for quotas.
    owned_by: str | None = None

    def serves(self, version: Version) -> bool:
        return self.since <= version <= self.until


class Resource:
    """One collection below /v3.

    ``shown_by`` is the rule of its show, which its other verbs require, too; ``find`` looks one record up.
    """

    def __init__(
        self,
        collection: str,
        *,
        shown_by: str | None = None,
        not_found: type[errors.NotFound] = errors.NotFound,
        find: Callable[[Context, str], Any] | None = None,
    ) -> None:
        self.collection = collection
        self.routes: list[Route] = []
        self._visibility = Visibility(shown_by, not_found) if shown_by is not None else None
        self._not_found, self._find = not_found, find

    def get(self, path: str, **facts: Any) -> Callable[[Handler], Handler]:
        return self._route('GET', path, **facts)

    def post(self, path: str, **facts: Any) -> Callable[[Handler], Handler]:
        return self._route('POST', path, **facts)

    def put(self, path: str, **facts: Any) -> Callable[[Handler], Handler]:
        return self._route('PUT', path, **facts)

    def delete(self, path: str, **facts: Any) -> Callable[[Handler], Handler]:
        return self._route('DELETE', path, **facts)

    def action(
        self, name: str, *, schema: Schema | None = None, status: int = 202, **facts: Any
    ) -> Callable[[Handler], Handler]:
        """A route of ``POST /<collection>/{id}/action`` with the body ``{name: ...}``; ``schema`` is for the value."""
        body = only(name, schema) if schema is not None else None
        return self._route('POST', '/{id}/action', action=name, schema=body, status=status, **facts)

    def _route(
        self,
        method: str,
        path: str,
        *,
        schema: Schema | None = None,
        since: str = '3.0',
        until: str = microversions.text(microversions.MAXIMUM),
        hides: bool = True,
        visible: Visibility | None = None,
        **facts: Any,
    ) -> Callable[[Handler], Handler]:
        """Declare a route; with ``hides=False`` callers without the show rule get 403 instead of 404."""
        if visible is None and hides and '{' in path:
            visible = self._visibility

        def declare(handler: Handler) -> Handler:
            self.routes.append(
                Route(
                    method=method,
                    path=f'/{self.collection}{path}',
                    handler=handler,
                    schema=BodySchema(schema) if schema is not None else None,
                    since=microversions.parse(since),
                    until=microversions.parse(until),
                    visible=visible,
                    not_found=self._not_found,
                    find=self._find if '{id}' in path else None,
                    **facts,
                )
            )
            return handler

        return declare
