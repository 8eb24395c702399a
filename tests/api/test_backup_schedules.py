"""Backup schedules over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.operations import backups
from tests.api.front_door import Caller


def test_the_life_of_a_schedule(member: Caller, make: Any) -> None:
    volume = make.volume()
    body = {'volume_id': volume.id, 'cron': '30 2 * * *', 'keep': {'daily': 7, 'weekly': 4}, 'full_every': 7}
    answer = member.post('/backup-schedules', {'backup_schedule': body})
    assert answer.status == 201
    schedule = answer.body['backup_schedule']
    assert {**schedule, **body} == schedule
    assert schedule['next_run_at'][10:16] == 'T02:30'
    assert (schedule['enabled'], schedule['last_backup_id']) == (True, None)
    path = f'/backup-schedules/{schedule["id"]}'
    assert member.get(path).body['backup_schedule'] == schedule
    assert [one['id'] for one in member.get('/backup-schedules').body['backup_schedules']] == [schedule['id']]
    changed = member.put(path, {'backup_schedule': {'enabled': False, 'name': 'n'}}).body['backup_schedule']
    assert (changed['enabled'], changed['name'], changed['cron']) == (False, 'n', '30 2 * * *')
    assert member.delete(path).status == 204
    assert member.get(path).status == 404


@pytest.mark.parametrize(
    'wrong',
    [
        *({'cron': 'now and then'}, {'cron': '61 * * * *'}, {'keep': {'yearly': 1}}, {'keep': {'daily': -1}}),
        *({'more': 1}, {'storage_class': 'DEEP_ARCHIVE'}, {'action': 'copy', 'target': 'nowhere'}, {'target': ''}),
    ],
)
def test_what_is_refused(member: Caller, make: Any, wrong: dict[str, Any]) -> None:
    body = {'volume_id': make.volume().id, 'cron': '30 2 * * *', **wrong}
    assert member.post('/backup-schedules', {'backup_schedule': body}).status == 400
    assert member.get('/backup-schedules').body['backup_schedules'] == []


def test_strangers_and_readers(member: Caller, stranger: Caller, reader: Caller, make: Any) -> None:
    body = {'backup_schedule': {'volume_id': make.volume().id, 'cron': '30 2 * * *'}}
    assert reader.post('/backup-schedules', body).status == 403
    id = member.post('/backup-schedules', body).body['backup_schedule']['id']
    assert stranger.get(f'/backup-schedules/{id}').status == 404
    assert stranger.delete(f'/backup-schedules/{id}').status == 404
    assert reader.get(f'/backup-schedules/{id}').status == 200
    assert reader.delete(f'/backup-schedules/{id}').status == 403


def test_a_schedule_locks_within_the_deployers_limit(
    member: Caller, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {'backup_schedule': {'volume_id': make.volume().id, 'cron': '0 4 * * 0', 'lock_days': 31}}
    assert member.post('/backup-schedules', body).fault[2].endswith('the bucket has no Object Lock.')
    known = backups.settings()._replace(backup_lock_days=31)
    monkeypatch.setattr(backups, 'settings', lambda: known)
    id = member.post('/backup-schedules', body).body['backup_schedule']['id']
    change = {'backup_schedule': {'lock_days': 32}}
    assert member.put(f'/backup-schedules/{id}', change).fault[2].endswith('for 31 days at most here, not for 32.')


def test_schedules_of_checks(member: Caller, make: Any) -> None:
    volume = make.volume()
    for more in ({'action': 'scrub', 'sample': 10}, {'action': 'drill'}, {'storage_class': 'GLACIER_IR'}):
        body = {'volume_id': volume.id, 'cron': '0 4 * * 0', **more}
        schedule = member.post('/backup-schedules', {'backup_schedule': body}).body['backup_schedule']
        assert {**schedule, **body} == schedule
    change = {'backup_schedule': {'action': 'backup'}}
    assert member.put(f'/backup-schedules/{schedule["id"]}', change).status == 400
