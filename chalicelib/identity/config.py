"""The configuration of the standalone identity."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import NamedTuple

from chalicelib.identity.directory import Directory
from chalicelib.identity.guesses import GuessStore, InMemoryGuesses
from chalicelib.identity.revocation import RevocationStore
from chalicelib.identity.token import stamp

#: Seconds; Keystone's default ``[token] expiration``.
TOKEN_LIFETIME = 3600

#: Seconds after its expiry in which a service may still use a user's token; Keystone's ``allow_expired_window``.
EXPIRED_WINDOW = 172800


class Service(NamedTuple):
    """One entry of the catalog: the same URL at every interface."""

    type: str
    name: str
    url: str


def block_storage_services(volume_url: str, identity_url: str, key_manager_url: str = '') -> tuple[Service, ...]:
    """Return the catalog of a cloud without Keystone. Both first URLs end in /v3; '' for no key manager.

    Old clients look up ``volumev3``, new ones ``block-storage``. The volume URL carries no project id: it is
    optional in Cinder's paths.
    """
    key_manager = (Service('key-manager', 'barbican', key_manager_url),) if key_manager_url else ()
    return (
        Service('volumev3', 'cinderv3', volume_url),
        Service('block-storage', 'cinder', volume_url),
        Service('identity', 'keystone', identity_url),
        *key_manager,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class IdentityConfig:
    """A directory, the key that signs tokens, and the content of the catalog.

    ``dataclasses.replace`` sets the URLs of another endpoint.
    """

    directory: Directory
    signing_key: bytes = dataclasses.field(repr=False)
    #: The URL of this identity for clients; ends in /v3.
    identity_url: str
    services: tuple[Service, ...]
    region: str
    revocations: RevocationStore
    guesses: GuessStore = dataclasses.field(default_factory=InMemoryGuesses)
    token_lifetime: int = TOKEN_LIFETIME
    clock: Callable[[], float] = time.time

    def stamp(self, user_id: str, credential_id: str | None) -> str:
        """Return the stamp of the secret for which a token of this user, or of this credential, is issued."""
        return stamp(self.directory.stored_secret(user_id, credential_id), self.signing_key)
