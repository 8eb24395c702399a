"""Reports of backends compared with the records, as administrators read and confirm them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from chalicelib.models import Service, base
from tests.api.front_door import Caller

FINDING = {'kind': 'object', 'name': 'volume-x', 'pool': 'p', 'first_seen': '2026-11-30T00:00:00.000000'}
REPORT: dict[str, Any] = {
    'at': '2026-11-30T12:00:00.000000',
    'objects': 7,
    'exports': 3,
    'kept': 2,
    'unknown': {'volume-x': FINDING},
    'unknown_count': 1,
    'differences': [],
    'removed': [],
    'stopped': 'too many',
    'tables': {'volumes': 'a'},
    'tables_found': {'volumes': 'b'},
}


@pytest.fixture
def host(make: Any) -> str:
    """A backend that was compared once."""
    service = make.service(f'h{uuid.uuid4().hex[:8]}@lvm')
    service.update(actions=[Service.reconciliation.set(REPORT)])
    return str(service.host)


def test_an_administrator_reads_the_report(admin: Caller, host: str) -> None:
    [shown] = admin.get(f'/os-services/reconciliation?host={host}').body['reconciliations']
    assert shown == {
        'host': host,
        **{name: REPORT[name] for name in ('at', 'objects', 'exports', 'kept', 'unknown_count', 'stopped')},
        'unknown': [FINDING],
        'differences': [],
        'removed': [],
    }
    assert host in {one['host'] for one in admin.get('/os-services/reconciliation').body['reconciliations']}


def test_an_administrator_confirms_what_the_report_names(admin: Caller, host: str) -> None:
    answer = admin.put('/os-services/confirm-reconciliation', {'host': host})
    assert (answer.status, answer.body['reconciliation']['host']) == (200, host)
    confirmed = Service.find(base.GLOBAL, f'cinder-volume:{host}').reconciliation_confirmed
    assert (confirmed['keys'], confirmed['tables'], confirmed['by']) == (['volume-x'], {'volumes': 'b'}, 'user-admin')


def test_what_is_refused(admin: Caller, member: Caller, make: Any, host: str) -> None:
    assert member.get('/os-services/reconciliation').status == 403
    assert member.put('/os-services/confirm-reconciliation', {'host': host}).status == 403
    assert admin.put('/os-services/confirm-reconciliation', {}).status == 400
    assert admin.put('/os-services/confirm-reconciliation', {'host': 'nowhere@lvm'}).status == 404
    fresh = make.service(f'h{uuid.uuid4().hex[:8]}@lvm').host
    assert 'was not compared' in admin.put('/os-services/confirm-reconciliation', {'host': fresh}).fault[2]
