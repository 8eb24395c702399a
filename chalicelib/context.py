"""The caller: the facts of a validated token, and the context of a request."""

from __future__ import annotations

import contextvars
import dataclasses
import uuid
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

#: Each role implies those after it, as ``keystone-manage bootstrap`` sets them up.
ROLE_CHAIN = ('admin', 'manager', 'member', 'reader')

#: Held by other OpenStack services (Nova, Glance); outside the chain, without implied roles.
SERVICE_ROLE = 'service'

#: Role -> itself and the roles that it implies.
IMPLIED_ROLES = {role: frozenset(ROLE_CHAIN[place:]) for place, role in enumerate(ROLE_CHAIN)}


#: The token of the current request, for services that store objects of the caller (Barbican). It lives as long as the
#: request, and is never stored, logged, or passed to a state machine.
caller_token: contextvars.ContextVar[str] = contextvars.ContextVar('caller_token', default='')


#: The user of the current request, for the log of operations; '' outside of a request.
caller_id: contextvars.ContextVar[str] = contextvars.ContextVar('caller_id', default='')


#: Whether the current request has begun work that is an operation of its own (models/operation_log.py).
has_begun_work: contextvars.ContextVar[bool] = contextvars.ContextVar('has_begun_work', default=False)


def implied_roles(roles: Iterable[str]) -> frozenset[str]:
    """Return ``roles`` and all that they imply; a role outside the chain implies nothing."""
    return frozenset(roles).union(*(IMPLIED_ROLES.get(role, frozenset()) for role in roles))


def new_request_id() -> str:
    """Return an id in the form of oslo.middleware: ``req-`` and a random UUID."""
    return f'req-{uuid.uuid4()}'


class TokenFacts(NamedTuple):
    """The facts of a valid token; never the token itself."""

    user_id: str
    #: None when the token is not scoped to a project.
    project_id: str | None
    roles: frozenset[str]
    #: Seconds since the epoch.
    expires_at: float
    #: Domains of the user and of the project, if the issuer reports them.
    user_domain_id: str | None = None
    project_domain_id: str | None = None


class TokenValidator(Protocol):
    """The port to the issuer of tokens: an external Keystone, or the standalone identity."""

    def validate(self, token: str, *, allow_expired: bool = False) -> TokenFacts:
        """Return the facts of ``token``.

        ``allow_expired`` also accepts a token that expired within the issuer's window (Keystone's
        ``allow_expired_window``), for a service that finishes what a user began.
        Raises Unauthorized (unknown, expired, revoked) or ServiceUnavailable (the issuer did not answer).
        """


class PolicyOverrides(Protocol):
    """The port to an operator's own policy rules (rules/policy_overrides.py)."""

    def allows(
        self, context: Context, rule: str, project_id: str | None, find: Callable[[], Any] | None = None
    ) -> bool:
        """Return whether ``context`` passes ``rule``."""

    def bounded(self, context: Context) -> Context:
        """Return ``context`` as routes of extensions see it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The caller of one request. Holds no token, so nothing here is secret."""

    user_id: str
    project_id: str
    #: In lower case: oslo.policy compares roles case-insensitively.
    roles: frozenset[str]
    #: Roles of the request's X-Service-Token, if any.
    service_roles: frozenset[str] = frozenset()
    request_id: str = dataclasses.field(default_factory=new_request_id)
    #: The X-OpenStack-Request-ID that the caller sent: one id through several services.
    global_request_id: str | None = None
    microversion: tuple[int, int] = (3, 0)
    user_domain_id: str | None = None
    project_domain_id: str | None = None
    #: The operator's own policy rules; None for Cinder's defaults.
    overrides: PolicyOverrides | None = dataclasses.field(default=None, repr=False)
    #: Whether an override of ``context_is_admin`` makes the caller an administrator; None without one.
    admin: bool | None = None

    @property
    def is_admin(self) -> bool:
        """Cinder's ``context_is_admin``: by default the role admin, on any project."""
        return 'admin' in self.roles if self.admin is None else self.admin

    @property
    def is_service_request(self) -> bool:
        """Whether the request has a service's token, too (Cinder's ``is_service_request``)."""
        return SERVICE_ROLE in self.service_roles
