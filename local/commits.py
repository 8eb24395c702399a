"""Answers to transactions of DynamoDB Local, held back until the commit is proven.

The engine answers TransactWriteItems before it commits, and reports no failure of the commit: a transaction that finds
the disk full, or whose engine is killed, is lost after it was acknowledged. So each transaction also writes a receipt,
an item of the local cloud's own table. Without a stored receipt the answer is a server error.
"""

from __future__ import annotations

import collections
import json
import logging
import threading
import uuid
from collections.abc import Callable
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HeadersDict

from local.calls import text

log = logging.getLogger('local')

Send = Callable[[AWSPreparedRequest], Any]

#: The operation that is answered before its commit.
LATE = 'TransactWriteItems'

_VERSION = 'DynamoDB_20120810'

#: Holds a receipt of each of the latest transactions, so that a repeated one finds its own.
TABLE, RECEIPTS = 'local-receipts', 1000

#: Receipts that one request deletes, at most.
BATCH = 25

#: Operations of a transaction, at most: the receipt of one that has as many is written after it.
MOST = 100

_DEFINITION = {
    'TableName': TABLE,
    'BillingMode': 'PAY_PER_REQUEST',
    'KeySchema': [{'AttributeName': 'token', 'KeyType': 'HASH'}],
    'AttributeDefinitions': [{'AttributeName': 'token', 'AttributeType': 'S'}],
}

_NOT_STORED = {
    '__type': 'com.amazonaws.dynamodb.v20120810#InternalServerError',
    'message': 'The local cloud could not store this. Is its disk full?',
}


def is_late(request: AWSPreparedRequest) -> bool:
    """Whether the engine answers a request before its commit."""
    return text(request.headers.get('X-Amz-Target', '')).endswith(f'.{LATE}')


class Commits:
    """The transactions of one engine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made = False
        self._tokens: collections.deque[str] = collections.deque()

    def send(self, send: Send, request: AWSPreparedRequest) -> Any:
        """Send a transaction with its receipt; return its answer, or a server error when it is not stored."""
        body = _parsed(request)
        items = body.get('TransactItems')
        if not isinstance(items, list):
            return send(request)
        token = str(body.get('ClientRequestToken') or uuid.uuid4())
        receipt = {'TableName': TABLE, 'Item': _key(token)}
        self._prepare(send, request, token)
        taken = [{'Put': receipt}] if len(items) < MOST else []
        whole = {**body, 'ClientRequestToken': token, 'TransactItems': [*items, *taken]}
        answer = send(_request(request, LATE, whole))
        if answer.status_code != 200:
            return _without_receipt(answer, len(items))
        if not taken:  # a write that is answered later shows that the commit was not cut off
            send(_request(request, 'PutItem', receipt))
        return answer if self._is_stored(send, request, token) else _not_stored(request)

    def _is_stored(self, send: Send, request: AWSPreparedRequest, token: str) -> bool:
        read = {'TableName': TABLE, 'Key': _key(token), 'ConsistentRead': True}
        found = send(_request(request, 'GetItem', read))
        return found.status_code == 200 and 'Item' in json.loads(found.content)

    def _prepare(self, send: Send, request: AWSPreparedRequest, token: str) -> None:
        """Make the table, once in the life of a local cloud, and delete old receipts."""
        with self._lock:
            if not self._made:
                send(_request(request, 'DeleteTable', {'TableName': TABLE}))
                self._made = send(_request(request, 'CreateTable', _DEFINITION)).status_code == 200
            self._tokens.append(token)
            surplus = len(self._tokens) - RECEIPTS
            old = [self._tokens.popleft() for _ in range(BATCH)] if surplus >= BATCH else []
        deletions = [{'DeleteRequest': {'Key': _key(one)}} for one in sorted(set(old))]
        if deletions:
            send(_request(request, 'BatchWriteItem', {'RequestItems': {TABLE: deletions}}))


def _key(token: str) -> dict[str, Any]:
    return {'token': {'S': token}}


def _parsed(request: AWSPreparedRequest) -> dict[str, Any]:
    """The body of a request; {} for one that the engine refuses."""
    try:
        body = json.loads(request.body)
    except (ValueError, TypeError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _request(request: AWSPreparedRequest, operation: str, body: dict[str, Any]) -> AWSPreparedRequest:
    """Another request to the same engine, in the name of the same caller. It checks no signatures."""
    headers = HeadersDict({**request.headers, 'X-Amz-Target': f'{_VERSION}.{operation}'})
    headers.pop('Content-Length', None)
    return AWSPreparedRequest('POST', request.url, headers, json.dumps(body).encode(), False)


def _without_receipt(answer: Any, operations: int) -> Any:
    """The answer to a transaction that was refused, with the reasons of its own operations only."""
    body = json.loads(answer.content)
    if 'CancellationReasons' not in body:
        return answer
    reasons = body['CancellationReasons'][:operations]
    codes = ', '.join(reason['Code'] for reason in reasons)
    before, _, _ = str(body.get('Message', '')).partition('[')
    body |= {'CancellationReasons': reasons, 'Message': f'{before}[{codes}]'}
    return _answer(answer, answer.status_code, body)


def _not_stored(request: AWSPreparedRequest) -> Any:
    log.error('DynamoDB Local acknowledged a transaction and did not store it: is the disk full?')
    return _answer(request, 500, _NOT_STORED)


def _answer(of: Any, status: int, body: dict[str, Any]) -> Any:
    answer = AWSResponse(of.url, status, {'Content-Type': 'application/x-amz-json-1.0'}, None)
    answer._content = json.dumps(body).encode()
    return answer
