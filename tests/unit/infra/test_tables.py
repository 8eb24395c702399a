"""From a model to its table."""

from __future__ import annotations

from typing import Any

import pytest
from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex, KeysOnlyProjection, LocalSecondaryIndex
from pynamodb.models import Model

from infra import tables


class ByAge(LocalSecondaryIndex[Any]):
    class Meta:
        index_name = 'by_age'
        projection = AllProjection()

    owner = UnicodeAttribute(hash_key=True)
    age = NumberAttribute(range_key=True)


class ByName(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = 'by_name'
        projection = KeysOnlyProjection()

    name = UnicodeAttribute(hash_key=True)


class Animal(Model):
    class Meta:
        table_name = '${AWS::StackName}-small-animals'
        region = 'us-east-1'
        ttl_attribute = 'expires_at'

    owner = UnicodeAttribute(hash_key=True)
    # Sorts before the hash key, as PynamoDB lists attributes by name.
    id = UnicodeAttribute(range_key=True)
    age = NumberAttribute()
    name = UnicodeAttribute()
    by_age = ByAge()
    by_name = ByName()


class Stranger(Model):
    class Meta:
        table_name = 'strangers'
        region = 'us-east-1'

    id = UnicodeAttribute(hash_key=True)


def properties() -> dict[str, Any]:
    found = tables.resources([Animal])
    assert list(found) == ['SmallAnimalsTable']
    return dict(found['SmallAnimalsTable']['Properties'])


def test_keys_come_hash_first() -> None:
    assert properties()['KeySchema'] == [
        {'AttributeName': 'owner', 'KeyType': 'HASH'},
        {'AttributeName': 'id', 'KeyType': 'RANGE'},
    ]


def test_only_key_attributes_are_defined_and_each_once() -> None:
    defined = {each['AttributeName']: each['AttributeType'] for each in properties()['AttributeDefinitions']}
    assert defined == {'owner': 'S', 'id': 'S', 'age': 'N', 'name': 'S'}
    assert len(properties()['AttributeDefinitions']) == 4


def test_indexes_carry_keys_and_projection() -> None:
    (local,), (across,) = properties()['LocalSecondaryIndexes'], properties()['GlobalSecondaryIndexes']
    assert local['IndexName'] == 'by_age'
    assert [key['AttributeName'] for key in local['KeySchema']] == ['owner', 'age']
    assert local['Projection'] == {'ProjectionType': 'ALL'}
    assert across['Projection'] == {'ProjectionType': 'KEYS_ONLY'}


def test_a_table_is_encrypted_recoverable_kept_and_expires() -> None:
    resource = tables.resources([Animal])['SmallAnimalsTable']
    found = resource['Properties']
    assert found['SSESpecification']['KMSMasterKeyId'] == tables.KEY
    assert found['PointInTimeRecoverySpecification'] == {'PointInTimeRecoveryEnabled': True}
    assert found['DeletionProtectionEnabled'] is True
    assert resource['DeletionPolicy'] == 'Retain'
    assert found['TimeToLiveSpecification'] == {'AttributeName': 'expires_at', 'Enabled': True}
    assert found['TableName'] == {'Fn::Sub': '${AWS::StackName}-small-animals'}


def test_a_table_without_the_prefix_is_refused() -> None:
    with pytest.raises(ValueError, match='strangers'):
        tables.resources([Stranger])
