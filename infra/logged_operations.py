"""The log of operations, read from its table by an operator: ``cinderless history`` shows it.

The API's ``GET /v3/operations`` shows the same records to users. Here no token is needed, only the right to read the
table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from infra.history import Event

#: Who an event of the log is from.
WHO = 'operation'


class Unreadable(Exception):
    """The caller may not read the table, or the deployment is older than the log of operations."""


class Operation(NamedTuple):
    """One operation. Times are UTC, in the form of the records; ``ended_at`` is None while it runs."""

    id: str
    action: str
    resource_type: str
    resource_id: str
    resource_name: str
    project_id: str
    started_at: str
    ended_at: str | None
    status: str
    cause: str


def about(id: str, stack: str, dynamodb: Any) -> list[Operation]:
    """Return the operations of a request or of a resource, oldest first. Raises Unreadable.

    ``dynamodb`` is a boto3 client.
    """
    condition = {
        'FilterExpression': 'id = :id OR resource_id = :id',
        'ExpressionAttributeValues': {':id': {'S': id}},
    }
    return _scanned(stack, dynamodb, **condition)


def newest(count: int, stack: str, dynamodb: Any) -> list[Operation]:
    """Return the newest operations of all projects, oldest first. Raises Unreadable."""
    return _scanned(stack, dynamodb)[-count:]


def _scanned(stack: str, dynamodb: Any, **condition: Any) -> list[Operation]:
    """The table has some weeks of operations and no index of resources, so it is read whole."""
    try:
        pages = dynamodb.get_paginator('scan').paginate(TableName=f'{stack}-operations', **condition)
        found = [_operation(item) for page in pages for item in page['Items']]
    except ClientError as error:
        if error.response['Error']['Code'] not in ('AccessDeniedException', 'ResourceNotFoundException'):
            raise
        raise Unreadable(f'the table {stack}-operations cannot be read: {error}') from error
    return sorted((each for each in found if each is not None), key=lambda each: (each.started_at, each.id))


def _operation(item: Mapping[str, Mapping[str, str]]) -> Operation | None:
    """None for an end without a begin, of work that a version without a log accepted."""
    text = {name: next(iter(value.values())) for name, value in item.items()}
    if 'first' not in text:
        return None
    end = json.loads(text.get('end_of_group' if text.get('resource_type') == 'group' else 'end', 'null'))
    status = 'running' if end is None else 'failed' if end.get('failed') else 'succeeded'
    return Operation(
        id=text['id'],
        action=text.get('action', ''),
        resource_type=text.get('resource_type', ''),
        resource_id=text.get('resource_id', ''),
        resource_name=text.get('resource_name', ''),
        project_id=text['project_id'],
        started_at=text.get('created_at', ''),
        ended_at=end and end.get('at'),
        status=status,
        cause=str((end or {}).get('cause') or (end or {}).get('error') or ''),
    )


def events(operation: Operation) -> Iterator[Event]:
    """Yield the begin and the end of an operation, in the form of a history."""
    what = f'{operation.action} {operation.resource_type} {operation.resource_id}'
    yield Event(_shown(operation.started_at), WHO, f'{what} accepted as {operation.id}')
    if operation.ended_at is not None:
        cause = f': {operation.cause}' if operation.cause else ''
        yield Event(_shown(operation.ended_at), WHO, f'{what} {operation.status}{cause}')


def line(operation: Operation) -> str:
    """Return one line of a list."""
    what = f'{operation.action} {operation.resource_type}'
    return f'{_shown(operation.started_at)}  {operation.status:9}  {operation.id}  {what:24} {operation.resource_id}'


def _shown(text: str) -> str:
    return f'{text[:23]}Z'
