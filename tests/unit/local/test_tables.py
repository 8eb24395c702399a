"""Tables of two versions: what a later one finds stored, and wants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local import backends, dynamodb, tables
from tests.unit.local.conftest import Clients
from tests.unit.local.test_dynamodb import DEFINITION, ROOT, key

WANTED = {
    **DEFINITION,
    'TimeToLiveSpecification': {'AttributeName': 'ends_at', 'Enabled': True},
    'DeletionProtectionEnabled': True,
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('engine')


@pytest.fixture(scope='module')
def engine(folder: Path) -> Iterator[dynamodb.Engine]:
    engine = dynamodb.engine(ROOT, '', folder / 'log', folder / 'data')
    assert engine is not None, 'make setup fetches DynamoDB Local and Java'
    engine.start()
    engine.wait()
    yield engine
    engine.stop()


@pytest.fixture
def stored(aws: Clients, engine: dynamodb.Engine) -> Iterator[Any]:
    backends.pass_by(engine.url)
    client = dynamodb.client(engine.url)
    yield client
    for name in client.list_tables()['TableNames']:
        client.delete_table(TableName=name)


def test_a_table_that_is_stored_keeps_its_items(stored: Any) -> None:
    tables.deploy([WANTED], stored)
    stored.put_item(TableName='records', Item=key('kept'))
    tables.deploy([WANTED], stored)
    assert stored.get_item(TableName='records', Key=key('kept'))['Item'] == key('kept')
    assert stored.describe_time_to_live(TableName='records')['TimeToLiveDescription']['AttributeName'] == 'ends_at'


def test_many_tables_are_created(stored: Any) -> None:
    wanted = [{**WANTED, 'TableName': f'records-{number}'} for number in range(20)]
    tables.deploy(wanted, stored)
    assert set(stored.list_tables()['TableNames']) == {table['TableName'] for table in wanted}


def test_global_indexes_are_made_and_deleted(stored: Any) -> None:
    old = {**DEFINITION['GlobalSecondaryIndexes'][0], 'IndexName': 'old'}
    stored.create_table(**{**DEFINITION, 'GlobalSecondaryIndexes': [old]})
    stored.put_item(TableName='records', Item={**key('dated'), 'created_at': {'S': '2026'}})
    tables.deploy([WANTED], stored)
    indexes = stored.describe_table(TableName='records')['Table']['GlobalSecondaryIndexes']
    assert [index['IndexName'] for index in indexes] == ['by_id']
    facts = {'KeyConditionExpression': 'id = :id', 'ExpressionAttributeValues': {':id': {'S': 'dated'}}}
    assert stored.query(TableName='records', IndexName='by_id', **facts)['Items'] == [key('dated')]


def test_other_keys_are_refused(stored: Any) -> None:
    stored.create_table(
        **{name: value for name, value in DEFINITION.items() if name != 'LocalSecondaryIndexes'}
        | {'AttributeDefinitions': DEFINITION['AttributeDefinitions'][:2]}
    )
    with pytest.raises(RuntimeError, match='records has other keys or local indexes'):
        tables.deploy([WANTED], stored)


def test_a_table_is_compared_only_when_its_template_changed(stored: Any, tmp_path: Path) -> None:
    """Each variant finds the table and its index as they must be."""

    class Uncompared:
        def __getattr__(self, name: str) -> Any:
            assert not name.startswith('describe'), name
            return getattr(stored, name)

    without_index = {name: value for name, value in WANTED.items() if name != 'GlobalSecondaryIndexes'}
    tables.deploy([without_index], stored, tmp_path)
    tables.deploy([without_index], Uncompared(), tmp_path)
    tables.deploy([WANTED], stored, tmp_path)
    assert 'GlobalSecondaryIndexes' in stored.describe_table(TableName='records')['Table']
    stored.delete_table(TableName='records')
    tables.deploy([WANTED], stored, tmp_path)
    (tmp_path / tables.APPLIED).write_text('{')
    tables.deploy([WANTED], stored, tmp_path)
    assert stored.describe_table(TableName='records')['Table']['TableStatus'] == 'ACTIVE'
