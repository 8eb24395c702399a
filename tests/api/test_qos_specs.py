"""QoS specs, from their creation to the values that the attaching host receives."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from chalicelib.rules import qos
from tests.api.front_door import Answer, Caller


def create(admin: Caller, **facts: Any) -> Answer:
    return admin.post('/qos-specs', {'qos_specs': {'name': f'q-{uuid.uuid4().hex}', **facts}})


def associate(admin: Caller, verb: str, specs: Any, kind: Any) -> Answer:
    return admin.get(f'/qos-specs/{specs.id}/{verb}?vol_type_id={kind.id}')


def test_every_other_member_is_a_spec(admin: Caller) -> None:
    made = create(admin, consumer='both', total_iops_sec='10').body
    assert made['qos_specs'].items() >= {'consumer': 'both', 'specs': {'total_iops_sec': '10'}}.items()
    assert [link['rel'] for link in made['links']] == ['self', 'bookmark']
    path = f'/qos-specs/{made["qos_specs"]["id"]}'
    assert admin.put(path, {'qos_specs': {'consumer': 'front-end', 'a': 'b'}}).body['qos_specs']['a'] == 'b'
    shown = admin.get(path).body['qos_specs']
    assert (shown['consumer'], shown['specs']) == ('front-end', {'total_iops_sec': '10', 'a': 'b'})
    assert admin.put(f'{path}/delete_keys', {'keys': ['a']}).status == 202
    missing = admin.put(f'{path}/delete_keys', {'keys': ['total_iops_sec', 'z']})
    assert missing.fault[1:] == (404, f'QoS spec {shown["id"]} has no spec with key z.')
    assert admin.get(path).body['qos_specs']['specs'] == {'total_iops_sec': '10'}
    assert admin.delete(path).status == 202
    assert admin.get(path).status == 404


@pytest.mark.parametrize('facts', [{'name': ' '}, {'consumer': 'elsewhere'}, {'read_iops_sec_per_gb': 'many'}])
def test_what_makes_no_sense_is_refused(admin: Caller, facts: dict[str, str]) -> None:
    assert create(admin, **facts).status == 400


def test_names_are_unique_until_given_back(admin: Caller, make: Any) -> None:
    specs = make.qos_specs()
    taken = f'QoS Specs {specs.name} already exists.'
    assert create(admin, name=specs.name).fault == ('conflictingRequest', 409, taken)
    admin.delete(f'/qos-specs/{specs.id}')
    assert create(admin, name=specs.name).status == 200


def test_the_list_is_filtered_and_paged(admin: Caller, make: Any) -> None:
    specs = [make.qos_specs(consumer='both') for _ in range(2)]
    named = admin.get(f'/qos-specs?name={specs[0].name}').body['qos_specs']
    assert [each['id'] for each in named] == [specs[0].id]
    first = admin.get('/qos-specs?limit=1&consumer=both').body
    assert [each['id'] for each in first['qos_specs']] == [specs[1].id]
    assert f'marker={specs[1].id}' in first['qos_specs_links'][0]['href']


def test_types_name_specs_one_at_a_time(admin: Caller, make: Any) -> None:
    specs, others, kind = make.qos_specs(), make.qos_specs(), make.type()
    assert [associate(admin, 'associate', specs, kind).status for _ in range(2)] == [202, 202]
    rows = admin.get(f'/qos-specs/{specs.id}/associations').body['qos_associations']
    assert rows == [{'association_type': 'volume_type', 'name': kind.name, 'id': kind.id}]
    assert admin.get(f'/types/{kind.id}').body['volume_type']['qos_specs_id'] == specs.id
    assert 'already associated' in associate(admin, 'associate', others, kind).fault[2]
    assert associate(admin, 'disassociate', others, kind).status == 202  # names others: nothing to do
    assert admin.delete(f'/qos-specs/{specs.id}').fault == ('badRequest', 400, 'Qos specs still in use.')
    assert associate(admin, 'disassociate', specs, kind).status == 202
    assert admin.delete(f'/qos-specs/{specs.id}').status == 202


def test_specs_taken_from_all_types_or_deleted_by_force(admin: Caller, make: Any) -> None:
    specs, kinds = make.qos_specs(), [make.type() for _ in range(3)]
    for kind in kinds:
        associate(admin, 'associate', specs, kind)
    assert admin.get(f'/qos-specs/{specs.id}/disassociate_all').status == 202
    assert admin.get(f'/qos-specs/{specs.id}/associations').body['qos_associations'] == []
    associate(admin, 'associate', specs, kinds[0])
    assert admin.delete(f'/qos-specs/{specs.id}?force=true').status == 202
    assert admin.get(f'/types/{kinds[0].id}').body['volume_type']['qos_specs_id'] is None


def test_a_type_that_goes_lets_go_of_its_specs(admin: Caller, make: Any) -> None:
    specs, kind = make.qos_specs(), make.type()
    associate(admin, 'associate', specs, kind)
    assert admin.delete(f'/types/{kind.id}').status == 202
    assert admin.delete(f'/qos-specs/{specs.id}').status == 202


def test_associations_name_a_type(admin: Caller, make: Any) -> None:
    specs = make.qos_specs()
    assert admin.get(f'/qos-specs/{specs.id}/associate').fault[2] == 'Volume Type id must not be None.'
    assert admin.get(f'/qos-specs/{specs.id}/associate?vol_type_id={uuid.uuid4()}').status == 404


@pytest.mark.parametrize(
    ('specs', 'consumed'),
    [
        ({'total_iops_sec': '9'}, {'total_iops_sec': '9'}),
        ({'total_iops_sec_per_gb': '3'}, {'total_iops_sec': 30}),
        ({'total_iops_sec_per_gb': '3', 'total_iops_sec_per_gb_min': '50'}, {'total_iops_sec': 50}),
        ({'total_iops_sec_per_gb': '3', 'total_iops_sec_max': '20'}, {'total_iops_sec': 20}),
    ],
)
def test_what_a_host_of_ten_gib_is_told(specs: dict[str, str], consumed: dict[str, Any]) -> None:
    assert qos.front_end('both', specs, 10) == consumed
    assert qos.front_end('back-end', specs, 10) is None


def test_the_connection_of_a_volume_carries_its_limits(admin: Caller, make: Any) -> None:
    from chalicelib.tasks import backends

    kind, specs = make.type(), make.qos_specs(consumer='front-end', specs={'write_iops_sec_per_gb': '2'})
    volume = make.volume(size=4, volume_type_id=kind.id)
    assert backends.front_end_qos(volume) is None
    associate(admin, 'associate', specs, kind)
    assert backends.front_end_qos(volume) == {'write_iops_sec': 8}
