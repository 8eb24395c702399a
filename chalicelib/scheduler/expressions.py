"""The language of ``filter_function`` and ``goodness_function``: a Pratt parser that compiles to closures.

    numbers 7 1.5 | 'text' "text" | scope.key (scopes: stats capabilities volume extra qos) | abs min max | ( )
    tightest first:  call   ^ (right)   + - (sign)   * /   + -   ! not NOT   < <= > >= == != <>
                     c ? a : b   && and AND   || or OR   ,

As in Cinder: a prefix looser than its place needs parentheses (``2 ^ -3`` is refused); comparisons chain pairwise;
``&&`` and ``||`` evaluate every operand and return one; ``/`` is true division; a value is read as a whole number, else
as a number, else as text; a bare word without a dot is text; ``volume.size2`` is not a name: names hold no digits.
Unlike Cinder: ``volume.size and 1`` is not a call of a function ``volume.size``, and the third and later operands of
``a && b && c`` and of ``a ? b : c ? d : e`` count (Cinder drops them silently).
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from chalicelib.errors import ExpressionError

#: What an expression may read: scope -> key -> value.
Names = Mapping[str, Mapping[str, Any]]
Node = Callable[[Names], Any]
Operator = Callable[[Any, Any], Any]

#: Operators write expressions, but a bad one must not consume the scheduler's time or memory.
MAX_LENGTH = 8192
MAX_DEPTH = 50
MAX_POWER_BITS = 65536

FUNCTIONS: dict[str, Callable[..., Any]] = {'abs': abs, 'max': max, 'min': min}

_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
    (?P<number>[0-9]+(?:\.[0-9]+)?)
  | (?P<name>[A-Za-z_.]+)
  | (?P<text>"(?:[^"\n\r\\]|""|\\.)*" | '(?:[^'\n\r\\]|''|\\.)*')
  | (?P<symbol>&&|\|\||<=|>=|<>|==|!=|[-+*/^<>!?:,()])
  | (?P<end>\Z)
)""",
    re.VERBOSE,
)
_VARIABLE = re.compile(r'[A-Za-z_]+\.[A-Za-z_]+')
_WORDS = {'and': '&&', 'AND': '&&', 'or': '||', 'OR': '||', 'not': '!', 'NOT': '!'}


class Token(NamedTuple):
    """``kind`` is number, name, text, symbol or end; words that are operators come as their symbol."""

    kind: str
    text: str
    position: int


def evaluate(expression: str, names: Names) -> Any:
    """Return the value of ``expression``: a number, truth, text, or list of these.

    Raises ExpressionError for one that does not parse, reads an unknown name, or computes nonsense.
    """
    node = _compiled(expression)
    if isinstance(node, ExpressionError):
        raise ExpressionError(node.message)
    try:
        return node(names)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ExpressionError(reason=f'{expression!r}: {error}') from error


@functools.lru_cache(maxsize=1024)
def _compiled(expression: str) -> Node | ExpressionError:
    """Compile once per text; an error is cached, too, since every pool would run into it again."""
    try:
        return _Parser(expression).parse()
    except ExpressionError as error:
        return error


def _tokens(expression: str) -> list[Token]:
    if len(expression) > MAX_LENGTH:
        raise ExpressionError(reason=f'it is longer than {MAX_LENGTH} characters')
    tokens: list[Token] = []
    position = 0
    while not tokens or tokens[-1].kind != 'end':
        match = _TOKEN.match(expression, position)
        if match is None:
            raise ExpressionError(reason=f'{expression!r} cannot be read from character {position} on')
        kind = match.lastgroup or 'end'
        text, position = match[kind], match.end()
        symbol = _WORDS.get(text) if kind == 'name' else None
        tokens.append(Token('symbol', symbol, match.start(kind)) if symbol else Token(kind, text, match.start(kind)))
    return tokens


def _scalar(value: Any) -> Any:
    """Read a value as Cinder does: whole number (fractions of a number are cut), else number, else unquoted text."""
    for number in (int, float):
        try:
            return number(value)
        except ValueError:
            continue
    return value.replace('"', '').replace("'", '')


def _constant(value: Any) -> Node:
    return lambda names: value


def _variable(name: str) -> Node:
    scope, key = name.split('.')

    def read(names: Names) -> Any:
        try:
            value = names[scope][key]
        except (KeyError, TypeError):
            raise ExpressionError(reason=f'{name} is unknown') from None
        return _scalar(value)

    return read


def _power(base: Any, exponent: Any) -> Any:
    whole = isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1
    if whole and base.bit_length() * exponent > MAX_POWER_BITS:
        raise ExpressionError(reason=f'{base} ^ {exponent} is too large')
    return pow(base, exponent)


def _times(left: Any, right: Any) -> Any:
    for repeated, times in ((left, right), (right, left)):
        if isinstance(repeated, str | list) and isinstance(times, int) and len(repeated) * times > MAX_LENGTH:
            raise ExpressionError(reason=f'a text or list is repeated {times} times')
    return left * right


def _pair(left: Any, right: Any) -> list[Any]:
    return [left, *right] if isinstance(right, list) else [left, right]


def _fold(first: Node, rest: list[tuple[Operator, Node]]) -> Node:
    def node(names: Names) -> Any:
        value = first(names)
        for apply, operand in rest:
            value = apply(value, operand(names))
        return value

    return node


def _fold_from_right(first: Node, rest: list[tuple[Operator, Node]]) -> Node:
    operands = [first, *(operand for _, operand in rest)]
    apply = rest[0][0]  # the levels that group from the right have one operator each

    def node(names: Names) -> Any:
        *values, result = [operand(names) for operand in operands]
        for value in reversed(values):
            result = apply(value, result)
        return result

    return node


def _compare(first: Node, rest: list[tuple[Operator, Node]]) -> Node:
    def node(names: Names) -> bool:
        left = first(names)
        for holds, operand in rest:
            right = operand(names)
            if not holds(left, right):
                return False
            left = right
        return True

    return node


class Level(NamedTuple):
    """One row of the table of precedence: its operators, and how a chain of them becomes a node."""

    operators: dict[str, Operator]
    build: Callable[[Node, list[tuple[Operator, Node]]], Node]


_COMPARISONS: dict[str, Operator] = {
    '<': operator.lt,
    '<=': operator.le,
    '>': operator.gt,
    '>=': operator.ge,
    '==': operator.eq,
    '!=': operator.ne,
    '<>': operator.ne,
}

COMMA, OR, AND, TERNARY, COMPARISON, NOT, ADD, MULTIPLY, SIGN, POWER, CALL = range(11)

#: Infix operators by level; ``?`` is separate, since it has three operands.
_LEVELS: dict[int, Level] = {
    COMMA: Level({',': _pair}, _fold_from_right),
    OR: Level({'||': lambda left, right: left or right}, _fold),
    AND: Level({'&&': lambda left, right: left and right}, _fold),
    COMPARISON: Level(_COMPARISONS, _compare),
    ADD: Level({'+': operator.add, '-': operator.sub}, _fold),
    MULTIPLY: Level({'*': _times, '/': lambda left, right: left / float(right)}, _fold),
    POWER: Level({'^': _power}, _fold_from_right),
}
_INFIX = {symbol: number for number, level in _LEVELS.items() for symbol in level.operators} | {'?': TERNARY}
_PREFIX: dict[str, tuple[int, Callable[[Any], Any]]] = {
    '!': (NOT, operator.not_),
    '-': (SIGN, lambda value: -1 * value),
    '+': (SIGN, lambda value: 1 * value),
}


class _Parser:
    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.tokens = _tokens(expression)
        self.index = 0
        self.depth = 0

    def parse(self) -> Node:
        node = self.infix(COMMA)
        if self.next.kind != 'end':
            raise self.refusal()
        return node

    @property
    def next(self) -> Token:
        return self.tokens[self.index]

    def take(self) -> Token:
        token = self.next
        self.index += 1
        return token

    def expect(self, symbol: str) -> None:
        if self.take().text != symbol:
            self.index -= 1
            raise self.refusal(f'expected {symbol!r}')

    def refusal(self, hint: str = 'expected an operator or the end') -> ExpressionError:
        found = self.next.text or 'the end'
        return ExpressionError(reason=f'{self.expression!r}: {hint}, found {found} at character {self.next.position}')

    def infix(self, level: int) -> Node:
        """Parse operators of ``level`` and tighter."""
        self.descend()
        left = self.prefix(level)
        while (found := _INFIX.get(self.next.text, -1)) >= level:
            left = self.ternary(left) if found == TERNARY else self.chain(found, left)
        self.depth -= 1
        return left

    def descend(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ExpressionError(reason=f'{self.expression[:40]!r}... is nested more than {MAX_DEPTH} levels deep')

    def chain(self, number: int, first: Node) -> Node:
        """Parse ``op operand op operand ...`` of one level into one flat node, so that length costs no stack."""
        level, rest = _LEVELS[number], []
        while apply := level.operators.get(self.next.text):
            self.take()
            rest.append((apply, self.infix(number + 1)))
        return level.build(first, rest)

    def ternary(self, condition: Node) -> Node:
        self.take()
        then = self.infix(COMPARISON)
        self.expect(':')
        otherwise = self.infix(TERNARY)
        return lambda names: then(names) if condition(names) else otherwise(names)

    def prefix(self, level: int) -> Node:
        """Parse one operand with the signs and negations before it."""
        return self.signed(level) if self.next.text in _PREFIX else self.operand()

    def signed(self, level: int) -> Node:
        bound, apply = _PREFIX[self.next.text]
        if bound < level:
            raise self.refusal('expected an operand')
        self.take()
        operand = self.infix(bound)
        return lambda names: apply(operand(names))

    def operand(self) -> Node:
        token = self.take()
        if token.kind in ('number', 'text'):
            return _constant(_scalar(token.text))
        if token.kind == 'name':
            return self.call(token.text) if self.starts_operand() else self.name(token.text)
        if token.text != '(':
            self.index -= 1
            raise self.refusal('expected an operand')
        node = self.infix(COMMA)
        self.expect(')')
        return node

    def starts_operand(self) -> bool:
        return self.next.kind in ('number', 'name', 'text') or self.next.text == '('

    def name(self, text: str) -> Node:
        return _variable(text) if _VARIABLE.fullmatch(text) else _constant(_scalar(text))

    def call(self, name: str) -> Node:
        function = FUNCTIONS.get(name)
        if function is None:
            raise ExpressionError(reason=f'{self.expression!r}: function {name} does not exist')
        self.descend()
        operand = self.prefix(CALL)
        self.depth -= 1

        def node(names: Names) -> Any:
            arguments = operand(names)
            return function(*arguments) if isinstance(arguments, list) else function(arguments)

        return node
