"""The built-in key manager over HTTP: the requests that castellan sends for a volume's key."""

from __future__ import annotations

import base64
import uuid
from typing import Any

import pytest

from chalicelib.context import Context
from chalicelib.identity.config import block_storage_services
from chalicelib.models import Secret
from chalicelib.operations import keys
from tests.api.front_door import Answer, Caller

BYTES = {'Accept': 'application/octet-stream'}


@pytest.fixture
def secret(door: Any, project: str) -> Secret:
    caller = Context(user_id='u', project_id=project, roles=frozenset({'member'}))
    record = keys.create(caller, {'cipher': 'aes-xts-plain64', 'key_size': 512}).record
    assert record is not None
    record.save()
    return record


def ask(caller: Caller, path: str, **headers: str | None) -> Answer:
    return caller.get(path, prefix='/key-manager', headers={**BYTES, **headers})


def test_the_key(member: Caller, secret: Secret) -> None:
    answer = ask(member, f'/v1/secrets/{secret.id}/payload')
    assert (answer.status, answer.headers['content-type']) == (200, 'application/octet-stream')
    assert base64.b64decode(answer.text) == keys.payload(secret)
    assert len(keys.payload(secret)) == 64
    assert answer.headers['cache-control'] == 'no-store'


def test_what_is_known_of_it(reader: Caller, secret: Secret) -> None:
    answer = ask(reader, f'/v1/secrets/{secret.id}', Accept='application/json')
    assert answer.status == 200
    assert {key: value for key, value in answer.body.items() if key not in ('created', 'updated')} == {
        'secret_ref': f'https://volume.example/stage/key-manager/v1/secrets/{secret.id}',
        'name': None,
        'status': 'ACTIVE',
        'secret_type': 'symmetric',
        'algorithm': 'aes',
        'bit_length': 512,
        'mode': 'cbc',
        'content_types': {'default': 'application/octet-stream'},
        'creator_id': 'u',
        'expiration': None,
    }
    assert keys.payload(secret).hex() not in answer.text


@pytest.mark.parametrize('path', ['', '/payload'])
def test_who_may(
    member: Caller, reader: Caller, admin: Caller, stranger: Caller, nobody: Caller, secret: Secret, path: str
) -> None:
    asked = {
        'member': member, 'reader': reader, 'admin': admin, 'stranger': stranger, 'no role': nobody,
    }  # fmt: skip
    statuses = {who: ask(caller, f'/v1/secrets/{secret.id}{path}').status for who, caller in asked.items()}
    reading = 403 if path else 200
    assert statuses == {'member': 200, 'reader': reading, 'admin': 200, 'stranger': 404, 'no role': 403}
    elsewhere = member.door.caller('admin', uuid.uuid4().hex)
    assert ask(elsewhere, f'/v1/secrets/{secret.id}{path}').status == 404
    assert ask(member, f'/v1/secrets/{secret.id}{path}', **{'X-Auth-Token': None}).status == 401
    assert ask(member, f'/v1/secrets/{secret.id}{path}', **{'X-Auth-Token': 'forged'}).status == 401


@pytest.mark.parametrize(
    'accept', [None, '*/*', 'text/plain', 'application/json', 'text/plain, application/octet-stream']
)
def test_a_key_is_bytes_or_nothing(member: Caller, secret: Secret, accept: str | None) -> None:
    answer = ask(member, f'/v1/secrets/{secret.id}/payload', Accept=accept)
    assert answer.status == 406
    assert 'application/octet-stream' in answer.fault[2]
    assert answer.headers['x-openstack-request-id']
    assert ask(member, f'/v1/secrets/{uuid.uuid4()}/payload', Accept=accept).status == 404


def test_the_first_accepted_type_counts(member: Caller, secret: Secret) -> None:
    answer = ask(member, f'/v1/secrets/{secret.id}/payload', Accept='application/octet-stream;q=1, */*')
    assert answer.status == 200


@pytest.mark.parametrize('id', ['00000000-0000-4000-8000-000000000000', 'x' * 300, '%00', '..%2F..%2Fv3', 'é'])
def test_unknown_keys(member: Caller, id: str) -> None:
    for path in f'/v1/secrets/{id}', f'/v1/secrets/{id}/payload':
        assert ask(member, path).status == 404


def test_versions_need_no_token(member: Caller) -> None:
    versions = ask(member, '', **{'X-Auth-Token': None, 'Accept': 'application/json'})
    assert (versions.status, [one['id'] for one in versions.body['versions']]) == (300, ['v1'])
    one = ask(member, '/v1', **{'X-Auth-Token': None, 'Accept': 'application/json'})
    assert one.body['version']['links'] == [{'rel': 'self', 'href': 'https://volume.example/stage/key-manager/v1/'}]


@pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE'])
def test_keys_are_made_and_removed_with_volumes_only(member: Caller, secret: Secret, method: str) -> None:
    assert member.request(method, f'/v1/secrets/{secret.id}', prefix='/key-manager').status == 404


def test_the_catalog_leads_there(monkeypatch: pytest.MonkeyPatch) -> None:
    services = block_storage_services('http://x/v3', 'http://x/identity/v3', 'http://x/key-manager')
    assert ('key-manager', 'http://x/key-manager') in [(service.type, service.url) for service in services]


def test_an_encrypted_volume_from_its_type_to_its_key(admin: Caller, member: Caller) -> None:
    kind = admin.post('/types', {'volume_type': {'name': f'LUKS-{uuid.uuid4()}'}}).body['volume_type']
    encryption = {'provider': 'luks', 'cipher': 'aes-xts-plain64', 'key_size': 256, 'control_location': 'front-end'}
    assert admin.post(f'/types/{kind["id"]}/encryption', {'encryption': encryption}).status == 200
    body = {'volume': {'size': 1, 'volume_type': kind['id']}}
    volume = member.post('/volumes', body, at='3.71').body['volume']
    assert volume['encrypted'] is True
    shown = member.get(f'/volumes/{volume["id"]}/encryption').body
    assert {**encryption, 'encryption_key_id': shown['encryption_key_id']} == shown
    key = ask(member, f'/v1/secrets/{shown["encryption_key_id"]}/payload')
    assert len(base64.b64decode(key.text)) == 32
