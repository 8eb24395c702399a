"""DynamoDB behind a bad network: answers get lost, the SDK retries, indexes lag, and every error may occur.

It wraps the tables in a dict and replaces botocore's client. ``errors_of_botocore`` lists every class of
error that the SDK may raise, so that a test need not choose.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from botocore import exceptions
from botocore.exceptions import BotoCoreError, EndpointConnectionError
from botocore.parsers import ResponseParserError

from tests.small_dynamodb import SmallDynamoDB, refusal

#: Operations that change something.
WRITES = frozenset({'PutItem', 'UpdateItem', 'DeleteItem', 'TransactWriteItems'})

Wanted = Callable[[str, dict[str, Any]], bool]


def no_call(operation: str, request: dict[str, Any]) -> bool:
    """Choose none."""
    return False


def every_write(operation: str, request: dict[str, Any]) -> bool:
    """Choose each call that changes something."""
    return operation in WRITES


class Unreliable:
    """``store`` behind a bad network.

    ``resent`` chooses calls that are carried out, whose answer is lost, and which the SDK then repeats; ``lost`` those
    that it gives up instead. ``meanwhile`` runs between a call and its repetition, as other writers do. ``refusals``
    are raised by the next calls in place of their answers. The global indexes are ``lag`` writes behind. An answer has
    at most ``page`` items, as DynamoDB's have at most 1 MB, and the key of the next page.
    """

    def __init__(self, store: SmallDynamoDB, lag: int = 0) -> None:
        self.store, self.lag = store, lag
        self.page: int | None = None
        self.resent: Wanted = no_call
        self.lost: Wanted = no_call
        self.meanwhile: Callable[[], None] = lambda: None
        self.refusals: list[Exception] = []
        self.calls: list[str] = []
        self._past: list[SmallDynamoDB] = []

    def call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """One call as the code under test sees it, after all repetitions."""
        self.calls.append(operation)
        if self.refusals:
            raise self.refusals.pop(0)
        if self.lag and operation in WRITES:
            self._past = [*self._past, self.store.copy()][-self.lag :]
        if self.lag and self._past and self._is_of_global_index(operation, request):
            return self._past[0].call(operation, request)
        if self.page and operation == 'BatchGetItem':
            return self._some_keys(request, self.page)
        if self.page and operation in ('Query', 'Scan'):
            request = {**request, 'Limit': min(self.page, request.get('Limit', self.page))}
        answer = self.store.call(operation, request)
        if self.lost(operation, request):
            self.meanwhile()
            raise EndpointConnectionError(endpoint_url='https://dynamodb')
        if self.resent(operation, request):
            self.meanwhile()
            return self.store.call(operation, request)
        return answer

    def _some_keys(self, request: dict[str, Any], most: int) -> dict[str, Any]:
        asked = request['RequestItems']
        keys = [(table, key) for table, wanted in asked.items() for key in wanted['Keys']]
        now, later = (
            {table: {**asked[table], 'Keys': [key for name, key in part if name == table]} for table, _ in part}
            for part in (keys[:most], keys[most:])
        )
        return {**self.store.call('BatchGetItem', {**request, 'RequestItems': now}), 'UnprocessedKeys': later}

    def _is_of_global_index(self, operation: str, request: dict[str, Any]) -> bool:
        if operation not in ('Query', 'Scan') or 'IndexName' not in request:
            return False
        return self.store.tables[request['TableName']].indexes[request['IndexName']].is_global


#: (code, status) of answers that AWS's services give.
ANSWERS = (
    ('AccessDeniedException', 400),
    ('ExpiredTokenException', 400),
    ('InternalServerError', 500),
    ('InternalFailure', 500),
    ('ProvisionedThroughputExceededException', 400),
    ('RequestLimitExceeded', 400),
    ('RequestTimeout', 400),
    ('ResourceNotFoundException', 400),
    ('ResourceNotReadyException', 502),
    ('ServiceUnavailable', 503),
    ('ThrottlingException', 400),
    ('TooManyRequestsException', 429),
    ('UnrecognizedClientException', 400),
    ('ValidationException', 400),
    ('503', 503),
)


def errors_of_botocore() -> Iterator[Exception]:
    """One error of each class that the SDK raises, and ClientErrors of every sort."""
    for _, kind in inspect.getmembers(exceptions, inspect.isclass):
        if issubclass(kind, BotoCoreError):
            yield bare(kind)
    yield ResponseParserError('the answer breaks off')
    for code, status in ANSWERS:
        yield refusal(code, 'No.', ResponseMetadata={'HTTPStatusCode': status, 'RetryAttempts': 0})


def bare(kind: type[Exception]) -> Exception:
    """An error of a class, without the arguments that its own initialisation requires."""
    error = kind.__new__(kind)
    Exception.__init__(error, kind.__name__)
    return error
