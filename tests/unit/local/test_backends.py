"""The guard around moto: one call at a time per service, long polls outside the lock, calls that pass by."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from local import backends
from local.calls import Call
from tests.unit.local.conftest import Clients

KEY = {'AttributeName': 'id', 'KeyType': 'HASH'}
ROUNDS, THREADS = 12, 8


def table(dynamodb: Any) -> Any:
    dynamodb.create_table(
        TableName='t',
        KeySchema=[KEY],
        AttributeDefinitions=[{'AttributeName': 'id', 'AttributeType': 'S'}],
        BillingMode='PAY_PER_REQUEST',
    )
    return dynamodb


def at_once(work: Any) -> None:
    barrier = threading.Barrier(THREADS)

    def run(number: int) -> None:
        barrier.wait(20)
        work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def winners(dynamodb: Any, key: str) -> int:
    won: list[int] = []

    def put(number: int) -> None:
        try:
            dynamodb.update_item(
                TableName='t',
                Key={'id': {'S': key}},
                UpdateExpression='SET o = :o',
                ConditionExpression='attribute_not_exists(o)',
                ExpressionAttributeValues={':o': {'N': str(number)}},
            )
            won.append(number)
        except dynamodb.exceptions.ConditionalCheckFailedException:
            pass

    at_once(put)
    return len(won)


def test_a_conditional_write_has_one_winner(aws: Clients) -> None:
    dynamodb = table(aws('dynamodb'))
    assert [winners(dynamodb, f'k{number}') for number in range(ROUNDS)] == [1] * ROUNDS


def test_an_execution_name_has_one_winner(aws: Clients) -> None:
    aws('iam').create_role(RoleName='r', AssumeRolePolicyDocument='{}')
    states = aws('stepfunctions')
    definition = '{"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}'
    arn = states.create_state_machine(name='m', definition=definition, roleArn='arn:aws:iam::123456789012:role/r')
    taken: list[int] = []

    def start(number: int) -> None:
        try:
            states.start_execution(stateMachineArn=arn['stateMachineArn'], name='same', input=f'{{"n": {number}}}')
        except states.exceptions.ExecutionAlreadyExists:
            taken.append(number)

    at_once(start)
    assert len(taken) == THREADS - 1


def test_a_long_poll_lets_others_send(aws: Clients) -> None:
    sqs = aws('sqs')
    url = sqs.create_queue(QueueName='q')['QueueUrl']
    received: list[str] = []

    def receive() -> None:
        found = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)
        received.extend(message['Body'] for message in found.get('Messages', ()))

    waiting = threading.Thread(target=receive)
    waiting.start()
    sqs.send_message(QueueUrl=url, MessageBody='late')
    waiting.join(15)
    assert received == ['late']


def test_a_poll_that_does_not_wait_comes_back_empty(aws: Clients) -> None:
    sqs = aws('sqs')
    assert 'Messages' not in sqs.receive_message(QueueUrl=sqs.create_queue(QueueName='q')['QueueUrl'])


def test_observers_hear_of_every_call(aws: Clients) -> None:
    seen: list[Call] = []
    backends.on_call(seen.append)
    aws('sqs').create_queue(QueueName='q')
    assert [(call.service, call.operation) for call in seen] == [('sqs', 'CreateQueue')]


def test_what_passes_by_goes_out_on_the_wire(aws: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    request = type('Request', (), {'url': 'http://127.0.0.1:1/', 'headers': {}, 'method': 'POST', 'body': b''})
    backends.pass_by('http://127.0.0.1:1')
    assert backends.process(request) is None
