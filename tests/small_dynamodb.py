"""As much of DynamoDB as creates use, in a dict: one call takes microseconds, so thousands of interleavings can be run.

It stands in the place of botocore's client, and reads the very expressions that would go over the wire. Each call is
atomic. Tables are keyed (project_id, id).
"""

from __future__ import annotations

import copy
import decimal
import operator
import re
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

#: {'S': 'text'}, {'N': '1'}, ...
Value = dict[str, Any]
Item = dict[str, Value]
Key = tuple[str, str]

TOKEN = re.compile(r'[()=,+]|<>|<=|>=|<|>|-(?=\s)|[#:]\w+|\w+')

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    '=': operator.eq, '<>': operator.ne, '<': operator.lt, '<=': operator.le, '>': operator.gt, '>=': operator.ge,
}  # fmt: skip


def plain(value: Value | None) -> Any:
    """Something that compares as DynamoDB compares; of another kind is never equal."""
    if value is None:
        return None
    ((kind, content),) = value.items()
    return (kind, decimal.Decimal(content)) if kind == 'N' else (kind, content)


class Expression:
    """A recursive descent over one expression, evaluated on an item while it is read."""

    def __init__(self, text: str, request: dict[str, Any], item: Item) -> None:
        self.tokens, self.at = TOKEN.findall(text), 0
        self.names = request.get('ExpressionAttributeNames', {})
        self.values = request.get('ExpressionAttributeValues', {})
        self.item = item

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ''

    def next(self) -> str:
        self.at += 1
        return str(self.tokens[self.at - 1])

    def accept(self, token: str) -> bool:
        if self.peek() != token:
            return False
        self.at += 1
        return True

    # Conditions: every part is read, whatever the others said.

    def either(self) -> bool:
        found = self.both()
        while self.accept('OR'):
            found = self.both() or found
        return found

    def both(self) -> bool:
        found = self.one()
        while self.accept('AND'):
            found = self.one() and found
        return found

    def one(self) -> bool:
        if self.accept('NOT'):
            return not self.one()
        if self.accept('('):
            found = self.either()
            self.next()
            return found
        if self.peek() in ('attribute_exists', 'attribute_not_exists'):
            return self.has(wanted=self.next() == 'attribute_exists')
        return self.comparison()

    def has(self, *, wanted: bool) -> bool:
        """Read ``(name)``: whether the item has it, or has it not."""
        self.next()
        found = self.names[self.next()] in self.item
        self.next()
        return found == wanted

    def comparison(self) -> bool:
        left, verb = plain(self.operand()), self.next()
        if verb != 'IN':
            right = plain(self.operand())
            return left is not None and left[0] == right[0] and COMPARISONS[verb](left[1], right[1])
        self.next()
        among = [plain(self.operand())]
        while self.accept(','):
            among.append(plain(self.operand()))
        self.next()
        return left in among

    def operand(self) -> Value | None:
        token = self.next()
        if token == 'if_not_exists':
            self.next()
            known = self.item.get(self.names[self.next()])
            self.next()
            other = self.operand()
            self.next()
            return known or other
        return self.item.get(self.names[token]) if token.startswith('#') else self.values[token]

    # Updates

    def update(self) -> Item:
        """The item after the update; every value is read from the item before it."""
        changed = dict(self.item)
        while self.at < len(self.tokens):
            verb = self.next()
            while True:
                name = self.names[self.next()]
                value = self.value(verb, name)
                changed.pop(name, None) if value is None else changed.__setitem__(name, value)
                if not self.accept(','):
                    break
        return changed

    def value(self, verb: str, name: str) -> Value | None:
        if verb == 'REMOVE':
            return None
        if verb == 'SET':
            self.next()
            found = self.operand()
            while self.peek() in ('+', '-'):
                sign = 1 if self.next() == '+' else -1
                found = number(found, sign, self.operand())
            return found
        assert verb == 'ADD', verb
        return number(self.item.get(name), 1, self.operand())


def number(one: Value | None, sign: int, other: Value | None) -> Value:
    total = decimal.Decimal((one or {'N': '0'})['N']) + sign * decimal.Decimal((other or {'N': '0'})['N'])
    return {'N': str(total)}


class SmallDynamoDB:
    """``tables``: table name -> key -> item."""

    def __init__(self, tables: dict[str, dict[Key, Item]]) -> None:
        self.tables = {name: copy.copy(items) for name, items in tables.items()}

    def call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        name = re.sub(r'(?<!^)(?=[A-Z])', '_', operation).lower()
        answer: dict[str, Any] = getattr(self, name)(request)
        return answer

    def get_item(self, request: dict[str, Any]) -> dict[str, Any]:
        found = self.tables[request['TableName']].get(key_of(request['Key']))
        return {'Item': found} if found else {}

    def query(self, request: dict[str, Any]) -> dict[str, Any]:
        found = [
            item
            for item in self.tables[request['TableName']].values()
            if Expression(request['KeyConditionExpression'], request, item).either()
        ]
        return {'Items': found, 'Count': len(found), 'ScannedCount': len(found)}

    def scan(self, request: dict[str, Any]) -> dict[str, Any]:
        found = list(self.tables[request['TableName']].values())
        return {'Items': found, 'Count': len(found), 'ScannedCount': len(found)}

    def update_item(self, request: dict[str, Any]) -> dict[str, Any]:
        if not self.holds(request):
            raise ClientError({'Error': {'Code': 'ConditionalCheckFailedException', 'Message': 'lost'}}, 'UpdateItem')
        self.apply('Update', request)
        return {'Attributes': self.tables[request['TableName']][key_of(request['Key'])]}

    def transact_write_items(self, request: dict[str, Any]) -> dict[str, Any]:
        works = [next(iter(one.items())) for one in request['TransactItems']]
        codes = ['None' if self.holds(work) else 'ConditionalCheckFailed' for _, work in works]
        if set(codes) != {'None'}:
            reasons = [{'Code': code} for code in codes]
            error = {'Code': 'TransactionCanceledException', 'Message': f'cancelled [{", ".join(codes)}]'}
            raise ClientError({'Error': error, 'CancellationReasons': reasons}, 'TransactWriteItems')
        for verb, work in works:
            self.apply(verb, work)
        return {}

    def holds(self, work: dict[str, Any]) -> bool:
        condition = work.get('ConditionExpression')
        item = self.tables[work['TableName']].get(key_of(work.get('Key') or work['Item']), {})
        return condition is None or Expression(condition, work, item).either()

    def apply(self, verb: str, work: dict[str, Any]) -> None:
        table, key = self.tables[work['TableName']], key_of(work.get('Key') or work['Item'])
        if verb == 'Update':
            table[key] = Expression(work['UpdateExpression'], work, table.get(key, dict(work['Key']))).update()
        elif verb == 'Put':
            table[key] = work['Item']
        elif verb == 'Delete':
            table.pop(key, None)


def key_of(item: Item) -> Key:
    return item['project_id']['S'], item['id']['S']
