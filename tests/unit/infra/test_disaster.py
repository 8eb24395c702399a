"""The service in another region: what is taken over from exports and copies, and what a restore refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from cinderless.program import main
from infra import deploy, disaster, exports, stage
from infra.disaster import PARTS, SETTINGS, Plan
from infra.disaster_keys import TABLE
from infra.exports import Place
from infra.stage import Refused
from tests import table_exports
from tests.unit.infra.aws_cli import Cli

TIME, OLD, EXPORTS = '2026-11-30T10:00:00.000Z', '2026-11-29T10:00:00.000Z', Place('exports', 'daily/')

ALLOWED = {'OtherBackupResources': 'arn:aws:s3:::copies,arn:aws:s3:::copies/*'}

LOCATION = {'S': json.dumps({'bucket': 'copies', 'region': 'eu-west-1', 'prefix': 'p1/'})}


def item(project: str, id: str, **facts: Any) -> dict[str, Any]:
    typed = {name: value if isinstance(value, dict) else {'S': value} for name, value in facts.items()}
    return {'project_id': {'S': project}, 'id': {'S': id}, **typed}


def backup(id: str, status: str = 'available', **facts: Any) -> dict[str, Any]:
    return item('p1', id, status=status, size={'N': '3'}, manifest_key=f'backups/l/{id}', **facts)


#: The tables of the lost stack.
RECORDS: Mapping[str, list[dict[str, Any]]] = {
    'volume-types': [item('-', 't1', name='gold')],
    'qos-specs': [item('-', 'q1', name='slow')],
    'group-types': [],
    'default-types': [item('-', 'p1', volume_type_id='t1')],
    'names': [item('-', 'volume_type:gold', owner='t1'), item('-', 'initiator:iqn', owner='a1')],
    'quotas': [
        item('p1', 'quota', limits='{"volumes": 5}', usage={'M': {'volumes': {'N': '4'}}}, reserved={'M': {'x': {}}}),
        item('-', 'default', limits='{"backups": 7}', usage={'M': {}}, reserved={'M': {}}),
        item('p1', 'rate', full_at={'N': '1'}),
    ],
    'backups': [
        backup('original'),
        backup('copy', location=LOCATION, copied_from='original', schedule_id='s', reading='{}'),
        backup('busy', 'restoring', location=LOCATION, restore_volume_id='v', in_flight='1', deadline='9'),
        backup('partial', 'creating', location=LOCATION, in_flight='1'),
        backup('swept', location=LOCATION),
        backup('alone'),
    ],
    'volumes': [item('p1', 'v1'), item('p1', 'v2')],
    'snapshots': [item('p1', 's1')],
}


class World:
    """The exports and the copies in S3, and the new stack's tables."""

    def __init__(self) -> None:
        self.s3, self.dynamodb = boto3.client('s3', 'us-east-1'), boto3.client('dynamodb', 'us-east-1')
        for bucket in ('exports', 'copies'):
            self.s3.create_bucket(Bucket=bucket)
        for id in ('copy', 'busy', 'partial'):
            self.s3.put_object(Bucket='copies', Key=f'p1/backups/l/{id}', Body=b'manifest')
        for name, items in RECORDS.items():
            self.folder = table_exports.write(self.s3, 'exports', 'daily/', f'lost-{name}', items, TIME)
        for name in (*SETTINGS, *PARTS, TABLE):
            self.dynamodb.create_table(
                TableName=f'new-{name}',
                BillingMode='PAY_PER_REQUEST',
                KeySchema=[
                    {'AttributeName': 'project_id', 'KeyType': 'HASH'},
                    {'AttributeName': 'id', 'KeyType': 'RANGE'},
                ],
                AttributeDefinitions=[{'AttributeName': name, 'AttributeType': 'S'} for name in ('project_id', 'id')],
            )

    def plan(self, before: str = '9') -> Plan:
        source = disaster.read(self.s3, EXPORTS, 'lost', before)
        return disaster.plan(source, disaster.object_exists(self.s3))

    def restore(self, parameters: Mapping[str, str] = ALLOWED) -> int:
        planned = self.plan()
        disaster.check_target(planned, 'new', parameters, self.dynamodb)
        return disaster.restore(planned, 'new', self.dynamodb)

    def stored(self, table: str) -> dict[str, Any]:
        return {found['id']['S']: found for found in table_exports.scan(self.dynamodb, f'new-{table}')}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name, value in (('AWS_ACCESS_KEY_ID', 'a'), ('AWS_SECRET_ACCESS_KEY', 'b')):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv('AWS_PROFILE', raising=False)
    with mock_aws():
        yield World()


def test_settings_are_taken_over_as_they_are(world: World) -> None:
    world.restore()
    for name in SETTINGS:
        assert list(world.stored(name).values()) == RECORDS[name]
    assert set(world.stored('names')) == {'volume_type:gold'}, 'no initiators: their attachments are lost'


def test_backups_are_those_whose_copy_is_complete(world: World) -> None:
    world.restore()
    found = world.stored('backups')
    assert set(found) == {'copy', 'busy'}
    assert {one['status']['S'] for one in found.values()} == {'available'}
    assert not any(name in one for one in found.values() for name in disaster.DROPPED)
    assert found['copy']['location'] == LOCATION


def test_quotas_keep_limits_and_count_the_restored_backups(world: World) -> None:
    world.restore()
    found = world.stored('quotas')
    assert set(found) == {'quota', 'default'}
    assert found['quota']['usage'] == {'M': {'backups': {'N': '2'}, 'backup_gigabytes': {'N': '6'}}}
    assert found['quota']['reserved'] == {'M': {}}
    assert found['quota']['limits'] == {'S': '{"volumes": 5}'}


def test_a_plan_reports_what_is_lost(world: World) -> None:
    lost = '\n'.join(world.plan().lost)
    for line in (
        '2 volumes',
        '1 snapshots',
        'an unknown number of attachments: no export',
        '1 backups without a copy in another bucket',
        '1 backups that have a copy',
        '1 backups whose copy is creating',
        '1 backups whose copy has no manifest',
        f'changes since {TIME}',
    ):
        assert line in lost
    assert world.plan().buckets == ['copies']
    assert world.stored('backups') == {}


def test_encrypted_backups_are_named(world: World) -> None:
    items = [backup('copy', location=LOCATION, encryption_key_id='k')]
    table_exports.write(world.s3, 'exports', 'daily/', 'lost-backups', items, '2026-12-01T10:00:00.000Z')
    assert '1 backups of encrypted volumes are restored without keys' in '\n'.join(world.plan().lost)
    assert not world.plan().keys
    world.s3.put_object(Bucket='copies', Key='p1/volume-keys/l/copy', Body=b'a key')
    assert not any('without keys' in line for line in world.plan().lost)
    assert [found['id']['S'] for found in world.plan().keys] == ['copy']


def test_a_restore_is_repeated_and_changes_nothing(world: World) -> None:
    first = world.restore()
    before = {name: world.stored(name) for name in (*SETTINGS, *PARTS)}
    assert first == sum(map(len, before.values()))
    assert world.restore() == 0
    assert {name: world.stored(name) for name in (*SETTINGS, *PARTS)} == before


@pytest.mark.parametrize('writes', range(8))
def test_an_interrupted_restore_continues(world: World, writes: int) -> None:
    planned, put = world.plan(), disaster._put
    left = iter(range(writes))

    def interrupted(*arguments: Any) -> int:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return put(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disaster, '_put', interrupted)
        with pytest.raises(KeyboardInterrupt):
            disaster.restore(planned, 'new', world.dynamodb)
    total = sum(map(len, planned.items.values()))
    assert world.restore() == total - writes
    assert set(world.stored('backups')) == {'copy', 'busy'}


@pytest.mark.parametrize(
    ('table', 'there'),
    [
        ('volume-types', item('-', 'other', name='made here')),
        ('volume-types', item('-', 't1', name='changed since')),
        ('backups', item('p2', 'b9')),
        ('secrets', item('p2', 'k9')),
    ],
)
def test_a_stack_that_is_in_use_is_refused_and_not_changed(world: World, table: str, there: dict[str, Any]) -> None:
    world.dynamodb.put_item(TableName=f'new-{table}', Item=there)
    with pytest.raises(Refused, match='which is not of these exports'):
        world.restore()
    assert sum(len(world.stored(name)) for name in (*SETTINGS, *PARTS, TABLE)) == 1


def test_a_record_that_appears_meanwhile_is_not_overwritten(world: World) -> None:
    planned = world.plan()
    world.dynamodb.put_item(TableName='new-qos-specs', Item=item('-', 'q1', name='of another writer'))
    with pytest.raises(Refused, match='another record q1 meanwhile'):
        disaster.restore(planned, 'new', world.dynamodb)
    assert world.stored('qos-specs')['q1']['name'] == {'S': 'of another writer'}


@pytest.mark.parametrize(
    'parameters',
    [{}, {'OtherBackupResources': 'arn:aws:s3:::copies'}, {'OtherBackupResources': 'arn:aws:s3:::copies-2/*'}],
)
def test_a_stack_that_may_not_read_the_copies_is_refused(world: World, parameters: dict[str, str]) -> None:
    with pytest.raises(Refused, match='may not read the copies in copies'):
        world.restore(parameters)
    assert world.stored('volume-types') == {}


def test_a_stack_that_is_not_deployed_is_refused(world: World) -> None:
    with pytest.raises(Refused, match='there is no table other-volume-types: deploy the stage first'):
        disaster.check_target(world.plan(), 'other', ALLOWED, world.dynamodb)


def test_the_newest_complete_export_up_to_a_time_is_used(world: World) -> None:
    table_exports.write(world.s3, 'exports', 'daily/', 'lost-volume-types', [item('-', 'old', name='x')], OLD)
    later = '2026-12-02T10:00:00.000Z'
    unfinished = table_exports.write(world.s3, 'exports', 'daily/', 'lost-volume-types', [], later)
    world.s3.delete_object(Bucket='exports', Key=f'{unfinished}/manifest-summary.json')
    for facts in ({'outputFormat': 'ION'}, {'exportType': 'INCREMENTAL_EXPORT'}):
        table_exports.write(world.s3, 'exports', 'daily/', 'lost-volume-types', [], f'2026-12-0{len(facts)}', **facts)
    assert exports.find(world.s3, EXPORTS, 'lost')['volume-types'].time == TIME
    assert exports.find(world.s3, EXPORTS, 'lost', OLD)['volume-types'].time == OLD


def test_files_beside_an_export_are_left_out(world: World) -> None:
    """Those that the Developer Guide lists, the empty file of an empty partition, and another tool's summary."""
    folder = table_exports.write(world.s3, 'exports', 'daily/', 'lost-quotas', [], '2026-12-01', s3Prefix=None)
    for name in ('_started', 'manifest-files.checksum', 'manifest-summary.checksum'):
        world.s3.put_object(Bucket='exports', Key=f'{folder}/{name}', Body=b'')
    line = {'itemCount': 0, 'md5Checksum': '1B2M2Y8AsgTpgAmY7PhCfg==', 'etag': 'd41d8cd98f00b204e9800998ecf8427e'}
    line['dataFileS3Key'] = f'{folder}/data/empty.json.gz'
    world.s3.put_object(Bucket='exports', Key=str(line['dataFileS3Key']), Body=b'')
    world.s3.put_object(Bucket='exports', Key=f'{folder}/manifest-files.json', Body=f'{json.dumps(line)}\n'.encode())
    other = {'version': '2020-06-30', 'itemCount': 1, 'outputFormat': 'DYNAMODB_JSON', 'manifestFilesS3Key': 'x'}
    key = 'daily/AWSDynamoDB/other/manifest-summary.json'
    world.s3.put_object(Bucket='exports', Key=key, Body=json.dumps(other).encode())
    assert exports.items(world.s3, exports.find(world.s3, EXPORTS, 'lost')['quotas']) == []


def test_without_an_export_of_each_table_nothing_is_planned(world: World) -> None:
    with pytest.raises(Refused, match=r'no complete export of volume-types, .* of the stack other'):
        disaster.read(world.s3, EXPORTS, 'other')
    with pytest.raises(Refused, match='cannot be read'):
        disaster.read(world.s3, Place('nowhere', ''), 'lost')


def test_a_damaged_export_is_refused(world: World) -> None:
    key = next(
        json.loads(line)['dataFileS3Key']
        for line in exports._read(
            world.s3, 'exports', exports.find(world.s3, EXPORTS, 'lost')['quotas'].files
        ).splitlines()
    )
    world.s3.put_object(Bucket='exports', Key=key, Body=b'other bytes')
    with pytest.raises(Refused, match='is damaged'):
        world.plan()


def test_an_export_that_lacks_items_is_refused(world: World) -> None:
    table_exports.write(
        world.s3, 'exports', 'daily/', 'lost-quotas', RECORDS['quotas'], '2026-12-01T10:00:00.000Z', itemCount=9
    )
    with pytest.raises(Refused, match='has 3 of 9 items'):
        world.plan()


@pytest.mark.parametrize(('url', 'found'), [('s3://b', ('b', '')), ('s3://b/x/y/', ('b', 'x/y/'))])
def test_places(url: str, found: tuple[str, str]) -> None:
    assert exports.place(url) == found


@pytest.mark.parametrize('url', ['b/x', 's3://', 'https://b'])
def test_other_places_are_refused(url: str) -> None:
    with pytest.raises(Refused, match='give s3://'):
        exports.place(url)


@pytest.fixture
def stage_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The stage of the new stack, and the AWS CLI's answers about it."""
    cli = Cli(tmp_path, parameters=dict(ALLOWED))
    target = stage.Stage('new', 'us-east-1', 'new', {})
    monkeypatch.setattr(stage, 'load', lambda name, checked: target)
    monkeypatch.setattr(deploy, 'program', lambda: str(cli.program))
    return cli


def test_the_commands_plan_and_restore(world: World, stage_file: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    words = ['new', 's3://exports/daily', 'lost']
    assert main(['dr', 'plan', *words]) == 0
    said = capsys.readouterr().out
    assert f'backups        2         6         {TIME}' in said
    assert '  2 volumes\n' in said
    assert 'cinderless dr restore writes to new' in said
    assert world.stored('backups') == {}
    assert main(['dr', 'restore', *words]) == 0
    assert '2 backups restored' in capsys.readouterr().out
    assert set(world.stored('backups')) == {'copy', 'busy'}
    world.dynamodb.put_item(TableName='new-backups', Item=item('p9', 'new'))
    assert main(['dr', 'plan', *words, '--json']) == 0
    assert 'has the record new' in json.loads(capsys.readouterr().out)['obstacle']
    assert main(['dr', 'restore', *words]) == 1
    assert 'has the record new' in capsys.readouterr().err


@pytest.mark.parametrize('words', [['new', 'exports', 'lost'], ['new', 's3://exports/daily', 'others']])
def test_wrong_sources_are_refused_in_one_line(
    world: World, stage_file: Cli, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(['dr', 'restore', *words]) == 1
    assert capsys.readouterr().err.count('\n') == 1
