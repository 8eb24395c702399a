"""Both transfer APIs as clients use them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.front_door import Answer, Caller

PATHS = ('/os-volume-transfer', '/volume-transfers')


def offer(caller: Caller, volume: Any, path: str = '/volume-transfers', at: str = '3.71', **facts: Any) -> Answer:
    return caller.post(path, {'transfer': {'volume_id': volume.id, **facts}}, at=at)


@pytest.mark.parametrize('path', PATHS)
def test_from_offer_to_acceptance(path: str, member: Caller, stranger: Caller, make: Any) -> None:
    volume = make.volume(size=2)
    answer = offer(member, volume, path, name=' gift ')
    assert answer.status == 202
    made = answer.body['transfer']
    key = made.pop('auth_key')
    assert (made['name'], made['volume_id'], made['accepted'], made['destination_project_id']) == (
        'gift', volume.id, False, None,
    )  # fmt: skip
    assert [link['href'].rpartition('/')[0].rpartition('/')[2] for link in made['links']] == ['os-volume-transfer'] * 2
    assert member.get(f'{path}/{made["id"]}', at='3.71').body['transfer'] == made
    assert 'auth_key' not in member.get(f'{path}/detail', at='3.71').text
    assert member.get(f'/volumes/{volume.id}').body['volume']['status'] == 'awaiting-transfer'
    assert stranger.get(f'{path}/{made["id"]}').status == 404
    wrong = stranger.post(f'{path}/{made["id"]}/accept', {'accept': {'auth_key': 'bad'}})
    assert wrong.fault == (
        'badRequest', 400, f'Invalid auth key: Attempt to transfer {made["id"]} with invalid auth key.',
    )  # fmt: skip
    taken = stranger.post(f'{path}/{made["id"]}/accept', {'accept': {'auth_key': key}})
    assert (taken.status, set(taken.body['transfer'])) == (202, {'id', 'volume_id', 'name', 'links'})
    assert stranger.get(f'/volumes/{volume.id}').body['volume']['status'] == 'available'
    assert member.get(f'/volumes/{volume.id}').status == 404
    assert member.delete(f'{path}/{made["id"]}').status == 404


def test_what_versions_show(member: Caller, make: Any) -> None:
    id = offer(member, make.volume()).body['transfer']['id']
    shown = {at: set(member.get(f'/volume-transfers/{id}', at=at).body['transfer']) for at in ('3.54', '3.55', '3.57')}
    assert shown['3.55'] - shown['3.54'] == {'no_snapshots'}
    assert shown['3.57'] - shown['3.55'] == {'destination_project_id', 'source_project_id', 'accepted'}


def test_snapshots_left_out(member: Caller, make: Any) -> None:
    volume = make.volume()
    assert offer(member, volume, at='3.54', no_snapshots=True).status == 400
    assert offer(member, volume, '/os-volume-transfer', no_snapshots=True).status == 400
    assert offer(member, volume, at='3.55', no_snapshots='yes').body['transfer']['no_snapshots'] is True


@pytest.mark.parametrize(
    ('path', 'at', 'status'),
    [('/os-volume-transfer', '3.71', 400), ('/volume-transfers', '3.69', 400), ('/volume-transfers', '3.70', 202)],
)
def test_encrypted_volumes(member: Caller, make: Any, path: str, at: str, status: int) -> None:
    assert offer(member, make.volume(encryption_key_id='k'), path, at).status == status


def test_lists(member: Caller, admin: Caller, make: Any) -> None:
    ids = [offer(member, make.volume(), name=f'n{number}').body['transfer']['id'] for number in range(3)]

    def listed(query: str, at: str = '3.71', path: str = '/volume-transfers') -> list[str]:
        return [one['id'] for one in member.get(f'{path}?{query}', at=at).body['transfers']]

    assert listed('') == listed('', '3.0') == listed('', path='/os-volume-transfer') == ids[::-1]
    assert listed('name=n1') == listed('name=n1', path='/os-volume-transfer') == [ids[1]]
    assert listed('limit=1') == [ids[2]]
    assert listed(f'limit=1&marker={ids[2]}') == [ids[1]]
    assert listed('sort=name:asc') == ids
    assert listed('limit=1', '3.58') == listed('limit=1', path='/os-volume-transfer') == listed('foo=bar') == []
    for query, message in (('limit=a', 'limit param must be an integer'), ('offset=-1', 'offset must be >= 0')):
        assert member.get(f'/os-volume-transfer?{query}').fault == ('badRequest', 400, message)
    page = member.get('/volume-transfers?limit=1', at='3.59').body
    assert page['transfers_links'][0]['href'].endswith(f'limit=1&marker={ids[2]}')
    assert member.get('/volume-transfers?marker=unknown', at='3.59').status == 404


def test_all_tenants(member: Caller, stranger: Caller, make: Any, admin: Caller) -> None:
    id = offer(member, make.volume()).body['transfer']['id']
    for path in PATHS:
        assert id in admin.get(f'{path}?all_tenants=1').text
        assert stranger.get(f'{path}?all_tenants=1').body['transfers'] == []


@pytest.mark.parametrize(
    'body',
    [
        {},
        {'transfer': {}},
        {'transfer': {'volume_id': 'no uuid'}},
        {'transfer': {'volume_id': '0' * 32, 'name': 'x' * 256}},
        {'transfer': {'volume_id': '0' * 32, 'more': 1}},
    ],
)
@pytest.mark.parametrize('path', PATHS)
def test_bodies_that_make_no_sense(member: Caller, path: str, body: Any) -> None:
    assert member.post(path, body, at='3.71').status == 400


@pytest.mark.parametrize('key', [1, 2**70, 'é', '', '\x00'])
def test_keys_of_any_kind(member: Caller, make: Any, key: Any) -> None:
    id = offer(member, make.volume()).body['transfer']['id']
    answer = member.post(f'/volume-transfers/{id}/accept', {'accept': {'auth_key': key}})
    assert answer.fault[1:2] == (400,)
