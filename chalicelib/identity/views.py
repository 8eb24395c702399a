"""The directory, tokens and the catalog in Keystone's own JSON."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from chalicelib.identity.config import IdentityConfig, Service
from chalicelib.identity.directory import DOMAIN_ID, DOMAIN_NAME, ROLES, Project, User, stable_id
from chalicelib.identity.token import Token

Body = dict[str, Any]

INTERFACES = ('public', 'internal', 'admin')

_DOMAIN: Body = {'id': DOMAIN_ID, 'name': DOMAIN_NAME}


def version(config: IdentityConfig) -> Body:
    """The one API version; its id and date are those of the Keystone v3 version implemented here."""
    media = {'base': 'application/json', 'type': 'application/vnd.openstack.identity-v3+json'}
    return {
        'id': 'v3.14',
        'status': 'stable',
        'updated': '2020-04-07T00:00:00Z',
        'links': [{'rel': 'self', 'href': f'{config.identity_url}/'}],
        'media-types': [media],
    }


def token(config: IdentityConfig, token: Token, *, with_catalog: bool) -> Body:
    """The body of a token, when issued and when validated."""
    body: Body = {
        'methods': list(token.methods),
        'user': _token_user(config.directory.users[token.user_id]),
        # As in Keystone: its own id, and that of the oldest ancestor.
        'audit_ids': list(dict.fromkeys((token.audit_ids[0], token.audit_ids[-1]))),
        'expires_at': _date(token.expires_at),
        'issued_at': _date(token.issued_at),
    }
    if token.project_id is not None:
        body |= _token_scope(config, token)
        body |= {'catalog': catalog(config)} if with_catalog else {}
    return {'token': body}


def _token_user(user: User) -> Body:
    return {'domain': _DOMAIN, 'id': user.id, 'name': user.name, 'password_expires_at': None}


def _token_scope(config: IdentityConfig, token: Token) -> Body:
    project = config.directory.projects[token.project_id or '']
    scope: Body = {
        'project': {'domain': _DOMAIN, 'id': project.id, 'name': project.name},
        'is_domain': False,
        'roles': [{'id': stable_id('role', role), 'name': role} for role in ROLES if role in token.roles],
    }
    credential = config.directory.application_credentials.get(token.application_credential_id or '')
    if credential is not None:
        scope['application_credential'] = {'id': credential.id, 'name': credential.name, 'restricted': True}
    return scope


def catalog(config: IdentityConfig) -> list[Body]:
    """Every service with its endpoint at each interface."""
    return [
        {
            'id': stable_id('service', service.type),
            'type': service.type,
            'name': service.name,
            'endpoints': [_endpoint(config, service, interface) for interface in INTERFACES],
        }
        for service in config.services
    ]


def _endpoint(config: IdentityConfig, service: Service, interface: str) -> Body:
    return {
        'id': stable_id('endpoint', f'{service.type}:{interface}'),
        'interface': interface,
        'region_id': config.region,
        'region': config.region,
        'url': service.url,
    }


def _projects(config: IdentityConfig) -> list[Body]:
    return [project(entry) for entry in config.directory.projects.values()]


def project(entry: Project) -> Body:
    """A project without its links."""
    return {
        'id': entry.id,
        'name': entry.name,
        'domain_id': DOMAIN_ID,
        'description': entry.description,
        'enabled': entry.enabled,
        'parent_id': DOMAIN_ID,
        'is_domain': False,
        'tags': [],
        'options': {},
    }


def _users(config: IdentityConfig) -> list[Body]:
    return [_user(entry) for entry in config.directory.users.values()]


def _user(entry: User) -> Body:
    known = {'id': entry.id, 'name': entry.name, 'domain_id': DOMAIN_ID, 'enabled': entry.enabled}
    default = {'default_project_id': entry.default_project_id} if entry.default_project_id else {}
    return {**known, **default, 'password_expires_at': None, 'options': {}}


def _domains(config: IdentityConfig) -> list[Body]:
    return [{**_DOMAIN, 'description': 'The only domain.', 'enabled': True, 'tags': [], 'options': {}}]


def _roles(config: IdentityConfig) -> list[Body]:
    fixed = {'domain_id': None, 'description': None, 'options': {'immutable': True}}
    return [{'id': stable_id('role', role), 'name': role, **fixed} for role in ROLES]


def role_assignments(config: IdentityConfig, *, names: bool) -> list[Body]:
    """Return every role assignment of a user on a project, with names if requested."""
    directory = config.directory
    return [
        {
            'role': _named('role', stable_id('role', role), role, names),
            'user': _named('user', user.id, user.name, names),
            'scope': {'project': _named('project', project_id, directory.projects[project_id].name, names)},
            'links': {'assignment': f'{config.identity_url}/projects/{project_id}/users/{user.id}/roles/{role}'},
        }
        for user in directory.users.values()
        for project_id, roles in user.assignments.items()
        for role in sorted(roles)
    ]


def _named(resource: str, id: str, name: str, names: bool) -> Body:
    if not names:
        return {'id': id}
    return {'id': id, 'name': name, **({} if resource == 'role' else {'domain': _DOMAIN})}


def _services(config: IdentityConfig) -> list[Body]:
    return [{key: entry[key] for key in ('id', 'type', 'name')} | {'enabled': True} for entry in catalog(config)]


def _endpoints(config: IdentityConfig) -> list[Body]:
    return [
        {**endpoint, 'service_id': service['id'], 'enabled': True}
        for service in catalog(config)
        for endpoint in service['endpoints']
    ]


#: Collection -> (name of one entry, all entries).
COLLECTIONS: Mapping[str, tuple[str, Callable[[IdentityConfig], list[Body]]]] = {
    'projects': ('project', _projects),
    'users': ('user', _users),
    'domains': ('domain', _domains),
    'roles': ('role', _roles),
    'services': ('service', _services),
    'endpoints': ('endpoint', _endpoints),
}


def linked(config: IdentityConfig, collection: str, entries: Iterable[Body]) -> list[Body]:
    """Return the entries with a link to each."""
    base = f'{config.identity_url}/{collection}'
    return [{**entry, 'links': {'self': f'{base}/{entry["id"]}'}} for entry in entries]


def _date(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime('%Y-%m-%dT%H:%M:%S.000000Z')
