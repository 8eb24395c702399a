"""The other services of the cloud, as this one reaches them: each a port over HTTP, under the service user's token.

A URL that is not set means that the cloud has no such service. Tokens come from the external Keystone; with the
standalone identity they are its own, for the user that the settings name (``keystone_username``), where it has one.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from chalicelib import aws, errors
from chalicelib.config import settings
from chalicelib.context import caller_token

if TYPE_CHECKING:  # each port is imported where it is made: most processes of the API use none
    from chalicelib.clients.barbican import Secrets
    from chalicelib.clients.glance import Images
    from chalicelib.clients.http import Tokens
    from chalicelib.clients.keystone import KeystoneTokens
    from chalicelib.clients.nova import Compute
    from chalicelib.identity.directory import Directory


def roles_of(user_id: str, project_id: str) -> frozenset[str] | None:
    """Return the roles that a user has on a project now, by the built-in identity; empty: none, or no such user.

    None with an external Keystone: only the API has its password and reaches it.
    """
    if settings().keystone_url:
        return None
    return _directory(aws.secret(settings().identity_secret)).roles(user_id, project_id)


def images() -> Images:
    """Return Glance; raises InvalidInput when the cloud has none."""
    url = settings().glance_url
    if not url:
        raise errors.InvalidInput(reason='This cloud has no image service: an administrator sets GLANCE_URL.')
    return _images(url, _tokens())


@functools.lru_cache(maxsize=1)
def _images(url: str, tokens: Tokens) -> Images:
    from chalicelib.clients.glance import Images

    return Images(url, tokens)


def compute() -> Compute | None:
    """Return Nova, None for a cloud without one."""
    url = settings().nova_url
    return _compute(url, _tokens()) if url else None


@functools.lru_cache(maxsize=1)
def _compute(url: str, tokens: Tokens) -> Compute:
    from chalicelib.clients.nova import Compute

    return Compute(url, tokens)


def barbican() -> str | None:
    """Return the URL of an external Barbican, None where the built-in key manager is used."""
    return settings().barbican_url or None


class _CallerToken:
    """The token of the request that is being served: what it stores belongs to the caller's project."""

    def service_token(self, refused: str | None = None) -> str:
        return caller_token.get()


@functools.cache
def secrets_of_caller() -> Secrets:
    """Return Barbican, as the caller of the request that is being served sees it."""
    from chalicelib.clients.barbican import Secrets

    return Secrets(settings().barbican_url, _CallerToken())


def _tokens() -> Tokens:
    if settings().keystone_url:
        return keystone()
    return _standalone(aws.secret(settings().identity_secret))


def keystone() -> KeystoneTokens:
    """Return the external Keystone, as validator and as issuer of tokens."""
    return _keystone(aws.secret(settings().keystone_secret))


@functools.lru_cache(maxsize=1)
def _keystone(password: str) -> KeystoneTokens:
    from chalicelib.clients.keystone import KeystoneTokens

    chosen = settings()
    return KeystoneTokens(chosen.keystone_url, chosen.keystone_username, password, chosen.keystone_project)


@functools.lru_cache(maxsize=1)
def _directory(document: str) -> Directory:
    from chalicelib.identity.document import load
    from chalicelib.identity.revocation import InMemoryRevocations

    read = load(json.loads(document), identity_url='', services=(), region='', revocations=InMemoryRevocations())
    return read.directory


@functools.lru_cache(maxsize=1)
def _standalone(document: str) -> Tokens:
    from chalicelib.identity.document import load
    from chalicelib.identity.revocation import InMemoryRevocations
    from chalicelib.identity.service import ServiceTokens

    config = load(json.loads(document), identity_url='', services=(), region='', revocations=InMemoryRevocations())
    return ServiceTokens(config, settings().keystone_username, settings().keystone_project)
