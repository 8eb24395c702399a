"""What the service reports about itself: services, pools, zones, messages, extensions, filters."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from chalicelib.models import Pool, base
from chalicelib.operations import pools
from tests.api.front_door import Caller

BAD = ('badRequest', 400)


@pytest.fixture
def host(make: Any) -> str:
    """A backend's service, of this test alone."""
    host = f'h{uuid.uuid4().hex[:8]}@lvm'
    make.service(host, availability_zone=f'z-{host[:5]}')
    return host


def rows(caller: Caller, host: str, at: str = '3.71') -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = caller.get(f'/os-services?host={host}', at=at).body['services']
    return shown


@pytest.mark.parametrize(
    ('at', 'later'),
    [('3.0', set()), ('3.7', {'cluster'}), ('3.48', {'cluster'}), ('3.49', {'cluster', 'backend_state'})],
)
def test_services_by_version(admin: Caller, host: str, at: str, later: set[str]) -> None:
    (row,) = rows(admin, host, at)
    always = 'binary host zone status state updated_at disabled_reason replication_status active_backend_id frozen'
    assert set(row) == {*always.split(), *later}
    assert (row['status'], row['state']) == ('enabled', 'up')


def test_what_only_a_volume_service_has(admin: Caller, make: Any) -> None:
    host = uuid.uuid4().hex[:8]
    make.service(host, id=f'cinder-scheduler:{host}', binary='cinder-scheduler')
    (row,) = rows(admin, host)
    assert not {'frozen', 'backend_state', 'replication_status'} & set(row)


def test_disable_and_enable(admin: Caller, host: str) -> None:
    reason = {'host': host, 'binary': 'cinder-volume', 'disabled_reason': 'repair'}
    answer = admin.put('/os-services/disable-log-reason', reason)
    assert answer.body == {
        'host': host, 'service': '', 'binary': 'cinder-volume', 'status': 'disabled', 'disabled': True,
        'disabled_reason': 'repair',
    }  # fmt: skip
    (row,) = rows(admin, host)
    assert (row['status'], row['disabled_reason']) == ('disabled', 'repair')
    assert admin.put('/os-services/enable', {'host': host}).body['status'] == 'enabled'
    (row,) = rows(admin, host)
    assert (row['status'], row['disabled_reason']) == ('enabled', None)
    assert admin.put('/os-services/disable', {'host': host, 'service': 'cinder-volume'}).body['disabled'] is True


@pytest.mark.parametrize(
    ('verb', 'body', 'fault'),
    [
        ('disable', {'host': 'zz'}, ('itemNotFound', 404, 'Service cinder-volume could not be found on host zz.')),
        ('disable', {}, (*BAD, 'Invalid input received: Host field is missing.')),
        ('enable', {'host': None}, (*BAD, 'Invalid input received: Host field is missing.')),
        ('disable-log-reason', {'host': 'zz'}, (*BAD, 'Missing disabled reason field')),
        (
            'disable-log-reason',
            {'host': 'zz', 'disabled_reason': ' '},
            (*BAD, 'Disabled reason contains invalid characters or is too long'),
        ),
    ],
)
def test_what_is_refused(admin: Caller, verb: str, body: dict[str, Any], fault: tuple[str, int, str]) -> None:
    assert admin.put(f'/os-services/{verb}', body).fault == fault


def test_verbs_that_do_not_exist(admin: Caller) -> None:
    assert admin.put('/os-services/zz', {}).body['title'] == 'Not Found'


@pytest.fixture
def pool(host: str) -> str:
    name = f'{host}#pool'
    report = {'total_capacity_gb': 10, 'free_capacity_gb': 10, 'provisioned_capacity_gb': 0}
    Pool(
        base.GLOBAL, name, created_at=base.now(), availability_zone='nova', report=report, reported_at=base.now(),
        claimable_gb=10,
    ).save()  # fmt: skip
    pools.forget()
    return name


def test_pools(admin: Caller, member: Caller, pool: str) -> None:
    path = f'/scheduler-stats/get_pools?name={pool.replace("#", "%23")}'
    assert admin.get(path, at='3.28').body == {'pools': [{'name': pool}]}
    (shown,) = admin.get(f'{path}&detail=true', at='3.71').body['pools']
    assert shown['capabilities']['total_capacity_gb'] == 10
    assert member.get(path).status == 403


@pytest.mark.parametrize(
    ('query', 'at', 'status'),
    [('foo=1', '3.27', 200), ('foo=1', '3.30', 200), ('foo=1', '3.31', 400), ('detail=x', '3.0', 400),
     ('volume_type=nope', '3.34', 200), ('volume_type=nope', '3.35', 404)],
)  # fmt: skip
def test_filters_of_pools(admin: Caller, pool: str, query: str, at: str, status: int) -> None:
    assert admin.get(f'/scheduler-stats/get_pools?{query}', at=at).status == status


def test_availability_zones(nobody: Caller, host: str) -> None:
    zones = nobody.get('/os-availability-zone').body['availabilityZoneInfo']
    assert {'zoneName': f'z-{host[:5]}', 'zoneState': {'available': True}} in zones


def test_messages(member: Caller, reader: Caller, stranger: Caller, make: Any) -> None:
    message, other = make.message(), make.message()
    shown = reader.get(f'/messages/{message.id}', at='3.3').body['message']
    assert shown['event_id'] == 'VOLUME_VOLUME_001_003'
    assert shown['message_level'] == 'ERROR'
    assert set(shown) == {
        'id', 'event_id', 'user_message', 'message_level', 'created_at', 'guaranteed_until', 'request_id', 'links',
        'resource_type', 'resource_uuid',
    }  # fmt: skip
    assert {item['id'] for item in member.get('/messages', at='3.3').body['messages']} == {message.id, other.id}
    found = member.get(f'/messages?resource_uuid={other.resource_uuid}', at='3.5').body['messages']
    assert [item['id'] for item in found] == [other.id]
    assert stranger.delete(f'/messages/{message.id}', at='3.3').status == 404
    assert reader.delete(f'/messages/{message.id}', at='3.3').status == 403
    assert member.delete(f'/messages/{message.id}', at='3.3').status == 204
    assert member.get(f'/messages/{message.id}', at='3.3').status == 404


@pytest.mark.parametrize(('at', 'paged'), [('3.4', False), ('3.5', True)])
def test_pages_of_messages(member: Caller, make: Any, at: str, paged: bool) -> None:
    make.message()
    make.message()
    body = member.get('/messages?limit=1', at=at).body
    assert (len(body['messages']), 'messages_links' in body) == ((1, True) if paged else (2, False))


def test_extensions(nobody: Caller) -> None:
    shown = nobody.get('/extensions').body['extensions']
    assert {'backups', 'os-volume-transfer', 'scheduler-stats'} <= {item['alias'] for item in shown}
    assert len(shown) == 32
    one = nobody.get('/extensions/backups').body['extension']
    assert one in shown
    assert set(one) == {'name', 'alias', 'description', 'updated', 'links'}
    assert nobody.get('/extensions/nope').fault[:2] == ('itemNotFound', 404)


def test_resource_filters(nobody: Caller) -> None:
    shown = nobody.get('/resource_filters', at='3.33').body['resource_filters']
    assert {'resource': 'backup', 'filters': ['name', 'status', 'volume_id']} in shown
    one = nobody.get('/resource_filters?resource=pool', at='3.33').body['resource_filters']
    assert one == [{'resource': 'pool', 'filters': ['name', 'volume_type']}]
    assert nobody.get('/resource_filters?resource=', at='3.33').body['resource_filters'] == shown
    assert {'resource': 'group', 'filters': ['name']} in shown
    assert nobody.get('/resource_filters?resource=zz', at='3.33').body == {'resource_filters': []}
    assert nobody.get('/resource_filters', at='3.32').status == 404
