"""Both stores under the same checks: AWS's engine, and moto behind its lock."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.httpsession import URLLib3Session

from infra.render import ROOT
from local import backends, commits, dynamodb, reserve, tables
from local.kept.documents import Documents
from local.settings import REGION, Refused
from tests.unit.local.conftest import Clients

THREADS, ROUNDS = 8, 10

DEFINITION: dict[str, Any] = {
    'TableName': 'records',
    'BillingMode': 'PAY_PER_REQUEST',
    'KeySchema': [
        {'AttributeName': 'project_id', 'KeyType': 'HASH'},
        {'AttributeName': 'id', 'KeyType': 'RANGE'},
    ],
    'AttributeDefinitions': [
        {'AttributeName': name, 'AttributeType': 'S'} for name in ('project_id', 'id', 'created_at')
    ],
    'LocalSecondaryIndexes': [
        {
            'IndexName': 'by_created_at',
            'KeySchema': [
                {'AttributeName': 'project_id', 'KeyType': 'HASH'},
                {'AttributeName': 'created_at', 'KeyType': 'RANGE'},
            ],
            'Projection': {'ProjectionType': 'ALL'},
        }
    ],
    'GlobalSecondaryIndexes': [
        {
            'IndexName': 'by_id',
            'KeySchema': [{'AttributeName': 'id', 'KeyType': 'HASH'}],
            'Projection': {'ProjectionType': 'KEYS_ONLY'},
        }
    ],
}


@pytest.fixture(scope='module')
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dynamodb.Engine]:
    folder = tmp_path_factory.mktemp('engine')
    engine = dynamodb.engine(ROOT, '', folder / 'log', folder / 'data')
    assert engine is not None, 'make setup fetches DynamoDB Local and Java'
    engine.start()
    engine.wait()
    yield engine
    engine.stop()


@pytest.fixture(params=['engine', 'moto'])
def store(request: pytest.FixtureRequest, aws: Clients, engine: dynamodb.Engine) -> Iterator[Any]:
    """A client of a store that has the table, made in moto first as the stack makes it."""
    aws('dynamodb').create_table(**DEFINITION)
    if request.param == 'moto':
        yield aws('dynamodb')
        return
    backends.pass_by(engine.url)
    client = dynamodb.client(engine.url)
    tables.deploy([DEFINITION], client)
    yield client
    client.delete_table(TableName='records')


def key(id: str) -> dict[str, Any]:
    return {'project_id': {'S': 'p'}, 'id': {'S': id}}


def at_once(work: Callable[[int], None]) -> None:
    barrier = threading.Barrier(THREADS)

    def run(number: int) -> None:
        barrier.wait(20)
        work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_new_record_has_one_writer(store: Any) -> None:
    def race(id: str) -> int:
        won: list[int] = []

        def put(number: int) -> None:
            try:
                store.put_item(TableName='records', Item=key(id), ConditionExpression='attribute_not_exists(id)')
                won.append(number)
            except store.exceptions.ConditionalCheckFailedException:
                pass

        at_once(put)
        return len(won)

    assert [race(f'record{number}') for number in range(ROUNDS)] == [1] * ROUNDS


def test_no_addition_is_lost(store: Any) -> None:
    def add(number: int) -> None:
        for _ in range(ROUNDS):
            store.update_item(
                TableName='records',
                Key=key('counter'),
                UpdateExpression='ADD n :one',
                ExpressionAttributeValues={':one': {'N': '1'}},
            )

    at_once(add)
    assert store.get_item(TableName='records', Key=key('counter'))['Item']['n']['N'] == str(THREADS * ROUNDS)


def transaction(*ids: str, token: str) -> dict[str, Any]:
    condition = 'attribute_not_exists(id)'
    puts = [{'Put': {'TableName': 'records', 'Item': key(id), 'ConditionExpression': condition}} for id in ids]
    return {'TransactItems': puts, 'ClientRequestToken': token}


def test_a_transaction_is_all_or_nothing_and_tells_what_failed(store: Any) -> None:
    store.put_item(TableName='records', Item=key('taken'))
    with pytest.raises(store.exceptions.TransactionCanceledException) as error:
        store.transact_write_items(**transaction('free', 'taken', token='refused'))
    reasons = error.value.response['CancellationReasons']
    assert [reason['Code'] for reason in reasons] == ['None', 'ConditionalCheckFailed']
    assert 'Item' not in store.get_item(TableName='records', Key=key('free'))


def test_a_repeated_token_changes_nothing_and_succeeds(store: Any) -> None:
    store.transact_write_items(**transaction('once', token='repeated'))
    store.transact_write_items(**transaction('once', token='repeated'))


def test_indexes_find_what_the_table_holds(store: Any) -> None:
    store.put_item(TableName='records', Item={**key('dated'), 'created_at': {'S': '2026'}, 'name': {'S': 'n'}})
    local = store.query(
        TableName='records',
        IndexName='by_created_at',
        ConsistentRead=True,
        KeyConditionExpression='project_id = :p',
        ExpressionAttributeValues={':p': {'S': 'p'}},
    )
    assert [item['name']['S'] for item in local['Items'] if 'name' in item] == ['n']
    across = store.query(
        TableName='records',
        IndexName='by_id',
        KeyConditionExpression='id = :id',
        ExpressionAttributeValues={':id': {'S': 'dated'}},
    )
    assert across['Items'] == [key('dated')]


def test_moto_is_forced_by_name(tmp_path: Path) -> None:
    assert dynamodb.engine(ROOT, 'moto', tmp_path / 'log', None) is None


def test_without_the_engine_moto_it_is(tmp_path: Path) -> None:
    assert dynamodb.engine(tmp_path, '', tmp_path / 'log', None) is None


def test_an_engine_that_does_not_start_is_told(tmp_path: Path) -> None:
    engine = dynamodb.Engine(tmp_path, tmp_path / 'log', None)
    engine.start()
    with pytest.raises(RuntimeError, match='DYNAMODB=moto'):
        engine.wait()
    engine.stop()


def test_later_clients_go_to_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('AWS_ENDPOINT_URL_DYNAMODB', '')
    monkeypatch.setenv('AWS_ENDPOINT_URL_DYNAMODB_STREAMS', '')
    dynamodb.redirect('http://127.0.0.1:1')
    made = boto3.session.Session().client(
        'dynamodb', region_name=REGION, aws_access_key_id='x', aws_secret_access_key='x'
    )
    assert made.meta.endpoint_url == 'http://127.0.0.1:1'


@pytest.fixture
def data(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The engine's folder; with a size as parameter it is a file system of its own, which may become full."""
    if not hasattr(request, 'param'):
        yield tmp_path / 'data'
        return
    monkeypatch.setattr(reserve, 'FLOOR', 0)
    (tmp_path / 'small').mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={request.param}', 'tmpfs', tmp_path / 'small'], check=True)
    try:
        yield tmp_path / 'small' / 'data'
    finally:
        subprocess.run(['umount', '--lazy', tmp_path / 'small'], check=True)


@pytest.fixture
def own(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dynamodb.Engine]:
    """An engine to be killed. Its requests wait for commits."""
    monkeypatch.setattr(URLLib3Session, 'send', URLLib3Session.send)  # put back afterwards
    for name in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'):
        monkeypatch.setenv(name, 'local')
    engine = dynamodb.engine(ROOT, '', tmp_path / 'log', data)
    assert engine is not None
    dynamodb.intercept(engine.url, reserve.Reserve(data.parent))
    engine.start()
    engine.wait()
    dynamodb.client(engine.url).create_table(**DEFINITION)
    yield engine
    engine.stop()


#: Kills right after the answer. Without ``intercept`` 7 of 8 transactions are lost.
KILLS = int(os.environ.get('CRASH_RUNS', '4'))


@pytest.mark.timeout(120 + 20 * KILLS)
def test_a_transaction_that_was_answered_survives_a_kill(own: dynamodb.Engine) -> None:
    def killed_after(number: int) -> None:
        client = dynamodb.client(own.url)
        client.put_item(TableName='records', Item=key('warm'))
        client.transact_write_items(**transaction(f'a{number}', f'b{number}', token=f'token{number}'))
        own.stop()
        own.start()
        own.wait()

    for number in range(KILLS):
        killed_after(number)
    found = dynamodb.client(own.url).scan(TableName='records', ConsistentRead=True)['Items']
    assert {item['id']['S'] for item in found} >= {f'{name}{number}' for name in 'ab' for number in range(KILLS)}


def test_the_database_has_a_write_ahead_log(own: dynamodb.Engine, tmp_path: Path) -> None:
    assert (tmp_path / 'data' / f'{dynamodb.DATABASE}-wal').exists()


def test_requests_wait_while_the_engine_is_started_again(own: dynamodb.Engine) -> None:
    client = dynamodb.client(own.url)
    client.put_item(TableName='records', Item=key('before'))
    own.stop()
    assert own.ended()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.get_item, TableName='records', Key=key('before'))
        own.start()
        assert answer.result(20)['Item'] == key('before')


def test_a_full_disk_stops_writes_and_not_reads(own: dynamodb.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine acknowledges a transaction whose commit then fails."""
    client = dynamodb.client(own.url)
    client.meta.config.retries = {'total_max_attempts': 1}
    client.put_item(TableName='records', Item=key('before'))
    monkeypatch.setattr(reserve, 'FLOOR', 1 << 62)
    with pytest.raises(client.exceptions.InternalServerError, match='is full'):
        client.transact_write_items(**transaction('lost', 'too', token='full'))
    assert client.get_item(TableName='records', Key=key('before'))['Item'] == key('before')
    monkeypatch.undo()
    assert 'Item' not in dynamodb.client(own.url).get_item(TableName='records', Key=key('lost'))


def once(url: str) -> Any:
    """A client that repeats nothing."""
    return boto3.client(
        'dynamodb', region_name=REGION, endpoint_url=url, config=Config(retries={'total_max_attempts': 1})
    )


@pytest.mark.parametrize('data', ['3m'], indirect=True)
def test_a_full_disk_refuses_transactions_and_loses_none(own: dynamodb.Engine, data: Path) -> None:
    client, padding, answered = once(own.url), {'padding': {'S': 'x' * 20_000}}, set()

    def write(number: int) -> None:
        large = transaction(f'a{number}', f'b{number}', token=f'token{number}')
        for each in large['TransactItems']:
            each['Put']['Item'] |= padding
        client.transact_write_items(**large)
        answered.update({f'a{number}', f'b{number}'})

    with pytest.raises(ClientError, match=r'InternalServerError.*Is its disk full'):
        list(map(write, itertools.count()))
    pages = client.get_paginator('scan').paginate(TableName='records', ConsistentRead=True)
    assert answered
    assert {item['id']['S'] for page in pages for item in page['Items']} == answered
    subprocess.run(['mount', '-o', 'remount,size=64m', data.parent], check=True)
    client.transact_write_items(**transaction('later', token='later'))
    assert 'Item' in client.get_item(TableName='records', Key=key('later'))


def test_a_refused_transaction_names_its_own_operations_only(own: dynamodb.Engine) -> None:
    client = once(own.url)
    client.put_item(TableName='records', Item=key('taken'))
    with pytest.raises(
        client.exceptions.TransactionCanceledException, match=r'\[None, ConditionalCheckFailed\]'
    ) as error:
        client.transact_write_items(**transaction('free', 'taken', token='refused'))
    assert [one['Code'] for one in error.value.response['CancellationReasons']] == ['None', 'ConditionalCheckFailed']
    with pytest.raises(ClientError, match='ValidationException'):
        client.transact_write_items(TransactItems=[{'Put': {'TableName': 'records', 'Item': {'id': {'S': 'no key'}}}}])


def test_a_repeated_transaction_finds_its_receipt_and_places_are_used_again(
    own: dynamodb.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, 'RECEIPTS', 10)
    client = once(own.url)
    for number in range(50):
        for _ in range(2):
            client.transact_write_items(**transaction(f'record{number}', token=f'token{number}'))
    receipts = client.scan(TableName=commits.TABLE, ConsistentRead=True)['Items']
    assert {one['token']['S'] for one in receipts} == {f'token{number}' for number in range(40, 50)}


def test_transactions_side_by_side_share_the_look_for_their_receipts(
    own: dynamodb.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, sizes = commits._read, []

    def slowly(send: Any, request: Any, receipts: list[commits.Receipt]) -> dict[str, str]:
        sizes.append(len(receipts))
        time.sleep(0.3)
        found = read(send, request, receipts)
        return {place: token for place, token in found.items() if token != 'lost'}

    monkeypatch.setattr(commits, '_read', slowly)
    client = once(own.url)
    client.transact_write_items(**transaction('first', token='first'))

    def write(token: str) -> str:
        try:
            client.transact_write_items(**transaction(token, token=token))
        except client.exceptions.InternalServerError:
            return 'refused'
        return 'stored'

    tokens = [*(f'token{number}' for number in range(7)), 'lost']
    with concurrent.futures.ThreadPoolExecutor(len(tokens)) as pool:
        assert list(pool.map(write, tokens)) == ['stored'] * 7 + ['refused']
    assert sum(sizes) == 1 + len(tokens)
    assert len(sizes) < len(tokens)


def test_a_look_that_fails_leaves_none_waiting(own: dynamodb.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    client = once(own.url)
    client.transact_write_items(**transaction('first', token='first'))

    def fails(send: Any, request: Any, receipts: list[commits.Receipt]) -> dict[str, str]:
        time.sleep(0.2)
        raise ConnectionResetError

    monkeypatch.setattr(commits, '_read', fails)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(client.transact_write_items, **transaction(f'{n}', token=f'{n}')) for n in range(4)]
        assert all(isinstance(one.exception(30), ClientError | HTTPClientError | OSError) for one in sent)
    monkeypatch.undo()


def test_the_largest_transaction_is_taken(own: dynamodb.Engine) -> None:
    client = once(own.url)
    client.transact_write_items(**transaction(*(f'one{number}' for number in range(commits.MOST)), token='large'))
    assert client.scan(TableName='records', Select='COUNT', ConsistentRead=True)['Count'] == commits.MOST


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    dynamodb.prepare(tmp_path)
    path = tmp_path / dynamodb.DATABASE
    path.write_bytes(b'not a database, by far' * 1000)
    with pytest.raises(Refused, match=f'{path} cannot be used'):
        dynamodb.prepare(tmp_path)
    with pytest.raises(Refused, match=f'{path} cannot be used'):
        Documents(path)
