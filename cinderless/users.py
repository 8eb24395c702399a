"""Users in an identity document, as functions from document to document, and the places that hold one."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from chalicelib.identity.document import load
from chalicelib.identity.revocation import InMemoryRevocations
from chalicelib.identity.secret import hash_secret
from cinderless.errors import REFUSED, Failure

Document = dict[str, Any]

#: Characters that a password has at least; a local cloud's well-known ones are shorter.
MIN_PASSWORD = 8


def add(document: Mapping[str, Any], name: str, password: str, project: str, roles: Sequence[str]) -> Document:
    """Return the document with another user, and with its project. Raises Failure."""
    if any(user['name'] == name for user in _users(document)):
        raise Failure(f'the user {name} exists: cinderless user passwd changes its password', REFUSED)
    projects = list(document.get('projects') or ())
    if all(each['name'] != project for each in projects):
        projects.append({'name': project})
    user = {'name': name, 'password_hash': _hashed(password), 'default_project': project, 'roles': {project: [*roles]}}
    return _checked({**document, 'projects': projects, 'users': [*_users(document), user]})


def change_password(document: Mapping[str, Any], name: str, password: str) -> Document:
    """Return the document with another password of a user. Raises Failure."""
    found = _user(document, name)
    changed = {key: value for key, value in found.items() if key != 'password'} | {'password_hash': _hashed(password)}
    return _checked({**document, 'users': [changed if user is found else user for user in _users(document)]})


def remove(document: Mapping[str, Any], name: str) -> Document:
    """Return the document without a user and its application credentials. Raises Failure for the last administrator."""
    gone = _user(document, name)
    users = [user for user in _users(document) if user is not gone]
    if _is_administrator(gone) and not any(map(_is_administrator, users)):
        raise Failure(f'{name} is the last administrator: add another one first', REFUSED)
    credentials = [each for each in document.get('application_credentials') or () if each.get('user') != name]
    kept = {**document, 'users': users}
    return _checked(kept | ({'application_credentials': credentials} if 'application_credentials' in document else {}))


def _users(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(document.get('users') or ())


def _user(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    for user in _users(document):
        if user['name'] == name:
            return user
    raise Failure(f'there is no user {name}: cinderless user list shows those that exist', REFUSED)


def _is_administrator(user: Mapping[str, Any]) -> bool:
    return user.get('enabled', True) is not False and any('admin' in roles for roles in user['roles'].values())


def _hashed(password: str) -> str:
    if len(password) < MIN_PASSWORD:
        raise Failure(f'the password has {len(password)} characters: give {MIN_PASSWORD} or more', REFUSED)
    return hash_secret(password)


def _checked(document: Document) -> Document:
    """Return the document if the identity accepts it. A stack generates the signing key, so a file may lack it."""
    whole = {'signing_key': '0' * 64, **document}
    try:
        load(whole, identity_url='', services=(), region='', revocations=InMemoryRevocations())
    except ValueError as error:
        raise Failure(f'the identity document would not be valid: {error}', REFUSED) from None
    return document


class Store(Protocol):
    """Where a document is."""

    #: When a change is in effect.
    effect: str

    def read(self) -> Document: ...

    def write(self, document: Document) -> None:
        """Replace the document that was read. Raises Failure when another process changed it meanwhile."""


def of_stack(clients: Callable[[str], Any], stack: str) -> Store:
    """Return where a stack, or a local cloud, has its document: by its parameter ``SecretStore`` in SSM or in Secrets
    Manager. ``clients`` gives the client of a service.
    """
    ssm, name = clients('ssm'), f'/{stack}/identity'
    if ssm.get_parameters(Names=[name])['Parameters']:
        return ParameterStore(ssm, name)
    return SecretStore(clients('secretsmanager'), name.removeprefix('/'))


class ParameterStore:
    """The SecureString of a stack or of a local cloud. ``client`` is one of SSM."""

    effect = 'in effect within a minute'

    def __init__(self, client: Any, name: str) -> None:
        self._client, self._name = client, name
        self._version = 0

    def read(self) -> Document:
        found = self._client.get_parameter(Name=self._name, WithDecryption=True)['Parameter']
        self._version = found['Version']
        document: Document = json.loads(found['Value'])
        return document

    def write(self, document: Document) -> None:
        if self._put(json.dumps(document)) != self._version + 1:
            other = self._client.get_parameter(Name=f'{self._name}:{self._version + 1}', WithDecryption=True)
            self._put(other['Parameter']['Value'])
            raise Failure('another change was made at the same time and is kept: repeat this one')

    def _put(self, text: str) -> int:
        """Write under the key and in the tier that it has; return the version."""
        filters = [{'Key': 'Name', 'Values': [self._name]}]
        [found] = self._client.describe_parameters(ParameterFilters=filters)['Parameters']
        kept = {name: found[name] for name in ('KeyId', 'Tier') if name in found}
        done = self._client.put_parameter(Name=self._name, Value=text, Type='SecureString', Overwrite=True, **kept)
        return int(done['Version'])


class SecretStore:
    """The secret of a stack in Secrets Manager. ``client`` is one of this service."""

    effect = 'in effect within a minute'

    def __init__(self, client: Any, name: str) -> None:
        self._client, self._name = client, name
        self._version = ''

    def read(self) -> Document:
        try:
            found = self._client.get_secret_value(SecretId=self._name)
        except self._client.exceptions.ResourceNotFoundException:
            raise Failure(f'there is no secret {self._name}: does the deployment use Keystone?', REFUSED) from None
        self._version = found['VersionId']
        document: Document = json.loads(found['SecretString'])
        return document

    def write(self, document: Document) -> None:
        own = self._client.put_secret_value(SecretId=self._name, SecretString=json.dumps(document))['VersionId']
        before = self._client.get_secret_value(SecretId=self._name, VersionStage='AWSPREVIOUS')
        if before['VersionId'] not in (self._version, own):  # its own one: a later change was made already
            self._client.put_secret_value(SecretId=self._name, SecretString=before['SecretString'])
            raise Failure('another change was made at the same time and is kept: repeat this one')


class FileStore:
    """A JSON file, such as deploy/mine.identity.json. It is created with the first user."""

    effect = 'in effect with the next deployment'

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Document:
        if not self._path.exists():
            return {'projects': [], 'users': []}
        try:
            document = json.loads(self._path.read_text(encoding='utf-8'))
        except (ValueError, RecursionError) as error:
            raise Failure(f'{self._path} is not JSON: {error}', REFUSED) from None
        if not isinstance(document, dict):
            raise Failure(f'{self._path} is not a JSON object', REFUSED)
        return document

    def write(self, document: Document) -> None:
        new = self._path.with_name(self._path.name + '.new')
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w', encoding='utf-8') as file:
            file.write(json.dumps(document, indent=1) + '\n')
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One change at a time of the documents in a folder, by programs on this machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
