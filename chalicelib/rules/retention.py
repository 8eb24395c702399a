"""Which backups of a schedule are kept: the last ones, and one for each of so many hours, days, weeks and months.

Periods are UTC's and a week is ISO's. Of a period the newest backup is kept; periods without one count for nothing, so
a service that was down keeps as many as one that was not.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping

#: How many of each are kept -> what period a backup belongs to.
PERIODS: Mapping[str, Callable[[datetime.datetime], tuple[int, ...]]] = {
    'hourly': lambda moment: (moment.year, moment.month, moment.day, moment.hour),
    'daily': lambda moment: (moment.year, moment.month, moment.day),
    'weekly': lambda moment: tuple(moment.isocalendar()[:2]),
    'monthly': lambda moment: (moment.year, moment.month),
}

#: The newest ones, whenever they were made.
LAST = 'last'

KEEPS = (LAST, *PERIODS)


def kept(moments: Mapping[str, datetime.datetime], keep: Mapping[str, int]) -> set[str]:
    """Return the ids to keep, of backups by id and time. The newest is always kept; without rules all are."""
    newest_first = sorted(moments, key=lambda id: (moments[id], id), reverse=True)
    if not any(keep.values()):
        return set(newest_first)
    stay = set(newest_first[: max(1, keep.get(LAST, 0))])
    for name, period in PERIODS.items():
        stay |= _one_each([(id, period(moments[id])) for id in newest_first], keep.get(name, 0))
    return stay


def _one_each(newest_first: Iterable[tuple[str, tuple[int, ...]]], count: int) -> set[str]:
    """The newest id of each of the newest ``count`` periods."""
    found: dict[tuple[int, ...], str] = {}
    for id, period in newest_first:
        if len(found) < count:
            found.setdefault(period, id)
    return set(found.values())
