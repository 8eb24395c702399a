"""Credentials -> token: the body of ``POST /v3/auth/tokens``.

Checks run in Keystone's order: shape (400), then credentials (401, with the same message for every cause), then scope.
So only an authenticated client gets information about projects.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.errors import Invalid, PolicyNotAuthorized, Unauthorized
from chalicelib.identity import secret
from chalicelib.identity.config import IdentityConfig
from chalicelib.identity.directory import ApplicationCredential, User
from chalicelib.identity.token import MAX_CHAIN, Token, new_audit_id
from chalicelib.identity.validation import verify

Body = Mapping[str, Any]

#: Scopes that Keystone knows and this identity does not give.
_FOREIGN_SCOPES = frozenset({'domain', 'system', 'OS-TRUST:trust'})


@dataclasses.dataclass(frozen=True, slots=True)
class Proof:
    """The authenticated user. ``parent`` is the token, ``credential`` the application credential used for it."""

    user: User
    parent: Token | None = None
    credential: ApplicationCredential | None = None


def authenticate(config: IdentityConfig, body: Body) -> Token:
    """Return a new token for the credentials and the scope in ``body``.

    Raises Invalid (400, the message names what is missing), Unauthorized (401) or PolicyNotAuthorized (403: a token of
    an application credential cannot be exchanged for another one).
    """
    auth = _section(body, 'auth', 'request body')
    identity = _section(auth, 'identity', 'auth')
    method = _method(identity)
    proof = METHODS[method](config, _section(identity, method, 'identity'))
    return _token(config, proof, method, _scope(config, proof, auth.get('scope')))


def claimed_user(body: Body) -> str:
    """Return which user or application credential a request has a secret for, in one text.

    '' for a request without a secret, or one that ``authenticate`` refuses unread. Only what ``authenticate`` reads
    counts: with a name beside an id, or the section of another method, an attacker could vary the text at will.
    The result does not depend on whether the user exists.
    """
    try:
        identity = _section(_section(body, 'auth', 'request body'), 'identity', 'auth')
        method = _method(identity)
        reference = _CLAIMS[method](_section(identity, method, 'identity')) if method in _CLAIMS else {}
    except Invalid:
        return ''
    return '\0'.join((method, *_spelling(reference))) if reference else ''


def _spelling(reference: Body) -> tuple[str, ...]:
    """Return the texts of a reference without the domain: the id, or the name and its user."""
    if 'id' in reference:
        return 'id', reference['id']
    return 'name', reference['name'], *(_spelling(reference['user']) if 'user' in reference else ())


def _method(identity: Body) -> str:
    for method in METHODS:
        if identity.get('methods') == [method]:
            return method
    raise Invalid(f'Expecting to find one of {", ".join(METHODS)} in identity methods.')


def _by_password(config: IdentityConfig, section: Body) -> Proof:
    claim = _section(section, 'user', 'password')
    reference, password = _reference(claim, 'user'), _text(claim, 'password', 'user')
    user = config.directory.user(reference)
    stored = user.password if user else None
    correct = secret.matches(stored or config.directory.decoy(), password)
    if user is None or stored is None or not correct:
        raise Unauthorized
    return Proof(user)


def _by_token(config: IdentityConfig, section: Body) -> Proof:
    parent = verify(config, _text(section, 'id', 'token'))
    if parent.application_credential_id is not None:
        raise PolicyNotAuthorized('A token of an application credential cannot be used to get another token.')
    if len(parent.audit_ids) > MAX_CHAIN:
        raise PolicyNotAuthorized(f'The token descends from {MAX_CHAIN} others, the maximum: authenticate by password.')
    return Proof(config.directory.users[parent.user_id], parent=parent)


def _by_application_credential(config: IdentityConfig, section: Body) -> Proof:
    reference, claimed = _credential_reference(section), _text(section, 'secret', 'application_credential')
    credential = config.directory.application_credential(reference)
    correct = secret.matches(credential.secret if credential else config.directory.decoy(), claimed)
    user = config.directory.user({'id': credential.user_id}) if credential else None
    if credential is None or user is None or not correct or _has_expired(config, credential):
        raise Unauthorized
    return Proof(user, credential=credential)


def _has_expired(config: IdentityConfig, credential: ApplicationCredential) -> bool:
    return credential.expires_at is not None and credential.expires_at <= config.clock()


#: Keystone's authentication methods.
METHODS: Mapping[str, Callable[[IdentityConfig, Body], Proof]] = {
    'password': _by_password,
    'token': _by_token,
    'application_credential': _by_application_credential,
}


#: Methods with a secret -> the reference to whom it belongs. Raise Invalid as the method itself does.
_CLAIMS: Mapping[str, Callable[[Body], Body]] = {
    'password': lambda section: _reference(_section(section, 'user', 'password'), 'user'),
    'application_credential': lambda section: _credential_reference(section),
}


def _scope(config: IdentityConfig, proof: Proof, scope: object) -> str | None:
    if proof.credential is not None:
        return _credential_scope(proof.credential, scope)
    if scope is None:
        return _default_scope(config, proof.user)
    if scope == 'unscoped' or (isinstance(scope, dict) and 'unscoped' in scope):
        return None
    if isinstance(scope, dict) and 'project' in scope:
        return _project_scope(config, proof.user, _section(scope, 'project', 'scope'))
    if isinstance(scope, dict) and not _FOREIGN_SCOPES.isdisjoint(scope):
        raise Unauthorized('This identity has roles on projects only: request a project scope.')
    raise Invalid('Expecting to find project or unscoped in scope.')


def _credential_scope(credential: ApplicationCredential, scope: object) -> str:
    if scope is not None:
        raise Unauthorized('An application credential cannot request a scope: it is bound to its project.')
    return credential.project_id


def _default_scope(config: IdentityConfig, user: User) -> str | None:
    project_id = user.default_project_id
    return project_id if project_id and config.directory.roles(user.id, project_id) else None


def _project_scope(config: IdentityConfig, user: User, section: Body) -> str:
    project = config.directory.project(_reference(section, 'project'))
    if project is None or not config.directory.roles(user.id, project.id):
        raise Unauthorized
    return project.id


def _token(config: IdentityConfig, proof: Proof, method: str, project_id: str | None) -> Token:
    parent, credential = proof.parent, proof.credential
    credential_id = credential.id if credential else None
    roles = config.directory.roles(proof.user.id, project_id, credential_id) if project_id else frozenset()
    if project_id and not roles:
        raise Unauthorized
    now = int(config.clock())
    return Token(
        user_id=proof.user.id,
        project_id=project_id,
        roles=roles,
        methods=tuple(dict.fromkeys((method, *(parent.methods if parent else ())))),
        audit_ids=(new_audit_id(), *(parent.audit_ids if parent else ())),
        issued_at=now,
        expires_at=_end(config, proof, now),
        application_credential_id=credential_id,
        stamp=config.stamp(proof.user.id, credential_id),
    )


def _end(config: IdentityConfig, proof: Proof, now: int) -> int:
    """Return the expiry: at most that of the parent token and that of the credential."""
    ends = [now + config.token_lifetime]
    if proof.parent:
        ends.append(proof.parent.expires_at)
    if proof.credential and proof.credential.expires_at is not None:
        ends.append(int(proof.credential.expires_at))
    return min(ends)


def _credential_reference(section: Body) -> Body:
    if 'id' in section:
        return {'id': _text(section, 'id', 'application_credential')}
    name = _text(section, 'name', 'application_credential')
    return {'name': name, 'user': _reference(_section(section, 'user', 'application_credential'), 'user')}


def _reference(section: Body, where: str) -> Body:
    if 'id' in section:
        return {'id': _text(section, 'id', where)}
    name, domain = _text(section, 'name', where), _section(section, 'domain', where)
    key = 'id' if 'id' in domain else 'name'
    return {'name': name, 'domain': {key: _text(domain, key, 'domain')}}


def _section(section: Body, key: str, where: str) -> Body:
    value = section.get(key)
    if not isinstance(value, dict):
        raise Invalid(f'Expecting to find {key} in {where}.')
    return value


def _text(section: Body, key: str, where: str) -> str:
    value = section.get(key)
    if not isinstance(value, str):
        raise Invalid(f'Expecting to find {key} in {where}, as a string.')
    return value
