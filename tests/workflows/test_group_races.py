"""Volumes join a group while something else begins with them: a member stays on its backend, and of its types."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from chalicelib.models import Group, Volume
from chalicelib.operations import group_snapshots, groups, moves, transfers, volume_types, volumes
from tests import invariants
from tests.data_backends import GIB, Data, Disk
from tests.factories import context, create_volume
from tests.simulation import Simulation
from tests.workflows.crashes import Scenario, Stage
from tests.workflows.test_groups import filled
from tests.workflows.test_races import intruding, outcome

CALLER, ADMIN = context(), context('admin')

Request = Callable[[Volume, Group], object]

#: What may happen to a volume and to the group that it is to join.
REQUESTS: dict[str, Request] = {
    'join': lambda volume, group: groups.update(CALLER, group.id, {}, add=[volume.id]),
    'leave': lambda volume, group: groups.update(CALLER, group.id, {}, remove=[volume.id]),
    'migrate': lambda volume, _: moves.migrate(
        ADMIN, volume.id, host='cinderless@fast', cluster=None, force_host_copy=False, lock_volume=False
    ),
    'retype': lambda volume, _: moves.retype(CALLER, volume.id, 'plain', 'never'),
    'retype elsewhere': lambda volume, _: moves.retype(CALLER, volume.id, 'quick', 'on-demand'),
    'transfer': lambda volume, _: transfers.create(
        CALLER, volume.id, name=None, no_snapshots=False, allow_encrypted=False
    ),
    'extend': lambda volume, _: volumes.extend(CALLER, volume.id, 6),
    'delete': lambda volume, _: volumes.delete(CALLER, volume.id),
    'clone': lambda volume, _: create_volume(CALLER, 5, source_volid=volume.id),
    'freeze': lambda _, group: group_snapshots.create(CALLER, group.id, name=None, description=None),
    'delete group': lambda _, group: groups.delete(CALLER, group.id, delete_volumes=True),
    'reset': lambda volume, _: volumes.reset_status(ADMIN, volume.id, 'available', None, None),
}

#: The requests that decide on what the others change.
FIRST = ('join', 'migrate', 'retype', 'retype elsewhere', 'transfer', 'freeze', 'delete group')


def prepare(simulation: Simulation) -> tuple[Volume, Group]:
    for name, specs in (('plain', {}), ('quick', {'volume_backend_name': 'fast'})):
        volume_types.create(ADMIN, name=name, description=None, is_public=True, extra_specs=specs)
    simulation.big.retype = 'done'
    group = filled(simulation, 1)
    volume = create_volume(CALLER, 5)
    simulation.settle()
    return volume.reload(), group


@pytest.mark.parametrize('second', REQUESTS)
@pytest.mark.parametrize('first', FIRST)
def test_any_two_in_every_interleaving(first: str, second: str, tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second request comes before each DynamoDB call of the first one, and last before its work begins."""
    stage = Stage(Scenario('group', prepare, lambda simulation, made: None), monkeypatch)
    at, calls = 0, 0
    while at <= calls:
        simulation = stage.world_again()
        data = Data(simulation, monkeypatch)
        for one in Volume.scan():
            data.disks[one.backend][f'volume-{one.id}'] = Disk(one.size * GIB)
        volume, group = stage.prepared
        codes: list[int] = []
        intruder = functools.partial(outcome, REQUESTS[second], volume, group, codes)
        with intruding(at, intruder, monkeypatch) as seen:
            outcome(REQUESTS[first], volume, group, codes)
        calls = len(seen)
        if at == calls:
            intruder()
        simulation.settle()
        simulation.reconcile()
        simulation.settle()
        assert len(codes) == 2, (at, seen, codes)
        assert all(code == 200 or 400 <= code < 500 for code in codes), (at, seen, codes)
        invariants.check(simulation)
        at += 1


def test_a_retype_that_ends_while_a_volume_joins(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(Scenario('group', prepare, lambda simulation, made: None), monkeypatch)
    at, calls = 0, 0
    while at <= calls:
        simulation = stage.world_again()
        volume, group = stage.prepared
        codes: list[int] = []

        def retype() -> None:
            outcome(REQUESTS['retype'], volume, group, codes)  # noqa: B023
            simulation.settle()  # noqa: B023

        with intruding(at, retype, monkeypatch) as seen:
            outcome(REQUESTS['join'], volume, group, codes)
        calls = len(seen)
        assert codes == ([200, 400] if at < calls else [200]), (at, seen)
        invariants.check(simulation)
        at += 1
