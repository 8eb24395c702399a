"""The identity document (JSON or YAML, already parsed) -> IdentityConfig.

    signing_key: 64 hexadecimal digits or any 32 characters or more   # signs the tokens; a new one invalidates all
    token_lifetime: 3600                                              # seconds, 60 to 86400
    allow_plain_passwords: false                                      # true: only for a local cloud
    projects:
      - {name: demo, id: 32 hexadecimal digits, description: ..., enabled: true}
    users:
      - name: demo
        password_hash: $scrypt$...                                    # or password, if plain passwords are allowed
        default_project: demo
        roles: {demo: [member]}                                       # project -> roles, with those they imply
    application_credentials:
      - {name: ci, user: demo, project: demo, roles: [reader], secret_hash: $scrypt$..., expires_at: 2027-01-31}

An omitted ``id`` is derived from the name, so it is the same in every process. Names of projects and of users are
unique; a credential's name is unique among those of its user.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from chalicelib.identity import secret
from chalicelib.identity.config import TOKEN_LIFETIME, IdentityConfig, Service
from chalicelib.identity.directory import ROLES, ApplicationCredential, Directory, Project, User, stable_id
from chalicelib.identity.guesses import GuessStore, InMemoryGuesses
from chalicelib.identity.revocation import RevocationStore
from chalicelib.identity.section import Section

#: A key longer than its output does not make HMAC-SHA256 stronger; a shorter one makes it weaker.
MIN_KEY_LENGTH = 32

#: The only form of a project id that Cinder accepts in a path.
_ID = re.compile(r'[0-9a-f]{32}')


class Named(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...


Entry = TypeVar('Entry', bound=Named)


def load(
    document: Mapping[str, object],
    *,
    identity_url: str,
    services: Sequence[Service],
    region: str,
    revocations: RevocationStore,
    guesses: GuessStore | None = None,
) -> IdentityConfig:
    """Return the configuration of the standalone identity. ``identity_url`` ends in /v3.

    Raises ValueError that names the wrong key and the expected value; it quotes no password.
    """
    root = Section(document)
    config = IdentityConfig(
        directory=_directory(root),
        signing_key=_signing_key(root),
        identity_url=identity_url,
        services=tuple(services),
        region=region,
        revocations=revocations,
        guesses=guesses or InMemoryGuesses(),
        token_lifetime=root.number('token_lifetime', TOKEN_LIFETIME, 60, 86400),
    )
    root.done()
    return config


def _directory(root: Section) -> Directory:
    plain = root.flag('allow_plain_passwords', False)
    projects = _unique(root, 'projects', [_project(section) for section in root.sections('projects')])
    project_ids = {project.name: project.id for project in projects.values()}
    users = _unique(root, 'users', [_user(section, project_ids, plain) for section in root.sections('users')])
    user_ids = {user.name: user.id for user in users.values()}
    sections = root.sections('application_credentials')
    credentials = [_credential(section, project_ids, user_ids, plain) for section in sections]
    return Directory(projects, users, _by_id(root, 'application_credentials', credentials))


def _signing_key(root: Section) -> bytes:
    key = root.text('signing_key')
    if len(key) < MIN_KEY_LENGTH:
        root.complain(f'has {len(key)} characters: set {MIN_KEY_LENGTH} or more random ones', 'signing_key')
    return key.encode()


def _project(section: Section) -> Project:
    name = section.text('name')
    project = Project(
        _id(section, 'project', name), name, section.text('description', ''), section.flag('enabled', True)
    )
    section.done()
    return project


def _user(section: Section, project_ids: Mapping[str, str], plain: bool) -> User:
    name = section.text('name')
    user = User(
        id=_id(section, 'user', name),
        name=name,
        password=_stored(section, 'password', plain) if _has_secret(section, 'password') else None,
        assignments=_assignments(section.section('roles'), project_ids),
        default_project_id=_reference(section, 'default_project', project_ids, optional=True) or None,
        enabled=section.flag('enabled', True),
    )
    section.done()
    return user


def _assignments(section: Section, project_ids: Mapping[str, str]) -> dict[str, frozenset[str]]:
    unknown = [name for name in section.names() if name not in project_ids]
    if unknown:
        section.complain('is not a project of this document', unknown[0])
    return {project_ids[name]: section.choices(name, ROLES) for name in section.names()}


def _credential(
    section: Section, project_ids: Mapping[str, str], user_ids: Mapping[str, str], plain: bool
) -> ApplicationCredential:
    name, user_id = section.text('name'), _reference(section, 'user', user_ids)
    credential = ApplicationCredential(
        id=_id(section, 'application_credential', f'{user_id}:{name}'),
        name=name,
        user_id=user_id,
        project_id=_reference(section, 'project', project_ids),
        roles=section.choices('roles', ROLES),
        secret=_stored(section, 'secret', plain),
        expires_at=_date(section, 'expires_at'),
    )
    if not credential.roles:
        section.complain('is empty: name the roles that its tokens may hold', 'roles')
    section.done()
    return credential


def _id(section: Section, kind: str, name: str) -> str:
    given = section.text('id', stable_id(kind, name))
    if not _ID.fullmatch(given):
        section.complain('is not 32 hexadecimal digits in lower case', 'id')
    return given


def _reference(section: Section, key: str, ids: Mapping[str, str], *, optional: bool = False) -> str:
    if optional and not section.has(key):
        return ''
    name = section.text(key)
    if name not in ids:
        section.complain(f'is not in this document: use {", ".join(sorted(ids))}', key)
    return ids[name]


def _has_secret(section: Section, key: str) -> bool:
    return section.has(key) or section.has(f'{key}_hash')


def _stored(section: Section, key: str, plain: bool) -> str:
    if not section.has(key):
        return _hash(section, f'{key}_hash')
    if not plain or section.has(f'{key}_hash'):
        section.complain(f'is in plain text: set {key}_hash alone, or allow_plain_passwords for local use', key)
    return secret.plain_secret(section.text(key))


def _hash(section: Section, key: str) -> str:
    stored = section.text(key)
    if not secret.is_hash(stored):
        section.complain('is not a supported hash: set the result of chalicelib.identity.hash_secret', key)
    return stored


def _date(section: Section, key: str) -> float | None:
    if not section.has(key):
        return None
    try:
        date = datetime.datetime.fromisoformat(section.text(key))
    except ValueError:
        section.complain('is not a date such as 2027-01-31 or 2027-01-31T12:00:00+00:00, as a string', key)
    return (date if date.tzinfo else date.replace(tzinfo=datetime.UTC)).timestamp()


def _by_id(root: Section, key: str, entries: Sequence[Entry]) -> dict[str, Entry]:
    by_id = {entry.id: entry for entry in entries}
    if len(by_id) < len(entries):
        root.complain('has two entries with one id', key)
    return by_id


def _unique(root: Section, key: str, entries: Sequence[Entry]) -> dict[str, Entry]:
    if len({entry.name for entry in entries}) < len(entries):
        root.complain('has two entries with one name', key)
    return _by_id(root, key, entries)
