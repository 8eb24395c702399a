"""Reads return all there is, however small the pages; what an index shows may be some writes old."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import BackupSchedule, Quota, Volume, backup_schedule, base
from tests.factories import stored_volume
from tests.unreliable import Unreliable

COUNT = 7

PAST, FUTURE = base.after(-60), base.after(3600)


@pytest.fixture
def full(unreliable: Unreliable) -> Unreliable:
    """Seven records of each kind that is read below, and pages of two."""
    for number in range(COUNT):
        facts = {'in_flight': '1', 'deadline': base.after(number - 60), 'operation': {'action': 'create'}}
        stored_volume('p', id=f'v{number}', created_at=base.after(number), status='creating', **facts)
        base.put(Quota(f'p{number}', '-', created_at=PAST))
        schedule = {'volume_id': 'v', 'user_id': 'u', 'cron': '0 3 * * *', 'due': '1', 'next_run_at': PAST}
        base.put(BackupSchedule('p', f's{number}', created_at=PAST, **schedule))
    unreliable.page = 2
    unreliable.calls.clear()
    return unreliable


READS: dict[str, Callable[[], Any]] = {
    'of a project': lambda: len(list(base.every(Volume, 'p'))),
    'of all projects': lambda: len(list(base.every(Volume, None))),
    'one page': lambda: len(base.page(Volume, 'p', limit=COUNT)),
    'overdue': lambda: len(list(base.overdue(Volume, FUTURE))),
    'due': lambda: len(list(backup_schedule.due(FUTURE))),
    'quotas': lambda: len(list(Quota.scan())),
    'by key': lambda: len(list(Volume.batch_get([('p', f'v{number}') for number in range(COUNT)]))),
    'counted': lambda: Volume.count('p'),
    'filtered': lambda: len(list(Volume.query('p', filter_condition=Volume.status == 'creating'))),
}


@pytest.mark.parametrize('name', READS)
def test_pages_are_read_to_the_last(name: str, full: Unreliable) -> None:
    assert READS[name]() == COUNT
    assert len([call for call in full.calls if call in ('Query', 'Scan', 'BatchGetItem')]) >= COUNT // 2


def test_a_page_ends_at_its_limit_and_the_next_begins_after_its_marker(full: Unreliable) -> None:
    seen: list[str] = []
    marker: Volume | None = None
    while found := base.page(Volume, 'p', limit=3, marker=marker):
        seen += [record.id for record in found]
        marker = found[-1]
    assert seen == [f'v{number}' for number in reversed(range(COUNT))]


def test_keys_that_are_left_over_are_read_after_a_pause(full: Unreliable, monkeypatch: pytest.MonkeyPatch) -> None:
    from chalicelib.models import connection

    pauses: list[float] = []
    monkeypatch.setattr(connection, 'JITTER_CAP', 0.5)
    monkeypatch.setattr(connection.time, 'sleep', pauses.append)
    assert READS['by key']() == COUNT
    assert len(pauses) == COUNT // 2


def test_an_index_that_lags_shows_what_was(unreliable: Unreliable) -> None:
    unreliable.lag = 2
    stored_volume('p', id='v')
    assert list(Volume.query('v', index_name='by_id')) == []
    with pytest.raises(errors.VolumeNotFound):
        Volume.find_anywhere('v')
    assert Volume.find('p', 'v').status == 'available'
    for number in range(2):
        base.put(Quota(f'p{number}', '-', created_at=PAST))
    assert Volume.find_anywhere('v').id == 'v'


def test_what_left_its_status_is_not_overdue_although_the_index_shows_it(unreliable: Unreliable) -> None:
    record = stored_volume('p', id='v', status='creating', in_flight='1', deadline=PAST)
    unreliable.lag = 1
    base.update(record, base.end_actions(record, 'available'))
    keys = [(key.project_id, key.id) for key in base.overdue(Volume, FUTURE)]
    assert keys == [('p', 'v')]
    assert not base.is_overdue(Volume.find('p', 'v'), FUTURE)


def test_what_is_gone_is_not_overdue_although_the_index_shows_it(unreliable: Unreliable) -> None:
    record = stored_volume('p', id='v', status='creating', in_flight='1', deadline=PAST)
    unreliable.lag = 1
    base.remove(record)
    assert [key.id for key in base.overdue(Volume, FUTURE)] == ['v']
    assert Volume.find_or_none('p', 'v') is None
