"""Print the number of cases of matrices and models at the end of a run, to show tests that pass on no case."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import pytest

#: Receives the name and the number of a count.
Counting = Callable[[str, int], None]

_MARK = 'counted: '


@pytest.fixture
def counted(record_property: Callable[[str, object], None]) -> Counting:
    """Counts of a test; those of the same name are added up over all tests, in whatever process they ran."""

    def count(name: str, number: int) -> None:
        record_property(_MARK + name, number)

    return count


def pytest_terminal_summary(terminalreporter: Any) -> None:
    totals: collections.Counter[str] = collections.Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            told = report.user_properties if getattr(report, 'when', None) == 'teardown' else ()
            for name, number in told:
                if name.startswith(_MARK):
                    totals[name.removeprefix(_MARK)] += number
    if totals:
        terminalreporter.section('counted')
    for name, number in sorted(totals.items()):
        terminalreporter.write_line(f'{number:>12,}  {name}')
