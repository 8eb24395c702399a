"""Users of the built-in identity: documents before and after, and the places that hold them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from chalicelib.identity.document import load
from chalicelib.identity.local import local_document
from chalicelib.identity.revocation import InMemoryRevocations
from chalicelib.identity.secret import matches
from cinderless import program, users
from cinderless.errors import REFUSED, Failure
from tests.unit.cinderless.test_program import run


def accepted(document: dict[str, Any]) -> Any:
    revocations = InMemoryRevocations()
    return load({'signing_key': '0' * 64, **document}, identity_url='', services=(), region='', revocations=revocations)


def password_of(document: dict[str, Any], name: str) -> str:
    [user] = [each for each in accepted(document).directory.users.values() if each.name == name]
    return str(user.password)


def test_a_user_is_added_with_its_project() -> None:
    before = local_document()
    after = users.add(before, 'anna', 'correct horse', 'lab', ['member', 'reader'])
    assert matches(password_of(after, 'anna'), 'correct horse')
    assert 'correct horse' not in json.dumps(after)
    assert after['users'][-1]['roles'] == {'lab': ['member', 'reader']}
    assert after['projects'][-1] == {'name': 'lab'}
    assert after['signing_key'] == before['signing_key'], 'tokens stay valid'
    again = users.add(after, 'ben', 'battery staple', 'lab', ['member'])
    assert [project['name'] for project in again['projects']].count('lab') == 1


def test_a_password_is_changed_and_the_plain_one_gone() -> None:
    after = users.change_password(local_document(), 'demo', 'correct horse')
    assert matches(password_of(after, 'demo'), 'correct horse')
    assert not matches(password_of(after, 'demo'), 'demo')
    assert [user for user in after['users'] if user['name'] == 'demo' and 'password' in user] == []


def test_a_removed_user_takes_its_credentials_along() -> None:
    credential = {'name': 'ci', 'user': 'demo', 'project': 'demo', 'roles': ['reader'], 'secret': 'x' * 32}
    after = users.remove({**local_document(), 'application_credentials': [credential]}, 'demo')
    assert after['application_credentials'] == []
    assert 'demo' not in [user['name'] for user in after['users']]


def test_the_last_administrator_stays() -> None:
    with pytest.raises(Failure, match='last administrator'):
        users.remove(local_document(), 'admin')
    two = users.add(local_document(), 'root', 'correct horse', 'admin', ['admin'])
    assert 'admin' not in [user['name'] for user in users.remove(two, 'admin')['users']]


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda document: users.add(document, 'demo', 'correct horse', 'demo', ['member']), 'exists'),
        (lambda document: users.add(document, 'anna', 'short', 'demo', ['member']), '8 or more'),
        (lambda document: users.add(document, '', 'correct horse', 'demo', ['member']), 'not be valid'),
        (lambda document: users.change_password(document, 'nemo', 'correct horse'), 'no user nemo'),
        (lambda document: users.remove(document, 'nemo'), 'no user nemo'),
    ],
)
def test_a_change_that_cannot_be_made_is_refused(change: Any, words: str) -> None:
    with pytest.raises(Failure, match=words) as error:
        change(local_document())
    assert error.value.code == REFUSED


def test_a_file_is_created_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / 'mine.identity.json'
    words = ['--role', 'admin', '--project', 'admin', '--file', str(path)]
    assert run('user', 'add', 'root', *words).returncode == REFUSED, 'no password on standard input'
    assert not path.exists()
    users.FileStore(path).write(users.add(users.FileStore(path).read(), 'root', 'correct horse', 'admin', ['admin']))
    assert path.stat().st_mode & 0o777 == 0o600
    assert matches(password_of(json.loads(path.read_text()), 'root'), 'correct horse')
    assert program.main(['user', 'list', '--file', str(path)]) == 0
    assert program.main(['user', 'remove', 'root', '--file', str(path)]) == REFUSED


@pytest.mark.parametrize('text', ['', '[]', '{'])
def test_a_file_that_is_not_a_document_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / 'mine.json').write_text(text)
    assert program.main(['user', 'list', '--file', str(tmp_path / 'mine.json')]) == REFUSED


STORES = ('parameter store', 'Secrets Manager')


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in (('ACCESS_KEY_ID', 'test'), ('SECRET_ACCESS_KEY', 'test'), ('DEFAULT_REGION', 'us-east-1')):
        monkeypatch.setenv(f'AWS_{name}', value)
    with mock_aws():
        yield


@pytest.fixture
def key(aws: None) -> str:
    return str(boto3.client('kms').create_key()['KeyMetadata']['KeyId'])


@pytest.fixture(params=STORES)
def stack(aws: None, key: str, request: pytest.FixtureRequest) -> str:
    text = json.dumps(local_document())
    if request.param == 'Secrets Manager':
        boto3.client('secretsmanager').create_secret(Name='mine/identity', SecretString=text)
    else:
        boto3.client('ssm').put_parameter(Name='/mine/identity', Value=text, Type='SecureString', KeyId=key)
    return 'mine'


def names(stack: str) -> list[str]:
    return [user['name'] for user in users.of_stack(boto3.client, stack).read()['users']]


def test_the_document_of_a_stack_is_replaced(stack: str) -> None:
    store = users.of_stack(boto3.client, stack)
    store.write(users.add(store.read(), 'anna', 'correct horse', 'lab', ['member']))
    assert 'anna' in names(stack)


def test_a_secure_string_keeps_its_key(key: str) -> None:
    ssm = boto3.client('ssm')
    ssm.put_parameter(Name='/mine/identity', Value=json.dumps(local_document()), Type='SecureString', KeyId=key)
    store = users.of_stack(boto3.client, 'mine')
    store.write(users.remove(store.read(), 'demo'))
    [found] = ssm.describe_parameters()['Parameters']
    assert (found['KeyId'], found['Type']) == (key, 'SecureString')


def test_a_change_that_was_made_meanwhile_is_kept(stack: str) -> None:
    first, second = (users.of_stack(boto3.client, stack) for _ in range(2))
    one, other = first.read(), second.read()
    first.write(users.add(one, 'anna', 'correct horse', 'lab', ['member']))
    with pytest.raises(Failure, match='repeat this one'):
        second.write(users.add(other, 'ben', 'correct horse', 'lab', ['member']))
    assert 'anna' in names(stack)
    assert 'ben' not in names(stack)


def test_a_deployment_without_the_identity_is_refused(aws: None) -> None:
    with pytest.raises(Failure, match='does the deployment use Keystone'):
        users.of_stack(boto3.client, 'other').read()
