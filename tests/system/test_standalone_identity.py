"""The standalone identity under the real clients: keystoneauth1, openstacksdk and the openstack command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keystoneauth1.exceptions
import openstack
import pytest
import yaml
from keystoneauth1.identity import v3
from keystoneauth1.identity.generic import Password
from keystoneauth1.session import Session

from chalicelib.context import TokenFacts
from chalicelib.errors import Unauthorized
from chalicelib.identity.config import IdentityConfig
from chalicelib.identity.local import local_clouds, local_document
from chalicelib.identity.validation import StandaloneTokens

from .standalone import REGION, VOLUME_URL, serving

CREDENTIAL = {'name': 'ci', 'id': 'c' * 32, 'user': 'demo', 'project': 'demo', 'roles': ['reader'], 'secret': 'shh'}


@pytest.fixture(scope='module')
def config() -> Iterator[IdentityConfig]:
    with serving(local_document() | {'application_credentials': [CREDENTIAL]}) as running:
        yield running


@pytest.fixture
def clouds(config: IdentityConfig, tmp_path: Path) -> Path:
    path = tmp_path / 'clouds.yaml'
    path.write_text(yaml.safe_dump(local_clouds(config.identity_url, REGION, '3.71')))
    return path


def facts(config: IdentityConfig, session: Session) -> TokenFacts:
    token = session.get_token()
    assert token is not None
    return StandaloneTokens(config).validate(token)


def password(config: IdentityConfig, **scope: Any) -> Session:
    claim: dict[str, Any] = {'username': 'demo', 'password': 'demo', 'user_domain_name': 'Default'}
    return Session(v3.Password(config.identity_url, **claim, **scope))


class TestKeystoneauth:
    def test_password(self, config: IdentityConfig) -> None:
        session = password(config, project_name='demo', project_domain_name='Default')

        assert facts(config, session).roles == {'member', 'reader'}
        assert session.get_project_id() == facts(config, session).project_id

    def test_discovery_from_the_unversioned_url(self, config: IdentityConfig) -> None:
        url = config.identity_url.removesuffix('/v3')
        auth = Password(
            url,
            username='demo',
            password='demo',
            project_name='demo',
            user_domain_name='Default',
            project_domain_name='Default',
        )

        assert facts(config, Session(auth)).roles == {'member', 'reader'}

    def test_unscoped_then_rescoped(self, config: IdentityConfig) -> None:
        unscoped = password(config, unscoped=True)
        assert facts(config, unscoped).project_id is None

        auth = v3.Token(
            config.identity_url, str(unscoped.get_token()), project_name='demo', project_domain_name='Default'
        )
        assert facts(config, Session(auth)).roles == {'member', 'reader'}

    def test_application_credential(self, config: IdentityConfig) -> None:
        by_id = v3.ApplicationCredential(
            config.identity_url, application_credential_id='c' * 32, application_credential_secret='shh'
        )
        by_name = v3.ApplicationCredential(
            config.identity_url,
            application_credential_name='ci',
            application_credential_secret='shh',
            username='demo',
            user_domain_name='Default',
        )

        for auth in (by_id, by_name):
            assert facts(config, Session(auth)).roles == {'reader'}

    @pytest.mark.parametrize('service_type', ['volumev3', 'block-storage', 'volume', 'block-store'])
    @pytest.mark.parametrize('interface', ['public', 'internal', 'admin'])
    def test_the_catalog_leads_to_block_storage(
        self, config: IdentityConfig, service_type: str, interface: str
    ) -> None:
        session = password(config, project_name='demo', project_domain_name='Default')
        catalog = session.auth.get_access(session).service_catalog  # type: ignore[union-attr]

        assert catalog.url_for(service_type, interface=interface, region_name=REGION) == VOLUME_URL

    def test_a_wrong_password(self, config: IdentityConfig) -> None:
        auth = v3.Password(config.identity_url, username='demo', password='x', user_domain_name='Default')

        with pytest.raises(keystoneauth1.exceptions.Unauthorized):
            Session(auth).get_token()

    def test_a_revoked_token_is_replaced_by_the_client(self, config: IdentityConfig) -> None:
        session = password(config, project_name='demo', project_domain_name='Default')
        first = session.get_token()
        revoked = session.delete(f'{config.identity_url}/auth/tokens', headers={'X-Subject-Token': str(first)})
        assert revoked.status_code == 204
        with pytest.raises(Unauthorized):
            StandaloneTokens(config).validate(str(first))

        assert session.get(f'{config.identity_url}/auth/projects').status_code == 200
        assert session.get_token() != first


class TestSdk:
    @pytest.fixture
    def connect(self, clouds: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setenv('OS_CLIENT_CONFIG_FILE', str(clouds))
        return lambda cloud: openstack.connect(cloud=cloud)

    @pytest.mark.parametrize(
        ('cloud', 'roles'),
        [
            ('admin', {'admin', 'manager', 'member', 'reader'}),
            ('demo', {'member', 'reader'}),
            ('reader', {'reader'}),
            ('alt', {'member', 'reader'}),
        ],
    )
    def test_every_cloud(self, config: IdentityConfig, connect: Any, cloud: str, roles: set[str]) -> None:
        connection = connect(cloud)
        valid = facts(config, connection.session)

        assert valid.roles == roles
        assert (connection.current_user_id, connection.current_project_id) == (valid.user_id, valid.project_id)

    def test_an_admin_finds_names(self, connect: Any) -> None:
        identity = connect('admin').identity

        assert identity.find_project('demo').id == connect('demo').current_project_id
        assert identity.find_project(connect('alt').current_project_id).name == 'alt_demo'
        assert identity.find_user('demo').id == connect('demo').current_user_id
        assert identity.find_domain('Default').id == 'default'
        assert identity.find_role('member').name == 'member'
        assert identity.find_project('nowhere') is None
        assert {project.name for project in identity.projects()} == {'admin', 'demo', 'alt_demo', 'service'}

    def test_a_member_sees_its_own(self, connect: Any) -> None:
        connection = connect('demo')

        assert connection.identity.get_project(connection.current_project_id).name == 'demo'
        with pytest.raises(openstack.exceptions.ForbiddenException):
            list(connection.identity.projects())


class TestCommand:
    """Names in commands are resolved by these calls: ``volume type set --project demo``, ``quota show demo``."""

    def run(self, clouds: Path, cloud: str, *arguments: str) -> Any:
        environment = os.environ | {'OS_CLIENT_CONFIG_FILE': str(clouds)}
        command = [sys.executable, '-m', 'openstackclient.shell', '--os-cloud', cloud, *arguments, '-f', 'json']
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def test_token_and_catalog(self, config: IdentityConfig, clouds: Path) -> None:
        token = self.run(clouds, 'demo', 'token', 'issue')
        assert StandaloneTokens(config).validate(token['id']).project_id == token['project_id']

        catalog = self.run(clouds, 'demo', 'catalog', 'list')
        assert {entry['Type'] for entry in catalog} == {'volumev3', 'block-storage', 'identity'}

    def test_projects_and_users_by_name(self, clouds: Path) -> None:
        assert self.run(clouds, 'admin', 'project', 'show', 'demo')['name'] == 'demo'
        assert self.run(clouds, 'admin', 'user', 'show', 'demo')['name'] == 'demo'
        assert {entry['Name'] for entry in self.run(clouds, 'demo', 'project', 'list', '--my-projects')} == {'demo'}
