"""The service's own tokens, for calls to services that validate them with the standalone identity."""

from __future__ import annotations

import threading

from chalicelib.identity.config import IdentityConfig
from chalicelib.identity.directory import DOMAIN_ID
from chalicelib.identity.token import Token, new_audit_id, seal

#: Seconds before its expiry at which a token is replaced.
RENEWAL_MARGIN = 60


class ServiceTokens:
    """Tokens for one user of the document on one project; none when the user has no role there."""

    def __init__(self, config: IdentityConfig, username: str, project: str) -> None:
        self._config, self._username, self._project = config, username, project
        self._making = threading.Lock()
        self._text, self._until = '', 0.0

    def service_token(self, refused: str | None = None) -> str:
        """Return a token; '' without such a user: the called service may not require one."""
        with self._making:
            if self._until <= self._config.clock() or (refused is not None and refused == self._text):
                self._text, self._until = self._new()
            return self._text

    def _new(self) -> tuple[str, float]:
        directory, domain = self._config.directory, {'id': DOMAIN_ID}
        user = directory.user({'name': self._username, 'domain': domain})
        project = directory.project({'name': self._project, 'domain': domain})
        roles = directory.roles(user.id, project.id) if user and project else frozenset()
        now = int(self._config.clock())
        end = now + self._config.token_lifetime
        if user is None or project is None or not roles:
            return '', end - RENEWAL_MARGIN
        mark = self._config.stamp(user.id, None)
        token = Token(user.id, project.id, roles, ('password',), (new_audit_id(),), now, end, stamp=mark)
        return seal(token, self._config.signing_key), end - RENEWAL_MARGIN
