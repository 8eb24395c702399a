"""Validate a token's text: what it still grants."""

from __future__ import annotations

from chalicelib.context import TokenFacts
from chalicelib.errors import Unauthorized
from chalicelib.identity.config import EXPIRED_WINDOW, IdentityConfig
from chalicelib.identity.directory import DOMAIN_ID
from chalicelib.identity.token import Token, unseal


def verify(config: IdentityConfig, text: str, *, allow_expired: bool = False) -> Token:
    """Return the token with the roles that it names and the directory still grants.

    Raises Unauthorized when its signature is wrong, it has expired or was revoked, its user, project or application
    credential was removed, is disabled or has no role, or the password or secret has changed since it was issued.
    """
    token = unseal(text, config.signing_key)
    window = EXPIRED_WINDOW if allow_expired else 0
    if token.expires_at + window <= config.clock() or any(map(config.revocations.contains, token.audit_ids)):
        raise Unauthorized
    if token.stamp and token.stamp != config.stamp(token.user_id, token.application_credential_id):
        raise Unauthorized
    return token._replace(roles=_roles(config, token))


def _roles(config: IdentityConfig, token: Token) -> frozenset[str]:
    if token.project_id is None and config.directory.user({'id': token.user_id}):
        return frozenset()
    granted = config.directory.roles(token.user_id, token.project_id or '', token.application_credential_id)
    if token.roles.isdisjoint(granted):
        raise Unauthorized
    return token.roles & granted


class StandaloneTokens:
    """TokenValidator over the standalone identity."""

    def __init__(self, config: IdentityConfig) -> None:
        self._config = config

    def validate(self, token: str, *, allow_expired: bool = False) -> TokenFacts:
        valid = verify(self._config, token, allow_expired=allow_expired)
        domain = DOMAIN_ID if valid.project_id else None
        return TokenFacts(valid.user_id, valid.project_id, valid.roles, valid.expires_at, DOMAIN_ID, domain)
