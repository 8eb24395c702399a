"""Encryption of volume types: what operators configure, and what the attaching host receives."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.api.front_door import Caller

FACTS = {'provider': 'luks', 'cipher': 'aes-xts-plain64', 'key_size': 256, 'control_location': 'front-end'}


@pytest.fixture
def kind(make: Any) -> Any:
    return make.type()


def encrypt(admin: Caller, kind: Any, **facts: Any) -> Any:
    return admin.post(f'/types/{kind.id}/encryption', {'encryption': FACTS | facts})


def test_create_show_change_delete(admin: Caller, kind: Any) -> None:
    path = f'/types/{kind.id}/encryption'
    assert admin.get(path).body == {}
    made = encrypt(admin, kind).body['encryption']
    assert made == {**FACTS, 'volume_type_id': kind.id, 'encryption_id': made['encryption_id']}
    changed = admin.put(f'{path}/{made["encryption_id"]}', {'encryption': {'key_size': '128'}})
    assert changed.body == {'encryption': {'key_size': '128'}}
    shown = admin.get(path).body
    assert (shown['key_size'], shown['cipher'], shown['deleted']) == (128, 'aes-xts-plain64', False)
    assert admin.get(f'{path}/provider').body == {'provider': 'luks'}
    assert admin.delete(f'{path}/provider').status == 202  # python-cinderclient's idea of the id
    assert admin.get(path).body == {}


def test_a_type_has_one_encryption(admin: Caller, kind: Any) -> None:
    encrypt(admin, kind)
    taken = f'Volume type encryption for type {kind.id} already exists.'
    assert encrypt(admin, kind).fault == ('badRequest', 400, taken)


@pytest.mark.parametrize('facts', [{'control_location': 'middle'}, {'key_size': 'long'}, {'key_size': -1}])
def test_what_no_host_understands_is_refused(admin: Caller, kind: Any, facts: dict[str, Any]) -> None:
    assert encrypt(admin, kind, **facts).status == 400


def test_a_type_without_encryption_has_nothing_to_change(admin: Caller, kind: Any) -> None:
    path, missing = f'/types/{kind.id}/encryption/x', f'Volume type encryption for type {kind.id} does not exist.'
    for answer in (admin.put(path, {'encryption': {}}), admin.delete(path), admin.get(path)):
        assert answer.fault == ('itemNotFound', 404, missing)


def test_a_type_in_use_keeps_what_it_has(admin: Caller, kind: Any, project: str) -> None:
    from chalicelib.models import Quota, base

    Quota(project, 'quota', created_at=base.now(), usage={f'volumes_{kind.id}': 1}).save()
    answer = encrypt(admin, kind)
    assert answer.fault == ('badRequest', 400, 'Cannot create encryption specs. Volume type in use.')


def test_the_host_of_an_encrypted_volume_learns_how_to_open_it(
    admin: Caller, member: Caller, make: Any, kind: Any
) -> None:
    encrypt(admin, kind)
    key = str(uuid.uuid4())
    volume = make.volume(volume_type_id=kind.id, encryption_key_id=key)
    assert member.get(f'/volumes/{volume.id}/encryption').body == {'encryption_key_id': key, **FACTS}
    assert member.get(f'/volumes/{volume.id}/encryption/key_size').text == '256'
    clear = make.volume(volume_type_id=kind.id)
    assert member.get(f'/volumes/{clear.id}/encryption').body == {'encryption_key_id': None}
