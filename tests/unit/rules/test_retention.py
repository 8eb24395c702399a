"""What stays of a schedule's backups."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.rules.retention import KEEPS, PERIODS, kept

START = datetime.datetime(2026, 3, 1, 0, 30)


def made(count: int, hours: int = 1) -> dict[str, datetime.datetime]:
    """Backups h0, h1, ... so many hours apart, h0 the oldest."""
    return {f'h{number}': START + datetime.timedelta(hours=number * hours) for number in range(count)}


@pytest.mark.parametrize(
    ('keep', 'expected'),
    [
        ({}, 72),
        ({'last': 0, 'daily': 0}, 72),
        ({'last': 5}, 5),
        ({'hourly': 7}, 7),
        ({'daily': 2}, 2),
        ({'daily': 30}, 4),
        ({'last': 3, 'daily': 3}, 5),
        ({'monthly': 12}, 1),
    ],
)
def test_how_many_stay(keep: dict[str, int], expected: int) -> None:
    """72 hours from half past midnight: three days. The rules overlap in the newest."""
    moments = made(72)
    if keep == {'daily': 30}:
        moments = made(73)
    assert len(kept(moments, keep)) == expected


def test_the_newest_of_each_period_stays() -> None:
    assert kept(made(72), {'daily': 3}) == {'h71', 'h47', 'h23'}
    assert kept(made(60, 24), {'weekly': 2}) == {'h59', 'h56'}
    assert kept(made(60, 24), {'monthly': 3}) == {'h59', 'h30'}


def test_periods_without_a_backup_count_for_nothing() -> None:
    moments = {'old': START - datetime.timedelta(days=400), 'new': START}
    assert kept(moments, {'daily': 2}) == {'old', 'new'}


@given(
    st.dictionaries(st.text(max_size=4), st.datetimes(), max_size=40),
    st.fixed_dictionaries({}, optional={name: st.integers(0, 9) for name in KEEPS}),
)
def test_whatever_the_rules(moments: dict[str, datetime.datetime], keep: dict[str, int]) -> None:
    stay = kept(moments, keep)
    assert stay <= moments.keys()
    assert not moments or max(moments.values()) in {moments[id] for id in stay}
    assert kept({id: moments[id] for id in stay}, keep) == stay
    for name, period in PERIODS.items():
        there = len({period(moment) for moment in moments.values()})
        assert len({period(moments[id]) for id in stay}) >= min(keep.get(name, 0), there)
