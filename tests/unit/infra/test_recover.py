"""One table restored to a time, by the real AWS CLI; every step may be interrupted."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra import recover
from infra.deploy import Aws
from infra.stage import Refused, Stage
from tests.unit.infra.in_process_cli import InProcessCli as Cli

STAGE = Stage('mine', 'us-east-1', 'mine', {})
NAME = 'mine-idempotency-keys'


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A table of the stack with one record."""
    for name, value in (('AWS_ACCESS_KEY_ID', 'a'), ('AWS_SECRET_ACCESS_KEY', 'b')):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv('AWS_PROFILE', raising=False)
    with mock_aws():
        client = boto3.client('dynamodb', 'us-east-1')
        client.create_table(
            TableName=NAME,
            BillingMode='PAY_PER_REQUEST',
            DeletionProtectionEnabled=True,
            KeySchema=[{'AttributeName': 'id', 'KeyType': 'HASH'}],
            AttributeDefinitions=[{'AttributeName': 'id', 'AttributeType': 'S'}],
        )
        client.update_continuous_backups(
            TableName=NAME, PointInTimeRecoverySpecification={'PointInTimeRecoveryEnabled': True}
        )
        client.put_item(TableName=NAME, Item={'id': {'S': 'known'}})
        yield client


def records(dynamodb: Any, table: str) -> list[str]:
    return sorted(item['id']['S'] for item in dynamodb.scan(TableName=table)['Items'])


def moment() -> datetime.datetime:
    """The one time of moto's window: when recovery was enabled."""
    found = boto3.client('dynamodb', 'us-east-1').describe_continuous_backups(TableName=NAME)
    window = found['ContinuousBackupsDescription']['PointInTimeRecoveryDescription']
    return window['EarliestRestorableDateTime'].astimezone(datetime.UTC)


def restored(cli: Aws) -> str:
    return recover.restore(STAGE, 'idempotency-keys', moment(), cli, pause=0)


def test_a_table_is_restored_beside_itself(dynamodb: Any) -> None:
    target = restored(Cli())
    assert target == f'{NAME}-restored-{moment():%Y%m%d%H%M%S}'
    dynamodb.put_item(TableName=NAME, Item={'id': {'S': 'since'}})
    assert records(dynamodb, target) == ['known']
    assert records(dynamodb, NAME) == ['known', 'since']
    again = Cli()
    assert restored(again) == target
    assert set(again.verbs()) == {'describe-table'}


def test_the_services_table_is_replaced_with_all_its_settings(dynamodb: Any) -> None:
    target = restored(Cli())
    dynamodb.put_item(TableName=NAME, Item={'id': {'S': 'wrong'}})
    recover.replace(STAGE, 'idempotency-keys', target, Cli(), pause=0)
    assert records(dynamodb, NAME) == ['known']
    described = dynamodb.describe_table(TableName=NAME)['Table']
    assert described['DeletionProtectionEnabled'] is True
    backups = dynamodb.describe_continuous_backups(TableName=NAME)['ContinuousBackupsDescription']
    assert backups['PointInTimeRecoveryDescription']['PointInTimeRecoveryStatus'] == 'ENABLED'
    assert dynamodb.describe_time_to_live(TableName=NAME)['TimeToLiveDescription']['AttributeName'] == 'expires'


@pytest.mark.parametrize(
    'failing',
    ['create-backup', 'delete-table', 'restore-table-from-backup', 'update-continuous-backups', 'update-time-to-live'],
)
def test_an_interrupted_replacement_is_repeated(dynamodb: Any, failing: str) -> None:
    target, cli = restored(Cli()), Cli()
    dynamodb.put_item(TableName=NAME, Item={'id': {'S': 'wrong'}})
    cli.failing = failing
    with pytest.raises(Refused, match='InternalServerError'):
        recover.replace(STAGE, 'idempotency-keys', target, cli, pause=0)
    recover.replace(STAGE, 'idempotency-keys', target, cli, pause=0)
    assert records(dynamodb, NAME) == ['known']
    assert cli.verbs().count('delete-table') <= 2
    assert dynamodb.describe_table(TableName=NAME)['Table']['DeletionProtectionEnabled'] is True


def test_what_was_replaced_is_not_replaced_again(dynamodb: Any) -> None:
    target = restored(Cli())
    recover.replace(STAGE, 'idempotency-keys', target, Cli(), pause=0)
    dynamodb.put_item(TableName=NAME, Item={'id': {'S': 'new work'}})
    again = Cli()
    recover.replace(STAGE, 'idempotency-keys', target, again, pause=0)
    assert records(dynamodb, NAME) == ['known', 'new work']
    assert 'delete-table' not in again.verbs()


@pytest.mark.parametrize(
    ('words', 'line'),
    [
        (['mine', 'volums', '2026-11-30T10:00:00'], "TABLE is 'volums': give one of"),
        (['mine', 'volumes', 'yesterday'], "TIME is 'yesterday': give one such as"),
        (['mine', 'volumes', '2026-11-30T10:00:00', '--replace', 'yes'], 'give mine-volumes'),
    ],
)
def test_wrong_words_are_refused_before_aws_is_reached(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    monkeypatch.setattr(recover, 'load', lambda name, checked: STAGE)
    assert recover.main(words) == 1
    assert line in capsys.readouterr().err


def test_a_time_outside_of_the_window_is_refused() -> None:
    class Described(Cli):
        def run(self, *words: str) -> str:
            if words[1] == 'describe-continuous-backups':
                first, last = (f'2026-11-0{day}T00:00:00+00:00' for day in (1, 2))
                window = {'EarliestRestorableDateTime': first, 'LatestRestorableDateTime': last}
                return json.dumps({'PointInTimeRecoveryStatus': 'ENABLED', **window})
            if words[1] == 'describe-table' and 'restored' in words[3]:
                raise Refused('ResourceNotFoundException')
            return '{}'

    early = datetime.datetime(2026, 10, 1, tzinfo=datetime.UTC)
    with pytest.raises(Refused, match='can be restored to 2026-11-01T00:00:00'):
        recover.restore(STAGE, 'volumes', early, Described(), pause=0)
