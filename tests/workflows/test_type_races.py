"""A type is changed or removed while something comes to use it: in every interleaving one of both is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from chalicelib import config, errors
from chalicelib.models import DefaultType, Group, GroupType, Quota, Volume, VolumeType
from chalicelib.operations import (
    default_types,
    group_creation,
    group_types,
    managing,
    moves,
    transfers,
    type_encryption,
    type_locks,
    type_specs,
    volume_types,
)
from tests.factories import context, create_volume
from tests.run_statistics import Counting
from tests.simulation import Killed, Simulation
from tests.workflows.crashes import Crasher, Scenario, Stage
from tests.workflows.test_races import crashing, intruding

ADMIN = context('admin')
LUKS = {'provider': 'luks', 'control_location': 'front-end'}

#: What the users of a type need beside it.
Made = dict[str, Any]
Request = Callable[[Made], object]


def prepare(simulation: Simulation) -> Made:
    simulation.big.retype = 'done'
    kind = volume_types.create(
        ADMIN, name='gold', description=None, is_public=True, extra_specs={'volume_backend_name': 'big'}
    )
    other = volume_types.create(ADMIN, name='other', description=None, is_public=True, extra_specs={})
    group_type = group_types.create(ADMIN, name='groups', description=None, is_public=True, group_specs={})
    volume = create_volume(context(), 1, volume_type='other')
    simulation.settle()
    return {'type': kind.id, 'other': other.id, 'group_type': group_type.id, 'volume': volume.id}


def _group(made: Made) -> Group:
    return group_creation.create(
        context(), name='g', description=None, group_type='groups', volume_types_=['gold'], availability_zone=None
    )


#: Ways to come to use the type.
USERS: dict[str, Request] = {
    'create': lambda made: create_volume(context(), 1, volume_type='gold'),
    'retype': lambda made: moves.retype(context(), made['volume'], 'gold', 'never'),
    'default': lambda made: default_types.set_(ADMIN, 'project', 'gold'),
    'group': _group,
    'manage': lambda made: managing.manage_volume(
        ADMIN, host='cinderless@big#pool', cluster=None, ref={'source-name': 'x'}, name=None, description=None,
        volume_type='gold', metadata={}, availability_zone=None, bootable=False,
    ),
}  # fmt: skip

#: Changes of the type that need it unused. Those of specs and encryption matter to volumes only.
CHANGES: dict[str, Request] = {
    'delete': lambda made: volume_types.delete(ADMIN, made['type']),
    'set specs': lambda made: type_specs.set_(ADMIN, made['type'], {'volume_backend_name': 'fast'}),
    'drop spec': lambda made: type_specs.delete(ADMIN, made['type'], 'volume_backend_name'),
    'encrypt': lambda made: type_encryption.create(ADMIN, made['type'], LUKS),
    'delete group type': lambda made: group_types.delete(ADMIN, made['group_type']),
}


def code(request: Request, made: Made) -> int:
    try:
        request(made)
    except errors.CinderlessError as error:
        return error.code
    return 200


def used_as_it_was(made: Made) -> list[str]:
    """Users of types that are gone, and volumes that are not as the type is."""
    types = {one.id: one for one in VolumeType.scan()}
    group_type_ids = {one.id for one in GroupType.scan()}
    broken = [f'volume {one.id}: type gone' for one in Volume.scan() if one.volume_type_id not in types]
    broken += [f'default of {one.id}: type gone' for one in DefaultType.scan() if one.volume_type_id not in types]
    for group in Group.scan():
        broken += [f'group {group.id}: type gone' for id in group.volume_type_ids if id not in types]
        broken += [] if group.group_type_id in group_type_ids else [f'group {group.id}: group type gone']
    kind = types.get(made['type'])
    for volume in Volume.scan():
        if kind and volume.volume_type_id == kind.id and volume.host:
            wanted = kind.extra_specs.get('volume_backend_name')
            broken += [] if wanted in (None, volume.backend.partition('@')[2]) else [f'volume on {volume.host}']
            broken += [] if bool(kind.encryption) == bool(volume.encryption_key_id) else ['encryption differs']
    return broken


@pytest.fixture
def kms(tables: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A key of moto's, by which the keys of encrypted volumes are wrapped."""
    monkeypatch.setenv('KMS_KEY_ID', boto3.client('kms').create_key()['KeyMetadata']['KeyId'])
    config.settings.cache_clear()
    yield
    config.settings.cache_clear()


@pytest.mark.parametrize('change', CHANGES)
@pytest.mark.parametrize('user', USERS)
@pytest.mark.parametrize('inside', ['change inside use', 'use inside change'])
def test_in_every_interleaving(
    user: str, change: str, inside: str, kms: None, monkeypatch: pytest.MonkeyPatch, counted: Counting
) -> None:
    stage = Stage(Scenario('type', prepare, lambda simulation, made: None), monkeypatch)
    first, second = (USERS[user], CHANGES[change]) if inside == 'change inside use' else (CHANGES[change], USERS[user])
    at, calls = 0, 1
    while at < calls:
        simulation = stage.world_again()
        made, codes = stage.prepared, []
        with intruding(at, lambda: codes.append(code(second, made)), monkeypatch) as seen:  # noqa: B023
            codes.append(code(first, made))
        calls = len(seen)
        simulation.settle()
        assert all(one == 200 or 400 <= one < 500 for one in codes), (at, seen, codes)
        assert 200 in codes, (at, seen, codes)
        assert used_as_it_was(made) == [], (at, seen, codes)
        at += 1
    counted('interleavings of a type with its users', calls)


@pytest.mark.parametrize('change', CHANGES)
def test_a_change_that_dies_at_any_call_keeps_nobody_from_using_the_type(
    change: str, kms: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(Scenario('type', prepare, lambda simulation, made: None), monkeypatch)
    index = 0
    while True:
        simulation = stage.world_again()
        try:
            with crashing(Crasher(index)):
                CHANGES[change](stage.prepared)
            break
        except Killed:
            index += 1
        found = code(USERS['create'], stage.prepared), code(USERS['group'], stage.prepared)
        simulation.settle()
        assert used_as_it_was(stage.prepared) == []
        gone = change == 'delete' and not any(one.name == 'gold' for one in VolumeType.scan())
        assert found == (200, 200) or gone or change == 'delete group type', (index, found)
    assert index >= 2


def test_a_volume_that_changes_its_project_meanwhile_is_found(simulation: Simulation) -> None:
    """The search for users reads project after project: a transfer must not slip past it."""
    made = prepare(simulation)
    volume = Volume.find('project', made['volume'])
    transfer, key = transfers.create(context(), volume.id, name=None, no_snapshots=False, allow_encrypted=False)
    scan = Quota.scan

    def late(*arguments: Any, **facts: Any) -> Any:
        """The taker's record has been read, the donor's not yet, when the volume moves."""
        found = [one for one in scan(*arguments, **facts) if one.project_id != 'project']
        code(lambda _: transfers.accept(context(project_id='taker'), transfer.id, key), made)
        return iter([*found, *(one for one in scan(*arguments, **facts) if one.project_id == 'project')])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Quota, 'scan', late)
        found = code(lambda made: volume_types.delete(ADMIN, made['other']), made)
    assert found >= 400 or not list(Volume.scan())
    assert used_as_it_was(made) == []


def test_a_closed_type_is_opened_by_its_next_user(simulation: Simulation) -> None:
    made = prepare(simulation)
    kind = volume_types.read(made['type'])
    with type_locks.closed(kind):
        pass  # and nothing opens it: this is what a process that dies here leaves
    assert volume_types.read(kind.id).closed
    create_volume(context(), 1, volume_type='gold')
    assert not volume_types.read(kind.id).closed
