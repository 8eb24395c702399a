"""Users, projects, application credentials and role assignments, read from a document."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from chalicelib.context import ROLE_CHAIN, SERVICE_ROLE, implied_roles
from chalicelib.identity import secret

#: The only domain: Keystone's default one.
DOMAIN_ID, DOMAIN_NAME = 'default', 'Default'

#: The roles that users can hold.
ROLES = (*ROLE_CHAIN, SERVICE_ROLE)

_NAMESPACE = uuid.UUID('b6cde7cd-97c5-4bd8-ae0f-2e3d0d7c32b5')


def stable_id(kind: str, name: str) -> str:
    """Return 32 hexadecimal digits, the same for the same ``kind`` and ``name`` in every process."""
    return uuid.uuid5(_NAMESPACE, f'{kind}:{name}').hex


class Project(NamedTuple):
    id: str
    name: str
    description: str = ''
    enabled: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class User:
    id: str
    name: str
    #: In stored form; None: the user cannot log in by password.
    password: str | None = dataclasses.field(repr=False)
    #: Project id -> roles, without the implied ones.
    assignments: Mapping[str, frozenset[str]]
    default_project_id: str | None = None
    enabled: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class ApplicationCredential:
    id: str
    name: str
    user_id: str
    project_id: str
    #: The most that its tokens may hold; a role that the user has lost since does not count.
    roles: frozenset[str]
    #: In stored form.
    secret: str = dataclasses.field(repr=False)
    #: Seconds since the epoch; None: never.
    expires_at: float | None = None


Entry = TypeVar('Entry', Project, User)


class Directory(NamedTuple):
    """Everything by id."""

    projects: Mapping[str, Project]
    users: Mapping[str, User]
    application_credentials: Mapping[str, ApplicationCredential]

    def project(self, reference: Mapping[str, Any]) -> Project | None:
        """Return the enabled project that ``{id}`` or ``{name, domain}`` refers to."""
        return _find(self.projects, reference)

    def user(self, reference: Mapping[str, Any]) -> User | None:
        """Return the enabled user that ``{id}`` or ``{name, domain}`` refers to."""
        return _find(self.users, reference)

    def application_credential(self, reference: Mapping[str, Any]) -> ApplicationCredential | None:
        """Return the credential that ``{id}`` or ``{name, user}`` refers to."""
        if 'id' in reference:
            return self.application_credentials.get(reference['id'])
        user = self.user(reference['user'])
        owned = (entry for entry in self.application_credentials.values() if user and entry.user_id == user.id)
        return next((entry for entry in owned if entry.name == reference['name']), None)

    def roles(self, user_id: str, project_id: str, credential_id: str | None = None) -> frozenset[str]:
        """Return the roles of an enabled user on an enabled project, with the implied ones; empty: no access.

        Through an application credential the roles are at most the credential's.
        """
        user, project = self.user({'id': user_id}), self.project({'id': project_id})
        if user is None or project is None:
            return frozenset()
        held = implied_roles(user.assignments.get(project_id, frozenset()))
        return held if credential_id is None else held & self._delegated(credential_id)

    def projects_of(self, user_id: str) -> list[Project]:
        """Return the enabled projects on which the user holds a role."""
        return [project for project in self.projects.values() if self.roles(user_id, project.id)]

    def stored_secret(self, user_id: str, credential_id: str | None) -> str | None:
        """Return the stored form of the secret that a token was issued for: the credential's, else the user's."""
        entry = self.application_credentials.get(credential_id) if credential_id else None
        if entry is not None:
            return entry.secret
        user = self.users.get(user_id)
        return user.password if user else None

    def _delegated(self, credential_id: str) -> frozenset[str]:
        credential = self.application_credentials.get(credential_id)
        return implied_roles(credential.roles) if credential else frozenset()

    def decoy(self) -> str:
        """Return a stored secret to check for an unknown user, so that a refusal takes as long as any other."""
        stored = [user.password for user in self.users.values() if user.password]
        return next(filter(secret.is_hash, stored), secret.plain_secret(''))


def _find(entries: Mapping[str, Entry], reference: Mapping[str, Any]) -> Entry | None:
    found = entries.get(reference['id']) if 'id' in reference else _named(entries.values(), reference)
    return found if found is not None and found.enabled else None


def _named(entries: Iterable[Entry], reference: Mapping[str, Any]) -> Entry | None:
    domain = reference['domain']
    if domain.get('id', DOMAIN_ID) != DOMAIN_ID or domain.get('name', DOMAIN_NAME) != DOMAIN_NAME:
        return None
    return next((entry for entry in entries if entry.name == reference['name']), None)
