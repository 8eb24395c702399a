"""Dry runs, retype, migrate, revert, manage and unmanage, as a client writes and reads them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from chalicelib.models import Message, Pool, Volume, base
from chalicelib.operations import pools
from tests.api.front_door import Caller, Worker

BAD = ('badRequest', 400)


@pytest.fixture
def zone() -> str:
    return f'z-{uuid.uuid4().hex[:6]}'


@pytest.fixture
def pool(make: Any, zone: str) -> str:
    """The only pool of a zone, with 10 GiB of free capacity."""
    host = f'h{uuid.uuid4().hex[:8]}@lvm'
    make.service(host, availability_zone=zone)
    report = {'total_capacity_gb': 10, 'free_capacity_gb': 10, 'provisioned_capacity_gb': 0}
    Pool(
        base.GLOBAL, f'{host}#p', created_at=base.now(), availability_zone=zone, report=report, reported_at=base.now(),
        claimable_gb=10,
    ).save()  # fmt: skip
    pools.forget()
    return f'{host}#p'


def dry_run(caller: Caller, zone: str, size: int, query: str = 'dry_run=1') -> Any:
    body = {'volume': {'size': size, 'availability_zone': zone}}
    return caller.post(f'/volumes?{query}', body, at='3.71')


def test_a_dry_run_names_the_candidates_to_administrators(admin: Caller, zone: str, pool: str) -> None:
    answer = dry_run(admin, zone, 5)
    assert answer.status == 200
    placement = answer.body['placement']
    assert placement['candidates'] == [{'host': pool, 'weight': 0.0}]
    assert all(set(one) == {'filter', 'pools', 'reason'} for one in placement['removed'])
    assert all(pool not in one['pools'] for one in placement['removed'])


def test_a_dry_run_names_no_hosts_to_others(member: Caller, zone: str, pool: str) -> None:
    answer = dry_run(member, zone, 5)
    assert answer.body['placement']['candidates'] == [{'weight': 0.0}]
    assert '@' not in answer.text


def test_a_dry_run_says_why_nothing_fits(admin: Caller, zone: str, pool: str) -> None:
    placement = dry_run(admin, zone, 500).body['placement']
    assert placement['candidates'] == []
    [refusal] = [one for one in placement['removed'] if one['filter'] == 'CapacityFilter']
    assert refusal['pools'] == [pool]
    assert refusal['reason'] == f'not enough free space for 500 GiB ({pool} has 10 GiB)'


def test_a_dry_run_does_nothing(member: Caller, zone: str, pool: str, project: str) -> None:
    for _ in range(2):
        dry_run(member, zone, 5)
    assert list(Volume.query(project)) == []
    assert member.get('/limits').body['limits']['absolute']['totalVolumesUsed'] == 0
    assert Pool.get(base.GLOBAL, pool).claimable_gb == 10


@pytest.mark.parametrize(('query', 'status'), [('dry_run=0', 202), ('dry_run=false', 202), ('dry_run=x', 400)])
def test_what_is_no_dry_run(member: Caller, zone: str, pool: str, query: str, status: int) -> None:
    assert dry_run(member, zone, 5, query).status == status


def test_a_dry_run_refuses_what_a_create_refuses(member: Caller) -> None:
    assert dry_run(member, 'nowhere', 5).fault[:2] == BAD


def test_explanations_are_for_administrators(admin: Caller, member: Caller, make: Any) -> None:
    message = make.message(explanation='CapacityFilter removed h@b#p: too small')
    short = member.get(f'/messages/{message.id}', at='3.3').body['message']['user_message']
    full = admin.get(f'/messages/{message.id}', at='3.3').body['message']['user_message']
    assert short == Message.get(message.project_id, message.id).user_message
    assert full == f'{short}\nCapacityFilter removed h@b#p: too small'


def test_revert(member: Caller, make: Any) -> None:
    snapshot = make.snapshot(make.volume())
    path, body = f'/volumes/{snapshot.volume_id}', {'snapshot_id': snapshot.id}
    assert member.act(path, 'revert', body, at='3.39').status == 404
    assert member.act(path, 'revert', {'snapshot_id': str(uuid.uuid4())}, at='3.40').fault[:2] == BAD
    assert member.act(path, 'revert', body, at='3.40').status == 202
    name, code, message = member.act(path, 'revert', body, at='3.40').fault
    assert (name, code) == ('conflictingRequest', 409)
    assert message.startswith('Invalid volume: ')
    assert member.get(path).body['volume']['status'] == 'reverting'


def test_retype(member: Caller, make: Any) -> None:
    volume, kind = make.volume(), make.type()
    path = f'/volumes/{volume.id}'
    assert member.act(path, 'os-retype', {'new_type': 'nope'}).status == 404
    assert member.act(path, 'os-retype', {'new_type': kind.id, 'migration_policy': 'x'}).fault[:2] == BAD
    assert member.act(path, 'os-retype', {'new_type': kind.name, 'migration_policy': 'never'}).status == 202
    stored = Volume.find(volume.project_id, volume.id)
    assert (stored.status, stored.operation['migration_policy']) == ('retyping', 'never')
    assert member.act(path, 'os-retype', {'new_type': kind.id}).fault[:2] == BAD


def test_migrate(admin: Caller, member: Caller, make: Any, pool: str) -> None:
    volume = make.volume()
    path, host = f'/volumes/{volume.id}', pool.partition('#')[0]
    assert member.act(path, 'os-migrate_volume', {'host': host}).status == 403
    assert admin.act(path, 'os-migrate_volume', {'cluster': 'c'}, at='3.15').fault[:2] == BAD
    assert admin.act(path, 'os-migrate_volume', {'host': 'x', 'cluster': 'c'}, at='3.16').fault[:2] == BAD
    body = {'host': host, 'lock_volume': 'true', 'force_host_copy': True}
    assert admin.act(path, 'os-migrate_volume', body, at='3.0').status == 202
    shown = admin.get(path).body['volume']
    assert (shown['status'], shown['migration_status']) == ('maintenance', 'starting')


def test_completion_of_a_migration(admin: Caller, make: Any) -> None:
    volume, other = make.volume(), make.volume()
    answer = admin.act(f'/volumes/{volume.id}', 'os-migrate_volume_completion', {'new_volume': other.id})
    assert (answer.status, answer.body) == (200, {'save_volume_id': other.id})


@pytest.mark.parametrize(('error', 'status'), [(False, 'available'), (True, 'error_extending'), ('no', 'available')])
def test_completion_of_an_extension(admin: Caller, make: Any, error: Any, status: str) -> None:
    waiting = {'extend_new_size': '2', 'extend_reservations': '[]'}
    volume = make.volume(status='extending', admin_metadata=waiting)
    path = f'/volumes/{volume.id}'
    assert admin.act(path, 'os-extend_volume_completion', {'error': error}).status == 202
    shown = admin.get(path).body['volume']
    assert (shown['status'], shown['size']) == (status, 1 if error is True else 2)
    assert admin.act(path, 'os-extend_volume_completion', {}).fault[:2] == BAD


@pytest.mark.parametrize('collection', ['os-volume-manage', 'manageable_volumes'])
def test_manage_a_volume(admin: Caller, member: Caller, pool: str, collection: str) -> None:
    body = {'volume': {'host': pool, 'ref': {'source-name': 'legacy'}, 'name': ' n ', 'bootable': 'true'}}
    assert member.post(f'/{collection}', body, at='3.71').status == 403
    answer = admin.post(f'/{collection}', body, at='3.71')
    made = answer.body['volume']
    assert (answer.status, made['status'], made['size'], made['name']) == (202, 'creating', 0, 'n')
    assert made['bootable'] == 'true'
    nowhere = {'volume': {'host': 'nope@x', 'ref': 'legacy'}}
    assert admin.post(f'/{collection}', nowhere, at='3.71').fault == (*BAD, "Host 'nope@x' not found")
    without = {'volume': {'ref': 'legacy'}}
    assert admin.post(f'/{collection}', without, at='3.71').fault[:2] == BAD


def test_manageable_volumes_are_as_old_as_they_are(admin: Caller, pool: str) -> None:
    assert admin.get(f'/manageable_volumes?host={pool.partition("#")[0]}', at='3.7').status == 404
    assert admin.get(f'/os-volume-manage?host={pool.partition("#")[0]}', at='3.0').status == 200


@pytest.mark.parametrize('collection', ['os-snapshot-manage', 'manageable_snapshots'])
def test_manage_a_snapshot(admin: Caller, stranger: Caller, make: Any, pool: str, collection: str) -> None:
    volume = make.volume(host=pool)
    body = {'snapshot': {'volume_id': volume.id, 'ref': {'source-name': 'legacy'}, 'metadata': {'k': 'v'}}}
    assert stranger.post(f'/{collection}', body, at='3.71').status == 404
    answer = admin.post(f'/{collection}', body, at='3.71')
    made = answer.body['snapshot']
    assert (answer.status, made['status'], made['volume_id'], made['metadata']) == (
        202, 'creating', volume.id, {'k': 'v'},
    )  # fmt: skip


BRIEF = {'reference', 'size', 'safe_to_manage'}
DETAIL = BRIEF | {'reason_not_safe', 'cinder_id', 'extra_info'}


@pytest.mark.parametrize(
    ('path', 'name', 'fields'),
    [
        ('os-volume-manage', 'manageable-volumes', BRIEF),
        ('manageable_volumes/detail', 'manageable-volumes', DETAIL),
        ('os-snapshot-manage', 'manageable-snapshots', BRIEF | {'source_reference'}),
        ('manageable_snapshots/detail', 'manageable-snapshots', DETAIL | {'source_reference'}),
    ],
)
def test_what_there_is(
    admin: Caller, member: Caller, worker: Worker, pool: str, path: str, name: str, fields: set[str]
) -> None:
    host = pool.partition('#')[0]
    [found] = admin.get(f'/{path}?host={host}', at='3.71').body[name]
    assert set(found) == fields
    assert worker.calls[-1] == ('get_manageable', {'host': host, 'resource': name[11:-1]})
    assert member.get(f'/{path}?host={host}', at='3.71').status == 403


@pytest.mark.parametrize(
    ('query', 'status'),
    [('sort=size:asc', 200), ('sort_key=size&sort_dir=asc', 200), ('sort=name', 400), ('sort=size:up', 400),
     ('limit=x', 400), ('limit=-1', 400), ('limit=0', 200), ('offset=-1', 400), ('marker=nowhere', 400),
     ('marker=legacy', 200), ('marker=%7B%22source-name%22%3A%22legacy%22%7D', 200), ('cluster=c', 400)],
)  # fmt: skip
def test_pages_of_what_there_is(admin: Caller, pool: str, query: str, status: int) -> None:
    path = f'/manageable_volumes?host={pool.partition("#")[0]}&{query}'
    assert admin.get(path, at='3.71').status == status


def test_unmanage(admin: Caller, member: Caller, make: Any) -> None:
    snapshot = make.snapshot(make.volume())
    volume = make.volume()
    for path, record in ((f'/volumes/{volume.id}', volume), (f'/snapshots/{snapshot.id}', snapshot)):
        assert member.act(path, 'os-unmanage', None).status == 403
        assert admin.act(path, 'os-unmanage', None).status == 202
        assert type(record).find(record.project_id, record.id).status == 'unmanaging'
        assert admin.act(path, 'os-unmanage', None).fault[:2] == BAD
