"""Who exists, and who holds which role where."""

from __future__ import annotations

import json

import pytest

from chalicelib.identity import secret
from chalicelib.identity.config import IdentityConfig
from chalicelib.identity.directory import Directory, stable_id

from .conftest import DEMO_HASH, Clock, build, document

DEFAULT = {'id': 'default'}
DEMO, ADMIN, ROBOT = (stable_id('user', name) for name in ('demo', 'admin', 'robot'))


@pytest.fixture
def directory(config: IdentityConfig) -> Directory:
    return config.directory


@pytest.mark.parametrize('domain', [{'id': 'default'}, {'name': 'Default'}, {'id': 'default', 'name': 'Default'}])
def test_a_name_is_found_in_the_default_domain(directory: Directory, domain: dict[str, str]) -> None:
    found = directory.project({'name': 'demo', 'domain': domain})

    assert found is not None
    assert found.id == 'd' * 32


@pytest.mark.parametrize('domain', [{'id': 'Default'}, {'name': 'default'}, {'id': 'default', 'name': 'Other'}])
def test_a_name_is_not_found_in_another_domain(directory: Directory, domain: dict[str, str]) -> None:
    assert directory.project({'name': 'demo', 'domain': domain}) is None
    assert directory.user({'name': 'demo', 'domain': domain}) is None


def test_what_is_disabled_is_not_found(directory: Directory) -> None:
    assert directory.user({'name': 'gone', 'domain': DEFAULT}) is None
    assert directory.user({'id': stable_id('user', 'gone')}) is None
    assert directory.project({'name': 'closed', 'domain': DEFAULT}) is None


def test_roles_come_with_what_they_imply(directory: Directory) -> None:
    admin_project = stable_id('project', 'admin')

    assert directory.roles(ADMIN, admin_project) == {'admin', 'manager', 'member', 'reader'}
    assert directory.roles(DEMO, 'd' * 32) == {'member', 'reader'}
    assert directory.roles(stable_id('user', 'cinder'), admin_project) == {'service'}


def test_no_role_where_none_was_given(directory: Directory) -> None:
    assert not directory.roles(DEMO, stable_id('project', 'admin'))
    assert not directory.roles(DEMO, stable_id('project', 'closed'))
    assert not directory.roles(stable_id('user', 'gone'), 'd' * 32)
    assert not directory.roles('unknown', 'd' * 32)


def test_a_credential_never_gives_more_than_its_user_has(directory: Directory) -> None:
    brief = directory.application_credential({'name': 'brief', 'user': {'id': ROBOT}})

    assert brief is not None
    assert brief.roles == {'admin', 'member'}
    assert directory.roles(ROBOT, 'd' * 32, brief.id) == {'member', 'reader'}
    assert directory.roles(DEMO, 'd' * 32, 'c' * 32) == {'reader'}
    assert not directory.roles(DEMO, 'd' * 32, 'deleted')


def test_a_credential_is_found_by_its_own_user_alone(directory: Directory) -> None:
    assert directory.application_credential({'name': 'ci', 'user': {'id': DEMO}})
    assert directory.application_credential({'name': 'ci', 'user': {'id': ROBOT}}) is None
    assert directory.application_credential({'name': 'ci', 'user': {'id': 'unknown'}}) is None


def test_projects_of_a_user(directory: Directory) -> None:
    assert [project.name for project in directory.projects_of(DEMO)] == ['demo', 'alt_demo']
    assert directory.projects_of(stable_id('user', 'idle')) == []


def test_the_decoy_costs_as_much_as_a_stored_hash(directory: Directory, clock: Clock) -> None:
    nobody = build(clock, {'users': [], 'application_credentials': []}).directory

    assert directory.decoy() == DEMO_HASH
    assert not secret.is_hash(nobody.decoy())


def test_roles_that_schedules_run_with_follow_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that was disabled, or is not there, has none at the next run."""
    from chalicelib import aws
    from chalicelib.operations import cloud

    known = document()
    monkeypatch.setattr(aws, 'secret', lambda name: json.dumps(known))
    assert cloud.roles_of(DEMO, 'd' * 32) == {'member', 'reader'}
    assert cloud.roles_of(DEMO, 'another') == cloud.roles_of('unknown', 'd' * 32) == frozenset()
    [entry] = [one for one in known['users'] if one['name'] == 'demo']
    entry['enabled'] = False
    assert cloud.roles_of(DEMO, 'd' * 32) == frozenset()
