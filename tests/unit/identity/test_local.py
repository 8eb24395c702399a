"""The users of the local cloud, and their clouds.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from chalicelib.identity.local import local_clouds, local_document
from chalicelib.identity.validation import StandaloneTokens

from .conftest import IDENTITY_URL, Client, Clock, build

ROLES = {
    'admin': {'admin', 'manager', 'member', 'reader'},
    'manager': {'manager', 'member', 'reader'},
    'demo': {'member', 'reader'},
    'reader': {'reader'},
    'alt': {'member', 'reader'},
    'cinder': {'service'},
}

PROJECTS = {'admin': 'admin', 'alt': 'alt_demo', 'cinder': 'service'}


@pytest.fixture
def local(clock: Clock) -> Client:
    return Client(build(clock, local_document() | {'application_credentials': []}))


@pytest.mark.parametrize('name', ROLES)
def test_every_user_gets_in_with_its_role(local: Client, name: str) -> None:
    facts = StandaloneTokens(local.config).validate(local.token(name, name))

    assert facts.roles == ROLES[name]
    assert local.config.directory.projects[str(facts.project_id)].name == PROJECTS.get(name, 'demo')


def test_clouds_hold_credentials_that_work(local: Client) -> None:
    clouds = yaml.safe_load(yaml.safe_dump(local_clouds(IDENTITY_URL, 'eu-central-1', '3.71')))['clouds']

    assert set(clouds) == {'admin', 'demo', 'reader', 'alt'}
    for cloud in clouds.values():
        auth = cloud['auth']
        assert auth['auth_url'] == IDENTITY_URL
        assert local.token(auth['username'], auth['password'], auth['project_name'])


def test_clients_ask_at_the_newest_microversion(tmp_path: Path) -> None:
    """As OpenStack's own SDK, and so the openstack CLI, reads the file."""
    from openstack.config import OpenStackConfig

    file = tmp_path / 'clouds.yaml'
    file.write_text(yaml.safe_dump(local_clouds(IDENTITY_URL, 'eu-central-1', '3.71')))
    region = OpenStackConfig(config_files=[str(file)], load_envvars=False).get_one('demo')
    asked = region._get_version_request('block-storage', None)
    assert (asked.version, asked.default_microversion) == ('3', '3.71')


def test_every_cloud_signs_with_a_key_of_its_own() -> None:
    assert local_document()['signing_key'] != local_document()['signing_key']
