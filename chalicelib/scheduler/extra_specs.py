"""The requirement of an extra spec on a capability: Cinder's operators, compiled once per requirement.

    <op> <operand>        =  >=  ==  !=  <=    numbers (``=`` means ``>=``; what is not a number never matches)
                          s== s!= s< s<= s> s>=  text
                          <in> x   x is contained in the value      <is> x   both mean the same truth
    <or> a <or> b         the value is one of them
    anything else         the value is exactly this text; ``>``, ``<`` and ``<all>`` are not operators

Only the first word after an operator counts. A capability of None passes nothing but a requirement of None.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

Match = Callable[[Any], bool]

TRUE_WORDS = frozenset({'1', 't', 'true', 'on', 'y', 'yes'})


def bool_from_string(value: object) -> bool:
    """Read a truth as Cinder does: a known word in any case is true, everything else is false."""
    if isinstance(value, bool):
        return value
    return str(value).strip().lower() in TRUE_WORDS


def _numeric(compare: Callable[[float, float], bool]) -> Callable[[str], Match]:
    def of(operand: str) -> Match:
        def matches(value: Any) -> bool:
            try:
                return compare(float(value), float(operand))
            except ValueError:
                return False

        return matches

    return of


def _text(compare: Callable[[Any, str], bool]) -> Callable[[str], Match]:
    return lambda operand: lambda value: compare(value, operand)


def _truth(operand: str) -> Match:
    wanted = bool_from_string(operand)
    return lambda value: bool_from_string(value) is wanted


#: Operator -> maker of the test for its operand. The tests never get None.
_OPERATORS: dict[str, Callable[[str], Match]] = {
    '=': _numeric(operator.ge),
    '==': _numeric(operator.eq),
    '!=': _numeric(operator.ne),
    '>=': _numeric(operator.ge),
    '<=': _numeric(operator.le),
    's==': _text(operator.eq),
    's!=': _text(operator.ne),
    's<': _text(operator.lt),
    's<=': _text(operator.le),
    's>': _text(operator.gt),
    's>=': _text(operator.ge),
    '<in>': _text(operator.contains),
    '<is>': _truth,
}


@functools.lru_cache(maxsize=1024)
def compile_requirement(requirement: str | None) -> Match:
    """Return the test of one capability value; it raises TypeError for a value that cannot be compared.

    Cinder fails with that TypeError (a number against ``<in>`` or ``s<``); CapabilitiesFilter removes the pool instead.
    """
    words = requirement.split() if requirement else []
    name = words[0] if words else ''
    if name == '<or>':
        choices = words[1::2]
        return lambda value: value is not None and value in choices
    if name not in _OPERATORS:
        return lambda value: bool(value == requirement)
    if len(words) == 1:
        return lambda value: False
    matches = _OPERATORS[name](words[1])
    return lambda value: value is not None and matches(value)
