"""What snapshots carry a copy of: when it changes on the volume, it changes with them, or the change is refused.

Of a volume's properties a snapshot copies the project (transfers: tests/unit/operations/test_transfers.py), the size of
its time, the key (shared, and moved with the project), the backend (a volume with snapshots does not migrate) and the
type. Backups keep copies of keys and sizes of their own on purpose; a volume of a group, or attached, is not retyped to
what its group or server could not have.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from chalicelib import errors
from chalicelib.models import Snapshot, Volume
from chalicelib.operations import moves, quotas, snapshots, volume_types, volumes
from tests import invariants
from tests.factories import context, create_snapshot, create_volume
from tests.simulation import Simulation
from tests.workflows.crashes import Scenario, Stage
from tests.workflows.test_races import intruding

ADMIN = context('admin')


def prepare(simulation: Simulation) -> Volume:
    simulation.big.retype = 'done'
    volume_types.create(ADMIN, name='gold', description=None, is_public=True, extra_specs={})
    volume = create_volume(context(), 5)
    simulation.settle()
    for _ in range(2):
        create_snapshot(context(), volume)
    simulation.settle()
    return volume.reload()


def retype(volume: Volume, policy: str = 'never') -> None:
    moves.retype(context(), volume.id, 'gold', policy)


def types() -> set[str]:
    return {one.volume_type_id for one in [*Volume.scan(), *Snapshot.scan()]}


def gold() -> str:
    return volume_types.find(ADMIN, 'gold').id


def test_snapshots_take_over_the_type_and_its_quota(simulation: Simulation) -> None:
    volume = prepare(simulation)
    retype(volume)
    assert quotas.usages('project')['snapshots_gold'] == {'limit': -1, 'in_use': 0, 'reserved': 2}
    simulation.settle()
    assert types() == {gold()}
    used = quotas.usages('project')
    assert {name: used[f'{name}_gold']['in_use'] for name in ('volumes', 'snapshots', 'gigabytes')} == {
        'volumes': 1, 'snapshots': 2, 'gigabytes': 15,
    }  # fmt: skip
    assert used['snapshots___DEFAULT__']['in_use'] == used['gigabytes___DEFAULT__']['in_use'] == 0
    invariants.check(simulation)


@pytest.mark.parametrize('limit', [{'snapshots_gold': 1}, {'gigabytes_gold': 14}])
def test_a_type_whose_quota_has_no_room_for_the_snapshots_is_refused_at_once(
    simulation: Simulation, limit: dict[str, int]
) -> None:
    volume = prepare(simulation)
    quotas.update('project', limit)
    with pytest.raises(errors.OverQuota):
        retype(volume)
    invariants.check(simulation)


def test_a_retype_that_fails_leaves_snapshots_and_quota_as_they_were(simulation: Simulation) -> None:
    volume = prepare(simulation)
    simulation.big.fail('retype', *[errors.InvalidVolume(reason='no')] * 9)
    retype(volume)
    simulation.settle()
    assert gold() not in types()
    invariants.check(simulation)


def test_more_snapshots_than_one_transaction_changes(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = prepare(simulation)
    monkeypatch.setattr(moves, 'MAX_SNAPSHOTS', 1)
    with pytest.raises(errors.InvalidVolume, match='2 snapshots are more than one retype'):
        retype(volume)


def test_a_snapshot_keeps_its_volume_from_migrating(simulation: Simulation) -> None:
    volume = prepare(simulation)
    with pytest.raises(errors.InvalidVolume, match='snapshots'):
        moves.migrate(ADMIN, volume.id, host='cinderless@fast', cluster=None, force_host_copy=False, lock_volume=False)


def test_a_snapshot_has_the_size_and_type_of_its_moment(simulation: Simulation) -> None:
    volume = prepare(simulation)
    volumes.extend(context(), volume.id, 8)
    simulation.settle()
    retype(volume)
    simulation.settle()
    assert {int(one.volume_size) for one in Snapshot.scan()} == {5}
    assert types() == {gold()}
    invariants.check(simulation)


def code(request: Callable[[], object]) -> int:
    """200, or the code of a refusal, which is the client's to understand."""
    try:
        request()
    except errors.CinderlessError as refused:
        if refused.code >= 500:
            raise
        return refused.code
    return 200


INTRUDERS = {
    'delete snapshot': lambda: snapshots.delete(context(), next(iter(Snapshot.scan())).id),
    'take snapshot': lambda: create_snapshot(context(), next(iter(Volume.scan()))),
}


@pytest.mark.parametrize('intruder', INTRUDERS)
@pytest.mark.parametrize('during', ['request', 'work'])
def test_snapshots_that_come_and_go_meanwhile(
    intruder: str, during: str, tables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each call of the request, or of its work, a snapshot is taken or removed, work and all."""
    stage = Stage(Scenario('retype', prepare, lambda simulation, made: None), monkeypatch)

    def intrude(simulation: Simulation) -> None:
        if code(INTRUDERS[intruder]) != 200:
            return
        simulation.deliver()
        for execution in [one for one in simulation.executions.values() if 'retype' not in str(one.payload)]:
            if execution.status == 'RUNNING':
                execution.run()

    at, calls = 0, 1
    while at < calls:
        simulation = stage.world_again()
        volume = stage.prepared
        if during == 'request':
            with intruding(at, functools.partial(intrude, simulation), monkeypatch) as seen:
                code(functools.partial(retype, volume))
        else:
            retype(volume)
            simulation.deliver()
            with intruding(at, functools.partial(intrude, simulation), monkeypatch) as seen:
                simulation.run_machines()
        calls = len(seen)
        simulation.settle()
        simulation.reconcile()
        simulation.settle()
        assert len(types()) == 1, (at, seen)
        invariants.check(simulation)
        at += 1
