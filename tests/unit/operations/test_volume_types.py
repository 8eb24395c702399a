"""Volume types."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import config, errors
from chalicelib.models import Name, VolumeType
from chalicelib.operations import quotas, type_access, type_specs, volume_types
from tests.factories import context, query

ADMIN = context('admin')
CALLER = context()


def make(name: str = 'gold', **facts: Any) -> VolumeType:
    usual: dict[str, Any] = {'description': None, 'is_public': True, 'extra_specs': {}}
    return volume_types.create(ADMIN, name=name, **{**usual, **facts})


def names(found: tuple[list[VolumeType], bool]) -> set[str]:
    return {one.name for one in found[0]}


def test_default_is_made_once_under_one_id(tables: None) -> None:
    first = volume_types.default(CALLER)
    volume_types.forget()
    assert volume_types.default(context(project_id='other')).id == first.id
    assert first.name == '__DEFAULT__'


def test_default_made_by_two_processes_at_once(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    first = volume_types.default(CALLER)
    for name in ('_remembered', '_every'):
        monkeypatch.setattr(volume_types, name, dict)
    assert volume_types.default(CALLER).id == first.id
    assert len(list(VolumeType.scan())) == 1


def test_a_default_that_is_configured_must_exist(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('DEFAULT_VOLUME_TYPE', 'gold')
    config.settings.cache_clear()
    try:
        with pytest.raises(errors.VolumeTypeDefaultMisconfiguredError):
            volume_types.default(CALLER)
        gold = make()
        assert volume_types.default(CALLER).id == gold.id
    finally:
        config.settings.cache_clear()


def test_names_are_taken_once(tables: None) -> None:
    make()
    with pytest.raises(errors.VolumeTypeExists) as refused:
        make()
    assert refused.value.message == 'Volume Type gold already exists.'


def test_find(tables: None) -> None:
    gold = make()
    assert volume_types.find(CALLER, 'gold').id == gold.id
    assert volume_types.find(CALLER, gold.id).id == gold.id
    with pytest.raises(errors.VolumeTypeNotFoundByName, match='Volume type with name nope could not be found'):
        volume_types.find(CALLER, 'nope')
    missing = '01234567-89ab-4def-8123-456789abcdef'
    with pytest.raises(errors.VolumeTypeNotFound, match=f'Volume type {missing} could not be found'):
        volume_types.find(CALLER, missing)


def test_a_private_type_is_there_for_its_projects_only(tables: None) -> None:
    gold = make(is_public=False)
    type_access.add_project_access(ADMIN, gold.id, 'project')
    assert volume_types.get(CALLER, gold.id).name == 'gold'
    with pytest.raises(errors.VolumeTypeNotFound):
        volume_types.get(context(project_id='other'), gold.id)
    with pytest.raises(errors.VolumeTypeNotFound):
        volume_types.find(context(project_id='other'), 'gold')
    assert type_access.project_access(ADMIN, gold.id) == ['project']
    type_access.remove_project_access(ADMIN, gold.id, 'project')
    with pytest.raises(errors.VolumeTypeNotFound):
        volume_types.get(CALLER, gold.id)


def test_access_refusals(tables: None) -> None:
    public, private = make('public'), make('private', is_public=False)
    with pytest.raises(errors.InvalidVolumeType, match='not applicable to public volume type'):
        type_access.add_project_access(ADMIN, public.id, 'p')
    with pytest.raises(errors.VolumeTypeAccessNotFound):
        type_access.project_access(ADMIN, public.id)
    type_access.add_project_access(ADMIN, private.id, 'p')
    with pytest.raises(errors.VolumeTypeAccessExists):
        type_access.add_project_access(ADMIN, private.id, 'p')
    with pytest.raises(errors.VolumeTypeAccessNotFound):
        type_access.remove_project_access(ADMIN, private.id, 'q')


def test_list(tables: None) -> None:
    make('public')
    private = make('private', is_public=False)
    assert names(volume_types.list_(CALLER, query())) == {'__DEFAULT__', 'public'}
    assert names(volume_types.list_(ADMIN, query(), is_public=None)) == {'__DEFAULT__', 'public', 'private'}
    assert names(volume_types.list_(ADMIN, query(), is_public=False)) == {'private'}
    type_access.add_project_access(ADMIN, private.id, 'project')
    assert names(volume_types.list_(CALLER, query())) == {'__DEFAULT__', 'public', 'private'}


def test_list_by_pages_and_filters(tables: None) -> None:
    make('a', extra_specs={'tier': 'gold'})
    make('b')
    by_name = (('name', 'asc'),)
    first, more = volume_types.list_(CALLER, query(limit=2, sort=by_name))
    assert ([one.name for one in first], more) == (['__DEFAULT__', 'a'], True)
    second, more = volume_types.list_(CALLER, query(limit=2, sort=by_name, marker=first[-1].id))
    assert ([one.name for one in second], more) == (['b'], False)
    assert names(volume_types.list_(ADMIN, query(filters={'extra_specs': {'tier': 'gold'}}))) == {'a'}
    with pytest.raises(errors.VolumeTypeNotFound):
        volume_types.list_(CALLER, query(marker='zzz'))


def test_update(tables: None) -> None:
    gold = make()
    changed = volume_types.update(ADMIN, gold.id, {'name': 'silver', 'description': 'd', 'is_public': False})
    assert (changed.name, changed.description, changed.is_public) == ('silver', 'd', False)
    make('gold')
    with pytest.raises(errors.VolumeTypeExists):
        volume_types.update(ADMIN, gold.id, {'name': 'gold'})
    assert {name.id for name in Name.scan()} == {'volume_type:gold', 'volume_type:silver'}


def test_update_under_the_same_name(tables: None) -> None:
    gold = make()
    assert volume_types.update(ADMIN, gold.id, {'name': 'gold', 'description': 'd'}).description == 'd'


def test_delete(tables: None) -> None:
    gold = make()
    volume_types.delete(ADMIN, gold.id)
    with pytest.raises(errors.VolumeTypeNotFound):
        volume_types.get(ADMIN, gold.id)
    make()


def test_delete_refusals(tables: None) -> None:
    default = volume_types.default(ADMIN)
    with pytest.raises(errors.VolumeTypeDefaultDeletionError) as refused:
        volume_types.delete(ADMIN, default.id)
    assert refused.value.message == f'The volume type {default.id} is a default volume type and cannot be deleted.'


def used(volume_type: VolumeType) -> None:
    quotas.commit('another-project', {'volumes': 1}, lambda _: None, type_id=volume_type.id)


def test_a_type_in_use(tables: None) -> None:
    gold = make()
    used(gold)
    with pytest.raises(errors.VolumeTypeInUse) as refused:
        volume_types.delete(ADMIN, gold.id)
    assert (refused.value.code, refused.value.message) == (400, 'Target volume type is still in use.')
    with pytest.raises(errors.VolumeTypeInUse) as refused:
        type_specs.set_(ADMIN, gold.id, {'a': 'b'})
    assert refused.value.message == 'Volume Type is currently in use.'
    quotas.commit('another-project', {'volumes': -1}, lambda _: None, type_id=gold.id)
    volume_types.delete(ADMIN, gold.id)


def test_extra_specs(tables: None) -> None:
    gold = make(extra_specs={'tier': 'gold', 'multiattach': '<is> True'})
    assert type_specs.set_(ADMIN, gold.id, {'a': 'b'}) == {
        'tier': 'gold',
        'multiattach': '<is> True',
        'a': 'b',
    }
    type_specs.delete(ADMIN, gold.id, 'tier')
    assert volume_types.get(ADMIN, gold.id).extra_specs == {'multiattach': '<is> True', 'a': 'b'}
    with pytest.raises(errors.VolumeTypeExtraSpecsNotFound) as refused:
        type_specs.delete(ADMIN, gold.id, 'tier')
    assert refused.value.message == f'Volume Type {gold.id} has no extra specs with key tier.'


def test_cacheable_and_multiattach_exclude_each_other(tables: None) -> None:
    with pytest.raises(errors.Invalid, match='cacheable cannot be set with multiattach'):
        make(extra_specs={'cacheable': '<is> True', 'multiattach': '<is> True'})
    gold = make(extra_specs={'multiattach': '<is> True'})
    with pytest.raises(errors.Invalid, match='cacheable cannot be set with multiattach'):
        type_specs.set_(ADMIN, gold.id, {'cacheable': '<is> True'})


def test_names_in_views_are_remembered_and_one_that_is_missing_is_read(
    tables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume_types, 'TTL', 600)
    gold = make()
    assert volume_types.shown_name(gold.id) == 'gold'
    VolumeType('-', gold.id).update(actions=[VolumeType.name.set('renamed elsewhere')])
    assert volume_types.shown_name(gold.id) == 'gold'
    VolumeType('-', 'new', created_at=gold.created_at, name='made elsewhere').save()
    assert volume_types.shown_name('new') == 'made elsewhere'
    assert volume_types.shown_name('gone') is None
    assert volume_types.names() == {gold.id: 'renamed elsewhere', 'new': 'made elsewhere'}
    assert volume_types.shown_name(gold.id) == 'renamed elsewhere'
