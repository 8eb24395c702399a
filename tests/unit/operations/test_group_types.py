"""Group types: names are taken once, private ones are hidden, those in use stay."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import GroupType, Name
from chalicelib.operations import group_types
from tests.factories import context, create_group, query
from tests.simulation import Simulation

ADMIN, MEMBER = context('admin'), context()


def create(name: str = 'gold', **facts: Any) -> GroupType:
    usual: dict[str, Any] = {'description': None, 'is_public': True, 'group_specs': {}}
    return group_types.create(ADMIN, name=name, **{**usual, **facts})


def test_a_type(simulation: Simulation) -> None:
    made = create(description='d', group_specs={'k': 'v'})
    found = group_types.get(MEMBER, made.id)
    assert (found.name, found.description, found.is_public, found.group_specs) == ('gold', 'd', True, {'k': 'v'})
    assert group_types.find(MEMBER, 'gold').id == group_types.find(MEMBER, made.id).id == made.id


def test_names_are_taken_once(simulation: Simulation) -> None:
    first, second = create(), create('silver')
    with pytest.raises(errors.GroupTypeExists):
        create()
    with pytest.raises(errors.GroupTypeExists):
        group_types.update(ADMIN, second.id, {'name': 'gold'})
    group_types.update(ADMIN, first.id, {'name': 'bronze'})
    assert create('gold').name == 'gold'
    group_types.delete(ADMIN, first.id)
    assert create('bronze').name == 'bronze'
    assert sorted(name.id for name in Name.scan() if name.id.startswith('group_type:')) == [
        'group_type:bronze', 'group_type:gold', 'group_type:silver',
    ]  # fmt: skip


def test_private_types(simulation: Simulation) -> None:
    hidden = create(is_public=False)
    with pytest.raises(errors.GroupTypeNotFound):
        group_types.get(MEMBER, hidden.id)
    with pytest.raises(errors.GroupTypeNotFoundByName):
        group_types.find(MEMBER, 'gold')

    def listed(caller: Any, is_public: bool | None) -> list[str]:
        return sorted(one.name for one in group_types.list_(caller, query(), is_public)[0])

    assert listed(MEMBER, None) == ['default_cgsnapshot_type']
    assert listed(ADMIN, False) == ['gold']
    assert listed(ADMIN, None) == ['default_cgsnapshot_type', 'gold']


def test_specs(simulation: Simulation) -> None:
    made = create(group_specs={'a': '1'})
    assert group_types.set_group_specs(ADMIN, made.id, {'b': '2'}) == {'a': '1', 'b': '2'}
    group_types.delete_group_spec(ADMIN, made.id, 'a')
    with pytest.raises(errors.GroupTypeSpecsNotFound):
        group_types.delete_group_spec(ADMIN, made.id, 'a')
    assert group_types.get(ADMIN, made.id).group_specs == {'b': '2'}


def test_a_type_in_use(simulation: Simulation) -> None:
    group = create_group(MEMBER)
    with pytest.raises(errors.GroupTypeInUse):
        group_types.delete(ADMIN, group.group_type_id)


def test_the_type_of_consistency_groups_is_made_once(simulation: Simulation) -> None:
    first = group_types.consistency_groups()
    assert group_types.consistency_groups().id == group_types.find(MEMBER, 'default_cgsnapshot_type').id == first.id
    assert first.group_specs == {'consistent_group_snapshot_enabled': '<is> True'}


@pytest.mark.parametrize('id', ['nothing', '', 'x' * 2000])
def test_unknown_types(simulation: Simulation, id: str) -> None:
    with pytest.raises(errors.GroupTypeNotFound):
        group_types.get(ADMIN, id)
