"""The event source mapping between a queue and a function."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local import backends
from local.functions import Outcome
from local.queues import Mapping, Poller, handled, record
from tests.unit.local.conftest import Clients

MESSAGES = [{'MessageId': str(number), 'ReceiptHandle': f'r{number}', 'Body': 'b'} for number in range(3)]


def failures(*ids: str | None) -> dict[str, Any]:
    return {'batchItemFailures': [{'itemIdentifier': each} for each in ids]}


@pytest.mark.parametrize(
    ('outcome', 'reports', 'deleted'),
    [
        (Outcome(None), True, '012'),
        (Outcome({}), True, '012'),
        (Outcome(failures()), True, '012'),
        (Outcome(failures('1')), True, '02'),
        (Outcome(failures('0', '1', '2')), True, ''),
        (Outcome(failures('1')), False, '012'),
        (Outcome({'errorMessage': 'x'}, 'Unhandled'), True, ''),
        (Outcome(failures('unknown')), True, ''),
        (Outcome(failures('')), True, ''),
        (Outcome(failures(None)), True, ''),
    ],
)
def test_what_is_deleted_follows_lambdas_rules(outcome: Outcome, reports: bool, deleted: str) -> None:
    assert ''.join(message['MessageId'] for message in handled(MESSAGES, outcome, reports)) == deleted


def test_a_record_looks_as_a_function_sees_it() -> None:
    seen = record({**MESSAGES[0], 'Attributes': {'ApproximateReceiveCount': '2'}}, 'arn:queue')
    assert (seen['messageId'], seen['receiptHandle'], seen['body']) == ('0', 'r0', 'b')
    assert seen['attributes']['ApproximateReceiveCount'] == '2'
    assert (seen['eventSource'], seen['eventSourceARN']) == ('aws:sqs', 'arn:queue')


class Queue:
    """A queue whose messages are visible again at once, with a dead-letter queue after two receives."""

    def __init__(self, sqs: Any) -> None:
        self.sqs = sqs
        self.dead = sqs.create_queue(QueueName='dead')['QueueUrl']
        arn = sqs.get_queue_attributes(QueueUrl=self.dead, AttributeNames=['QueueArn'])['Attributes']['QueueArn']
        redrive = json.dumps({'deadLetterTargetArn': arn, 'maxReceiveCount': 2})
        self.url = sqs.create_queue(QueueName='work', Attributes={'VisibilityTimeout': '0', 'RedrivePolicy': redrive})[
            'QueueUrl'
        ]

    def mapping(self) -> Mapping:
        return Mapping('arn:work', self.url, batch_size=10, concurrency=2, reports_failures=True)

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def dead_bodies(self) -> list[str]:
        found = self.sqs.receive_message(QueueUrl=self.dead, MaxNumberOfMessages=10, VisibilityTimeout=0)
        return [message['Body'] for message in found.get('Messages', [])]


@pytest.fixture
def queue(aws: Clients) -> Queue:
    return Queue(aws('sqs'))


def until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Function:
    """Takes every body but those that begin with 'poison', which it reports."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, event: dict[str, Any]) -> Outcome:
        with self.lock:
            self.seen += [each['body'] for each in event['Records']]
        return Outcome(failures(*(each['messageId'] for each in event['Records'] if each['body'].startswith('poison'))))


@pytest.fixture
def function(queue: Queue) -> Iterator[Function]:
    function = Function()
    poller = Poller(queue.mapping(), queue.sqs, function)
    backends.on_call(poller.observe)
    poller.start()
    yield function
    poller.stop()


def test_messages_reach_the_function_and_are_deleted(queue: Queue, function: Function) -> None:
    queue.send('one', 'two')
    until(lambda: sorted(set(function.seen)) == ['one', 'two'])
    names = ['ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible']
    until(
        lambda: (
            set(queue.sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=names)['Attributes'].values())
            == {'0'}
        )
    )
    assert queue.dead_bodies() == []


def test_poison_ends_in_the_dead_letter_queue_and_holds_nothing_up(queue: Queue, function: Function) -> None:
    queue.send('poison', 'good')
    until(lambda: queue.dead_bodies() == ['poison'])
    assert function.seen.count('poison') == 2
    assert 'good' in function.seen


def test_a_function_that_fails_keeps_the_batch(queue: Queue) -> None:
    poller = Poller(queue.mapping(), queue.sqs, lambda event: Outcome({'errorMessage': 'x'}, 'Unhandled'))
    poller.start()
    queue.send('lost')
    until(lambda: queue.dead_bodies() == ['lost'])
    poller.stop()
