"""What a requirement makes of a capability."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.scheduler.extra_specs import bool_from_string, compile_requirement

MATCHES = [
    # Without a known operator: this very text.
    ('gold', 'gold'),
    ('> 5', '> 5'),
    ('<all> a b', '<all> a b'),
    ('', ''),
    (None, None),
    # Numbers, from numbers and from text.
    (100, '= 100'),
    (101, '= 100'),
    ('100', '>= 100'),
    (5.0, '== 5'),
    (6, '!= 5'),
    (4, '<= 5'),
    (True, '== 1'),
    (100, '== 100 200'),
    # Text.
    ('b', 's> a'),
    ('b', 's>= b'),
    ('a', 's< b'),
    ('b', 's<= b'),
    ('b', 's== b'),
    (5, 's!= 5'),
    # Membership, truth, choice.
    ('iscsi', '<in> scsi'),
    (['a', 'b'], '<in> b'),
    (True, '<is> yes'),
    ('ON', '<is> True'),
    ('junk', '<is> False'),
    ('gold', '<or> silver <or> gold'),
    ('gold', '<or> gold'),
]

MISMATCHES = [
    ('silver', 'gold'),
    (5, '5'),
    (6, '> 5'),
    ('x', None),
    (None, 'x'),
    (99, '= 100'),
    ('many', '>= 5'),
    (5, '>= many'),
    ('many', '!= 5'),
    (None, '!= 5'),
    (5, '>='),
    ('x', '<in>'),
    ('a', 's> a'),
    ('iscsi', '<in> nfs'),
    ('maybe', '<is> True'),
    (None, '<is> False'),
    ('gold', '<or> silver gold'),
    (5, '<or> 5'),
    ('gold', '<or>'),
    (None, '<or> gold'),
]


@pytest.mark.parametrize(('value', 'requirement'), MATCHES)
def test_matches(value: Any, requirement: str | None) -> None:
    assert compile_requirement(requirement)(value) is True


@pytest.mark.parametrize(('value', 'requirement'), MISMATCHES)
def test_does_not_match(value: Any, requirement: str | None) -> None:
    assert compile_requirement(requirement)(value) is False


@pytest.mark.parametrize(('value', 'requirement'), [(5, '<in> 5'), (5, 's< 6'), (True, 's> a'), (['a'], '>= 5')])
def test_what_cannot_be_compared_is_said_so(value: Any, requirement: str) -> None:
    with pytest.raises(TypeError):
        compile_requirement(requirement)(value)


@pytest.mark.parametrize(
    ('value', 'truth'),
    [(True, True), (1, True), (' Yes ', True), ('t', True), (False, False), (2, False), ('2', False), (None, False)],
)
def test_bool_from_string(value: Any, truth: bool) -> None:
    assert bool_from_string(value) is truth
