"""oslo.policy's rule language: a check string -> an expression, and its evaluation.

The language is that of oslo.policy 6 (https://docs.openstack.org/oslo.policy/latest/reference/api/oslo_policy.policy.html):
``kind:match`` checks joined by ``and``, ``or``, ``not`` and parentheses, ``@`` (always), ``!`` (never), the empty text
(always), and the older lists of lists. ``policy.yaml`` is written in it. Each decision is oslo.policy's: where that
fails closed (a check without a colon, a text that cannot be parsed), the expression is ``NEVER``. Where it would raise
an exception, and Cinder answer 500, Unusable is raised, for which the caller denies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

#: An expression: a word and its operands. ('and' | 'or', expression, ...), ('not', expression), ('rule', name),
#: ('role', match), ('literal', text, match), ('fact', path, match), ('unusable', reason), or one of these two.
Expression = tuple[Any, ...]

ALWAYS: Expression = ('@',)
NEVER: Expression = ('!',)

#: Parentheses and ``not`` in each other: a text of 4 KB could exceed Python's stack.
MAX_DEPTH = 50

#: Kinds of checks that send the request to another service.
REMOTE = frozenset({'http', 'https'})

#: What the caller's facts begin with: no Python literal, which ``ast`` need not find out.
_FACT = re.compile(r'(user|project|domain|roles|is_admin|system|service)\w*(\.\w+)*', re.ASCII)

#: A substitution that would make a text of any length.
_WIDE = re.compile(r'%(\([^)]*\))?[-#0 +]*[*.\d]')


class Unusable(Exception):
    """An expression that oslo.policy cannot evaluate either: it raises an exception. The text is the reason."""


class Facts(NamedTuple):
    """What an expression is evaluated for."""

    #: Attributes of the object of the operation, for ``%(name)s``.
    target: Mapping[str, Any]
    #: Attributes of the caller.
    caller: Mapping[str, Any]
    #: Returns the expression of a named rule; None if it does not exist.
    rule: Callable[[str], Expression | None]


def parse(rule: object, problems: list[str] | None = None) -> Expression:
    """Return the expression of a rule as a policy file has it: a text, or a list of checks or of lists of checks.

    ``problems`` receives a sentence for each part that is not as its author meant it.
    """
    found: list[str] = [] if problems is None else problems
    if isinstance(rule, str):
        return _text(rule, found)
    if isinstance(rule, list):
        return _list(rule, found)
    found.append('is neither a text nor a list: write "@" to allow every caller, "!" to allow no caller')
    return ('unusable', 'not a rule')


def _list(rule: Sequence[Any], problems: list[str]) -> Expression:
    """The outer list is joined by "or", each inner one by "and"; a text is a list of one."""
    if not rule:
        return ALWAYS
    alternatives = []
    for inner in filter(None, rule):
        if not isinstance(inner, str | list):
            problems.append(f'has {inner!r} in its list: allowed are checks and lists of checks')
            return ('unusable', 'not a rule')
        checks = [_check(each, problems) for each in ([inner] if isinstance(inner, str) else inner)]
        alternatives.append(_joined('and', checks))
    return _joined('or', alternatives) if alternatives else NEVER


def _joined(word: str, parts: Sequence[Expression]) -> Expression:
    return parts[0] if len(parts) == 1 else (word, *parts)


def _text(rule: str, problems: list[str]) -> Expression:
    if not rule:
        return ALWAYS
    tokens = list(_tokens(rule, problems))
    parser = _Parser(tokens)
    try:
        return parser.whole()
    except RecursionError:
        problems.append(f'is nested deeper than {MAX_DEPTH}: split it into rules')
        return ('unusable', 'nested too deeply')
    except ValueError as error:
        problems.append(str(error))
        return NEVER


def _tokens(rule: str, problems: list[str]) -> Iterator[str | Expression]:
    """Yield '(', ')', 'and', 'or', 'not', 'text' for a quoted text, and the expressions of checks.

    Parentheses may touch a check on its outer side only: inside, they belong to ``%(name)s``.
    """
    for word in rule.split():
        inner = word.lstrip('(')
        yield from '(' * (len(word) - len(inner))
        clean = inner.rstrip(')')
        if clean.lower() in ('and', 'or', 'not'):
            yield clean.lower()
        elif clean:
            is_quoted = len(inner) > 1 and inner[0] == inner[-1] and inner[0] in '"\''
            yield 'text' if is_quoted else _check(clean, problems)
        yield from ')' * (len(inner) - len(clean))


class _Parser:
    """Reads an expression by recursive descent: ``or`` binds less than ``and``, ``and`` less than ``not``."""

    def __init__(self, tokens: Sequence[str | Expression]) -> None:
        self._tokens, self._place, self._depth = tokens, 0, 0

    def whole(self) -> Expression:
        found = self._alternatives()
        if self._place < len(self._tokens):
            raise ValueError(f'has {self._shown()} where "and" or "or" should be')
        return found

    def _alternatives(self) -> Expression:
        parts = [self._conjunction()]
        while self._takes('or'):
            parts.append(self._conjunction())
        return _joined('or', parts)

    def _conjunction(self) -> Expression:
        parts = [self._term()]
        while self._takes('and'):
            parts.append(self._term())
        return _joined('and', parts)

    def _term(self) -> Expression:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise RecursionError
        found = self._one()
        self._depth -= 1
        return found

    def _one(self) -> Expression:
        if self._takes('not'):
            return ('not', self._term())
        if self._takes('('):
            found = self._alternatives()
            if not self._takes(')'):
                raise ValueError(f'has {self._shown()} where ")" should be')
            return found
        token = self._tokens[self._place] if self._place < len(self._tokens) else ''
        if isinstance(token, str):
            raise ValueError(f'has {self._shown()} where a check, such as role:admin, should be')
        self._place += 1
        return token

    def _takes(self, wanted: str) -> bool:
        found = self._place < len(self._tokens) and self._tokens[self._place] == wanted
        self._place += found
        return found

    def _shown(self) -> str:
        if self._place >= len(self._tokens):
            return 'its end'
        token = self._tokens[self._place]
        return {'text': 'a text in quotes'}.get(token, f'"{token}"') if isinstance(token, str) else 'a check'


def _check(text: object, problems: list[str]) -> Expression:
    """Return the expression of a single check."""
    if text in ('!', '@'):
        return NEVER if text == '!' else ALWAYS
    kind, colon, match = text.partition(':') if isinstance(text, str) else ('', '', '')
    if not colon:
        problems.append(f'has {text!r}, which is not a check: write kind:value, such as role:admin')
        return NEVER
    if kind == 'rule':
        return ('rule', match)
    if kind in REMOTE or _WIDE.search(match):
        reason = f'{text}: checks by another service are not supported' if kind in REMOTE else f'{text} has a width'
        problems.append(f'has {reason}')
        return ('unusable', reason)
    return ('role', match) if kind == 'role' else _compared(kind, match, problems)


def _compared(kind: str, match: str, problems: list[str]) -> Expression:
    """Return a comparison of a literal, or of a fact of the caller: what Python reads as a literal is one."""
    if _FACT.fullmatch(kind):
        return ('fact', tuple(kind.split('.')), match)
    import ast  # most rules compare facts

    try:
        return ('literal', str(ast.literal_eval(kind)), match)
    except ValueError:
        return ('fact', tuple(kind.split('.')), match)
    except (SyntaxError, TypeError, MemoryError, RecursionError):
        problems.append(f'has {kind!r} before a colon: give role, rule, an attribute of the caller, or a literal')
        return ('unusable', f'{kind} is not an attribute of a caller')


def evaluate(expression: Expression, facts: Facts, active: frozenset[str] = frozenset()) -> bool:
    """Return whether an expression holds. ``active``: rules whose evaluation needs this one's.

    Raises Unusable, and what looking the target up raises.
    """
    return _EVALUATORS[expression[0]](expression, facts, active)


def _rule(expression: Expression, facts: Facts, active: frozenset[str]) -> bool:
    name = expression[1]
    if name in active:
        raise Unusable(f'the rule {name} refers to itself')
    found = facts.rule(name)
    return found is not None and evaluate(found, facts, active | {name})


def _role(expression: Expression, facts: Facts, active: frozenset[str]) -> bool:
    match = _substituted(expression[1], facts)
    return match is not None and match.lower() in [role.lower() for role in facts.caller.get('roles', ())]


def _literal(expression: Expression, facts: Facts, active: frozenset[str]) -> bool:
    match = _substituted(expression[2], facts)
    return match is not None and match == expression[1]


def _fact(expression: Expression, facts: Facts, active: frozenset[str]) -> bool:
    match = _substituted(expression[2], facts)
    return match is not None and _has(facts.caller, expression[1], match)


def _has(value: Any, path: tuple[str, ...], match: str) -> bool:
    """Return whether the text of the value at a path is ``match``; one element of a list is enough."""
    for place, key in enumerate(path):
        try:
            value = value[key]
        except KeyError:
            return False
        except TypeError:
            raise Unusable(f'{".".join(path)} has no parts') from None
        if isinstance(value, list):
            return any(_has(each, path[place + 1 :], match) for each in value)
    return match == str(value)


def _substituted(match: str, facts: Facts) -> str | None:
    """Return a match with the target's attributes in place; None if the target lacks one."""
    if '%' not in match:
        return match
    try:
        return match % facts.target
    except KeyError:
        return None
    except (TypeError, ValueError) as error:
        raise Unusable(f'{match}: {error}') from None


def _unusable(expression: Expression, facts: Facts, active: frozenset[str]) -> bool:
    raise Unusable(expression[1])


_EVALUATORS: Mapping[str, Callable[[Expression, Facts, frozenset[str]], bool]] = {
    '@': lambda expression, facts, active: True,
    '!': lambda expression, facts, active: False,
    'and': lambda expression, facts, active: all(evaluate(each, facts, active) for each in expression[1:]),
    'or': lambda expression, facts, active: any(evaluate(each, facts, active) for each in expression[1:]),
    'not': lambda expression, facts, active: not evaluate(expression[1], facts, active),
    'rule': _rule,
    'role': _role,
    'literal': _literal,
    'fact': _fact,
    'unusable': _unusable,
}
