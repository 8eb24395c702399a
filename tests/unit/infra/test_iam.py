"""Which secret, key, table, volume: each function's role, decided by an independent evaluator (tests/iam)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from infra import render
from tests import iam
from tests.iam import ACCOUNT, KEY, REGION, Question
from tests.permissions import ROLES

PLACE = f'{REGION}:{ACCOUNT}'

#: Deployments: with the built-in identity, with a Keystone, and each with Glance and Nova.
KEYSTONE = {'KeystoneUrl': 'https://keystone/v3'}
CLOUD = {'GlanceUrl': 'https://glance', 'NovaUrl': 'https://nova/v2.1'}

SECRETS_MANAGER = {'SecretStore': 'SecretsManager'}
VIA_SSM = {'kms:ViaService': f'ssm.{REGION}.amazonaws.com'}
VIA_SECRETS = {'kms:ViaService': f'secretsmanager.{REGION}.amazonaws.com'}
VIA_S3 = {'kms:ViaService': f's3.{REGION}.amazonaws.com'}
VIA_EC2 = {'kms:ViaService': f'ec2.{REGION}.amazonaws.com'}
OURS = {'aws:ResourceTag/cinder:deployment': 'prod'}
THEIRS = {'aws:ResourceTag/cinder:deployment': 'prod-2'}
MADE = {'aws:RequestTag/cinder:deployment': 'prod'}

ATTACHMENT = {'kms:EncryptionContext:purpose': '6f1c7a5e-3c0c-4a0b-9b0e-0d9c8f7e6a5b'}
IDEMPOTENCY = {'kms:EncryptionContext:purpose': 'idempotency/5feceb66ffc86f38/0'}
VOLUME_KEY = {'kms:EncryptionContext:purpose': 'key/8d3e/6f1c7a5e-3c0c-4a0b-9b0e-0d9c8f7e6a5b'}
LINEAGE = {'kms:EncryptionContext:lineage': '6f1c7a5e'}

FOREIGN_KEY = f'arn:aws:kms:{PLACE}:key/ffffffff-89ab-cdef-0123-456789abcdef'
WORKERS = {'volume_worker', 'backup_worker'}


@pytest.fixture(scope='module')
def template() -> dict[str, Any]:
    return dict(json.loads((render.templates() / 'plain.json').read_text()))


def secret(name: str) -> str:
    return f'arn:aws:secretsmanager:{PLACE}:secret:{name}-AbCdEf'


def allowed(template: Mapping[str, Any], parameters: Mapping[str, str], *asked: Question) -> set[str]:
    """The functions that may do all of this, each checked under its own role."""
    planned = iam.deployment(template, **parameters)
    questions = [(name, one._replace(role=role)) for name, role in ROLES.items() for one in asked]
    answers = iam.decide(planned, [question for _, question in questions])
    refused = {name for (name, _), answer in zip(questions, answers, strict=True) if answer != 'Allowed'}
    return set(ROLES) - refused


def ask(action: str, resource: str, **context: Any) -> Question:
    return Question('', action, resource, context)


#: A secret -> the functions that read it, in each deployment. The key that opens it has the same readers.
SECRETS: list[tuple[str, Mapping[str, str], set[str]]] = [
    ('prod/identity', {}, {'api', 'backup_schedules'}),
    ('prod/keystone', {}, set()),
    ('prod/identity', KEYSTONE, set()),
    ('prod/keystone', KEYSTONE, {'api'}),
    ('prod/identity', CLOUD, {'api', 'backup_schedules', *WORKERS}),
    ('prod/keystone', CLOUD, set()),
    ('prod/identity', {**KEYSTONE, **CLOUD}, set()),
    ('prod/keystone', {**KEYSTONE, **CLOUD}, {'api', *WORKERS}),
    ('prod/agent-of-fast', {}, WORKERS),
    ('prod/ontap', {**KEYSTONE, **CLOUD}, WORKERS),
    ('prod/identity-of-an-array', {}, WORKERS),
    ('prod-2/identity', {}, set()),
    ('prod-2/agent-of-fast', {}, set()),
    ('other', {}, set()),
]


@pytest.mark.parametrize(('name', 'parameters', 'readers'), SECRETS)
def test_each_function_reads_its_own_secrets_only(
    template: dict[str, Any], name: str, parameters: dict[str, str], readers: set[str]
) -> None:
    reading = ask('secretsmanager:GetSecretValue', secret(name))
    context = {**VIA_SECRETS, 'kms:EncryptionContext:SecretARN': secret(name)}
    parameters = {**parameters, **SECRETS_MANAGER}
    assert allowed(template, parameters, reading) == readers
    assert allowed(template, parameters, reading, ask('kms:Decrypt', KEY, **context)) == readers


@pytest.mark.parametrize(
    ('name', 'parameters', 'readers'), [row for row in SECRETS if row[0].endswith(('/identity', '/keystone'))]
)
def test_each_function_reads_its_own_secure_strings_only(
    template: dict[str, Any], name: str, parameters: dict[str, str], readers: set[str]
) -> None:
    """In the parameter store, where Secrets Manager has the secrets of backends only."""
    arn = f'arn:aws:ssm:{PLACE}:parameter/{name}'
    reading = ask('ssm:GetParameter', arn)
    opening = ask('kms:Decrypt', KEY, **VIA_SSM, **{'kms:EncryptionContext:PARAMETER_ARN': arn})
    assert allowed(template, parameters, reading) == readers
    assert allowed(template, parameters, reading, opening) == readers
    assert allowed(template, parameters, opening) == readers
    assert allowed(template, {**parameters, **SECRETS_MANAGER}, reading) <= WORKERS


#: What the stack's key does for whom: action, context -> functions.
USES: list[tuple[str, Mapping[str, str], set[str]]] = [
    ('kms:Encrypt', VOLUME_KEY, {'api', 'backup_schedules', 'backup_worker'}),
    ('kms:Decrypt', VOLUME_KEY, {'api', 'backup_schedules', 'backup_worker'}),
    ('kms:Encrypt', ATTACHMENT, {'volume_worker'}),
    ('kms:Decrypt', ATTACHMENT, {'api'}),
    ('kms:GenerateDataKey', LINEAGE, {'backup_worker'}),
    ('kms:Decrypt', LINEAGE, {'backup_worker'}),
    ('kms:Encrypt', LINEAGE, set()),
    ('kms:Decrypt', {}, set()),
    ('kms:Encrypt', {}, set()),
    ('kms:GenerateDataKey', {}, set()),
    ('kms:Decrypt', {'kms:EncryptionContext:purpose': 'another purpose'}, set()),
    ('kms:Encrypt', IDEMPOTENCY, {'api'}),
    ('kms:Decrypt', IDEMPOTENCY, {'api'}),
    ('kms:Decrypt', VIA_SECRETS, set()),
    ('kms:CreateGrant', {'kms:GrantIsForAWSResource': 'true'}, set()),
    ('kms:ScheduleKeyDeletion', {}, set()),
]


@pytest.mark.parametrize(('action', 'context', 'users'), USES)
def test_the_key_serves_each_function_for_its_purpose_only(
    template: dict[str, Any], action: str, context: dict[str, str], users: set[str]
) -> None:
    assert allowed(template, {}, ask(action, KEY, **context)) == users
    assert allowed(template, {}, ask(action, FOREIGN_KEY, **context)) == set()


def test_the_key_serves_s3_for_the_bucket_of_backups_only(template: dict[str, Any]) -> None:
    bucket = iam.deployment(template).scope().resolve({'Fn::GetAtt': ['BackupBucket', 'Arn']})
    for action in ('kms:Decrypt', 'kms:GenerateDataKey'):
        for of, users in ((bucket, {'backup_worker'}), (f'{bucket}/p/o', {'backup_worker'}), ('arn:aws:s3:::b', set())):
            context = {**VIA_S3, 'kms:EncryptionContext:aws:s3:arn': of}
            assert allowed(template, {}, ask(action, KEY, **context)) == users


#: What the keys of other places do for backup_worker: parameter, action, context -> whether.
ELSEWHERE: list[tuple[str, str, Mapping[str, str], bool]] = [
    ('BackupTargetKeys', 'kms:Encrypt', LINEAGE, True),
    ('BackupTargetKeys', 'kms:Decrypt', LINEAGE, True),
    ('BackupTargetKeys', 'kms:GenerateDataKey', VIA_S3, True),
    ('BackupTargetKeys', 'kms:Decrypt', VIA_S3, True),
    ('BackupTargetKeys', 'kms:GenerateDataKey', {}, False),
    ('BackupTargetKeys', 'kms:Encrypt', VOLUME_KEY, False),
    ('BackupTargetKeys', 'kms:Decrypt', VOLUME_KEY, False),
    ('BackupTargetKeys', 'kms:Decrypt', VIA_SECRETS, False),
    ('OtherBackupKeys', 'kms:Decrypt', LINEAGE, True),
    ('OtherBackupKeys', 'kms:Decrypt', VIA_S3, True),
    ('OtherBackupKeys', 'kms:Decrypt', VOLUME_KEY, False),
    ('OtherBackupKeys', 'kms:Decrypt', {}, False),
    ('OtherBackupKeys', 'kms:Encrypt', LINEAGE, False),
]


@pytest.mark.parametrize(('parameter', 'action', 'context', 'may'), ELSEWHERE)
def test_keys_of_other_places_serve_backups_only(
    template: dict[str, Any], parameter: str, action: str, context: Mapping[str, str], may: bool
) -> None:
    key = KEY.replace('01234567', '22222222')
    question = ask(action, key, **context)
    assert allowed(template, {parameter: key}, question) == ({'backup_worker'} if may else set())


def test_records_open_with_the_key_through_dynamodb_only(template: dict[str, Any]) -> None:
    """By the key's own policy, and for this account's callers."""
    via = {'kms:ViaService': f'dynamodb.{REGION}.amazonaws.com', 'kms:CallerAccount': ACCOUNT}
    assert allowed(template, {}, ask('kms:Decrypt', KEY, **via)) == set(ROLES)
    assert allowed(template, {}, ask('kms:Decrypt', KEY, **{**via, 'kms:CallerAccount': '210987654321'})) == set()


#: Tables, by a verb that only some use.
TABLES: list[tuple[str, str, set[str]]] = [
    ('dynamodb:GetItem', 'prod-volumes', {'api', 'backup_schedules', 'backup_worker', 'reconcile', 'volume_worker'}),
    ('dynamodb:GetItem', 'prod-secrets', {'api', 'backup_schedules', 'backup_worker'}),
    ('dynamodb:PutItem', 'prod-volume-types', {'api'}),
    ('dynamodb:GetItem', 'prod-2-volumes', set()),
    ('dynamodb:GetItem', 'prod-secrets-2', set()),
    ('dynamodb:DeleteTable', 'prod-volumes', set()),
]


@pytest.mark.parametrize(('action', 'table', 'users'), TABLES)
def test_tables_are_this_deployments(template: dict[str, Any], action: str, table: str, users: set[str]) -> None:
    assert allowed(template, {}, ask(action, f'arn:aws:dynamodb:{PLACE}:table/{table}')) == users


VOLUME, SNAPSHOT = f'arn:aws:ec2:{PLACE}:volume/vol-1', f'arn:aws:ec2:{REGION}::snapshot/snap-1'
ELSEWHERE = f'arn:aws:ec2:eu-west-1:{ACCOUNT}:volume/vol-1'

#: EBS: an action on an object with a tag -> functions.
EBS: list[tuple[str, str, Mapping[str, str], set[str]]] = [
    ('ec2:CreateVolume', VOLUME, MADE, WORKERS),
    ('ec2:CreateVolume', VOLUME, {}, set()),
    ('ec2:CreateVolume', ELSEWHERE, MADE, set()),
    ('ec2:DeleteVolume', VOLUME, OURS, WORKERS),
    ('ec2:DeleteVolume', VOLUME, THEIRS, set()),
    ('ec2:DeleteVolume', VOLUME, {}, set()),
    ('ec2:AttachVolume', VOLUME, OURS, {'volume_worker'}),
    ('ec2:AttachVolume', VOLUME, {}, set()),
    ('ec2:ModifyVolume', VOLUME, THEIRS, set()),
    ('ec2:DetachVolume', VOLUME, {}, set()),
    ('ec2:CreateTags', VOLUME, {}, set()),
    ('ec2:CreateTags', VOLUME, {'ec2:CreateAction': 'RunInstances'}, set()),
    ('ec2:DeleteSnapshot', SNAPSHOT, OURS, WORKERS),
    ('ec2:DeleteSnapshot', SNAPSHOT, {}, set()),
    ('ec2:CreateVolume', SNAPSHOT, THEIRS, set()),
    ('ebs:GetSnapshotBlock', SNAPSHOT, OURS, WORKERS),
    ('ebs:GetSnapshotBlock', SNAPSHOT, {}, set()),
    ('ebs:ListChangedBlocks', SNAPSHOT, OURS, {'backup_worker'}),
    ('ec2:TerminateInstances', f'arn:aws:ec2:{PLACE}:instance/i-1', {}, set()),
]


@pytest.mark.parametrize(('action', 'resource', 'context', 'users'), EBS)
def test_ebs_objects_are_this_deployments(
    template: dict[str, Any], action: str, resource: str, context: dict[str, str], users: set[str]
) -> None:
    assert allowed(template, {}, ask(action, resource, **context)) == users


def test_grants_on_keys_of_encrypted_volumes_are_for_aws_only(template: dict[str, Any]) -> None:
    for_aws = {'kms:GrantIsForAWSResource': 'true'}
    asked = [
        ({**VIA_EC2, **OURS, **for_aws}, WORKERS),
        ({**VIA_EC2, **OURS, 'kms:GrantIsForAWSResource': 'false'}, set()),
        ({**VIA_EC2, **OURS}, set()),
        ({**VIA_EC2, **THEIRS, **for_aws}, set()),
        ({**OURS, **for_aws}, set()),
    ]
    for context, users in asked:
        assert allowed(template, {}, ask('kms:CreateGrant', FOREIGN_KEY, **context)) == users, context


FUNCTION, MACHINE = f'arn:aws:lambda:{PLACE}:function', f'arn:aws:states:{PLACE}:stateMachine'
PARAMETER = f'arn:aws:ssm:{PLACE}:parameter'

#: Everything else that a function could reach of another deployment or function.
OTHERS: list[tuple[str, str, set[str]]] = [
    (
        'lambda:InvokeFunction',
        f'{FUNCTION}:prod-volume_worker',
        {'api', 'reconcile', 'report_pools'},
    ),
    ('lambda:InvokeFunction', f'{FUNCTION}:prod-backup_worker', {'reconcile'}),
    ('lambda:InvokeFunction', f'{FUNCTION}:prod-2-volume_worker', set()),
    (
        'states:StartExecution',
        f'{MACHINE}:prod-create_volume',
        {'start_workflow', 'reconcile'},
    ),
    ('states:StartExecution', f'{MACHINE}:prod-2-create_volume', set()),
    ('sqs:SendMessage', f'arn:aws:sqs:{PLACE}:prod-2-work', set()),
    ('sqs:ReceiveMessage', f'arn:aws:sqs:{PLACE}:prod-work', {'start_workflow'}),
    ('ssm:GetParameter', f'{PARAMETER}/prod/backends', {*WORKERS, 'report_pools'}),
    ('ssm:GetParameter', f'{PARAMETER}/prod/policy-overrides', {'api'}),
    ('ssm:GetParameter', f'{PARAMETER}/prod/scheduler-options', {'api', 'volume_worker'}),
    ('ssm:GetParameter', f'{PARAMETER}/prod/backup-targets', {'api', 'backup_schedules'}),
    ('ssm:GetParameter', f'{PARAMETER}/prod-2/backends', set()),
    ('s3:GetObject', 'arn:aws:s3:::another/object', set()),
    ('logs:PutLogEvents', f'arn:aws:logs:{PLACE}:log-group:/aws/lambda/prod-2-api:log-stream:any', set()),
    ('iam:PassRole', f'arn:aws:iam::{ACCOUNT}:role/any', set()),
]


@pytest.mark.parametrize(('action', 'resource', 'users'), OTHERS)
def test_other_resources_are_this_deployments(
    template: dict[str, Any], action: str, resource: str, users: set[str]
) -> None:
    assert allowed(template, {}, ask(action, resource)) == users


def test_a_context_key_that_an_action_does_not_have_is_reported(template: dict[str, Any]) -> None:
    """The evaluator ignores it, and a condition on it would never hold."""
    with pytest.raises(AssertionError, match='no:SuchKey'):
        allowed(template, {}, ask('ec2:DeleteVolume', VOLUME, **{'no:SuchKey': 'any'}))
