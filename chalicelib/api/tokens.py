"""The issuer of tokens: an external Keystone when KEYSTONE_URL is set, else the standalone identity.

Both are built once per process, and rebuilt when their secret changes.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import TYPE_CHECKING

from chalicelib import aws
from chalicelib.config import settings
from chalicelib.context import TokenValidator

if TYPE_CHECKING:
    from chalicelib.identity.config import IdentityConfig

#: Path of the standalone identity.
MOUNT = '/identity'


def validator() -> TokenValidator:
    """Return the validator of every request's token."""
    if settings().keystone_url:
        from chalicelib.operations import cloud

        return cloud.keystone()
    return _standalone(aws.secret(settings().identity_secret))


def identity_url(endpoint: str) -> str:
    """Return the URL for tokens; it ends in /v3. ``endpoint`` is this API's URL for the client."""
    return settings().keystone_url or f'{endpoint}{MOUNT}/v3'


def identity(endpoint: str) -> IdentityConfig:
    """Return the standalone identity for ``endpoint``: its catalog refers to that URL."""
    from chalicelib.identity.config import block_storage_services

    url = identity_url(endpoint)
    config = _config(aws.secret(settings().identity_secret))
    services = block_storage_services(f'{endpoint}/v3', url, settings().barbican_url or f'{endpoint}/key-manager')
    return dataclasses.replace(config, identity_url=url, services=services, region=settings().region)


@functools.lru_cache(maxsize=1)
def _standalone(document: str) -> TokenValidator:
    from chalicelib.identity.validation import StandaloneTokens

    return StandaloneTokens(_config(document))


@functools.lru_cache(maxsize=1)
def _config(document: str) -> IdentityConfig:
    from chalicelib.identity.document import load
    from chalicelib.models.revocation import Guesses, Revocations

    return load(
        json.loads(document),
        identity_url='',
        services=(),
        region='',
        revocations=Revocations(),
        guesses=Guesses(),
    )
