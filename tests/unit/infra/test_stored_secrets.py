"""Secrets in the parameter store: written, moved with an operator's edits, and never lost. By the real AWS CLI."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra import stored_secrets
from infra.deploy import Aws
from infra.stage import Refused
from infra.stored_secrets import Plan
from tests.unit.infra.in_process_cli import InProcessCli as Noting

DOCUMENT = json.dumps({'users': [{'name': 'admin'}]})
OTHER = json.dumps({'users': [{'name': 'admin'}, {'name': 'demo'}]})
DEFAULTS = {'SecretStore': 'ParameterStore', 'KeystoneUrl': '', 'KmsKeyArn': ''}
OLD: dict[str, str] = {}
TEMPLATE = {
    'Resources': {
        'Key': {
            'Type': 'AWS::KMS::Key',
            'Properties': {'KeyPolicy': json.dumps({'Version': '2012-10-17', 'Statement': []})},
        }
    }
}

Clients = Any


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    """A cloud with the stack ``mine``, which has a key."""
    for name, value in (('AWS_ACCESS_KEY_ID', 'a'), ('AWS_SECRET_ACCESS_KEY', 'b')):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv('AWS_PROFILE', raising=False)
    with mock_aws():
        clients = {name: boto3.client(name, 'us-east-1') for name in ('cloudformation', 'kms', 'secretsmanager', 'ssm')}
        clients['cloudformation'].create_stack(StackName='mine', TemplateBody=json.dumps(TEMPLATE))
        yield clients.__getitem__


def changes(aws: Noting) -> list[str]:
    """The commands that change something."""
    return [verb for verb in aws.verbs() if not verb.startswith(('get-', 'list-', 'describe-'))]


def plan(before: dict[str, str] | None, document: str | None = DOCUMENT, **after: str) -> Plan:
    given = {} if document is None else {'IdentityDocument': document}
    return Plan('mine', given, {**DEFAULTS, **after}, before)


def update(planned: Plan, aws: Aws | None = None) -> None:
    """What a deploy does around the update of the stack."""
    aws = aws or Noting()
    assert list(stored_secrets.complaints(planned, aws)) == []
    stored_secrets.before_update(planned, aws)
    stored_secrets.after_update(planned, aws)


def document(cloud: Clients, name: str = '/mine/identity') -> dict[str, Any]:
    return dict(json.loads(cloud('ssm').get_parameter(Name=name, WithDecryption=True)['Parameter']['Value']))


def in_secrets_manager(cloud: Clients, name: str = 'mine/identity', **facts: Any) -> dict[str, Any]:
    text = {**json.loads(OTHER), 'signing_key': 'k' * 64, **facts}
    cloud('secretsmanager').create_secret(Name=name, SecretString=json.dumps(text))
    return text


def test_a_first_deploy_writes_the_document_with_a_key_under_the_key_of_the_stack(cloud: Clients) -> None:
    aws = Noting()
    update(plan(None), aws)
    found = document(cloud)
    assert found['users'] == json.loads(DOCUMENT)['users']
    assert len(found['signing_key']) == 64
    [described] = cloud('ssm').describe_parameters()['Parameters']
    [resource] = cloud('cloudformation').describe_stack_resources(StackName='mine')['StackResources']
    assert (described['Type'], described['KeyId']) == ('SecureString', resource['PhysicalResourceId'])
    assert not any(found['signing_key'] in word or 'admin' in word for words in aws.commands for word in words)


def test_a_repeated_deploy_changes_nothing(cloud: Clients) -> None:
    update(plan(None))
    before, aws = document(cloud), Noting()
    update(plan(DEFAULTS), aws)
    assert document(cloud) == before
    assert changes(aws) == []


def test_another_document_keeps_the_key_so_tokens_stay_valid(cloud: Clients) -> None:
    update(plan(None))
    before = document(cloud)
    update(plan(DEFAULTS, OTHER))
    assert document(cloud) == {**json.loads(OTHER), 'signing_key': before['signing_key']}


def test_an_edit_of_an_operator_survives_a_deploy(cloud: Clients) -> None:
    update(plan(None))
    edited = json.dumps({**document(cloud), 'users': [{'name': 'edited'}]})
    cloud('ssm').put_parameter(Name='/mine/identity', Value=edited, Type='SecureString', Overwrite=True)
    update(plan(DEFAULTS))
    update(plan(DEFAULTS, None))  # a stage without the document
    assert document(cloud)['users'] == [{'name': 'edited'}]


def test_the_secret_of_a_deployed_stack_is_moved_with_its_edits_and_key(cloud: Clients) -> None:
    edited = in_secrets_manager(cloud)
    update(plan(OLD))
    assert document(cloud) == edited
    update(plan(DEFAULTS))  # the next deploy, with the stage's old document
    assert document(cloud) == edited


def test_a_move_whose_update_fails_is_repeated_with_the_edits_made_since(cloud: Clients) -> None:
    """Until the update succeeds the functions read the old secret, and operators edit it."""
    edited = in_secrets_manager(cloud)
    stored_secrets.before_update(plan(OLD), Noting())
    again = json.dumps({**edited, 'users': [{'name': 'since'}]})
    cloud('secretsmanager').put_secret_value(SecretId='mine/identity', SecretString=again)
    update(plan(OLD))
    assert document(cloud)['users'] == [{'name': 'since'}]


@pytest.mark.parametrize('failing', ['put-parameter', 'add-tags-to-resource', 'get-secret-value'])
def test_a_move_that_dies_at_any_call_is_repeated(cloud: Clients, failing: str) -> None:
    edited, aws = in_secrets_manager(cloud), Noting()
    aws.failing = failing
    with contextlib.suppress(Refused):
        stored_secrets.before_update(plan(OLD), aws)
    assert json.loads(cloud('secretsmanager').get_secret_value(SecretId='mine/identity')['SecretString']) == edited
    update(plan(OLD))
    assert document(cloud) == edited


def test_an_update_that_ended_after_the_secret_was_deleted_keeps_the_moved_text(cloud: Clients) -> None:
    edited = in_secrets_manager(cloud)
    update(plan(OLD))
    cloud('secretsmanager').delete_secret(SecretId='mine/identity', ForceDeleteWithoutRecovery=True)
    update(plan(OLD))
    assert document(cloud) == edited


def test_a_secret_goes_back_to_secrets_manager_with_its_edits(cloud: Clients) -> None:
    update(plan(None))
    known = document(cloud)
    in_secrets_manager(cloud, signing_key='new')  # as CloudFormation makes it
    update(plan(DEFAULTS, SecretStore='SecretsManager'))
    text = cloud('secretsmanager').get_secret_value(SecretId='mine/identity')['SecretString']
    assert json.loads(text) == known
    assert cloud('ssm').describe_parameters()['Parameters'] == []


def test_the_password_of_keystone_is_moved_and_changed(cloud: Clients) -> None:
    cloud('secretsmanager').create_secret(Name='mine/keystone', SecretString='old')
    keystone = {**DEFAULTS, 'KeystoneUrl': 'https://k/v3'}

    def password() -> str:
        return str(cloud('ssm').get_parameter(Name='/mine/keystone', WithDecryption=True)['Parameter']['Value'])

    update(Plan('mine', {}, keystone, {'KeystoneUrl': 'https://k/v3'}))
    assert password() == 'old'
    update(Plan('mine', {'KeystonePassword': 'new'}, keystone, keystone))
    assert password() == 'new'


def test_a_document_that_no_parameter_holds_is_refused_before_anything_changes(cloud: Clients) -> None:
    in_secrets_manager(cloud, users=[{'name': 'u' * 9000}])
    aws = Noting()
    [line] = stored_secrets.complaints(plan(OLD), aws)
    assert 'the parameter store takes 8192: set SecretStore: SecretsManager' in line
    assert changes(aws) == []
    assert list(stored_secrets.complaints(plan(OLD, SecretStore='SecretsManager'), aws)) == []


def test_cloudformation_is_not_given_secrets_of_the_parameter_store() -> None:
    assert stored_secrets.passed(plan(None)) == stored_secrets.WITHHELD
    stays = plan(None, SecretStore='SecretsManager')
    assert stored_secrets.passed(stays) == {'IdentityDocument': DOCUMENT}


def test_a_removed_stack_leaves_no_secret(cloud: Clients) -> None:
    update(plan(None))
    stored_secrets.delete('mine', Noting())
    assert cloud('ssm').describe_parameters()['Parameters'] == []
