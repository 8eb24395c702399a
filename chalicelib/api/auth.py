"""The caller: the headers of a request -> its Context. keystonemiddleware's rules, with Cinder's on top."""

from __future__ import annotations

import re
from collections.abc import Mapping

from chalicelib.context import SERVICE_ROLE, Context, TokenValidator
from chalicelib.errors import PolicyNotAuthorized, Unauthorized

#: oslo.middleware accepts a caller's request id only in this form.
_REQUEST_ID = re.compile(r'req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')


def authenticate(headers: Mapping[str, str], identity: TokenValidator) -> Context:
    """Return the sender of ``headers`` (keys in lower case).

    An X-Service-Token with the role service adds ``service_roles`` and makes an expired user token valid, so that Nova
    can finish what the user began. Any other service token is refused, whatever the user's token (keystonemiddleware's
    ``service_token_roles_required``).
    Raises Unauthorized (a token is missing or not valid), PolicyNotAuthorized (not scoped to a project) or
    ServiceUnavailable (the identity service did not answer).
    """
    token = headers.get('x-auth-token', '').strip()
    if not token:
        raise Unauthorized
    service_roles = _service_roles(headers, identity)
    facts = identity.validate(token, allow_expired=bool(service_roles))
    if facts.project_id is None:
        raise PolicyNotAuthorized('The token is not scoped to a project: request one with a project scope.')
    return Context(
        user_id=facts.user_id,
        project_id=facts.project_id,
        roles=frozenset(map(str.lower, facts.roles)),
        service_roles=service_roles,
        global_request_id=_global_request_id(headers),
        user_domain_id=facts.user_domain_id,
        project_domain_id=facts.project_domain_id,
    )


def unauthorized_response(identity_url: str) -> tuple[dict[str, str], dict[str, object]]:
    """Return headers and body of a 401 in keystonemiddleware's words; ``identity_url`` is where tokens are issued.

    Unlike every other fault of the API, the body is Keystone's and not named after the fault.
    """
    error = {'code': Unauthorized.code, 'title': 'Unauthorized', 'message': Unauthorized.template}
    return {'WWW-Authenticate': f'Keystone uri="{identity_url}"'}, {'error': error}


def _service_roles(headers: Mapping[str, str], identity: TokenValidator) -> frozenset[str]:
    token = headers.get('x-service-token', '').strip()
    if not token:
        return frozenset()
    roles = identity.validate(token).roles
    if SERVICE_ROLE not in roles:
        raise Unauthorized
    return roles


def _global_request_id(headers: Mapping[str, str]) -> str | None:
    sent = headers.get('x-openstack-request-id', '')
    return sent if _REQUEST_ID.fullmatch(sent) else None
