"""Cron expressions, against a reading of them minute by minute."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.errors import InvalidInput
from chalicelib.rules.cron import FIELDS, parse

MOMENT = datetime.datetime(2026, 11, 22, 4, 30, 59, 999)
YEARS = st.datetimes(datetime.datetime(2024, 1, 1), datetime.datetime(2030, 1, 1))


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('* * * * *', '2026-11-22 04:31'),
        ('30 4 * * *', '2026-11-23 04:30'),
        ('*/15 * * * *', '2026-11-22 04:45'),
        ('5/20 * * * *', '2026-11-22 04:45'),
        ('0 0 1 * *', '2026-12-01 00:00'),
        ('0 0 29 2 *', '2028-02-29 00:00'),
        ('0 3 * * 1-5', '2026-11-23 03:00'),
        ('0 3 * * 7', '2026-11-29 03:00'),
        ('0 3 * * 0', '2026-11-29 03:00'),
        ('0 0 1 * 1', '2026-11-23 00:00'),
        ('59 23 31 12 *', '2026-12-31 23:59'),
        ('0,10-12,50/5 5 * * *', '2026-11-22 05:00'),
    ],
)
def test_the_next_moment(text: str, expected: str) -> None:
    assert parse(text).after(MOMENT).strftime('%Y-%m-%d %H:%M') == expected


def test_a_time_zone_is_kept() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    found = parse('30 4 * * *').after(MOMENT.replace(tzinfo=zone))
    assert found == datetime.datetime(2026, 11, 23, 4, 30, tzinfo=zone)
    assert found.utcoffset() == datetime.timedelta(hours=5, minutes=30)


def test_the_words_of_refusals() -> None:
    with pytest.raises(InvalidInput) as never:
        parse('0 0 30 2 *').after(MOMENT)
    assert never.value.message.endswith(': No date matches the cron expression.')
    with pytest.raises(InvalidInput) as short:
        parse('0 0 1')
    assert short.value.message.endswith(": The cron expression '0 0 1' has 3 fields, not 5.")
    with pytest.raises(InvalidInput) as wrong:
        parse('0 24 * * *')
    expected = 'use numbers from 0 to 23, ranges a-b, steps */n, or several with commas.'
    assert wrong.value.message.endswith(f": '24' is not a hour of a cron expression: {expected}")


@pytest.mark.parametrize(
    'text',
    [
        '', '* * * *', '60 * * * *', '* 24 * * *', '* * 0 * *', '* * * 13 *', '* * * * 8', '9-3 * * * *',
        '*/0 * * * *', 'a * * * *', '1, * * * *', '-1 * * * *', '1-2-3 * * * *', '* * * * MON',
    ],
)  # fmt: skip
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse(text)


def test_a_day_that_never_comes_is_refused() -> None:
    with pytest.raises(InvalidInput, match='No date matches'):
        parse('0 0 31 2 *').after(MOMENT)


def _field(least: int, greatest: int) -> st.SearchStrategy[str]:
    number = st.integers(least, greatest)
    pair = st.tuples(number, number).map(sorted).map(lambda pair: f'{pair[0]}-{pair[1]}')
    return st.one_of(st.just('*'), number.map(str), pair, st.integers(1, 30).map('*/{}'.format))


@settings(max_examples=60, deadline=None)
@given(_field(*FIELDS['minute']), _field(*FIELDS['hour']), YEARS)
def test_nothing_is_left_out_and_nothing_comes_early(minute: str, hour: str, moment: datetime.datetime) -> None:
    one = parse(f'{minute} {hour} * * *')
    found = one.after(moment)
    assert found > moment
    assert (found.minute in one.minutes, found.hour in one.hours) == (True, True)
    between = moment.replace(second=0, microsecond=0) + datetime.timedelta(minutes=1)
    while between < found:
        assert not (between.minute in one.minutes and between.hour in one.hours)
        between += datetime.timedelta(minutes=1)
