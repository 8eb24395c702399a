"""Dead letters, as administrators list them and move them back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from chalicelib import config
from chalicelib.operations import dead_letters
from tests.api.front_door import Caller

WORK = {'action': 'create', 'resource': 'volume', 'id': 'v', 'project_id': 'p', 'request_id': 'req-1'}
EVENT = {'requestContext': {'functionArn': 'arn:aws:lambda:::function:cinderless-reconcile'}, 'requestPayload': {}}


@pytest.fixture
def sqs(tables: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two queues of this test alone."""
    client = boto3.client('sqs')
    for name in ('WORK_QUEUE_URL', 'DEAD_LETTER_QUEUE_URL'):
        monkeypatch.setenv(name, client.create_queue(QueueName=uuid.uuid4().hex)['QueueUrl'])
    config.settings.cache_clear()
    yield client
    monkeypatch.undo()
    config.settings.cache_clear()


def bury(sqs: Any, *bodies: Any) -> None:
    for body in bodies:
        text = body if isinstance(body, str) else json.dumps(body)
        sqs.send_message(QueueUrl=config.settings().dead_letter_queue_url, MessageBody=text)


def waiting(sqs: Any, url: str) -> list[Any]:
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get('Messages', [])
    return [json.loads(each['Body']) for each in found]


def test_an_administrator_lists_them(admin: Caller, sqs: Any) -> None:
    bury(sqs, WORK, EVENT, 'no JSON', '[]')
    answer = admin.get('/os-services/dead-letters').body
    assert answer['count'] == 4
    [work] = [each for each in answer['dead_letters'] if each['kind'] == 'work']
    assert {name: work[name] for name in WORK} == WORK
    assert [each['request_id'] for each in answer['dead_letters'] if each['kind'] == 'event'] == [None] * 3


def test_a_list_removes_nothing(admin: Caller, sqs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, 'HIDDEN', 0)
    monkeypatch.setattr(dead_letters, 'SHOWN', 1)  # without hiding, a message is received again and again
    bury(sqs, WORK)
    for _ in range(2):
        assert len(admin.get('/os-services/dead-letters').body['dead_letters']) == 1


def test_an_administrator_moves_them_back(admin: Caller, sqs: Any) -> None:
    bury(sqs, *[{**WORK, 'id': str(number)} for number in range(23)])
    assert admin.post('/os-services/dead-letters', {}).body == {'redriven': 23}
    assert admin.get('/os-services/dead-letters').body == {'dead_letters': [], 'count': 0}
    found: list[Any] = []
    while batch := waiting(sqs, config.settings().work_queue_url):
        found += batch
    assert sorted(int(each['id']) for each in found) == list(range(23))


def test_one_request_moves_a_bounded_number(admin: Caller, sqs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, 'MOVED', 3)
    bury(sqs, *[WORK] * 5)
    assert admin.post('/os-services/dead-letters', {}).body == {'redriven': 3}


def test_others_are_refused(member: Caller, reader: Caller, sqs: Any) -> None:
    for caller in (member, reader):
        assert caller.get('/os-services/dead-letters').status == 403
        assert caller.post('/os-services/dead-letters', {}).status == 403
