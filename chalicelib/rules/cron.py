"""Cron expressions of five fields, in UTC: minute, hour, day of month, month, day of week (0 or 7 is Sunday).

A field is ``*``, numbers, ranges ``a-b``, steps ``*/n`` or ``a-b/n``, or several of these with commas. As in cron, a
day is one that either of the two day fields names when both are restricted.
"""

from __future__ import annotations

import dataclasses
import datetime
import re

from chalicelib.errors import InvalidInput

#: Field -> its least and greatest number.
FIELDS = {'minute': (0, 59), 'hour': (0, 23), 'day of month': (1, 31), 'month': (1, 12), 'day of week': (0, 7)}

_PART = re.compile(r'(\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?')

#: Days within which an expression must name a time: 29 February comes at least once in eight years.
HORIZON = 8 * 366


@dataclasses.dataclass(frozen=True, slots=True)
class Cron:
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    #: Both day fields are restricted: either may name the day.
    either_day: bool

    def after(self, moment: datetime.datetime) -> datetime.datetime:
        """Return the first time after this one, in whole minutes. Raises InvalidInput when there is none."""
        start = moment.replace(second=0, microsecond=0) + datetime.timedelta(minutes=1)
        for number in range(HORIZON):
            day = start.date() + datetime.timedelta(days=number)
            if not self._names(day):
                continue
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    found = datetime.datetime.combine(day, datetime.time(hour, minute), start.tzinfo)
                    if found >= start:
                        return found
        raise InvalidInput(reason='No date matches the cron expression.')

    def _names(self, day: datetime.date) -> bool:
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.either_day else of_month and of_week


def parse(text: str) -> Cron:
    """Read an expression. Raises InvalidInput with the field that is wrong."""
    words = text.split()
    if len(words) != len(FIELDS):
        raise InvalidInput(reason=f'The cron expression {text!r} has {len(words)} fields, not {len(FIELDS)}.')
    fields = zip(FIELDS.items(), words, strict=True)
    minutes, hours, days, months, weekdays = (_field(name, word, *limits) for (name, limits), word in fields)
    either = not words[2].startswith('*') and not words[4].startswith('*')
    return Cron(minutes, hours, days, months, frozenset(day % 7 for day in weekdays), either)


def _field(name: str, word: str, least: int, greatest: int) -> frozenset[int]:
    numbers: set[int] = set()
    for part in word.split(','):
        found = _PART.fullmatch(part)
        if found is None:
            raise _wrong(name, word)
        first, last = _bounds(found, least, greatest)
        step = int(found[4] or 1)
        if not (least <= first <= last <= greatest) or step < 1:
            raise _wrong(name, word)
        numbers.update(range(first, last + 1, step))
    return frozenset(numbers)


def _bounds(found: re.Match[str], least: int, greatest: int) -> tuple[int, int]:
    if found[1] == '*':
        return least, greatest
    first = int(found[2])
    alone = greatest if found[4] else first  # 5/10 counts on from 5
    return first, int(found[3]) if found[3] else alone


def _wrong(name: str, word: str) -> InvalidInput:
    least, greatest = FIELDS[name]
    return InvalidInput(
        reason=f'{word!r} is not a {name} of a cron expression: use numbers from {least} to {greatest}, '
        'ranges a-b, steps */n, or several with commas.'
    )
