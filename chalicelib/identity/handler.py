"""Keystone's v3 API for a configuration, as one pure function without a framework. Users and projects are read-only."""

from __future__ import annotations

import dataclasses
import http
import json
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.context import SERVICE_ROLE
from chalicelib.errors import CinderlessError, Invalid, MethodNotAllowed, NotFound, PolicyNotAuthorized, Unauthorized
from chalicelib.identity import views
from chalicelib.identity.authentication import authenticate, claimed_user
from chalicelib.identity.config import EXPIRED_WINDOW, IdentityConfig
from chalicelib.identity.directory import DOMAIN_ID
from chalicelib.identity.guesses import WINDOW, Guesses
from chalicelib.identity.token import Token, seal
from chalicelib.identity.validation import verify

#: Bytes; Keystone's ``max_request_body_size``.
MAX_BODY = 114688

#: Query parameters that filter a list, where its entries have such a field.
FILTERS = ('name', 'domain_id', 'enabled', 'type', 'service_id', 'interface')


@dataclasses.dataclass(frozen=True, slots=True)
class IdentityRequest:
    method: str
    #: Below the mount point: ``''``, ``/v3``, ``/v3/auth/tokens``, ...
    path: str
    #: Keys in lower case.
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    query: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = dataclasses.field(default=b'', repr=False)
    #: IP address of the client; '' if unknown.
    address: str = ''


@dataclasses.dataclass(frozen=True, slots=True)
class IdentityResponse:
    status: int
    headers: Mapping[str, str] = dataclasses.field(repr=False)
    body: bytes = dataclasses.field(repr=False)


Action = Callable[..., IdentityResponse]


def handle(request: IdentityRequest, config: IdentityConfig) -> IdentityResponse:
    """Answer one request as Keystone does; every error is Keystone's error body with its status."""
    try:
        response = _dispatch(request, config)
    except CinderlessError as refusal:
        response = _refusal(refusal, config)
    return dataclasses.replace(response, body=b'') if request.method == 'HEAD' else response


def _dispatch(request: IdentityRequest, config: IdentityConfig) -> IdentityResponse:
    path = tuple(filter(None, request.path.split('/')))
    actions, parameters = _route(path)
    action = actions.get('GET' if request.method == 'HEAD' else request.method)
    if action is None:
        raise MethodNotAllowed(
            f'{request.method} is not allowed on {request.path}: users, projects and roles are changed in the '
            'document that this identity is configured with.'
        )
    return action(request, config, *parameters)


def _route(path: tuple[str, ...]) -> tuple[Mapping[str, Action], tuple[str, ...]]:
    for pattern, actions in ROUTES.items():
        if len(pattern) == len(path) and all(map(_fits_part, pattern, path)):
            return actions, tuple(part for name, part in zip(pattern, path, strict=True) if name.startswith('{'))
    raise NotFound


def _fits_part(name: str, part: str) -> bool:
    if name == '{collection}':
        return part in views.COLLECTIONS
    return name == part or name.startswith('{')


def _versions(request: IdentityRequest, config: IdentityConfig) -> IdentityResponse:
    location = {'Location': f'{config.identity_url}/'}
    return _respond(300, {'versions': {'values': [views.version(config)]}}, location)


def _version(request: IdentityRequest, config: IdentityConfig) -> IdentityResponse:
    return _respond(200, {'version': views.version(config)})


def _issue_token(request: IdentityRequest, config: IdentityConfig) -> IdentityResponse:
    body = _body(request)
    user = claimed_user(body)
    token = _guarded(request, config, user, body) if user else authenticate(config, body)
    return _token_response(201, request, config, token, seal(token, config.signing_key))


def _guarded(request: IdentityRequest, config: IdentityConfig, user: str, body: Mapping[str, Any]) -> Token:
    """Authenticate by password or secret, with limited attempts; raises TooManyGuesses."""
    guesses = Guesses(config.guesses, user, request.address, config.clock())
    guesses.begin()
    try:
        token = authenticate(config, body)
    except Unauthorized:
        guesses.failed()
        raise
    except CinderlessError:
        guesses.ended()
        raise
    guesses.succeeded()
    return token


def _show_token(request: IdentityRequest, config: IdentityConfig) -> IdentityResponse:
    caller = _caller(request, config)
    expired = request.query.get('allow_expired', '').lower() in ('1', 'true', 'yes', 'on')
    text, subject = _subject(request, config, allow_expired=expired)
    _require(caller.user_id == subject.user_id or bool({'admin', SERVICE_ROLE} & caller.roles), 'validate_token')
    return _token_response(200, request, config, subject, text)


def _revoke_token(request: IdentityRequest, config: IdentityConfig) -> IdentityResponse:
    """Revoke a token and all tokens that descend from it."""
    caller = _caller(request, config)
    _, subject = _subject(request, config)
    _require(caller.user_id == subject.user_id or 'admin' in caller.roles, 'revoke_token')
    config.revocations.add(subject.audit_ids[0], subject.expires_at + EXPIRED_WINDOW)
    return IdentityResponse(204, {'Vary': 'X-Auth-Token'}, b'')


def _own_projects(request: IdentityRequest, config: IdentityConfig) -> IdentityResponse:
    return _projects_of(request, config, _caller(request, config).user_id)


def _user_projects(request: IdentityRequest, config: IdentityConfig, id: str) -> IdentityResponse:
    caller = _caller(request, config)
    _require('admin' in caller.roles or caller.user_id == id, 'list_user_projects')
    return _projects_of(request, config, id)


def _projects_of(request: IdentityRequest, config: IdentityConfig, user_id: str) -> IdentityResponse:
    projects = map(views.project, config.directory.projects_of(user_id))
    entries = views.linked(config, 'projects', projects)
    return _respond(200, {'projects': entries, 'links': _links(request, config)})


def _user_groups(request: IdentityRequest, config: IdentityConfig, id: str) -> IdentityResponse:
    """The list of groups is always empty."""
    caller = _caller(request, config)
    _require('admin' in caller.roles or caller.user_id == id, 'list_groups_for_user')
    return _respond(200, {'groups': [], 'links': _links(request, config)})


def _own_domains(request: IdentityRequest, config: IdentityConfig) -> IdentityResponse:
    """The domains to which a token can be scoped: none, since roles exist on projects only."""
    _caller(request, config)
    return _respond(200, {'domains': [], 'links': _links(request, config)})


def _own_system(request: IdentityRequest, config: IdentityConfig) -> IdentityResponse:
    """The systems to which a token can be scoped: none, as for domains."""
    _caller(request, config)
    return _respond(200, {'system': [], 'links': _links(request, config)})


def _role_assignments(request: IdentityRequest, config: IdentityConfig) -> IdentityResponse:
    """Role assignments: all for administrators; for others their own, if they filter by user.id."""
    caller = _caller(request, config)
    _require('admin' in caller.roles or request.query.get('user.id') == caller.user_id, 'list_role_assignments')
    names = 'include_names' in request.query and request.query['include_names'].lower() not in ('0', 'false')
    rows = views.role_assignments(config, names=names)
    wanted = {key: request.query[key] for key in ('user.id', 'role.id', 'scope.project.id') if key in request.query}
    found = [row for row in rows if all(_value_at(row, key) == value for key, value in wanted.items())]
    return _respond(200, {'role_assignments': found, 'links': _links(request, config)})


def _value_at(row: Mapping[str, Any], key: str) -> Any:
    """Return the value at a path such as ``scope.project.id``."""
    value: Any = row
    for part in key.split('.'):
        value = value[part]
    return value


def _catalog(request: IdentityRequest, config: IdentityConfig) -> IdentityResponse:
    _require(_caller(request, config).project_id is not None, 'get_auth_catalog')
    return _respond(200, {'catalog': views.catalog(config), 'links': {'self': _links(request, config)['self']}})


def _list(request: IdentityRequest, config: IdentityConfig, collection: str) -> IdentityResponse:
    _require('admin' in _caller(request, config).roles, f'list_{collection}')
    _, rows = views.COLLECTIONS[collection]
    wanted = {key: value for key, value in request.query.items() if key in FILTERS}
    entries = [entry for entry in rows(config) if _fits(entry, wanted)]
    return _respond(200, {collection: views.linked(config, collection, entries), 'links': _links(request, config)})


def _show(request: IdentityRequest, config: IdentityConfig, collection: str, id: str) -> IdentityResponse:
    caller = _caller(request, config)
    own = {'projects': caller.project_id, 'users': caller.user_id, 'domains': DOMAIN_ID}
    name, rows = views.COLLECTIONS[collection]
    _require('admin' in caller.roles or own.get(collection) == id, f'get_{name}')
    found = [entry for entry in rows(config) if entry['id'] == id]
    if not found:
        raise NotFound(f'Could not find {name}: {id}.')
    return _respond(200, {name: views.linked(config, collection, found)[0]})


#: Path below the mount (braces match any part) -> method -> its action; the first match counts.
ROUTES: Mapping[tuple[str, ...], Mapping[str, Action]] = {
    (): {'GET': _versions},
    ('v3',): {'GET': _version},
    ('v3', 'auth', 'tokens'): {'POST': _issue_token, 'GET': _show_token, 'DELETE': _revoke_token},
    ('v3', 'auth', 'projects'): {'GET': _own_projects},
    ('v3', 'auth', 'catalog'): {'GET': _catalog},
    ('v3', 'auth', 'domains'): {'GET': _own_domains},
    ('v3', 'auth', 'system'): {'GET': _own_system},
    ('v3', 'role_assignments'): {'GET': _role_assignments},
    ('v3', 'users', '{id}', 'projects'): {'GET': _user_projects},
    ('v3', 'users', '{id}', 'groups'): {'GET': _user_groups},
    ('v3', '{collection}'): {'GET': _list},
    ('v3', '{collection}', '{id}'): {'GET': _show},
}


def _caller(request: IdentityRequest, config: IdentityConfig) -> Token:
    return verify(config, request.headers.get('x-auth-token', ''))


def _subject(request: IdentityRequest, config: IdentityConfig, *, allow_expired: bool = False) -> tuple[str, Token]:
    text = request.headers.get('x-subject-token', '')
    try:
        return text, verify(config, text, allow_expired=allow_expired)
    except Unauthorized:
        raise NotFound('Could not find the token in X-Subject-Token: it is unknown, expired or revoked.') from None


def _require(may: bool, action: str) -> None:
    if not may:
        raise PolicyNotAuthorized(f'You are not authorized to perform the requested action: identity:{action}.')


def _fits(entry: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    return all(key not in entry or _equals(entry[key], value) for key, value in wanted.items())


def _equals(value: object, text: str) -> bool:
    return value == text if isinstance(value, str) else str(value).lower() == text.lower()


def _body(request: IdentityRequest) -> Mapping[str, Any]:
    if len(request.body) > MAX_BODY:
        raise Invalid(f'The request body has {len(request.body)} bytes: send at most {MAX_BODY}.')
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Invalid('Expecting to find a JSON object in the request body.')
    return body


def _links(request: IdentityRequest, config: IdentityConfig) -> dict[str, str | None]:
    path = request.path.strip('/').removeprefix('v3')
    query = f'?{urllib.parse.urlencode(request.query)}' if request.query else ''
    return {'next': None, 'self': f'{config.identity_url}{path}{query}', 'previous': None}


def _token_response(
    status: int, request: IdentityRequest, config: IdentityConfig, token: Token, text: str
) -> IdentityResponse:
    body = views.token(config, token, with_catalog='nocatalog' not in request.query)
    return _respond(status, body, {'X-Subject-Token': text})


def _refusal(refusal: CinderlessError, config: IdentityConfig) -> IdentityResponse:
    title = http.HTTPStatus(refusal.code).phrase
    more = {401: {'WWW-Authenticate': f'Keystone uri="{config.identity_url}"'}, 429: _wait(refusal)}
    error = {'code': refusal.code, 'message': refusal.message, 'title': title}
    return _respond(refusal.code, {'error': error}, more.get(refusal.code))


def _wait(refusal: CinderlessError) -> dict[str, str]:
    return {'Retry-After': str(refusal.facts.get('seconds', WINDOW))}


def _respond(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> IdentityResponse:
    common = {'Content-Type': 'application/json', 'Vary': 'X-Auth-Token'}
    return IdentityResponse(status, common | dict(headers or {}), json.dumps(body).encode())
