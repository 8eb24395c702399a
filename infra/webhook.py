"""The function of deploy/webhook.yaml: it delivers notifications to one URL, signed as Standard Webhooks describes.

EventBridge's API destinations cannot sign a body (docs/decisions/0071-webhooks.md). The function reads a queue: a
notification that was not accepted stays there, and is tried again after 30 seconds, then after twice the time, up to an
hour. After the last attempt the queue's redrive policy moves it to the dead-letter queue. The template has this source
as inline code, so it imports nothing of the project; ``python -m infra.webhook_template`` copies it there.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import functools
import hashlib
import hmac
import http.client
import json
import os
import random
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from boto3.session import Session

#: Seconds to connect to each address of the receiver, and for all that follows: TLS, request and response.
TIMEOUT = 10

#: Seconds before the second attempt, and at most before any other.
FIRST_PAUSE, LONGEST_PAUSE = 30, 3600

#: Seconds for which a secret is kept: a changed one is in use after that.
SECRET_AGE = 60

PREFIX = 'whsec_'


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Deliver a batch of the queue; report what must stay in it."""
    return deliver(event, os.environ)


def deliver(event: Mapping[str, Any], settings: Mapping[str, str]) -> dict[str, Any]:
    """Deliver each message. ``settings``: URL, SECRET_PARAMETER and QUEUE_URL. Return Lambda's batchItemFailures."""
    failed = []
    for record in event['Records']:
        message = json.loads(record['body'])['detail']
        problem = _send(message, settings)
        line = {'event': message['event_type'], 'message_id': message['message_id'], 'problem': problem}
        print(json.dumps({'message': 'delivered' if not problem else 'not delivered', **line}))
        if problem:
            failed.append({'itemIdentifier': record['messageId']})
            _postpone(record, settings['QUEUE_URL'])
    return {'batchItemFailures': failed}


def _send(message: Mapping[str, Any], settings: Mapping[str, str]) -> str:
    """Send one notification. Return '' if the receiver accepted it (2xx), else the problem. Redirects are refused."""
    secrets = _secrets(settings['SECRET_PARAMETER'], int(time.time() // SECRET_AGE))
    body = json.dumps(message, separators=(',', ':')).encode()
    headers = {'Content-Type': 'application/json', 'User-Agent': 'cinderless-webhook/1'}
    headers |= signed(str(message['message_id']), int(time.time()), body, secrets)
    try:
        status = _post(settings['URL'], body, headers)
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    return '' if 200 <= status < 300 else f'status {status}'


def signed(message_id: str, at: int, body: bytes, secrets: list[bytes]) -> dict[str, str]:
    """Return the headers of Standard Webhooks: one signature for each secret, so that a secret can be replaced."""
    content = f'{message_id}.{at}.'.encode() + body
    signatures = [base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode() for secret in secrets]
    return {
        'webhook-id': message_id,
        'webhook-timestamp': str(at),
        'webhook-signature': ' '.join(f'v1,{one}' for one in signatures),
    }


@functools.cache
def _client(service: str) -> Any:
    return Session().client(service)  # the local cloud runs this in threads, and the default session is not for them


@functools.lru_cache(16)
def _secrets(parameter: str, minute: int) -> list[bytes]:
    """Return the keys of the parameter: one or more of the form whsec_<base64>. Raises ValueError for another form."""
    found = _client('ssm').get_parameter(Name=parameter, WithDecryption=True)['Parameter']['Value'].split()
    if not found or not all(one.startswith(PREFIX) for one in found):
        raise ValueError(f'{parameter} must hold {PREFIX}<base64>, or several with spaces between them')
    return [base64.b64decode(one.removeprefix(PREFIX), validate=True) for one in found]


def _post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Return the status of a POST; the response's body is not read.

    A receiver that sends a byte now and then is not waited for: a timeout of the socket counts from byte to byte.
    """
    place = urllib.parse.urlsplit(url)
    host, path = str(place.hostname), (place.path or '/') + (f'?{place.query}' if place.query else '')
    port = place.port or (443 if place.scheme == 'https' else 80)
    opened = socket.create_connection((host, port), TIMEOUT)
    if place.scheme == 'https':
        context = ssl.create_default_context()
        opened = context.wrap_socket(opened, server_hostname=host, do_handshake_on_connect=False)
    with opened, _ended(opened):
        if isinstance(opened, ssl.SSLSocket):
            opened.do_handshake()
        kind = http.client.HTTPSConnection if place.scheme == 'https' else http.client.HTTPConnection
        connection = kind(host, port)
        connection.sock = opened
        connection.request('POST', path, body, headers)
        return connection.getresponse().status


#: errno values of a connection that the receiver, or this side, has ended already.
_ENDED = (errno.ENOTCONN, errno.EBADF)


@contextlib.contextmanager
def _ended(opened: socket.socket) -> Iterator[None]:
    """End a connection after TIMEOUT seconds: the block then reads its end."""

    def end() -> None:
        try:
            socket.socket.shutdown(opened, socket.SHUT_RDWR)
        except OSError as error:
            if error.errno not in _ENDED:
                raise

    timer = threading.Timer(TIMEOUT, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def pause(attempts: int) -> int:
    """Return the seconds before the next attempt: twice as many each time, the second half of them at random."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE << min(attempts - 1, 10))
    return longest - random.randrange(longest // 2)  # noqa: S311 - no secret


def _postpone(record: Mapping[str, Any], queue: str) -> None:
    seconds = pause(int(record['attributes']['ApproximateReceiveCount']))
    receipt = record['receiptHandle']
    _client('sqs').change_message_visibility(QueueUrl=queue, ReceiptHandle=receipt, VisibilityTimeout=seconds)
