"""The pipeline of every request: caller, version, route, permission."""

from __future__ import annotations

import contextvars
import dataclasses
import logging
import re
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from chalice.app import Request as HttpRequest
from chalice.app import Response

from chalicelib import errors, telemetry, time_left
from chalicelib.api import auth, cors, faults, negotiation, tokens
from chalicelib.api import request as requests
from chalicelib.api.negotiation import Stamp
from chalicelib.api.reply import reply
from chalicelib.api.request import MALFORMED, Request
from chalicelib.config import settings
from chalicelib.context import Context, caller_id, caller_token, new_request_id
from chalicelib.rules.microversions import Version
from chalicelib.rules.policies import EXTENSIONS, allowed, authorize

if TYPE_CHECKING:
    from chalicelib.api.resource import Route

logger = logging.getLogger(__name__)

#: The form of a project's id for Cinder's router.
PROJECT_ID = re.compile(r'[0-9a-f-]+')

#: Cinder's message for an unknown action.
NO_ACTION = 'There is no such action: {name}. Verify the request body and Content-Type header and try again.'

#: Bytes of an id in a path: the service's ids are shorter, and the database refuses keys beyond 1,024.
MAX_ID = 255

#: A header of every answer of a view.
STAMPED = 'x-openstack-request-id'

#: Has a POST answered once (api/idempotency.py); in lower case.
IDEMPOTENCY_KEY = 'idempotency-key'

_current: contextvars.ContextVar[HttpRequest] = contextvars.ContextVar('request')


def with_request(http: HttpRequest, get_response: Callable[[HttpRequest], Response]) -> Response:
    """Chalice middleware around every view.

    The views find their request in a context variable: ``app.current_request`` is shared between threads. An answer
    of Chalice itself (for an unknown path or method) becomes the router's 404.
    """
    _current.set(http)
    response = cors.preflight(http) or get_response(http)
    if STAMPED not in response.headers and 'Access-Control-Allow-Methods' not in response.headers:
        response = faults.no_route()
    cors.allow(http, response)
    response.headers.setdefault(STAMPED, new_request_id())
    return response


def options() -> Response:
    """Answer OPTIONS of a path: Cinder's routes do not have the method, and preflight requests are answered earlier."""
    return guarded(lambda http, stamp: faults.no_route())


def serve(routes: Sequence[Route], ids: dict[str, str]) -> Response:
    """Answer the current request with one of ``routes``, which have its method and path."""
    return guarded(lambda http, stamp: _answer(http, stamp, routes, ids))


def guarded(answer: Callable[[HttpRequest, Stamp], Response]) -> Response:
    """Return the answer to the current request, or its fault, with the request's id."""
    http, stamp = _current.get(), Stamp(new_request_id())
    deadline = time_left.of_request(_received_at(http))
    log_context = telemetry.bind_context(function='api', request_id=stamp.request_id)
    with log_context, telemetry.segment('api'), time_left.until(deadline):
        began = time.monotonic()
        response = _outcome(answer, http, stamp)
        seconds = time.monotonic() - began
        logger.info('%s %s answered %s after %.3f s', http.method, http.path, response.status_code, seconds)
    response.headers.update(stamp.headers())
    return response


def _received_at(http: HttpRequest) -> float | None:
    """Return when API Gateway received the request, in seconds since the epoch: before a cold start."""
    milliseconds = (http.context or {}).get('requestTimeEpoch')
    return milliseconds / 1000 if isinstance(milliseconds, int) else None


def _outcome(answer: Callable[[HttpRequest, Stamp], Response], http: HttpRequest, stamp: Stamp) -> Response:
    try:
        return answer(http, stamp)
    except errors.Unauthorized:
        return _challenge(http)
    except errors.CinderlessError as error:
        return faults.refusal(error, whole=stamp.is_admin)
    except Exception as error:
        faults.log_unexpected(stamp.request_id, error)
        return faults.hidden()
    finally:
        caller_token.set('')
        caller_id.set('')


def _challenge(http: HttpRequest) -> Response:
    """Return Keystone's own 401, with the URL for tokens."""
    endpoint = requests.endpoint_of(http, requests.lower_headers(http))
    headers, body = auth.unauthorized_response(tokens.identity_url(endpoint))
    return reply(401, body, headers)


def _answer(http: HttpRequest, stamp: Stamp, routes: Sequence[Route], ids: dict[str, str]) -> Response:
    headers = requests.lower_headers(http)
    context = _with_overrides(auth.authenticate(headers, tokens.validator()))
    stamp.is_admin = context.is_admin
    _limit_rate(context)
    caller_token.set(headers['x-auth-token'].strip())
    caller_id.set(context.user_id)
    stamp.version = negotiation.requested(headers.get(negotiation.HEADER.lower()))
    negotiation.check(stamp.version)
    # API Gateway does not decode variables of a path; ids contain no percent sign.
    ids = {name: urllib.parse.unquote(value) for name, value in ids.items()}
    project_id = ids.pop('project_id', None)
    if requests.ends_with_slash(http) or (project_id is not None and not PROJECT_ID.fullmatch(project_id)):
        return faults.no_route()
    body = requests.body_of(http, headers) if http.method in ('POST', 'PUT') else None
    route = _select(routes, stamp.version, body)
    if project_id not in (None, context.project_id):
        raise errors.Invalid('Malformed request url')
    context = dataclasses.replace(context, request_id=stamp.request_id, microversion=stamp.version)
    if context.overrides is not None and route.policy in EXTENSIONS:
        context = context.overrides.bounded(context)
    with telemetry.bind_context(project_id=context.project_id, id=ids.get('id')):
        return _run(route, _request(http, headers, context, route, body, project_id), ids, body)


def _with_overrides(context: Context) -> Context:
    if settings().policy_overrides:
        from chalicelib.operations import policy_overrides  # few deployments have any

        return policy_overrides.apply(context)
    return context


def _limit_rate(context: Context) -> None:
    if settings().project_rate_limit:
        from chalicelib.operations import rate_limits  # few deployments need it

        rate_limits.admit(context)


def _select(routes: Sequence[Route], version: Version, body: Any) -> Route:
    """Return the route for this version and, for an action's path, the action that the body names."""
    if routes[0].action is not None:
        routes = _named(routes, body)
    for route in routes:
        if route.serves(version):
            return route
    raise errors.NotFound


def _named(routes: Sequence[Route], body: Any) -> Sequence[Route]:
    if body is not None and (not isinstance(body, dict) or len(body) != 1):
        raise errors.Invalid(MALFORMED)
    name = next(iter(body)) if body else None  # without a body, Cinder's message has the action None
    named = [route for route in routes if route.action == name and name is not None]
    if not named:
        raise errors.Invalid(NO_ACTION.format(name=name))
    return named


def _request(
    http: HttpRequest, headers: Mapping[str, str], context: Context, route: Route, body: Any, project_id: str | None
) -> Request:
    return Request(
        context=context,
        body=body[route.action] if route.action is not None else body,
        query=requests.query_of(http),
        headers=headers,
        endpoint=requests.endpoint_of(http, headers),
        project_in_url=project_id,
    )


def _run(route: Route, request: Request, ids: Mapping[str, str], body: Any) -> Response:
    if route.schema is not None:
        route.schema.check(body, request.version)
    _check_ids(route, ids)
    _check_visible(route, request, ids)
    _authorize(route, request, ids)
    if route.method != 'POST' or IDEMPOTENCY_KEY not in request.headers:
        return _handle(route, request, ids)
    from chalicelib.api import idempotency  # few requests need it

    return idempotency.once(route, request, ids, body, lambda: _handle(route, request, ids))


def _handle(route: Route, request: Request, ids: Mapping[str, str]) -> Response:
    if route.method == 'GET':
        result = route.handler(request, **ids)
    else:
        from chalicelib.api import synchronous_writes  # reads do not need it

        result = synchronous_writes.carry_out(route, request, ids)
    return result if isinstance(result, Response) else reply(route.status, result)


def _check_ids(route: Route, ids: Mapping[str, str]) -> None:
    for id in ids.values():
        if not 0 < len(id.encode(errors='surrogatepass')) <= MAX_ID:
            raise route.not_found(id=id)


def _check_visible(route: Route, request: Request, ids: Mapping[str, str]) -> None:
    seen = route.visible
    if seen is None:
        return
    if not allowed(request.context, seen.rule, find=_finder(route, request, ids, seen.rule)):
        raise seen.not_found(id=seen.id_of(ids, request.body))
    if seen.find is not None:
        seen.find(request.context, seen.id_of(ids, request.body))


def _authorize(route: Route, request: Request, ids: Mapping[str, str]) -> None:
    context, owner = request.context, ids[route.owned_by] if route.owned_by else None
    try:
        if context.overrides is not None:
            _targets().authorize_others(route, request, ids)
        authorize(context, route.policy, owner, _finder(route, request, ids, route.policy))
    except errors.PolicyNotAuthorized:
        if route.find is not None:
            route.find(context, ids['id'])
        raise


def _finder(route: Route, request: Request, ids: Mapping[str, str], rule: str) -> Callable[[], Any] | None:
    """Return the function that looks up what a rule is about; None if it compares no attributes."""
    return None if request.context.overrides is None else _targets().finder(route, request, ids, rule)


def _targets() -> ModuleType:
    from chalicelib.api import policy_targets  # few deployments have overrides

    return policy_targets
