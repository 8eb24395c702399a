"""The language of filter and goodness functions."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.errors import ExpressionError
from chalicelib.scheduler.expressions import MAX_DEPTH, MAX_LENGTH, MAX_POWER_BITS, evaluate

NAMES: dict[str, dict[str, Any]] = {
    'volume': {'size': 40, 'name': 'data', 'encrypted': False},
    'stats': {'free_capacity_gb': 75.9, 'vendor_name': 'V', 'updated': None, 'protocols': ['a']},
    'capabilities': {'iops': ' 900 ', 'quoted': '"x"', 'ratio': '1.5', 'huge': float('inf')},
}

VALUES: list[tuple[str, Any]] = [
    # Literals.
    ('12', 12),
    ('012', 12),
    ('1.50', 1.5),
    ("'text'", 'text'),
    ('"it\'s"', 'its'),
    ("''", ''),
    ('word', 'word'),
    ('a.b.c', 'a.b.c'),
    # Names: read as a whole number if possible, then as a number, then as text without quotes.
    ('volume.size', 40),
    ('stats.free_capacity_gb', 75),
    ('capabilities.iops', 900),
    ('capabilities.ratio', 1.5),
    ('capabilities.quoted', 'x'),
    ('volume.encrypted', 0),
    # Precedence, from loose to tight.
    ('1, 2 || 0', [1, 2]),
    ('1 || 0 && 0', 1),
    ('0 && 1 ? 5 : 6', 0),
    ('2 < 1 ? 5 : 6', 6),
    ('!1 == 0', True),
    ('!0 + 1', False),
    ('1 + 2 * 3', 7),
    ('-2 ^ 2', -4),
    ('2 * -3', -6),
    ('2 * 3 ^ 2', 18),
    ('abs(3 - 5) ^ 3', 8),
    ('(1 + 2) * 3', 9),
    # Associativity.
    ('10 - 4 - 3', 3),
    ('16 / 4 / 2', 2.0),
    ('2 ^ 3 ^ 2', 512),
    ('1, 2, 3', [1, 2, 3]),
    ('(1, 2), 3', [[1, 2], 3]),
    ('1, (2, 3)', [1, 2, 3]),
    ('- - 4', 4),
    ('not not 0', False),
    # Comparisons chain pairwise.
    ('1 < 2 < 3', True),
    ('1 < 3 < 2', False),
    ('3 <> 3', False),
    ('3 != 4', True),
    ("'a' < 'b'", True),
    ("5 == '5'", False),
    # Logic returns operands, and the words may follow a name, a number, a parenthesis.
    ('0 || 7', 7),
    ('3 && 0', 0),
    ('volume.size and 9', 9),
    ('volume.size OR 9', 40),
    ('1 < volume.size and not (2 > 3)', True),
    ('5or 3', 5),
    ('NOT volume.size', False),
    # All operands of a chain count.
    ('1 && 1 && 0', 0),
    ('0 || 0 || 4', 4),
    ('0 ? 1 : 0 ? 2 : 3', 3),
    ('1 ? 1 : 0 ? 2 : 3', 1),
    # Functions.
    ('max(1, volume.size, 3)', 40),
    ('min(2, 3) + max(1, 0)', 3),
    ('abs volume.size', 40),
    ('max((1, 5, 3))', 5),
    # Arithmetic.
    ('7 / 2', 3.5),
    ("1 / '4'", 0.25),
    ("'a' + 'b'", 'ab'),
    ("'ab' * 2", 'abab'),
    ('9 ^ 0.5', 3.0),
    # Only the branch that is chosen is computed; comparisons stop at the first that fails.
    ('1 ? 2 : 1 / 0', 2),
    ('2 < 1 < 1 / 0', False),
    (' 1\n\t+ 1 ', 2),
]

ERRORS = [
    '',
    '   ',
    '1 +',
    '1 2',
    '(1',
    '1)',
    '()',
    'max()',
    '1 ? 2',
    '1 : 2',
    '1 % 2',
    '1 = 1',
    '1 & 1',
    '"open',
    '1.',
    '.5',
    '1e3',
    '2 ^ -1',
    '1 + !0',
    '-!1',
    'and',
    '1 And 1',
    'volume.size2',
    'volume . size',
    'unknown(1)',
    'volume.size(1)',
    'a b',
    'volume.absent',
    'nowhere.size',
    'stats.updated',
    'stats.protocols',
    'capabilities.huge',
    'volume.name + 1',
    "'5' + 1",
    '1 / 0',
    '0 ^ (0 - 1)',
    '0 && 1 / 0',
    'max(5)',
    'abs(1, 2)',
    '1 < (2, 3)',
    '9 ^ 9 ^ 9 ^ 9',
    "'aaaaaaaa' * 999999999",
    '(' * (MAX_DEPTH + 1) + '1' + ')' * (MAX_DEPTH + 1),
    '-' * 2000 + '1',
    'abs ' * 2000 + '1',
    '1 ? 1 : ' * 1000 + '1',
    '1' * (MAX_LENGTH + 1),
]


@pytest.mark.parametrize(('expression', 'value'), VALUES)
def test_value(expression: str, value: Any) -> None:
    found = evaluate(expression, NAMES)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize('expression', ERRORS, ids=lambda text: repr(text[:20]))
def test_error(expression: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate(expression, NAMES)


def test_long_chains_need_no_stack() -> None:
    assert evaluate('1' + '+1' * 4000, NAMES) == 4001
    assert evaluate('0' + '||0' * 2000 + '||7', NAMES) == 7


def test_the_largest_power() -> None:
    """2 has two bits."""
    assert evaluate(f'2 ^ {MAX_POWER_BITS // 2}', NAMES) == 2 ** (MAX_POWER_BITS // 2)
    with pytest.raises(ExpressionError, match='is too large'):
        evaluate(f'2 ^ {MAX_POWER_BITS // 2 + 1}', NAMES)


def test_nesting_within_the_limit_is_fine() -> None:
    deep = MAX_DEPTH - 1
    assert evaluate('(' * deep + '3' + ')' * deep, NAMES) == 3


def test_a_refusal_says_what_and_where() -> None:
    with pytest.raises(ExpressionError, match=r"'1 \+ \* 2': expected an operand, found \* at character 4"):
        evaluate('1 + * 2', NAMES)
    with pytest.raises(ExpressionError, match=r"'1 \^ !2': expected an operand, found ! at character 4"):
        evaluate('1 ^ !2', NAMES)
    with pytest.raises(ExpressionError, match=r'volume\.absent is unknown'):
        evaluate('volume.absent', NAMES)


def test_a_scope_that_is_missing_is_an_unknown_name() -> None:
    with pytest.raises(ExpressionError, match=r'qos\.iops is unknown'):
        evaluate('qos.iops', {'qos': None})  # type: ignore[dict-item]


def test_the_same_text_gives_new_values_for_new_names() -> None:
    assert evaluate('volume.size * 2', {'volume': {'size': 1}}) == 2
    assert evaluate('volume.size * 2', {'volume': {'size': 5}}) == 10


def test_the_same_refusal_can_be_raised_again() -> None:
    refusals = []
    for _ in range(2):
        with pytest.raises(ExpressionError) as caught:
            evaluate('1 +', NAMES)
        refusals.append(caught.value)
    assert refusals[0].message == refusals[1].message
    assert refusals[0] is not refusals[1]
