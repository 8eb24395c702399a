"""Callers of every kind, with tokens of the built-in identity, or of a Keystone that is a double at the edge."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from typing import Any

from chalicelib.context import implied_roles
from chalicelib.identity.token import Token, new_audit_id, seal
from tests.api.front_door import FrontDoor
from tests.unit.identity.fake_keystone import FakeKeystone, body

#: Projects: that of the objects, another one, and those of administrators and services.
OWNER, OTHER, ADMIN, SERVICE = 'owner', 'other', 'admin', 'service'


@dataclasses.dataclass(frozen=True, slots=True)
class Persona:
    """``project`` is a name; None for a caller whose token, if any, is not valid."""

    name: str
    project: str | None = None
    role: str = ''

    @property
    def is_valid(self) -> bool:
        return self.project is not None

    @property
    def roles(self) -> frozenset[str]:
        return implied_roles([self.role]) if self.role else frozenset()

    @property
    def is_stranger(self) -> bool:
        """Whether the objects belong to another project, and the caller may not see all projects."""
        return self.project != OWNER and 'admin' not in self.roles


PERSONAS = (
    Persona('member', OWNER, 'member'),
    Persona('member of another project', OTHER, 'member'),
    Persona('manager of another project', OTHER, 'manager'),
    Persona('reader', OWNER, 'reader'),
    Persona('manager', OWNER, 'manager'),
    Persona('admin', OWNER, 'admin'),
    Persona('admin of another project', ADMIN, 'admin'),
    Persona('service in the project', OWNER, 'service'),
    Persona('service', SERVICE, 'service'),
    Persona('no token'),
    Persona('expired'),
    Persona('forged'),
    Persona('revoked'),
    Persona('rescoped from a revoked token'),
)

VALID = tuple(persona for persona in PERSONAS if persona.is_valid)


def document() -> dict[str, Any]:
    """A document of the built-in identity with a user for each valid persona."""
    users = [
        {
            'name': persona.name,
            'password': persona.name,
            'default_project': persona.project,
            'roles': {persona.project: [persona.role]},
        }
        for persona in VALID
    ]
    projects = [{'name': name} for name in (OWNER, OTHER, ADMIN, SERVICE)]
    return {'signing_key': 'k' * 32, 'allow_plain_passwords': True, 'projects': projects, 'users': users}


class Tokens:
    """``of`` maps a persona's name to its token, ``projects`` a project's name to its id."""

    def __init__(self, of: Mapping[str, str], projects: Mapping[str, str]) -> None:
        self.of, self.projects = of, projects


def built_in(door: FrontDoor) -> Tokens:
    """Log in through the mounted routes; revoke and rescope there too."""
    sessions = {persona.name: _log_in(door, persona) for persona in VALID}
    projects = {str(persona.project): sessions[persona.name][1]['project']['id'] for persona in VALID}
    text = {name: token for name, (token, _) in sessions.items()}
    owner = sessions['member'][1]
    revoked, parent = (_log_in(door, VALID[0])[0] for _ in range(2))
    identity = {'methods': ['token'], 'token': {'id': parent}}
    child, _ = _issue(door, {'identity': identity, 'scope': {'project': {'id': projects[OWNER]}}})
    for token in (revoked, parent):
        headers = {'X-Auth-Token': text['member'], 'X-Subject-Token': token}
        assert door.send('DELETE', '/identity/v3/auth/tokens', headers, None).status == 204
    return Tokens(
        {
            **text,
            'expired': _sealed(owner, int(time.time()) - 10, b'k' * 32),
            'forged': _sealed(owner, int(time.time()) + 3600, b'x' * 32),
            'revoked': revoked,
            'rescoped from a revoked token': child,
        },
        projects,
    )


def _log_in(door: FrontDoor, persona: Persona) -> tuple[str, Any]:
    user = {'name': persona.name, 'domain': {'name': 'Default'}, 'password': persona.name}
    return _issue(door, {'identity': {'methods': ['password'], 'password': {'user': user}}})


def _issue(door: FrontDoor, auth: dict[str, Any]) -> tuple[str, Any]:
    answer = door.send('POST', '/identity/v3/auth/tokens', {}, json.dumps({'auth': auth}))
    assert answer.status == 201, answer.text
    return answer.headers['x-subject-token'], answer.body['token']


def _sealed(owner: Any, expires_at: int, key: bytes) -> str:
    roles = frozenset(role['name'] for role in owner['roles'])
    user, project = owner['user']['id'], owner['project']['id']
    token = Token(user, project, roles, ('password',), (new_audit_id(),), expires_at - 3600, expires_at)
    return seal(token, key)


def of_keystone(keystone: FakeKeystone) -> Tokens:
    """Tokens that a Keystone issued. It answers 404 for those that it does not validate, whatever the reason."""
    projects = {OWNER: 'a' * 32, OTHER: 'b' * 32, ADMIN: 'c' * 32, SERVICE: 'd' * 32}
    tokens = {persona.name: f'token-of-{persona.name.replace(" ", "-")}' for persona in PERSONAS}
    for persona in VALID:
        roles = [{'id': role, 'name': role} for role in sorted(persona.roles)]
        keystone.tokens[tokens[persona.name]] = body('e' * 32, projects[str(persona.project)], roles=roles)
    keystone.tokens[tokens['expired']] = body('e' * 32, projects[OWNER], ends=time.time() - 10)
    return Tokens(tokens, projects)


def headers_of(tokens: Tokens, persona: Persona) -> dict[str, str]:
    return {} if persona.name == 'no token' else {'X-Auth-Token': tokens.of[persona.name]}
