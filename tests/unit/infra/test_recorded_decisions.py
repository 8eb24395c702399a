"""The recorded calls of a run, decided by the evaluator: its questions, and the faults that it finds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local import conditions, recorder
from local.ebs import Ebs
from local.settings import ACCOUNT, REGION
from tests import permissions
from tests.iam import recorded
from tests.permissions import Call

PLACE = f'{REGION}:{ACCOUNT}'
VOLUME, SNAPSHOT = f'arn:aws:ec2:{PLACE}:volume/any', f'arn:aws:ec2:{REGION}::snapshot/any'
INSTANCE = f'arn:aws:ec2:{PLACE}:instance/any'
KEY = f'arn:aws:kms:{PLACE}:key/Key'
OURS = {'aws:ResourceTag/cinder:deployment': 'cinderless', 'aws:ResourceTag/cinder:project': 'any'}
MADE = {'aws:RequestTag/cinder:deployment': 'cinderless'}


def call(function: str, action: str, resource: str, **context: str) -> Call:
    return Call(function, action, resource, json.dumps(context, sort_keys=True))


@pytest.fixture(scope='module')
def template() -> dict[str, Any]:
    return permissions.template()


#: One of each kind: function, action, resource, condition keys.
RIGHT = [
    call('api', 'dynamodb:GetItem', f'arn:aws:dynamodb:{PLACE}:table/cinderless-volumes'),
    call('api', 'sqs:SendMessage', f'arn:aws:sqs:{PLACE}:cinderless-work'),
    call('api', 'kms:Decrypt', KEY, **{'kms:EncryptionContext:purpose': conditions.SAMPLE}),
    call('api', 'secretsmanager:GetSecretValue', f'arn:aws:secretsmanager:{PLACE}:secret:cinderless/keystone-abcdef'),
    call('volume_worker', 'kms:Encrypt', KEY, **{'kms:EncryptionContext:purpose': conditions.SAMPLE}),
    call('volume_worker', 'ec2:CreateVolume', VOLUME, **MADE),
    call('volume_worker', 'ec2:AttachVolume', VOLUME, **OURS),
    call('volume_worker', 'ec2:AttachVolume', INSTANCE, **{'aws:ResourceTag/cinder:project': 'any'}),
    call('volume_worker', 'ec2:DetachVolume', INSTANCE, **{'aws:ResourceTag/cinder:project': 'any'}),
    call('volume_worker', 'ec2:CreateTags', VOLUME, **MADE, **{'ec2:CreateAction': 'CreateVolume'}),
    call('backup_worker', 'ebs:ListChangedBlocks', SNAPSHOT, **OURS),
    call('backup_worker', 'kms:GenerateDataKey', KEY, **{'kms:EncryptionContext:lineage': conditions.SAMPLE}),
    call('backup_worker', 'kms:Encrypt', KEY, **{'kms:EncryptionContext:lineage': conditions.SAMPLE}),
    call('backup_worker', 's3:PutObjectRetention', 'arn:aws:s3:::backups/object'),
    call('reconcile', 'states:DescribeExecution', f'arn:aws:states:{PLACE}:execution:cinderless-create_volume:any'),
    call('some worker', 'ec2:ModifyVolume', VOLUME, **OURS),
]


def test_calls_are_allowed_and_those_about_others_resources_denied(template: dict[str, Any]) -> None:
    result = recorded.check(template, RIGHT)
    assert result.wrong == []
    assert result.allowed == len(RIGHT)
    assert result.denied > 3 * len(RIGHT)


@pytest.mark.parametrize(
    ('wrong', 'text'),
    [
        (call('api', 'kms:Decrypt', KEY, **{'kms:EncryptionContext:purpose': 'unheard of'}), 'api calls kms:Decrypt'),
        (call('api', 'ec2:DeleteVolume', VOLUME, **OURS), 'api calls ec2:DeleteVolume'),
        (call('volume_worker', 'ec2:CreateVolume', VOLUME), 'volume_worker calls ec2:CreateVolume'),
        (call('volume_worker', 'ec2:AttachVolume', INSTANCE), 'volume_worker calls ec2:AttachVolume'),
        (
            call('volume_worker', 'ec2:DeleteVolume', VOLUME, **{'aws:ResourceTag/cinder:deployment': 'another'}),
            'volume_worker calls ec2:DeleteVolume',
        ),
        (call('api', 'sqs:SendMessage', f'arn:aws:sqs:{PLACE}:cinderless-2-work'), 'api calls sqs:SendMessage'),
    ],
)
def test_a_call_that_the_role_denies_is_found(template: dict[str, Any], wrong: Call, text: str) -> None:
    [line] = recorded.check(template, [wrong]).wrong
    assert line.startswith(text)


@pytest.mark.parametrize(
    ('role', 'statement', 'text'),
    [
        (
            'ApiRole',
            {'Effect': 'Allow', 'Action': 'sqs:SendMessage', 'Resource': f'arn:aws:sqs:{PLACE}:*'},
            f'ApiRole may sqs:SendMessage arn:aws:sqs:{PLACE}:other-work',
        ),
        (
            'VolumeWorkerRole',
            {'Effect': 'Allow', 'Action': 'ec2:AttachVolume', 'Resource': '*'},
            f'VolumeWorkerRole may ec2:AttachVolume {INSTANCE} ({{}})',
        ),
        (
            'VolumeWorkerRole',
            {'Effect': 'Allow', 'Action': 'kms:Encrypt', 'Resource': '*'},
            'VolumeWorkerRole may kms:Encrypt arn:aws:kms:us-east-1:123456789012:key/11111111',
        ),
    ],
)
def test_a_role_that_allows_too_much_is_found(
    template: dict[str, Any], role: str, statement: dict[str, Any], text: str
) -> None:
    wide = json.loads(json.dumps(template))
    wide['Resources'][role]['Properties']['Policies'][0]['PolicyDocument']['Statement'].append(statement)
    assert any(line.startswith(text) for line in recorded.check(wide, RIGHT).wrong)


def test_calls_about_unknown_objects_are_counted(template: dict[str, Any]) -> None:
    result = recorded.check(template, [*RIGHT, Call('volume_worker', 'ec2:DeleteVolume', VOLUME, 'null')])
    assert (result.unknown, result.wrong) == (1, [])


@pytest.fixture
def ebs() -> Ebs:
    made = Ebs()
    made.add_instance('i-0123456789abcdef9', 'us-east-1a', tags={'cinder:project': '8d3e', 'Name': 'any'})
    return made


def asked(operation: str, **params: Any) -> dict[tuple[str, str], Any]:
    return {(action, kind): context for action, kind, context in conditions.block_storage('ec2', operation, params)}


def test_tags_of_existing_objects_are_conditions(ebs: Ebs) -> None:
    found = asked('AttachVolume', VolumeId='vol-unknown', InstanceId='i-0123456789abcdef9')
    assert found == {
        ('ec2:AttachVolume', 'volume'): None,
        ('ec2:AttachVolume', 'instance'): {'aws:ResourceTag/cinder:project': 'any'},
    }


def test_tags_of_made_objects_are_conditions(ebs: Ebs) -> None:
    tags = [{'Key': 'cinder:deployment', 'Value': 'cinderless'}, {'Key': 'Name', 'Value': 'any'}]
    found = asked('CreateVolume', Size=1, TagSpecifications=[{'ResourceType': 'volume', 'Tags': tags}])
    assert found == {
        ('ec2:CreateVolume', 'volume'): MADE,
        ('ec2:CreateTags', 'volume'): {**MADE, 'ec2:CreateAction': 'CreateVolume'},
    }


def test_an_encryption_context_is_one_whatever_its_ids() -> None:
    one, other = '6f1c7a5e-3c0c-4a0b-9b0e-0d9c8f7e6a5b', '00a3b2c4-3c0c-4a0b-9b0e-0d9c8f7e6a5b'
    found = set()
    for text in (one, other):
        params = {'KeyId': 'k', 'EncryptionContext': {'purpose': f'key/8d3e{text}'}}
        [(_, _, context)] = recorder.questions('kms', 'Encrypt', params)
        found.add(json.dumps(context))
    assert len(found) == 1
