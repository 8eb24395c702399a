"""Operators' requests about backends: services, clusters, hosts, capabilities, clean-up, log levels."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import pytest

from chalicelib.models import Service, base
from tests.api.front_door import Answer, Caller

FROZEN = 'Invalid input received: Modification operations are not allowed on frozen storage backends.'


@pytest.fixture
def host(make: Any) -> str:
    """A backend of this test alone, with a pool."""
    host = f'h{uuid.uuid4().hex[:8]}@lvm'
    make.service(host)
    make.pool(f'{host}#pool')
    return host


def service_of(host: str) -> Service:
    return Service.get(base.GLOBAL, f'cinder-volume:{host}')


def do(admin: Caller, verb: str, at: str = '3.71', **body: Any) -> Answer:
    return admin.put(f'/os-services/{verb}', body, at=at)


def test_a_frozen_backend_changes_nothing_until_it_thaws(admin: Caller, member: Caller, make: Any, host: str) -> None:
    service_of(host).update(actions=[Service.frozen.remove()])  # as a backend's first report leaves it
    volume = make.volume(host=f'{host}#pool')
    snapshot = make.snapshot(make.volume(host=f'{host}#pool'))
    frozen = do(admin, 'freeze', host=host)
    assert (frozen.status, frozen.text) == (200, '')
    [row] = admin.get(f'/os-services?host={host}').body['services']
    assert (row['frozen'], row['status'], row['disabled_reason']) == (True, 'disabled', 'frozen')
    for refused in (
        member.delete(f'/volumes/{volume.id}'),
        member.act(f'/volumes/{volume.id}', 'os-extend', {'new_size': 2}),
        member.post('/snapshots', {'snapshot': {'volume_id': volume.id}}),
        member.delete(f'/snapshots/{snapshot.id}'),
    ):
        assert refused.fault == ('badRequest', 400, FROZEN)
    assert do(admin, 'freeze', host=host).status == 400
    assert do(admin, 'thaw', cluster=host).status == 200
    assert member.delete(f'/volumes/{volume.id}').status == 202


@pytest.mark.parametrize(
    ('at', 'body', 'message'),
    [
        ('3.71', {}, 'One and only one of cluster and host must be set.'),
        ('3.71', {'host': 'a', 'cluster': 'a'}, 'One and only one of cluster and host must be set.'),
        ('3.25', {'cluster': 'a'}, 'Host field is missing.'),
    ],
)
def test_a_backend_is_named_once(admin: Caller, at: str, body: dict[str, str], message: str) -> None:
    assert do(admin, 'freeze', at, **body).fault == ('badRequest', 400, f'Invalid input received: {message}')


@pytest.mark.parametrize('verb', ['freeze', 'thaw', 'failover_host'])
def test_an_unknown_backend(admin: Caller, verb: str) -> None:
    unknown = 'Invalid input received: Service cinder-volume could not be found on host nope.'
    assert do(admin, verb, host='nope').fault == ('badRequest', 400, unknown)


def test_nothing_fails_over_to_nowhere(admin: Caller, host: str) -> None:
    answer = do(admin, 'failover_host', host=host, backend_id='b')
    assert (answer.status, 'must be enabled' in answer.fault[2]) == (400, True)


def test_a_backend_is_a_cluster(admin: Caller, host: str) -> None:
    [brief] = admin.get(f'/clusters?name={host}&is_up=yes', at='3.25').body['clusters']
    assert brief == {'name': host, 'binary': 'cinder-volume', 'state': 'up', 'status': 'enabled'}
    changed = admin.put('/clusters/disable', {'name': host, 'disabled_reason': 'old'}, at='3.7').body['cluster']
    assert (changed['status'], changed['disabled_reason']) == ('disabled', 'old')
    assert host in {each['name'] for each in admin.get('/clusters?disabled=true', at='3.7').body['clusters']}
    assert admin.put('/clusters/enable', {'name': host}, at='3.7').body['cluster']['status'] == 'enabled'
    shown = admin.get(f'/clusters/{host}', at='3.26').body['cluster']
    assert (shown['num_hosts'], shown['num_down_hosts'], shown['frozen']) == (1, 0, False)
    assert admin.get('/clusters/nope', at='3.7').fault[2] == 'Cluster nope could not be found.'
    assert admin.get('/clusters?frozen=true', at='3.25').status == 400


def test_what_lies_on_a_host(admin: Caller, make: Any, host: str, project: str) -> None:
    volume = make.volume(host=f'{host}#pool', size=3)
    make.snapshot(volume)
    make.volume(host='other@lvm#pool')
    total, mine = (row['resource'] for row in admin.get(f'/os-hosts/{host}').body['host'])
    assert (total['project'], mine['project']) == ('(total)', project)
    for row in (total, mine):
        assert (row['volume_count'], row['total_volume_gb'], row['snapshot_count']) == ('1', '3', '1')
    assert admin.get('/os-hosts/nope').status == 404
    assert admin.get('/os-hosts?zone=nowhere').body == {'hosts': []}
    assert admin.put(f'/os-hosts/{host}', {'status': 'enable'}).status == 400


def test_what_a_backend_says_of_itself(admin: Caller, make: Any, host: str) -> None:
    shown = admin.get(f'/capabilities/{host}').body
    assert (shown['namespace'], shown['vendor_name']) == (f'OS::Storage::Capabilities::{host}', 'v')
    assert admin.get('/capabilities/nope').fault[2] == "Can't find service: nope"
    make.pool(f'{host}#pool', report={'storage_protocol': ['iSCSI', 'iscsi'], 'free_capacity_gb': 1})
    assert admin.get(f'/capabilities/{host}').body['storage_protocol'] == 'iSCSI'


def test_there_is_nothing_to_clean(admin: Caller) -> None:
    def clean(**body: str) -> Answer:
        return admin.post('/workers/cleanup', body, at='3.24')

    assert clean(resource_type='volume').body == {'cleaning': [], 'unavailable': []}
    assert clean(resource_type='zz').status == 400
    assert clean(resource_id=str(uuid.uuid4())).status == 400


def test_log_levels_are_those_of_the_process_that_answers(admin: Caller) -> None:
    name = 'chalicelib.operations.common'
    before = logging.getLogger(name).level
    try:
        assert do(admin, 'set-log', prefix=name, level='error').status == 202
        [row] = do(admin, 'get-log', prefix=name).body['log_levels']
        assert row['levels'] == {name: 'ERROR'}
    finally:
        logging.getLogger(name).setLevel(before)
    assert do(admin, 'get-log', binary='cinder-volume').body == {'log_levels': []}
    assert do(admin, 'set-log', binary='cinder-volume', level='INFO').status == 400
    assert do(admin, 'set-log', level='loud').fault[2] == 'Invalid input received: loud is not a valid log level.'


@pytest.mark.parametrize('prefix', ['b', 'botocore', 'botocore.endpoint', 'urllib3', 'p'])
def test_no_request_lets_the_sdk_log_its_calls(admin: Caller, prefix: str) -> None:
    """Their lines have what KMS encrypts and what SSM returns."""
    loggers = [logging.getLogger(name) for name in ('botocore.endpoint', 'botocore.parsers', 'urllib3', 'pynamodb')]
    before = [one.level for one in loggers]
    assert do(admin, 'set-log', prefix=prefix, level='DEBUG').status == (202 if len(prefix) == 1 else 400)
    assert [one.level for one in loggers] == before
    [row] = do(admin, 'get-log', prefix=prefix).body['log_levels']
    assert not [name for name in row['levels'] if name.startswith(('botocore', 'urllib3', 'pynamodb'))]
