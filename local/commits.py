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

#: Holds receipts of the latest transactions, each in one of so many places that are used in turn. A repeated one
#: finds its own receipt again.
TABLE, RECEIPTS = 'local-receipts', 1000

#: Receipts that one request reads, at most.
BATCH = 100

#: Operations of a transaction, at most: the receipt of one that has as many is written after it.
MOST = 100

_DEFINITION = {
    'TableName': TABLE,
    'BillingMode': 'PAY_PER_REQUEST',
    'KeySchema': [{'AttributeName': 'place', 'KeyType': 'HASH'}],
    'AttributeDefinitions': [{'AttributeName': 'place', 'AttributeType': 'S'}],
}

_NOT_STORED = {
    '__type': 'com.amazonaws.dynamodb.v20120810#InternalServerError',
    'message': 'The local cloud could not store this. Is its disk full?',
}


def is_late(request: AWSPreparedRequest) -> bool:
    """Whether the engine answers a request before its commit."""
    return text(request.headers.get('X-Amz-Target', '')).endswith(f'.{LATE}')


class Receipt:
    """``stored`` is None until it was looked for."""

    def __init__(self, place: str, token: str) -> None:
        self.place, self.token = place, token
        self.stored: bool | None = None

    @property
    def key(self) -> dict[str, Any]:
        return {'place': {'S': self.place}}

    @property
    def item(self) -> dict[str, Any]:
        return {**self.key, 'token': {'S': self.token}}


class Commits:
    """The transactions of one engine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made = False
        self._places: collections.OrderedDict[str, str] = collections.OrderedDict()
        self._turn = threading.Condition()
        self._unread: list[Receipt] = []
        self._reading = False

    def send(self, send: Send, request: AWSPreparedRequest) -> Any:
        """Send a transaction with its receipt; return its answer, or a server error when it is not stored."""
        body = _parsed(request)
        items = body.get('TransactItems')
        if not isinstance(items, list):
            return send(request)
        token = str(body.get('ClientRequestToken') or uuid.uuid4())
        receipt = self._receipt(send, request, token)
        put = {'TableName': TABLE, 'Item': receipt.item}
        taken = [{'Put': put}] if len(items) < MOST else []
        whole = {**body, 'ClientRequestToken': token, 'TransactItems': [*items, *taken]}
        answer = send(_request(request, LATE, whole))
        if answer.status_code != 200:
            return _without_receipt(answer, len(items))
        if not taken:  # a write that is answered later shows that the commit was not cut off
            send(_request(request, 'PutItem', put))
        return answer if self._is_stored(send, request, receipt) else _not_stored(request)

    def _receipt(self, send: Send, request: AWSPreparedRequest, token: str) -> Receipt:
        """Return the token's receipt, in the place used least recently. Make the table for the first."""
        with self._lock:
            if not self._made:
                send(_request(request, 'DeleteTable', {'TableName': TABLE}))
                self._made = send(_request(request, 'CreateTable', _DEFINITION)).status_code == 200
            if token not in self._places:
                is_full = len(self._places) >= RECEIPTS
                self._places[token] = self._places.popitem(last=False)[1] if is_full else str(len(self._places))
            return Receipt(self._places[token], token)

    def _is_stored(self, send: Send, request: AWSPreparedRequest, receipt: Receipt) -> bool:
        """Look for a receipt. One request at a time looks, for all that are due: any answer follows all commits."""
        with self._turn:
            self._unread.append(receipt)
            self._turn.wait_for(lambda: receipt.stored is not None or not self._reading)
            if receipt.stored is not None:
                return receipt.stored
            due, self._unread = self._unread[-BATCH:], self._unread[:-BATCH]
            self._reading = True
        stored: dict[str, str] = {}
        try:
            stored = _read(send, request, due)
        finally:
            with self._turn:
                for one in due:
                    one.stored = stored.get(one.place) == one.token
                self._reading = False
                self._turn.notify_all()
        return bool(receipt.stored)


def _read(send: Send, request: AWSPreparedRequest, receipts: list[Receipt]) -> dict[str, str]:
    """{place: token of the receipt that is stored there}."""
    keys = list({one.place: one.key for one in receipts}.values())
    found = send(_request(request, 'BatchGetItem', {'RequestItems': {TABLE: {'Keys': keys, 'ConsistentRead': True}}}))
    items = json.loads(found.content)['Responses'][TABLE] if found.status_code == 200 else []
    return {item['place']['S']: item['token']['S'] for item in items}


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
