"""One small cloud, a clock that does not advance, and a client that speaks to ``handle`` without a network."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from chalicelib.identity.config import IdentityConfig, block_storage_services
from chalicelib.identity.document import load
from chalicelib.identity.handler import IdentityRequest, IdentityResponse, handle
from chalicelib.identity.revocation import InMemoryRevocations

IDENTITY_URL = 'http://cloud.test/identity/v3'
VOLUME_URL = 'http://cloud.test/v3'

#: What ``hash_secret('demo-password')`` once returned: documents that are written keep working.
DEMO_HASH = '$scrypt$ln=14,r=8,p=1$Y57wFNFAp3kW4sCn6dFpFw$iqnINCLnDu6Iy/m3XU/0vYfCsXK+eHFSqs15ZgMFmFg'


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Client:
    """What a client of the identity sees: status, headers, JSON."""

    def __init__(self, config: IdentityConfig) -> None:
        self.config = config

    def call(self, method: str, path: str, body: Any = None, token: str = '', **headers: str) -> IdentityResponse:
        path, _, query = path.partition('?')
        sent = {name.replace('_', '-'): value for name, value in headers.items()} | {'x-auth-token': token}
        parameters = dict(pair.split('=') for pair in query.split('&') if pair)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return handle(IdentityRequest(method, path, sent, parameters, raw), self.config)

    def issue(self, auth: dict[str, Any]) -> IdentityResponse:
        return self.call('POST', '/v3/auth/tokens', {'auth': auth})

    def token(self, user: str, password: str, project: str | None = None) -> str:
        response = self.issue(password_auth(user, password, project))
        assert response.status == 201, response.body
        return response.headers['X-Subject-Token']


def password_auth(user: str, password: str, project: str | None = None) -> dict[str, Any]:
    domain = {'name': 'Default'}
    claim = {'name': user, 'domain': domain, 'password': password}
    auth: dict[str, Any] = {'identity': {'methods': ['password'], 'password': {'user': claim}}}
    return auth | ({'scope': {'project': {'name': project, 'domain': domain}}} if project else {})


def document() -> dict[str, Any]:
    return {
        'signing_key': 'k' * 32,
        'allow_plain_passwords': True,
        'projects': [
            {'name': 'admin'},
            {'name': 'demo', 'id': 'd' * 32, 'description': 'Where demo works'},
            {'name': 'alt_demo'},
            {'name': 'closed', 'enabled': False},
        ],
        'users': [
            {'name': 'admin', 'password': 'admin-password', 'default_project': 'admin', 'roles': {'admin': ['admin']}},
            {
                'name': 'demo',
                'password_hash': DEMO_HASH,
                'default_project': 'demo',
                'roles': {'demo': ['member'], 'alt_demo': ['reader'], 'closed': ['member']},
            },
            {'name': 'gone', 'password': 'gone-password', 'enabled': False, 'roles': {'demo': ['member']}},
            {'name': 'idle', 'password': 'idle-password'},
            {'name': 'robot', 'roles': {'demo': ['member']}},
            {'name': 'cinder', 'password': 'cinder-password', 'roles': {'admin': ['service']}},
        ],
        'application_credentials': [
            {
                'name': 'ci',
                'id': 'c' * 32,
                'user': 'demo',
                'project': 'demo',
                'roles': ['reader'],
                'secret': 'ci-secret',
            },
            {
                'name': 'brief',
                'user': 'robot',
                'project': 'demo',
                'roles': ['admin', 'member'],
                'secret': 'brief-secret',
                'expires_at': '2026-11-22T00:10:00+00:00',
            },
        ],
    }


def build(clock: Clock, changed: dict[str, Any] | None = None) -> IdentityConfig:
    """Load the document, with other sections in place of its own."""
    services = block_storage_services(VOLUME_URL, IDENTITY_URL)
    config = load(
        document() | (changed or {}),
        identity_url=IDENTITY_URL,
        services=services,
        region='eu-central-1',
        revocations=InMemoryRevocations(clock),
    )
    return dataclasses.replace(config, clock=clock)


@pytest.fixture
def clock() -> Clock:
    return Clock(1795305600.0)  # 2026-11-22T00:00:00Z


@pytest.fixture
def config(clock: Clock) -> IdentityConfig:
    return build(clock)


@pytest.fixture
def client(config: IdentityConfig) -> Client:
    return Client(config)
