"""The built-in key manager: the part of Barbican's API that Nova needs to open an encrypted volume.

``/key-manager/v1/secrets/{id}`` and its payload, for the project that owns the key. Readers see a key's description;
only members get the key, which opens the data for writing, too. Keys are created and deleted with volumes.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from chalice.app import Blueprint, Response
from chalice.app import Request as HttpRequest

from chalicelib import errors
from chalicelib.api import auth, front_door, tokens
from chalicelib.api.negotiation import Stamp
from chalicelib.api.reply import reply
from chalicelib.api.request import endpoint_of, lower_headers
from chalicelib.context import Context
from chalicelib.models import Secret
from chalicelib.operations import keys
from chalicelib.rules.policies import Predicate, project_member, project_reader

#: The path of the catalog's ``key-manager``.
MOUNT = '/key-manager'

#: Barbican's name for the form of a symmetric key.
CONTENT_TYPE = 'application/octet-stream'

#: Barbican's rules (not in Cinder's table) -> predicate.
RULES: dict[str, Predicate] = {'secret:get': project_reader, 'secret:decrypt': project_member}


def routes() -> Blueprint:
    """Return a Blueprint of every path of the key manager."""
    blueprint = Blueprint(__name__)
    for path, view in (
        ('', versions),
        ('/v1', version),
        ('/v1/secrets/{id}', show),
        ('/v1/secrets/{id}/payload', read),
    ):
        blueprint.route(MOUNT + path, methods=['GET'], content_types=['*/*'])(view)
    return blueprint


def versions() -> Response:
    """Return the versions: keystoneauth requests them without a token."""
    return front_door.guarded(lambda http, _: reply(300, {'versions': [_version(http)]}))


def version() -> Response:
    return front_door.guarded(lambda http, _: reply(200, {'version': _version(http)}))


def show(id: str) -> Response:
    """Return the description of a key."""
    return front_door.guarded(lambda http, stamp: reply(200, _described(http, _secret(http, stamp, id, 'secret:get'))))


def read(id: str) -> Response:
    """Return the key in bytes. Raises NotAcceptable (Barbican's 406) unless the client accepts bytes."""

    def answer(http: HttpRequest, stamp: Stamp) -> Response:
        secret = _secret(http, stamp, id, 'secret:decrypt')
        # API Gateway decodes base64 into bytes only by the first type of the Accept header.
        first = lower_headers(http).get('accept', '').partition(',')[0].partition(';')[0].strip().lower()
        if first != CONTENT_TYPE:
            raise errors.NotAcceptable(content_type=CONTENT_TYPE)
        return _payload(secret)

    return front_door.guarded(answer)


def _secret(http: HttpRequest, stamp: Stamp, id: str, rule: str) -> Secret:
    """Return the key, for a caller whom the rule allows it. Keys of other projects are not found."""
    context = _context(http, stamp)
    if not 0 < len(id.encode(errors='surrogatepass')) <= front_door.MAX_ID:
        raise errors.SecretNotFound(id=id)
    secret = keys.get(context, id)
    if not RULES[rule](context, secret.project_id):
        raise errors.PolicyNotAuthorized(action=rule)
    return secret


def _context(http: HttpRequest, stamp: Stamp) -> Context:
    context = auth.authenticate(lower_headers(http), tokens.validator())
    return dataclasses.replace(context, request_id=stamp.request_id)


def _described(http: HttpRequest, secret: Secret) -> dict[str, Any]:
    return {
        'secret_ref': f'{_url(http)}/secrets/{secret.id}',
        'name': secret.name,
        'status': 'ACTIVE',
        'secret_type': 'symmetric',
        'algorithm': secret.algorithm,
        'bit_length': int(secret.bit_length),
        'mode': keys.MODE,
        'content_types': {'default': CONTENT_TYPE},
        'creator_id': secret.user_id,
        'expiration': None,
        'created': secret.created_at,
        'updated': secret.updated_at or secret.created_at,
    }


def _payload(secret: Secret) -> Response:
    headers: dict[str, str | list[str]] = {'Content-Type': CONTENT_TYPE, 'Cache-Control': 'no-store'}
    return Response(keys.payload(secret), headers, 200)


def _version(http: HttpRequest) -> dict[str, Any]:
    media = {'base': 'application/json', 'type': 'application/vnd.openstack.key-manager-v1+json'}
    return {
        'id': 'v1',
        'status': 'CURRENT',
        'min_version': '1.0',
        'max_version': '1.0',
        'updated': '2021-02-10T00:00:00Z',
        'links': [{'rel': 'self', 'href': f'{_url(http)}/'}],
        'media-types': [media],
    }


def _url(http: HttpRequest) -> str:
    return f'{endpoint_of(http, lower_headers(http))}{MOUNT}/v1'
