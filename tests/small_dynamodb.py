"""DynamoDB in a dict: one call takes microseconds, so whole matrices of crashes and interleavings can be run.

It replaces botocore's client, and reads the same expressions that the client would send. Each call is atomic. It
refuses unknown parameters. Its own tests compare its answers with moto's DynamoDB.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.models.connection import connection
from local import recorder
from tests.dynamodb_expressions import Expression, Item, Key, plain, refusal, tokens

__all__ = ['SmallDynamoDB', 'empty', 'refusal', 'serving', 'tokens']

#: Bytes, names included.
LARGEST_ITEM = 400 * 1024


@dataclasses.dataclass
class Table:
    """``items`` are never changed in place, so a copy of the dict is a copy of the table."""

    key: Key
    indexes: dict[str, Index]
    items: dict[Key, Item] = dataclasses.field(default_factory=dict)
    #: DynamoDB gives a restored table a new id, and reports that it was restored.
    id: str = 'made-by-the-deployment'
    restored: bool = False

    def key_of(self, item: Item) -> Key:
        return tuple(next(iter(item[name].values())) for name in self.key)


@dataclasses.dataclass(frozen=True)
class Index:
    key: Key
    is_global: bool
    keys_only: bool


def empty_table(model: Any) -> Table:
    """The table that a model describes."""
    schema = model._get_schema()
    indexes = {
        facts['index_name']: Index(_key(facts), kind == 'global', facts['projection']['ProjectionType'] == 'KEYS_ONLY')
        for kind in ('local', 'global')
        for facts in schema[f'{kind}_secondary_indexes']
    }
    return Table(_key(schema), indexes)


def _key(schema: Any) -> Key:
    return tuple(part['AttributeName'] for part in sorted(schema['key_schema'], key=lambda part: part['KeyType']))


class SmallDynamoDB:
    """``tables``: by their names."""

    def __init__(self, tables: dict[str, Table]) -> None:
        self.tables = tables
        #: ClientRequestTokens of the transactions that were applied.
        self._applied: set[str] = set()
        self._one_at_a_time = threading.Lock()

    def copy(self) -> SmallDynamoDB:
        return SmallDynamoDB(
            {name: Table(table.key, table.indexes, dict(table.items)) for name, table in self.tables.items()}
        )

    def put_back(self, other: SmallDynamoDB) -> None:
        """Copy the items of another store."""
        for name, table in other.tables.items():
            self.tables[name].items = dict(table.items)

    def clear(self) -> None:
        """Empty every table."""
        for table in self.tables.values():
            table.items.clear()

    def call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one call of botocore's client; raises ClientError."""
        recorder.heard('dynamodb', operation, **request)
        name = re.sub(r'(?<!^)(?=[A-Z])', '_', operation).lower()
        with self._one_at_a_time:
            answer: dict[str, Any] = getattr(self, name)(request)
        return answer

    def describe_table(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the id and the restore state of a table, which identify it; the schema is its model's."""
        table = self.tables[request['TableName']]
        restored = {'RestoreSummary': {'RestoreInProgress': False}} if table.restored else {}
        return {'Table': {'TableName': request['TableName'], 'TableId': table.id, **restored}}

    def get_item(self, request: dict[str, Any]) -> dict[str, Any]:
        table = self.tables[request['TableName']]
        found = table.items.get(table.key_of(request['Key']))
        return {'Item': projected(found, request)} if found else {}

    def batch_get_item(self, request: dict[str, Any]) -> dict[str, Any]:
        answers: dict[str, list[Item]] = {}
        for name, wanted in request['RequestItems'].items():
            table = self.tables[name]
            found = (table.items.get(table.key_of(key)) for key in wanted['Keys'])
            answers[name] = [projected(item, wanted) for item in found if item]
        return {'Responses': answers, 'UnprocessedKeys': {}}

    def query(self, request: dict[str, Any]) -> dict[str, Any]:
        condition = request['KeyConditionExpression']
        return self._read(request, lambda item: Expression(condition, request, item).holds())

    def scan(self, request: dict[str, Any]) -> dict[str, Any]:
        assert 'Segment' not in request
        return self._read(request, lambda item: True)

    def _read(self, request: dict[str, Any], wanted: Callable[[Item], bool]) -> dict[str, Any]:
        table = self.tables[request['TableName']]
        index = table.indexes[request['IndexName']] if 'IndexName' in request else None
        if index and index.is_global and request.get('ConsistentRead'):
            raise refusal('ValidationException', 'Consistent reads are not supported on global secondary indexes')
        if 'ExclusiveStartKey' in request and not wanted(request['ExclusiveStartKey']):
            raise refusal('ValidationException', 'The provided starting key does not match the range key predicate')
        order = tuple(dict.fromkeys((*(index.key if index else ()), *table.key)))
        held = [item for item in table.items.values() if all(name in item for name in order) and wanted(item)]
        held.sort(key=lambda item: place(item, order), reverse=not request.get('ScanIndexForward', True))
        page, last = paged(held, order, request)
        kept = [item for item in page if 'FilterExpression' not in request or passes(item, request)]
        shown = [{name: item[name] for name in order} for item in kept] if index and index.keys_only else kept
        answer = {'Items': [projected(item, request) for item in shown], 'Count': len(kept), 'ScannedCount': len(page)}
        if request.get('Select') == 'COUNT':
            del answer['Items']
        return {**answer, 'LastEvaluatedKey': last} if last else answer

    def put_item(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._write_one('Put', request)

    def update_item(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._write_one('Update', request)

    def delete_item(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._write_one('Delete', request)

    def _write_one(self, verb: str, request: dict[str, Any]) -> dict[str, Any]:
        if not self.holds(request):
            raise refusal('ConditionalCheckFailedException', 'The conditional request failed', f'{verb}Item')
        self.apply(verb, request)
        after = self.item(request)
        return {'Attributes': after} if after and request.get('ReturnValues') == 'ALL_NEW' else {}

    def transact_write_items(self, request: dict[str, Any]) -> dict[str, Any]:
        token = request.get('ClientRequestToken')
        if token in self._applied:
            return {}
        works = [next(iter(one.items())) for one in request['TransactItems']]
        keys = [(work['TableName'], self.key(work)) for _, work in works]
        if len(set(keys)) != len(keys) or len(keys) > 100:
            raise refusal('ValidationException', 'Transaction request cannot include multiple operations on one item')
        codes = ['None' if self.holds(work) else 'ConditionalCheckFailed' for _, work in works]
        if set(codes) != {'None'}:
            reasons = {'CancellationReasons': [{'Code': code} for code in codes]}
            message = f'Transaction cancelled, please refer cancellation reasons for specific reasons {codes}'
            raise refusal('TransactionCanceledException', message, 'TransactWriteItems', **reasons)
        before = self.copy()
        try:
            for verb, work in works:
                self.apply(verb, work)
        except ClientError:
            self.put_back(before)
            raise
        if token:
            self._applied.add(token)
        return {}

    def key(self, work: dict[str, Any]) -> Key:
        return self.tables[work['TableName']].key_of(work.get('Key') or work['Item'])

    def item(self, work: dict[str, Any]) -> Item:
        return self.tables[work['TableName']].items.get(self.key(work), {})

    def holds(self, work: dict[str, Any]) -> bool:
        condition = work.get('ConditionExpression')
        return condition is None or Expression(condition, work, self.item(work)).holds()

    def apply(self, verb: str, work: dict[str, Any]) -> None:
        table, key = self.tables[work['TableName']], self.key(work)
        items = table.items
        if verb == 'Update':
            changed = Expression(work['UpdateExpression'], work, items.get(key, work['Key'])).update()
            items[key] = small_enough(changed, table, 'Item size to update has exceeded the maximum allowed size')
        elif verb == 'Put':
            items[key] = small_enough(work['Item'], table, 'Item size has exceeded the maximum allowed size')
        elif verb == 'Delete':
            items.pop(key, None)
        else:
            assert verb == 'ConditionCheck', verb


def stored_size(value: dict[str, Any]) -> int:
    """The bytes that DynamoDB counts for a value ({'S': 'text'}, {'M': {...}}), rounded up a little.

    docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    ((kind, content),) = value.items()
    if kind in ('S', 'B'):
        return len(content.encode() if isinstance(content, str) else content)
    if kind == 'N':
        return 21
    if kind == 'M':
        return 3 + sum(1 + len(name.encode()) + stored_size(inner) for name, inner in content.items())
    if kind == 'L':
        return 3 + sum(1 + stored_size(inner) for inner in content)
    return 3 + sum(len(str(member).encode()) for member in content) if kind in ('SS', 'NS', 'BS') else 1


def small_enough(item: Item, table: Table, otherwise: str) -> Item:
    """Return the item. Raises when it exceeds DynamoDB's 400 KB, with its copies in the table's local indexes."""
    copies = 1 + sum(not index.is_global and not index.keys_only for index in table.indexes.values())
    if copies * sum(len(name) + stored_size(value) for name, value in item.items()) > LARGEST_ITEM:
        raise refusal('ValidationException', otherwise)
    return item


def passes(item: Item, request: dict[str, Any]) -> bool:
    return Expression(request['FilterExpression'], request, item).holds()


def place(item: Item, order: Key) -> tuple[Any, ...]:
    return tuple(plain(item[name]) for name in order)


def paged(held: list[Item], order: Key, request: dict[str, Any]) -> tuple[list[Item], Item | None]:
    """Return the items after ExclusiveStartKey, at most Limit, and the key where the next page starts."""
    if 'ExclusiveStartKey' in request:
        start, backwards = place(request['ExclusiveStartKey'], order), not request.get('ScanIndexForward', True)
        held = [item for item in held if (place(item, order) < start if backwards else place(item, order) > start)]
    page = held[: request['Limit']] if 'Limit' in request else held
    more = 'Limit' in request and len(page) == request['Limit']
    return page, {name: page[-1][name] for name in order} if more and page else None


def projected(item: Item, request: dict[str, Any]) -> Item:
    if 'ProjectionExpression' not in request:
        return item
    names = request.get('ExpressionAttributeNames', {})
    wanted = [names.get(name.strip(), name.strip()) for name in request['ProjectionExpression'].split(',')]
    return {name: item[name] for name in wanted if name in item}


def empty(models: Iterable[Any]) -> SmallDynamoDB:
    """The models' tables, with nothing in them."""
    return SmallDynamoDB({model.Meta.table_name: empty_table(model) for model in models})


@contextlib.contextmanager
def serving(store: SmallDynamoDB) -> Iterator[SmallDynamoDB]:
    """Answer all DynamoDB calls of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection().client, '_make_api_call', store.call)
        yield store
