"""Webhooks of the local cloud: what the service publishes reaches a receiver, through moto's bus, rule and queue."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from chalicelib import aws
from infra import webhook
from local import webhooks
from local.settings import Refused
from tests.http_double import serving

SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'


class Receiver:
    """Accepts notifications, after some attempts that it refuses."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.bodies: list[dict[str, Any]] = []
        self.arrived = threading.Semaphore(0)

    def __call__(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, str, bytes]:
        self.refusals -= 1
        if self.refusals >= 0:
            return 503, 'text/plain', b''
        self.bodies.append(json.loads(body))
        self.arrived.release()
        return 200, 'text/plain', b''

    def wait(self) -> dict[str, Any]:
        assert self.arrived.acquire(timeout=30)
        return self.bodies[-1]


def client(service: str) -> Any:
    return boto3.client(service, region_name='us-east-1')


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Start webhooks on a bus of moto; their pollers end with the test."""
    monkeypatch.setattr(webhook, 'FIRST_PAUSE', 2)
    monkeypatch.setenv('AWS_DEFAULT_REGION', 'us-east-1')
    pollers: list[Any] = []
    with mock_aws():
        client('events').create_event_bus(Name='bus')

        def started(**given: Any) -> None:
            text = json.dumps([{'name': 'audit', 'secret': SECRET, **given}])
            for poller in webhooks.start(webhooks.read(text), 'bus', client):
                poller.start()
                pollers.append(poller)

        yield started
        for poller in pollers:
            poller.stop()
    for cache in (webhook._client, webhook._secrets, aws._publisher):
        cache.cache_clear()


def publish(kind: str, id: str = 'm', project: str = 'p') -> None:
    aws._publisher.cache_clear()
    message = {'message_id': id, 'event_type': kind, 'payload': {'tenant_id': project}}
    aws.publish('bus', kind, json.dumps(message))


def test_a_notification_arrives(start: Callable[..., None]) -> None:
    receiver = Receiver()
    with serving(receiver) as url:
        start(url=url)
        publish('volume.create.end')
        assert receiver.wait()['event_type'] == 'volume.create.end'


def test_the_rule_filters(start: Callable[..., None]) -> None:
    receiver = Receiver()
    with serving(receiver) as url:
        start(url=url, events=['backup.create.end'], projects=['mine'])
        publish('volume.create.end', '1', 'mine')
        publish('backup.create.end', '2', 'other')
        publish('backup.create.end', '3', 'mine')
        assert receiver.wait()['message_id'] == '3'
    assert len(receiver.bodies) == 1


def test_a_receiver_that_refuses_is_tried_again(start: Callable[..., None]) -> None:
    receiver = Receiver(refusals=1)
    with serving(receiver) as url:
        start(url=url)
        publish('volume.create.end')
        assert receiver.wait()['message_id'] == 'm'


def test_the_last_attempt_ends_in_the_dead_letter_queue(start: Callable[..., None]) -> None:
    start(url='http://127.0.0.1:9/')
    sqs = client('sqs')
    url = sqs.get_queue_url(QueueName='cinderless-webhook-audit-Queue')['QueueUrl']
    policy = json.loads(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=['All'])['Attributes']['RedrivePolicy'])
    assert int(policy['maxReceiveCount']) == 16
    policy['maxReceiveCount'] = 1  # the test does not wait for sixteen attempts
    sqs.set_queue_attributes(QueueUrl=url, Attributes={'RedrivePolicy': json.dumps(policy)})
    publish('volume.create.end')
    dead = sqs.get_queue_url(QueueName='cinderless-webhook-audit-DeadLetterQueue')['QueueUrl']
    until = time.monotonic() + 30
    while not (found := sqs.receive_message(QueueUrl=dead).get('Messages')) and time.monotonic() < until:
        time.sleep(0.2)
    assert json.loads(found[0]['Body'])['detail']['message_id'] == 'm'


@pytest.mark.parametrize(
    ('given', 'problem'),
    [
        ('{}', 'not a JSON list'),
        ([7], 'WEBHOOKS.0.: give an object'),
        ([{'name': 'a', 'url': 'http://x', 'secret': SECRET, 'evnts': []}], 'give an object'),
        ([{'name': 'A b', 'url': 'http://x', 'secret': SECRET}], 'name must have'),
        ([{'name': 'a', 'url': 'ftp://x', 'secret': SECRET}], 'not an http or https URL'),
        ([{'name': 'a', 'url': 'http://x', 'secret': 'plain'}], 'secret must be whsec_'),
        ([{'name': 'a', 'url': 'http://x', 'secret': 'whsec_***'}], 'secret must be whsec_'),
        ([{'name': 'a', 'url': 'http://x', 'secret': SECRET, 'events': ['volume.created']}], "'volume.created'"),
        ([{'name': 'a', 'url': 'http://x', 'secret': SECRET, 'events': 'volume'}], 'events must be a list'),
        ([{'name': 'a', 'url': 'http://x', 'secret': SECRET}] * 2, 'two webhooks have one name'),
    ],
)
def test_bad_settings_are_refused_without_their_secret(given: Any, problem: str) -> None:
    with pytest.raises(Refused, match=problem) as caught:
        webhooks.read(given if isinstance(given, str) else json.dumps(given))
    assert SECRET not in str(caught.value)
    assert 'plain' not in str(caught.value)
