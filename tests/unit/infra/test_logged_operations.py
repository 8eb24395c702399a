"""The log of operations, as ``cinderless history`` reads it from its table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra import logged_operations


class Table:
    """A DynamoDB client with two pages; the filter is the real table's."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.items = items
        self.scanned: list[dict[str, Any]] = []

    def get_paginator(self, name: str) -> Table:
        assert name == 'scan'
        return self

    def paginate(self, **scanned: Any) -> Iterator[dict[str, Any]]:
        self.scanned.append(scanned)
        yield {'Items': self.items[:1]}
        yield {'Items': self.items[1:]}


def item(number: int, end: dict[str, Any] | None = None, **facts: str) -> dict[str, Any]:
    texts = {
        'project_id': 'p',
        'id': f'req-{number}',
        'action': 'create',
        'resource_type': 'volume',
        'resource_id': 'v',
        'created_at': f'2026-11-30T12:00:0{number}.123456',
        'first': '{}',
        **({'end': json.dumps(end)} if end else {}),
        **facts,
    }
    return {**{name: {'S': text} for name, text in texts.items()}, 'expires': {'N': '1'}}


FAILED = {'at': '2026-11-30T12:00:09.000000', 'failed': True, 'error': 'No.', 'cause': 'BackendFull: no space'}


def test_the_operations_of_an_id_become_events() -> None:
    table = Table(item(2), item(1, FAILED))
    found = logged_operations.about('v', 'mine', table)
    assert [each.id for each in found] == ['req-1', 'req-2']
    assert [tuple(event) for each in found for event in logged_operations.events(each)] == [
        ('2026-11-30T12:00:01.123Z', 'operation', 'create volume v accepted as req-1'),
        ('2026-11-30T12:00:09.000Z', 'operation', 'create volume v failed: BackendFull: no space'),
        ('2026-11-30T12:00:02.123Z', 'operation', 'create volume v accepted as req-2'),
    ]
    [scanned] = table.scanned
    assert scanned['TableName'] == 'mine-operations'
    assert scanned['ExpressionAttributeValues'] == {':id': {'S': 'v'}}


def test_the_newest_are_the_last() -> None:
    found = logged_operations.newest(2, 'mine', Table(item(3), item(1), item(2)))
    assert [each.id for each in found] == ['req-2', 'req-3']
    assert logged_operations.line(found[0]).startswith('2026-11-30T12:00:02.123Z  running    req-2  create volume')


@pytest.mark.parametrize(
    ('row', 'status'),
    [
        (item(1, {'at': 'x'}), 'succeeded'),
        (item(1, {'at': 'x'}, resource_type='group'), 'running'),
        (item(1, resource_type='group', end_of_group='{"at": "x"}'), 'succeeded'),
    ],
)
def test_a_group_ends_with_its_own_end(row: dict[str, Any], status: str) -> None:
    [found] = logged_operations.newest(9, 'mine', Table(row))
    assert found.status == status


def test_an_end_without_a_begin_is_left_out() -> None:
    row = item(1, FAILED)
    del row['first']
    assert logged_operations.newest(9, 'mine', Table(row)) == []


@pytest.mark.parametrize('code', ['AccessDeniedException', 'ResourceNotFoundException'])
def test_a_table_that_cannot_be_read_is_named(code: str) -> None:
    class Refusing(Table):
        def paginate(self, **scanned: Any) -> Iterator[dict[str, Any]]:
            raise ClientError({'Error': {'Code': code, 'Message': 'no'}}, 'Scan')

    with pytest.raises(logged_operations.Unreadable, match='mine-operations cannot be read'):
        logged_operations.newest(1, 'mine', Refusing())
