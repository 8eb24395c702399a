"""The DynamoDB in a dict against moto's: the same requests, the same answers, refusals and tables."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.models import Volume
from chalicelib.models.connection import connection
from tests import moto_dynamodb, small_dynamodb
from tests.small_dynamodb import SmallDynamoDB

NAME = Volume.Meta.table_name

KEYS = st.builds(
    lambda project, id: {'project_id': {'S': project}, 'id': {'S': id}}, st.sampled_from('pq'), st.sampled_from('abc')
)
TEXTS = st.sampled_from([{'S': text} for text in ('', 'x', 'xy', 'y', '2')])
NUMBERS = st.sampled_from([{'N': number} for number in ('0', '2', '-3.5', '10')])
SETS = st.sampled_from([{'SS': ['x']}, {'SS': ['x', 'y']}])
MAPS = st.sampled_from([{'M': {}}, {'M': {'inner': {'N': '1'}}}])
VALUES = {'text': TEXTS, 'other': TEXTS, 'count': NUMBERS, 'members': SETS, 'facts': MAPS}

#: What pynamodb writes, and each with what is in its places.
CONDITIONS = st.sampled_from(
    (
        'attribute_exists (#0)',
        'attribute_not_exists (#0)',
        '#0 = :0',
        '#0 <> :0',
        '#0 < :0',
        '#count < :number',
        '#0 IN (:0, :1)',
        '(#0 = :0 OR #1 = :1)',
        '(attribute_exists (#0) AND (NOT #1 = :1))',
        'begins_with (#0, :text)',
        'contains (#0, :text)',
    )
)
UPDATES = st.sampled_from(
    (
        'SET #0 = :0',
        'SET #0 = :0, #1 = :1',
        'SET #count = if_not_exists (#count, :number) + :number',
        'SET #count = :number - :number',
        'SET #0 = #1',
        'SET #facts.#inner = :0',
        'REMOVE #0, #1',
        'REMOVE #facts.#inner',
        'ADD #count :number',
        'ADD #members :set',
        'DELETE #members :set',
        'SET #0 = :0 REMOVE #1 ADD #count :number',
    )
)


def facts_of(text: str, draw: Any) -> dict[str, Any]:
    """Names and values for the places that a text has, and no other: DynamoDB refuses what is not used."""
    one, other = draw(st.permutations(('text', 'other')))
    names = {'#0': one, '#1': other, '#count': 'count', '#members': 'members', '#facts': 'facts', '#inner': 'inner'}
    values = {':0': draw(VALUES[one]), ':1': draw(VALUES[other]), ':number': draw(NUMBERS), ':set': draw(SETS)}
    values[':text'] = draw(TEXTS)
    used = set(small_dynamodb.tokens(text))
    found = {
        'ExpressionAttributeNames': {name: text for name, text in names.items() if name in used},
        'ExpressionAttributeValues': {name: value for name, value in values.items() if name in used},
    }
    return {name: facts for name, facts in found.items() if facts}


@st.composite
def works(draw: Any) -> tuple[str, dict[str, Any]]:
    """One write: its verb and its content."""
    verb, key = draw(st.sampled_from(('Put', 'Update', 'Delete'))), draw(KEYS)
    texts = {}
    if verb == 'Update':
        texts['UpdateExpression'] = draw(UPDATES)
    if draw(st.booleans()):
        texts['ConditionExpression'] = draw(CONDITIONS)
    what = {'Item': {**key, **draw(st.fixed_dictionaries({}, optional=VALUES))}} if verb == 'Put' else {'Key': key}
    return verb, {'TableName': NAME, **what, **texts, **facts_of(' '.join(texts.values()), draw)}


def answer(call: Any, operation: str, request: dict[str, Any]) -> Any:
    """What came of a call: its answer, or the code of its refusal."""
    try:
        found = call(operation, request)
    except ClientError as error:
        return error.response['Error']['Code'], [
            one.get('Code') for one in error.response.get('CancellationReasons', ())
        ]
    return {name: part for name, part in found.items() if name in ('Item', 'Items', 'Count', 'LastEvaluatedKey')}


@pytest.fixture
def moto(tables_of_moto: None) -> Any:
    return connection().client._make_api_call


def held_by_moto() -> list[str]:
    items = (item for partition in moto_dynamodb.items_of(Volume).values() for item in partition.values())
    return sorted(json.dumps(plainly(item.to_json()['Attributes']), sort_keys=True) for item in items)


def held_by(store: SmallDynamoDB) -> list[str]:
    return sorted(json.dumps(plainly(item), sort_keys=True) for item in store.tables[NAME].items.values())


def plainly(value: Any) -> Any:
    """Numbers and sets in one spelling."""
    if isinstance(value, dict):
        return {
            name: f'{float(part):g}' if name == 'N' else sorted(part) if name == 'SS' else plainly(part)
            for name, part in value.items()
        }
    return [plainly(part) for part in value] if isinstance(value, list) else value


@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(works(), min_size=1, max_size=8))
def test_writes(moto: Any, written: list[tuple[str, dict[str, Any]]]) -> None:
    moto_dynamodb.clear()
    store = small_dynamodb.empty([Volume])
    for verb, work in written:
        expected = answer(moto, f'{verb}Item', work)
        assert answer(store.call, f'{verb}Item', work) == expected, work
        assert held_by(store) == held_by_moto(), work


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(works(), max_size=6), st.lists(works(), min_size=1, max_size=3))
def test_transactions(moto: Any, first: list[Any], together: list[Any]) -> None:
    moto_dynamodb.clear()
    store = small_dynamodb.empty([Volume])
    for verb, work in first:
        answer(moto, f'{verb}Item', work)
        answer(store.call, f'{verb}Item', work)
    request = {'TransactItems': [{verb: work} for verb, work in together]}
    expected = answer(moto, 'TransactWriteItems', request)
    found = answer(store.call, 'TransactWriteItems', request)
    # Of a lost condition and an expression that cannot be evaluated, either may be reported first.
    assert found == expected or (found and expected[0] == 'ValidationException')
    assert held_by(store) == held_by_moto()


def volume(number: int, **facts: Any) -> dict[str, Any]:
    item = {'project_id': {'S': 'p'}, 'id': {'S': f'v{number}'}, 'created_at': {'S': f'2026-01-0{9 - number}'}, **facts}
    return {'TableName': NAME, 'Item': item}


READS: dict[str, tuple[str, dict[str, Any]]] = {
    'get': ('GetItem', {'Key': {'project_id': {'S': 'p'}, 'id': {'S': 'v2'}}}),
    'get nothing': ('GetItem', {'Key': {'project_id': {'S': 'p'}, 'id': {'S': 'v9'}}}),
    'project': (
        'GetItem',
        {'Key': {'project_id': {'S': 'p'}, 'id': {'S': 'v2'}}, 'ProjectionExpression': 'id, created_at'},
    ),
    'scan': ('Scan', {}),
    'filter': ('Scan', {'FilterExpression': 'id > :id', 'ExpressionAttributeValues': {':id': {'S': 'v2'}}}),
    'partition': ('Query', {}),
    'page': ('Query', {'Limit': 2}),
    'backwards': ('Query', {'Limit': 2, 'ScanIndexForward': False}),
    'by age': ('Query', {'IndexName': 'by_created_at', 'Limit': 3, 'ConsistentRead': True}),
    'next page': (
        'Query',
        {
            'IndexName': 'by_created_at',
            'Limit': 2,
            'ExclusiveStartKey': {
                'project_id': {'S': 'p'}, 'id': {'S': 'v3'}, 'created_at': {'S': '2026-01-06'},
            },
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', READS)
def test_reads(moto: Any, name: str) -> None:
    store = small_dynamodb.empty([Volume])
    for number in range(5):
        for call in (moto, store.call):
            call('PutItem', volume(number, status={'S': 'available'}))
    operation, request = READS[name]
    request = {'TableName': NAME, **request}
    if operation == 'Query':
        request['KeyConditionExpression'] = '#k = :k'
        request |= {'ExpressionAttributeNames': {'#k': 'project_id'}, 'ExpressionAttributeValues': {':k': {'S': 'p'}}}
    assert answer(store.call, operation, request) == answer(moto, operation, request)


@pytest.mark.parametrize('start', [{'project_id': 'other', 'created_at': '2026-01-09'}, {'created_at': '2026-01-01'}])
def test_a_start_key_is_within_the_query(start: dict[str, str]) -> None:
    """As DynamoDB and DynamoDB Local have it; moto takes any key."""
    store = small_dynamodb.empty([Volume])
    key = {'project_id': 'p', 'id': 'v', **start}
    request = {
        'TableName': NAME,
        'IndexName': 'by_created_at',
        'KeyConditionExpression': 'project_id = :p AND created_at >= :t',
        'ExpressionAttributeValues': {':p': {'S': 'p'}, ':t': {'S': '2026-01-05'}},
        'ExclusiveStartKey': {name: {'S': value} for name, value in key.items()},
    }
    with pytest.raises(ClientError, match='starting key'):
        store.call('Query', request)


def test_a_sparse_index_shows_keys_only(moto: Any) -> None:
    store = small_dynamodb.empty([Volume])
    flying = {'in_flight': {'S': '1'}, 'deadline': {'S': '2026'}, 'status': {'S': 'creating'}}
    condition = {'KeyConditionExpression': '#k = :k', 'ExpressionAttributeNames': {'#k': 'in_flight'}}
    request = {'TableName': NAME, 'IndexName': 'in_flight', **condition}
    request['ExpressionAttributeValues'] = {':k': {'S': '1'}}
    for call in (moto, store.call):
        call('PutItem', volume(1, **flying))
        call('PutItem', volume(2))
    assert answer(store.call, 'Query', request) == answer(moto, 'Query', request)


def test_a_global_index_is_never_read_consistently() -> None:
    request = {'TableName': NAME, 'IndexName': 'by_id', 'ConsistentRead': True, 'KeyConditionExpression': 'id = :id'}
    with pytest.raises(ClientError, match='not supported on global secondary indexes'):
        small_dynamodb.empty([Volume]).call('Query', request)


def test_two_operations_on_one_item_are_no_transaction() -> None:
    put = {'Put': volume(1)}
    with pytest.raises(ClientError, match='multiple operations on one item'):
        small_dynamodb.empty([Volume]).call('TransactWriteItems', {'TransactItems': [put, put]})


@pytest.mark.parametrize(
    'text', ['SET text = :s, text = :s', 'SET facts.x = :s, facts = :s', 'SET text = missing', 'SET missing.x = :s']
)
def test_what_both_refuse(moto: Any, text: str) -> None:
    values = {} if ':s' not in text else {'ExpressionAttributeValues': {':s': {'S': 'x'}}}
    work = {'TableName': NAME, 'Key': {'project_id': {'S': 'p'}, 'id': {'S': 'a'}}, 'UpdateExpression': text, **values}
    expected = answer(moto, 'UpdateItem', work)
    assert expected == ('ValidationException', [])
    assert answer(small_dynamodb.empty([Volume]).call, 'UpdateItem', work) == expected


def test_a_transaction_that_cannot_be_finished_leaves_nothing() -> None:
    store = small_dynamodb.empty([Volume])
    wrong = {'Key': {'project_id': {'S': 'p'}, 'id': {'S': 'a'}}, 'UpdateExpression': 'SET text = missing'}
    with pytest.raises(ClientError):
        store.call(
            'TransactWriteItems', {'TransactItems': [{'Put': volume(1)}, {'Update': {'TableName': NAME, **wrong}}]}
        )
    assert held_by(store) == []
