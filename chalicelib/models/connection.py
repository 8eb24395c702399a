"""One DynamoDB client for all tables of a process: its errors are ours, and its answers are read the short way.

PynamoDB makes a session and a client for each table, which a cold start pays for twelve times; here they are one, with
the session of every other client (its data files are megabytes of JSON). And botocore walks
every attribute of every item by its model, only to arrive at the JSON that DynamoDB sent: a third of the time of a
list. Records hold no binary attributes, the one kind for which that walk changes anything.

Every read and write passes ``_Shared``, so this is the one place where an error of DynamoDB becomes one of ours. What
only a writer can judge (a condition that does not hold, a transaction that was cancelled) is left as it is.
"""

from __future__ import annotations

import functools
import json
import random
import re
import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from pynamodb.connection import Connection

from chalicelib import aws, aws_errors, errors, telemetry
from chalicelib.config import settings

#: Seconds for a connection and for an answer, and the attempts of one call: together below API Gateway's 29 s.
CONNECT_TIMEOUT, READ_TIMEOUT, ATTEMPTS = 2, 4, 4

#: A write that collides is repeated this often, with full jitter between 0 and the cap (seconds).
COLLISIONS, JITTER_BASE, JITTER_CAP = 12, 0.01, 0.5

#: The calls that read and write records; the others make and describe tables, in tests and in the local cloud.
_ON_RECORDS = frozenset(
    {
        'BatchGetItem',
        'DeleteItem',
        'GetItem',
        'PutItem',
        'Query',
        'Scan',
        'TransactGetItems',
        'TransactWriteItems',
        'UpdateItem',
    }
)

#: Codes that models/writes.py settles.
_WRITERS = frozenset(
    {'ConditionalCheckFailedException', 'TransactionCanceledException', 'TransactionInProgressException'}
)

#: What the SDK raises.
_SDK = (ClientError, BotoCoreError, ResponseParserError)

#: DynamoDB's refusals of an item above 400 KB, and of a key above 1 or 2 KB; the last is DynamoDB Local's.
_TOO_LARGE = re.compile(r'exceeded the maximum (allowed size|size limit)|key values must be under', re.IGNORECASE)


class _Shared(Connection):
    """PynamoDB's connection over the process's session."""

    @property
    def session(self) -> Any:
        return aws.session()

    def _make_api_call(self, operation_name: str, operation_kwargs: dict[str, Any]) -> dict[str, Any]:
        for attempt in range(COLLISIONS - 1):
            try:
                return self._answer(operation_name, operation_kwargs)
            except _SDK as error:
                if code_of(error) != 'TransactionConflictException':
                    raise _ours(error, operation_name) from error
                wait_after(attempt)
        try:
            return self._answer(operation_name, operation_kwargs)
        except _SDK as error:
            raise _ours(error, operation_name) from error

    def _answer(self, operation_name: str, operation_kwargs: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = super()._make_api_call(operation_name, operation_kwargs)
        if answer.get('UnprocessedKeys'):
            wait_after(2)  # PynamoDB requests the rest at once, which a table that throttles refuses again
        return answer


def wait_after(attempt: int) -> None:
    """Wait before the next attempt: a random part of a pause that doubles up to JITTER_CAP."""
    telemetry.count('Retries', why='transaction')
    time.sleep(random.uniform(0, min(JITTER_CAP, JITTER_BASE * 2**attempt)))  # noqa: S311 - jitter, no secret


def code_of(error: BaseException | None) -> str:
    """AWS's code of an error of botocore; '' for one without an answer."""
    answer = getattr(error, 'response', None) or {}
    return str(answer.get('Error', {}).get('Code', ''))


def _ours(error: Exception, operation: str) -> Exception:
    if operation not in _ON_RECORDS or code_of(error) in _WRITERS:
        return error
    if is_too_large(str(error)):
        return errors.RecordTooLarge()
    # PynamoDB keeps the code alone of an answer: how often the SDK sent the call is in the error that it wraps.
    cause = error.__cause__ if isinstance(error.__cause__, ClientError) else error
    return aws_errors.translation(cause, f'dynamodb:{operation}') or error


def is_too_large(text: str) -> bool:
    """Whether DynamoDB refuses an item, or a key, for its size."""
    return _TOO_LARGE.search(text) is not None


@functools.cache
def connection() -> Connection:
    """The process's connection to DynamoDB."""
    shared = _Shared(
        region=settings().region,
        connect_timeout_seconds=CONNECT_TIMEOUT,
        read_timeout_seconds=READ_TIMEOUT,
        max_retry_attempts=ATTEMPTS - 1,
    )
    aws.whole_answers_only(shared.client)
    shared.client.meta.events.register('before-parse.dynamodb.*', _read_plainly)
    return shared


def _read_plainly(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Take a good answer's JSON as it is; leave errors to botocore, which knows their shapes."""
    if response_dict['status_code'] == 200:
        customized_response_dict.update(json.loads(response_dict['body']))
        response_dict['body'] = b'{}'
