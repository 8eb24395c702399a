"""Tables from the models: one AWS::DynamoDB::Table per PynamoDB model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pynamodb.models import Model

#: Placeholder of the stack's name in a table's name; CloudFormation replaces it.
PREFIX = '${AWS::StackName}'


#: The key of the stack, or the deployer's.
KEY = {'Fn::If': ['OwnKey', {'Fn::GetAtt': ['Key', 'Arn']}, {'Ref': 'KmsKeyArn'}]}


def resources(tables: Iterable[type[Model]]) -> dict[str, dict[str, Any]]:
    """Return {logical id: resource} for models that were imported with TABLE_PREFIX set to ``PREFIX``.

    Raises ValueError for a table that does not carry the prefix: two deployments would share it.
    """
    return {logical_id(model): _table(model) for model in tables}


def logical_id(model: type[Model]) -> str:
    """Return VolumeTypesTable for ``${AWS::StackName}-volume_types``."""
    words = short_name(model).replace('-', '_').split('_')
    return ''.join(word.capitalize() for word in words) + 'Table'


def short_name(model: type[Model]) -> str:
    """Return a table's name without the stack's."""
    return _name(model).removeprefix(f'{PREFIX}-')


def _name(model: type[Model]) -> str:
    name = str(model.Meta.table_name)
    if not name.startswith(f'{PREFIX}-'):
        raise ValueError(f'{model.__name__}: table {name!r} does not start with the deployment prefix')
    return name


def _table(model: type[Model]) -> dict[str, Any]:
    schema = model._get_schema()
    properties = {
        'TableName': {'Fn::Sub': _name(model)},
        'BillingMode': 'PAY_PER_REQUEST',
        'DeletionProtectionEnabled': True,
        'KeySchema': _hash_first(schema['key_schema']),
        'AttributeDefinitions': _unique(schema['attribute_definitions']),
        'PointInTimeRecoverySpecification': {'PointInTimeRecoveryEnabled': True},
        'SSESpecification': {'SSEEnabled': True, 'SSEType': 'KMS', 'KMSMasterKeyId': KEY},
    }
    for kind, found in _SECONDARY.items():
        if schema[found]:  # type: ignore[literal-required]  # the two names below
            properties[kind] = [_index(index) for index in schema[found]]  # type: ignore[literal-required]
    expires = getattr(model.Meta, 'ttl_attribute', None)
    if expires:
        properties['TimeToLiveSpecification'] = {'AttributeName': expires, 'Enabled': True}
    kept = {'DeletionPolicy': 'Retain', 'UpdateReplacePolicy': 'Retain'}
    return {'Type': 'AWS::DynamoDB::Table', **kept, 'Properties': properties}


#: The template's and PynamoDB's word for a kind of index.
_SECONDARY = {
    'LocalSecondaryIndexes': 'local_secondary_indexes',
    'GlobalSecondaryIndexes': 'global_secondary_indexes',
}


def _index(index: Any) -> dict[str, Any]:
    return {
        'IndexName': index['index_name'],
        'KeySchema': _hash_first(index['key_schema']),
        'Projection': dict(index['projection']),
    }


def _hash_first(keys: Iterable[Any]) -> list[dict[str, str]]:
    """PynamoDB sorts attributes by name; DynamoDB requires the HASH key before the RANGE key."""
    return sorted(({**key} for key in keys), key=lambda key: key['KeyType'])


def _unique(definitions: Iterable[Any]) -> list[dict[str, str]]:
    return [{'AttributeName': name, 'AttributeType': kind} for name, kind in sorted(_pairs(definitions))]


def _pairs(definitions: Iterable[Any]) -> set[tuple[str, str]]:
    return {(definition['AttributeName'], definition['AttributeType']) for definition in definitions}
