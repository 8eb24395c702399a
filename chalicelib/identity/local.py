"""The identity of the local cloud: its users, and the configuration of its clients. Its passwords are not secret."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from typing import Any

#: User -> (its project, its role there). The name is also the password.
USERS = {
    'admin': ('admin', 'admin'),
    'demo': ('demo', 'member'),
    'reader': ('demo', 'reader'),
    'manager': ('demo', 'manager'),
    'alt': ('alt_demo', 'member'),
    'cinder': ('service', 'service'),
}

#: Users that get an entry in clouds.yaml.
CLOUDS = ('admin', 'demo', 'reader', 'alt')


def local_document() -> dict[str, Any]:
    """Return an identity document with a new signing key, for ``load``."""
    return {
        'signing_key': secrets.token_hex(32),
        'allow_plain_passwords': True,
        'projects': [{'name': name} for name in dict.fromkeys(project for project, _ in USERS.values())],
        'users': [
            {'name': name, 'password': name, 'default_project': project, 'roles': {project: [role]}}
            for name, (project, role) in USERS.items()
        ],
    }


def local_clouds(identity_url: str, region: str, microversion: str, names: Collection[str] = CLOUDS) -> dict[str, Any]:
    """Return the content of the clouds.yaml for ``local_document``, with those of its users that are in ``names``.

    ``identity_url`` ends in /v3; ``microversion`` is the default of block storage clients.
    """
    return {'clouds': {name: _cloud(name, identity_url, region, microversion) for name in CLOUDS if name in names}}


def unchanged_users(document: Mapping[str, Any]) -> list[str]:
    """Return the users of an identity document that have their well-known password."""
    return [user['name'] for user in document['users'] if user.get('password') == user['name']]


def _cloud(name: str, identity_url: str, region: str, microversion: str) -> dict[str, Any]:
    auth = {
        'auth_url': identity_url,
        'username': name,
        'password': name,
        'project_name': USERS[name][0],
        'user_domain_name': 'Default',
        'project_domain_name': 'Default',
    }
    # Without a default the clients use 3.0, which has neither messages nor attachments.
    # As the version, not as the default microversion: --os-volume-api-version overrides it.
    versions = {'identity_api_version': '3', 'volume_api_version': microversion}
    return {'auth': auth, 'region_name': region, **versions}
