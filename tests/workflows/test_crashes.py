"""Every crash point of every workflow: the service recovers automatically, and nothing is lost, doubled or stuck."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.models import Volume
from chalicelib.operations import group_creation, group_snapshots, groups, managing, snapshots, volumes
from tests.factories import context, create_group, create_group_snapshot, create_snapshot, create_volume
from tests.fake_driver import Object
from tests.simulation import BIG, Simulation
from tests.workflows.crashes import Crasher, Scenario, Stage

CALLER = context()


def nothing(simulation: Simulation) -> None:
    pass


def volume(simulation: Simulation) -> Volume:
    made = create_volume(CALLER, 5)
    simulation.settle()
    return made


def volume_with_snapshot(simulation: Simulation) -> tuple[Any, Any]:
    made = volume(simulation)
    return made, create_snapshot(CALLER, made)


def foreign_volume(simulation: Simulation) -> None:
    simulation.big.objects['theirs'] = Object('pool', 5)
    simulation.report()


def manage(name: str) -> None:
    facts: dict[str, Any] = {'name': None, 'description': None, 'volume_type': None, 'metadata': {}, 'bootable': False}
    where: dict[str, Any] = {'host': BIG, 'cluster': None, 'availability_zone': None}
    managing.manage_volume(context('admin'), ref={'source-name': name}, **facts, **where)


def foreign_snapshot(simulation: Simulation) -> Volume:
    simulation.big.objects['their-snapshot-1'] = Object('pool', 4, 'elsewhere')
    return volume(simulation)


def manage_snapshot(made: Volume) -> None:
    facts: dict[str, Any] = {'name': None, 'description': None, 'metadata': {}}
    managing.manage_snapshot(context('admin'), made.id, ref={'source-name': 'their-snapshot-1'}, **facts)


def failing_backend(simulation: Simulation) -> None:
    simulation.big.fail('create_volume', simulation.big.full(5))


def failing_backends(simulation: Simulation) -> None:
    failing_backend(simulation)
    simulation.fast.fail('create_volume', simulation.fast.full(5))


def failing_twice(simulation: Simulation) -> None:
    """Neither the volume nor its undo works at the first candidate."""
    failing_backend(simulation)
    simulation.big.fail('delete_volume', simulation.big.unavailable())


def group_with_volumes(simulation: Simulation) -> Any:
    group = create_group(CALLER)
    simulation.settle()
    for _ in range(2):
        create_volume(context(), 5, group_id=group.id)
    simulation.settle()
    return group


def group_with_snapshot(simulation: Simulation) -> Any:
    taken = create_group_snapshot(CALLER, group_with_volumes(simulation))
    simulation.settle()
    return taken


def group_that_cannot_be_snapshotted(simulation: Simulation) -> Any:
    group = group_with_volumes(simulation)
    simulation.big.fail('create_snapshot', None, RuntimeError('a bug'))
    return group


def copy_of(group: Any) -> Any:
    return group_creation.create_from_src(
        context(), name=None, description=None, group_snapshot_id=None, source_group_id=group.id
    )


SCENARIOS = [
    Scenario('create', nothing, lambda _, __: create_volume(context(), 5)),
    Scenario('create, second candidate', failing_backend, lambda _, __: create_volume(context(), 5)),
    Scenario('create, no candidate', failing_backends, lambda _, __: create_volume(context(), 5)),
    Scenario('create, undo fails', failing_twice, lambda _, __: create_volume(context(), 5)),
    Scenario('create, no space', nothing, lambda _, __: create_volume(context(), 500)),
    Scenario('clone', volume, lambda _, source: create_volume(context(), 6, source_volid=source.id)),
    Scenario(
        'from snapshot', volume_with_snapshot, lambda _, made: create_volume(context(), 5, snapshot_id=made[1].id)
    ),
    Scenario('delete', volume, lambda _, made: volumes.delete(context(), made.id)),
    Scenario('cascade', volume_with_snapshot, lambda _, made: volumes.delete(context(), made[0].id, cascade=True)),
    Scenario('extend', volume, lambda _, made: volumes.extend(context(), made.id, 8)),
    Scenario('extend, no space', volume, lambda _, made: volumes.extend(context(), made.id, 300)),
    Scenario('snapshot', volume, lambda _, made: create_snapshot(context(), made)),
    Scenario('manage', foreign_volume, lambda _, __: manage('theirs')),
    Scenario('manage, not there', foreign_volume, lambda _, __: manage('nowhere')),
    Scenario('unmanage', volume, lambda _, made: managing.unmanage_volume(context('admin'), made.id)),
    Scenario('manage snapshot', foreign_snapshot, lambda _, made: manage_snapshot(made)),
    Scenario(
        'unmanage snapshot',
        volume_with_snapshot,
        lambda _, made: managing.unmanage_snapshot(context('admin'), made[1].id),
    ),
    Scenario('delete snapshot', volume_with_snapshot, lambda _, made: snapshots.delete(context(), made[1].id)),
    Scenario('group', nothing, lambda _, __: create_group(context())),
    Scenario('copy of a group', group_with_volumes, lambda _, group: copy_of(group)),
    Scenario(
        'delete group', group_with_volumes, lambda _, made: groups.delete(context(), made.id, delete_volumes=True)
    ),
    Scenario('group snapshot', group_with_volumes, lambda _, made: create_group_snapshot(context(), made)),
    Scenario(
        'group snapshot, undone',
        group_that_cannot_be_snapshotted,
        lambda _, made: create_group_snapshot(context(), made),
    ),
    Scenario('delete group snapshot', group_with_snapshot, lambda _, made: group_snapshots.delete(context(), made.id)),
]


@pytest.mark.parametrize('execution_survives', [False, True], ids=['all dies', 'worker dies'])
@pytest.mark.parametrize('scenario', SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_crash_point(
    scenario: Scenario, execution_survives: bool, tables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, trace = Stage(scenario, monkeypatch), Crasher()
    stage.play(trace, execution_survives=execution_survives)
    assert len(trace.calls) >= 4
    for index in range(len(trace.calls) + 1):
        with noting(trace, index):
            stage.play(Crasher(index), execution_survives=execution_survives)


@pytest.mark.parametrize('seed', range(36))
def test_a_second_crash_during_recovery(seed: int, tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    stage, trace = Stage(SCENARIOS[seed % len(SCENARIOS)], monkeypatch), Crasher()
    stage.play(trace)
    first, second, third = chance.randrange(len(trace.calls)), chance.randrange(12), chance.randrange(12)
    with noting(trace, (first, second, third)):
        stage.play(Crasher(first), Crasher(second), Crasher(third))


@contextlib.contextmanager
def noting(trace: Crasher, where: object) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        error.add_note(f'killed before call {where} of {trace.calls}')
        raise
