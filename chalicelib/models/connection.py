"""One DynamoDB client for all tables of a process, with translated errors and fast parsing of answers.

PynamoDB creates a session and a client for each table, which delays a cold start twelve times; here they are one, with
the session of every other client (its data files are megabytes of JSON). And botocore walks
every attribute of every item by its model, with the JSON that DynamoDB sent as the result: a third of the time of a
list. Records have no binary attributes, the only kind that this walk changes.

Every read and write passes ``_Shared``, which translates DynamoDB's errors. Errors that only the writer can interpret
(a failed condition, a cancelled transaction) are not translated.
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

#: A write that collides is sent this often, with full jitter between 0 and the cap (seconds): pauses of about 6 s, at
#: most 13 s. Requests of one project all meet at its quota, and a database may be slow for some seconds.
COLLISIONS, JITTER_BASE, JITTER_CAP = 30, 0.01, 0.5

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

#: Codes that models/writes.py handles.
_WRITERS = frozenset(
    {'ConditionalCheckFailedException', 'TransactionCanceledException', 'TransactionInProgressException'}
)

#: The errors of the SDK.
_SDK = (ClientError, BotoCoreError, ResponseParserError)

#: DynamoDB's errors for an item above 400 KB, and for a key above 1 or 2 KB; the last is DynamoDB Local's.
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
    """AWS's code of a botocore error; '' for one without an answer."""
    answer = getattr(error, 'response', None) or {}
    return str(answer.get('Error', {}).get('Code', ''))


def _ours(error: Exception, operation: str) -> Exception:
    if operation not in _ON_RECORDS or code_of(error) in _WRITERS:
        return error
    if is_too_large(str(error)):
        return errors.RecordTooLarge()
        # PynamoDB keeps only the code of an answer: the number of attempts is in the error that it wraps.
    cause = error.__cause__ if isinstance(error.__cause__, ClientError) else error
    return aws_errors.translation(cause, f'dynamodb:{operation}') or error


def is_too_large(text: str) -> bool:
    """Whether DynamoDB's error refuses the size of an item or key."""
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
    """Take a good answer's JSON unchanged; leave errors to botocore, which knows their shapes."""
    if response_dict['status_code'] == 200:
        customized_response_dict.update(json.loads(response_dict['body']))
        response_dict['body'] = b'{}'
