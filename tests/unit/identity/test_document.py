"""The identity document: what it may have, and complaints that name the key."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from chalicelib.identity.directory import stable_id

from .conftest import DEMO_HASH, Clock, build, document


def changed(path: str, value: object) -> dict[str, Any]:
    """Return the document with one key set; ``path`` is keys and indexes with dots between."""
    whole = copy.deepcopy(document())
    place: Any = whole
    *way, last = path.split('.')
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[int(last) if last.isdigit() else last] = value
    return whole


def test_a_document_survives_json(clock: Clock) -> None:
    assert build(clock, json.loads(json.dumps(document()))).directory == build(clock).directory


def test_ids_are_given_or_follow_from_the_name(clock: Clock) -> None:
    directory = build(clock).directory

    assert directory.projects['d' * 32].name == 'demo'
    assert directory.projects[stable_id('project', 'admin')].name == 'admin'
    assert stable_id('project', 'admin') != stable_id('user', 'admin')
    assert all(len(id) == 32 for id in [*directory.projects, *directory.users, *directory.application_credentials])


def test_defaults(clock: Clock) -> None:
    minimal = {key: value for key, value in document().items() if key == 'signing_key'}
    config = build(clock, dict.fromkeys(document()) | minimal)

    assert config.token_lifetime == 3600
    assert not config.directory.users
    assert config.signing_key == b'k' * 32


def test_null_is_as_good_as_missing(clock: Clock) -> None:
    directory = build(clock, changed('users.1.default_project', None)).directory

    assert directory.users[stable_id('user', 'demo')].default_project_id is None


@pytest.mark.parametrize(
    ('path', 'value', 'complaint'),
    [
        ('signing_key', 'short', 'signing_key has 5 characters: set 32'),
        ('signing_key', None, 'signing_key is missing'),
        ('signing_key', 7, 'signing_key is of type int'),
        ('token_lifetime', 5, 'token_lifetime is 5: set a whole number from 60 to 86400'),
        ('token_lifetime', True, 'token_lifetime is of type bool'),
        ('token_lifetime', '3600', 'token_lifetime is of type str'),
        ('allow_plain_passwords', 'yes', 'allow_plain_passwords is of type str: set true or false'),
        ('allow_plain_passwords', False, r'users\[0\].password is in plain text: set password_hash'),
        ('tenants', [], 'tenants is unknown: use .*projects'),
        ('projects', {'name': 'demo'}, 'projects is of type dict: set a list'),
        ('projects.0', 'demo', r'projects\[0\] is of type str, where a mapping'),
        ('projects.0.name', '', r'projects\[0\].name is empty'),
        ('projects.0.name', 'demo', 'projects has two entries with one name'),
        ('projects.0.id', 'd' * 32, 'projects has two entries with one id'),
        ('projects.0.id', 'D' * 32, r'projects\[0\].id is not 32 hexadecimal digits'),
        ('projects.0.colour', 'red', r'projects\[0\].colour is unknown'),
        ('projects.0.enabled', 1, r'projects\[0\].enabled is of type int'),
        ('users.0.roles', {'nowhere': ['member']}, r'users\[0\].roles.nowhere is not a project'),
        ('users.0.roles', {'demo': ['boss']}, r'users\[0\].roles.demo has an unknown name: use admin, manager, member'),
        ('users.0.roles', {'demo': [['member']]}, r'users\[0\].roles.demo has an unknown name'),
        ('users.0.roles', {'demo': 'member'}, r'users\[0\].roles.demo is of type str: set a list'),
        ('users.0.roles', ['member'], r'users\[0\].roles is of type list'),
        ('users.0.default_project', 'nowhere', r'users\[0\].default_project is not in this document: use admin, alt'),
        ('users.0.password', 1234, r'users\[0\].password is of type int'),
        ('users.0.password_hash', DEMO_HASH, r'users\[0\].password is in plain text: set password_hash alone'),
        ('users.1.password_hash', 'demo-password', r'users\[1\].password_hash is not a supported hash'),
        ('users.1.pasword', 'x', r'users\[1\].pasword is unknown: use .*password_hash'),
        ('application_credentials.0.user', 'unknown', r'application_credentials\[0\].user is not in this document'),
        ('application_credentials.0.project', None, r'application_credentials\[0\].project is missing'),
        ('application_credentials.0.roles', [], r'application_credentials\[0\].roles is empty'),
        ('application_credentials.0.secret', None, r'application_credentials\[0\].secret_hash is missing'),
        ('application_credentials.1.id', 'c' * 32, 'application_credentials has two entries with one id'),
        ('application_credentials.1.expires_at', 'soon', r'application_credentials\[1\].expires_at is not a date'),
    ],
)
def test_a_complaint_names_the_key(clock: Clock, path: str, value: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        build(clock, changed(path, value))


@pytest.mark.parametrize('path', ['users.1.password_hash', 'users.0.roles', 'projects.0.id', 'users.0.default_project'])
def test_a_complaint_quotes_nothing_that_may_be_a_password(clock: Clock, path: str) -> None:
    with pytest.raises(ValueError, match='identity document') as complaint:
        build(clock, changed(path, 'top-secret'))

    assert 'top-secret' not in str(complaint.value)


def test_a_date_without_a_zone_is_utc(clock: Clock) -> None:
    for text in ('2027-01-31', '2027-01-31T00:00:00', '2027-01-31T01:00:00+01:00'):
        directory = build(clock, changed('application_credentials.0.expires_at', text)).directory
        assert directory.application_credentials['c' * 32].expires_at == 1801353600.0


def test_nothing_secret_shows_in_a_representation(clock: Clock) -> None:
    shown = repr(build(clock))

    for hidden in ('k' * 32, 'admin-password', DEMO_HASH, 'ci-secret'):
        assert hidden not in shown
