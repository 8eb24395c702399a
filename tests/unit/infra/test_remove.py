"""A removal, by the real AWS CLI against a cloud on loopback: nothing is left, whatever versions there are."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from cinderless.program import main
from infra import remove
from infra import stage as stages
from infra.deploy import Aws, program
from infra.stage import Refused, Stage
from local.endpoint import Endpoint
from local.http import Server

STAGE = Stage('mine', 'us-east-1', 'mine', {})

#: moto takes a key's policy as it is, and reads it as text.
ACCOUNT_DECIDES = {
    'Effect': 'Allow',
    'Principal': {'AWS': 'arn:aws:iam::123456789012:root'},
    'Action': 'kms:*',
    'Resource': '*',
}

TEMPLATE: dict[str, Any] = {
    'Resources': {
        'Bucket': {
            'Type': 'AWS::S3::Bucket',
            'DeletionPolicy': 'Retain',
            'Properties': {'BucketName': 'backups-of-mine', 'VersioningConfiguration': {'Status': 'Enabled'}},
        },
        'Table': {
            'Type': 'AWS::DynamoDB::Table',
            'DeletionPolicy': 'Retain',
            'Properties': {
                'TableName': 'mine-volumes',
                'BillingMode': 'PAY_PER_REQUEST',
                'DeletionProtectionEnabled': True,
                'KeySchema': [{'AttributeName': 'id', 'KeyType': 'HASH'}],
                'AttributeDefinitions': [{'AttributeName': 'id', 'AttributeType': 'S'}],
            },
        },
        'Key': {
            'Type': 'AWS::KMS::Key',
            'DeletionPolicy': 'Retain',
            'Properties': {'KeyPolicy': json.dumps({'Version': '2012-10-17', 'Statement': [ACCOUNT_DECIDES]})},
        },
    }
}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Clients of a cloud in which nothing is yet; the CLI reaches it over HTTP."""
    for name, value in (('AWS_ACCESS_KEY_ID', 'a'), ('AWS_SECRET_ACCESS_KEY', 'b')):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv('AWS_PROFILE', raising=False)
    with mock_aws():
        server = Server(0, Endpoint(None))
        server.start()
        clients = {name: boto3.client(name, 'us-east-1') for name in ('cloudformation', 'dynamodb', 'kms', 's3')}
        monkeypatch.setenv('AWS_ENDPOINT_URL', f'http://127.0.0.1:{server.port}')  # for the CLI only
        yield clients.__getitem__
        server.stop()


def deployed(cloud: Any) -> None:
    cloud('cloudformation').create_stack(StackName='mine', TemplateBody=json.dumps(TEMPLATE))


def filled(cloud: Any, objects: int) -> None:
    for number in range(objects):
        cloud('s3').put_object(Bucket='backups-of-mine', Key=f'o/{number}', Body=b'1')
        cloud('s3').put_object(Bucket='backups-of-mine', Key=f'o/{number}', Body=b'2')
    cloud('s3').delete_object(Bucket='backups-of-mine', Key='o/0')  # a marker


def run(*, data: bool) -> list[str]:
    return remove.remove(STAGE, Aws(program(), 'us-east-1', None), data=data)


def test_versions_tables_and_key_are_removed(cloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remove, 'PAGE', 3)
    deployed(cloud)
    filled(cloud, 4)
    left = run(data=True)
    assert [line.partition(' ')[0] for line in left] == ['the']  # key
    assert cloud('s3').list_buckets()['Buckets'] == []
    assert cloud('dynamodb').list_tables()['TableNames'] == []
    [key] = cloud('kms').list_keys()['Keys']
    assert cloud('kms').describe_key(KeyId=key['KeyId'])['KeyMetadata']['KeyState'] == 'PendingDeletion'


def test_without_data_the_stack_goes_and_all_it_keeps_is_reported(cloud: Any) -> None:
    deployed(cloud)
    filled(cloud, 1)
    left = run(data=False)
    assert {line.partition(' ')[0] for line in left} == {
        'AWS::S3::Bucket',
        'AWS::DynamoDB::Table',
        'AWS::KMS::Key',
    }
    assert cloud('dynamodb').list_tables()['TableNames'] == ['mine-volumes']
    run(data=True)  # afterwards, by the record of the deleted stack
    assert cloud('dynamodb').list_tables()['TableNames'] == []
    assert cloud('s3').list_buckets()['Buckets'] == []


def test_locked_backups_stay_and_the_rest_goes(cloud: Any, tmp_path: Path) -> None:
    deployed(cloud)
    s3 = cloud('s3')
    s3.delete_bucket(Bucket='backups-of-mine')
    s3.create_bucket(Bucket='backups-of-mine', ObjectLockEnabledForBucket=True)
    filled(cloud, 2)
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    s3.put_object_retention(
        Bucket='backups-of-mine', Key='o/1', Retention={'Mode': 'COMPLIANCE', 'RetainUntilDate': until}
    )
    [locked, _] = run(data=True)
    assert locked.startswith('1 locked objects of the bucket backups-of-mine')
    assert [each['Key'] for each in s3.list_object_versions(Bucket='backups-of-mine')['Versions']] == ['o/1']


def test_a_stack_that_never_was_is_refused(cloud: Any) -> None:
    with pytest.raises(Refused, match='there is no stack mine'):
        run(data=True)


def test_data_needs_the_stacks_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stages, 'load', lambda name, checked: STAGE)
    assert main(['remove', 'mine', '--data', 'yes']) == 1
    assert 'to delete all records and backups, give mine' in capsys.readouterr().err
