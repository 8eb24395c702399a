"""The expressions of DynamoDB's requests (conditions, updates), evaluated on an item in a dict."""

from __future__ import annotations

import decimal
import functools
import itertools
import operator
import re
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

#: {'S': 'text'}, {'N': '1'}, ...
Value = dict[str, Any]
Item = dict[str, Value]
Key = tuple[str, ...]
Path = tuple[str | int, ...]

TOKEN = re.compile(r'[()=,+.\[\]]|<>|<=|>=|<|>|-(?=\s)|[#:]\w+|\w+')

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    '=': operator.eq, '<>': operator.ne, '<': operator.lt, '<=': operator.le, '>': operator.gt, '>=': operator.ge,
}  # fmt: skip


def plain(value: Value | None) -> Any:
    """Something that compares as DynamoDB compares; of another kind is never equal."""
    if value is None:
        return None
    ((kind, content),) = value.items()
    if kind == 'N':
        return kind, decimal.Decimal(content)
    return (kind, sorted(content)) if kind in ('SS', 'NS') else (kind, content)


@functools.lru_cache(100_000)
def tokens(text: str) -> tuple[str, ...]:
    return tuple(TOKEN.findall(text))


class Expression:
    """A recursive descent over one expression, evaluated on an item while it is read."""

    def __init__(self, text: str, request: dict[str, Any], item: Item) -> None:
        self.tokens, self.at = tokens(text), 0
        self.names = request.get('ExpressionAttributeNames', {})
        self.values = request.get('ExpressionAttributeValues', {})
        self.item = item

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ''

    def next(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def accept(self, token: str) -> bool:
        if self.peek() != token:
            return False
        self.at += 1
        return True

    def arguments(self, *readers: Callable[[], Any]) -> list[Any]:
        """Read the arguments between parentheses, each with its reader."""
        assert self.next() == '('
        found = []
        for number, reader in enumerate(readers):
            assert number == 0 or self.next() == ','
            found.append(reader())
        assert self.next() == ')'
        return found

    def name(self) -> str:
        token = self.next()
        return str(self.names[token]) if token.startswith('#') else token

    def path(self) -> Path:
        """An attribute's name, and the way into it."""
        steps: list[str | int] = [self.name()]
        while self.peek() in ('.', '['):
            if self.next() == '.':
                steps.append(self.name())
            else:
                steps.append(int(self.next()))
                assert self.next() == ']'
        return tuple(steps)

    # Conditions: every part is read, whatever the results of the others.

    def holds(self) -> bool:
        found = self.either()
        assert self.at == len(self.tokens), self.tokens[self.at :]
        return found

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
            assert self.next() == ')'
            return found
        if self.peek() in ('attribute_exists', 'attribute_not_exists'):
            wanted = self.next() == 'attribute_exists'
            return (within(self.item, *self.arguments(self.path)) is not None) == wanted
        if self.peek() in ('begins_with', 'contains'):
            function = self.next()
            whole, part = (plain(value) for value in self.arguments(self.operand, self.operand))
            return has_part(function, whole, part)
        return self.comparison()

    def comparison(self) -> bool:
        left, verb = plain(self.operand()), self.next()
        if verb == 'BETWEEN':
            low, high = plain(self.operand()), (self.next(), plain(self.operand()))[1]
            return left is not None and left[0] == low[0] and bool(low[1] <= left[1] <= high[1])
        if verb == 'IN':
            return left in self.among()
        right = plain(self.operand())
        if left is None or right is None:
            return verb == '<>' and left is not right
        return COMPARISONS[verb](left[1], right[1]) if left[0] == right[0] else verb == '<>'

    def among(self) -> list[Any]:
        self.next()
        found = [plain(self.operand())]
        while self.accept(','):
            found.append(plain(self.operand()))
        self.next()
        return found

    def operand(self) -> Value | None:
        if self.accept('if_not_exists'):
            known, other = self.arguments(lambda: within(self.item, self.path()), self.operand)
            return known or other
        if self.accept('list_append'):
            first, second = self.arguments(self.operand, self.operand)
            return {'L': [*first['L'], *second['L']]}
        if self.peek().startswith(':'):
            return self.values[self.next()]  # type: ignore[no-any-return]
        return within(self.item, self.path())

    # Updates

    def update(self) -> Item:
        """The item after the update; every value is read from the item before it."""
        changed, paths = self.item, []
        while self.at < len(self.tokens):
            verb = self.next()
            while True:
                path = self.path()
                paths.append(path)
                changed = replaced(changed, path, self.value(verb, path))
                if not self.accept(','):
                    break
        if any(one == other[: len(one)] for one, other in itertools.permutations(paths, 2)):
            raise refusal('ValidationException', f'Two document paths overlap with each other: {paths}')
        return changed

    def value(self, verb: str, path: Path) -> Value | None:
        if verb == 'REMOVE':
            return None
        if verb == 'SET':
            assert self.next() == '='
            found = self.operand()
            while self.peek() in ('+', '-'):
                sign = 1 if self.next() == '+' else -1
                found = number(found, sign, self.operand())
            if found is None:
                raise refusal('ValidationException', 'The expression refers to an attribute that does not exist')
            return found
        known, given = within(self.item, path), self.operand()
        assert given is not None
        if 'N' in given and verb == 'ADD':
            return number(known or {'N': '0'}, 1, given)
        ((kind, members),) = given.items()
        if kind not in ('SS', 'NS') or (known and kind not in known):
            raise refusal('ValidationException', 'An operand in the update expression has an incorrect data type')
        held = set(known[kind]) if known else set()
        left = held | set(members) if verb == 'ADD' else held - set(members)
        return {kind: sorted(left)} if left else None


def has_part(function: str, whole: Any, part: Any) -> bool:
    if whole is None or part is None or whole[0] == 'N':
        return False
    if function == 'begins_with':
        return bool(whole[0] == part[0] == 'S' and whole[1].startswith(part[1]))
    return part[1] in whole[1] if whole[0] in ('S', 'SS') else {part[0]: part[1]} in whole[1]


def within(item: Item, path: Path) -> Value | None:
    """The value at the end of a path."""
    found: Value | None = item.get(str(path[0]))
    for step in path[1:]:
        if found is None:
            return None
        inner = found.get('L' if isinstance(step, int) else 'M')
        inside = inner is not None and (step < len(inner) if isinstance(step, int) else step in inner)
        found = inner[step] if inside and inner is not None else None
    return found


def replaced(item: Item, path: Path, value: Value | None) -> Item:
    """The item with another value at the end of a path, None for no value; the item itself stays as it is."""
    step, *rest = path
    assert isinstance(step, str), path
    changed = dict(item)
    if rest:
        if step not in item or 'M' not in item[step]:
            raise refusal('ValidationException', 'The document path provided in the update expression is invalid')
        changed[step] = {'M': replaced(item[step]['M'], tuple(rest), value)}
    elif value is None:
        changed.pop(step, None)
    else:
        changed[step] = value
    return changed


def number(one: Value | None, sign: int, other: Value | None) -> Value:
    if one is None or other is None or 'N' not in one or 'N' not in other:
        raise refusal('ValidationException', 'An operand in the update expression is missing, or no number')
    return {'N': str(decimal.Decimal(one['N']) + sign * decimal.Decimal(other['N']))}


def refusal(code: str, message: str, operation: str = '', **facts: Any) -> ClientError:
    return ClientError({'Error': {'Code': code, 'Message': message}, **facts}, operation)
