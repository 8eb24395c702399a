"""The function of deploy/webhook.yaml, and the template itself."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra import webhook, webhook_template
from tests.http_double import serving

#: Secret, id, time and body, and the signature that the public client of Standard Webhooks makes of them
#: (standardwebhooks 1.0 of PyPI: ``Webhook(secret).sign(id, time, body)``).
SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
SIGNED = 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='

MESSAGE = {'message_id': 'm-1', 'event_type': 'volume.create.end', 'payload': {'volume_id': 'v'}}


@pytest.fixture
def queue() -> Iterator[str]:
    """A queue of moto with one notification, as the rule of the template puts it there."""
    with mock_aws():
        sqs = boto3.client('sqs', region_name='us-east-1')
        url = sqs.create_queue(QueueName='webhook')['QueueUrl']
        boto3.client('ssm', region_name='us-east-1').put_parameter(Name='/w', Value=SECRET, Type='SecureString')
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps({'detail-type': 'x', 'detail': MESSAGE}))
        yield url
    webhook._client.cache_clear()
    webhook._secrets.cache_clear()


def event(queue: str) -> dict[str, Any]:
    sqs = boto3.client('sqs', region_name='us-east-1')
    [found] = sqs.receive_message(QueueUrl=queue, MessageSystemAttributeNames=['All'])['Messages']
    record = {'messageId': found['MessageId'], 'receiptHandle': found['ReceiptHandle'], 'body': found['Body']}
    return {'Records': [{**record, 'attributes': found['Attributes']}]}


def settings(url: str, queue: str) -> dict[str, str]:
    return {'URL': url, 'SECRET_PARAMETER': '/w', 'QUEUE_URL': queue}


def hidden(queue: str) -> int:
    """Messages of the queue that wait for their next attempt."""
    sqs = boto3.client('sqs', region_name='us-east-1')
    names = ['ApproximateNumberOfMessagesNotVisible']
    return int(sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)['Attributes'][names[0]])


def test_the_signature_is_that_of_the_public_client() -> None:
    key = base64.b64decode(SECRET.removeprefix('whsec_'))
    headers = webhook.signed('msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330, b'{"test": 2432232314}', [key])
    assert headers['webhook-signature'] == SIGNED


def test_while_a_secret_is_replaced_both_sign() -> None:
    headers = webhook.signed('id', 1, b'{}', [b'old', b'new'])
    assert [one[:3] for one in headers['webhook-signature'].split()] == ['v1,', 'v1,']


def test_a_notification_is_sent_once_and_signed(queue: str) -> None:
    received: list[Any] = []

    def answer(method: str, path: str, headers: Any, body: bytes) -> tuple[int, str, bytes]:
        received.append((method, path, dict(headers), body))
        return 204, 'text/plain', b''

    with serving(answer) as url:
        assert webhook.deliver(event(queue), settings(f'{url}/in?k=1', queue)) == {'batchItemFailures': []}
    [(method, path, headers, body)] = received
    assert (method, path, json.loads(body), headers['webhook-id']) == ('POST', '/in?k=1', MESSAGE, 'm-1')
    keys = [base64.b64decode(SECRET.removeprefix('whsec_'))]
    signature = webhook.signed('m-1', int(headers['webhook-timestamp']), body, keys)['webhook-signature']
    assert headers['webhook-signature'] == signature


@pytest.mark.parametrize(
    ('status', 'problem'), [(301, 'status 301'), (400, 'status 400'), (410, 'status 410'), (503, 'status 503')]
)
def test_what_is_not_accepted_stays_and_is_postponed(
    queue: str, status: int, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paths: list[str] = []

    def answer(method: str, path: str, headers: Any, body: bytes) -> tuple[int, str, bytes]:
        paths.append(path)
        return status, 'text/plain', b'secret of the receiver'

    batch = event(queue)
    with serving(answer) as url:
        outcome = webhook.deliver(batch, settings(url, queue))
    assert outcome == {'batchItemFailures': [{'itemIdentifier': batch['Records'][0]['messageId']}]}
    assert (paths, hidden(queue)) == (['/'], 1)  # no redirect is followed
    printed = capsys.readouterr().out
    assert problem in printed
    assert 'secret' not in printed


def test_a_receiver_that_is_away_is_tried_again(queue: str) -> None:
    with serving(lambda *_: (200, 'text/plain', b'')) as url:
        pass  # its port is closed now
    batch = event(queue)
    assert webhook.deliver(batch, settings(url, queue))['batchItemFailures']
    assert hidden(queue) == 1


#: Parts that a receiver sends without end, each within the timeout of a socket, and what it ends with at last.
ACCEPTED = b'HTTP/1.1 204 No Content\r\n\r\n'
DRIPS = {
    'a header': (b'x', b': 1\r\n\r\n', b'HTTP/1.1 204 No Content\r\n'),
    'provisional responses': (b'HTTP/1.1 100 Continue\r\n\r\n', ACCEPTED, b''),
    'a handshake': (b'\2', b'', b'\x16\3\3\x40\0'),
}


@contextlib.contextmanager
def dripping(name: str, sent: list[str]) -> Iterator[str]:
    """Serve one connection by parts, and note one that took all of them: after 40 times the timeout of the test."""
    part, end, start = DRIPS[name]

    def run() -> None:
        with contextlib.suppress(ConnectionError), listener.accept()[0] as one:
            one.sendall(start)
            for _ in range(400):
                one.sendall(part)
                time.sleep(0.02)
            one.sendall(end)
            sent.append(name)

    with socket.create_server(('127.0.0.1', 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        scheme = 'https' if name == 'a handshake' else 'http'
        yield f'{scheme}://127.0.0.1:{listener.getsockname()[1]}/'
        thread.join()


@pytest.mark.parametrize('name', DRIPS)
def test_a_receiver_that_never_ends_is_not_waited_for(queue: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeout of the socket counts from byte to byte. A status of success that came counts."""
    monkeypatch.setattr(webhook, 'TIMEOUT', 0.2)
    batch, sent = event(queue), list[str]()
    with dripping(name, sent) as url:
        outcome = webhook.deliver(batch, settings(url, queue))
    assert bool(outcome['batchItemFailures']) == (name != 'a header')
    assert sent == []


def test_a_secret_of_another_form_is_an_error_without_its_text(queue: str) -> None:
    ssm = boto3.client('ssm', region_name='us-east-1')
    ssm.put_parameter(Name='/w', Value='my password', Type='SecureString', Overwrite=True)
    with pytest.raises(ValueError, match='whsec_') as caught:
        webhook.deliver(event(queue), settings('http://127.0.0.1:9/', queue))
    assert 'my password' not in str(caught.value)


def test_pauses_double_and_differ() -> None:
    for attempt, longest in [(1, 30), (2, 60), (7, 1920), (8, 3600), (300, 3600)]:
        drawn = {webhook.pause(attempt) for _ in range(200)}
        assert longest / 2 < min(drawn) <= max(drawn) <= longest
        assert len(drawn) > 5


def test_the_template_is_valid_and_has_this_source() -> None:
    from cfnlint.api import lint_all

    text = webhook_template.TEMPLATE.read_text(encoding='utf-8')
    assert text == webhook_template.rendered(), 'run python -m infra.webhook_template'
    assert [str(match) for match in lint_all(text) if not match.rule.id.startswith('I')] == []


def test_the_function_imports_nothing_of_the_project(tmp_path: Any) -> None:
    """As Lambda runs it: one file, with boto3."""
    (tmp_path / 'index.py').write_text(webhook_template.SOURCE.read_text(encoding='utf-8'), encoding='utf-8')
    code = 'import index, sys; assert callable(index.handler); assert "chalicelib" not in sys.modules'
    subprocess.run([sys.executable, '-c', code], cwd=tmp_path, check=True)
