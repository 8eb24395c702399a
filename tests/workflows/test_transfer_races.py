"""Offers that are accepted, withdrawn and disturbed at the same time: one wins, the others get the reason."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.models import Name, Snapshot, Transfer, Volume
from chalicelib.operations import snapshots, transfers, volumes
from tests import invariants
from tests.factories import context, create_snapshot, create_volume
from tests.simulation import Simulation
from tests.workflows.crashes import Scenario, Stage
from tests.workflows.test_races import in_parallel, intruding, outcome

Offered = tuple[Volume, Snapshot, Transfer, str]

#: What may happen to an offer; the first three end it.
REQUESTS: dict[str, Callable[..., object]] = {
    'accept': lambda volume, snapshot, transfer, key: transfers.accept(context(project_id='taker'), transfer.id, key),
    'accept at home': lambda volume, snapshot, transfer, key: transfers.accept(context(), transfer.id, key),
    'withdraw': lambda volume, snapshot, transfer, key: transfers.delete(context(), transfer.id),
    'rename': lambda volume, *_: volumes.update(context(), volume.id, {'name': 'renamed'}),
    'delete snapshot': lambda volume, snapshot, *_: snapshots.delete(context(), snapshot.id),
    'from snapshot': lambda volume, snapshot, *_: create_volume(context(), 5, snapshot_id=snapshot.id),
    'reset': lambda volume, *_: volumes.reset_status(context('admin'), volume.id, 'available', None, None),
    'force delete': lambda volume, *_: volumes.delete(context('admin'), volume.id, cascade=True, force=True),
}

ENDINGS = ('accept', 'accept at home', 'withdraw')


def prepare(simulation: Simulation) -> Offered:
    volume = create_volume(context(), 5)
    simulation.settle()
    snapshot = create_snapshot(context(), volume)
    simulation.settle()
    return (
        volume,
        snapshot,
        *transfers.create(context(), volume.id, name=None, no_snapshots=False, allow_encrypted=False),
    )


@pytest.mark.parametrize('second', REQUESTS)
@pytest.mark.parametrize('first', ENDINGS)
def test_any_two_in_every_interleaving(first: str, second: str, tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(Scenario('offer', prepare, lambda simulation, made: None), monkeypatch)
    calls = 1
    at = 0
    while at < calls:
        simulation = stage.world_again()
        codes: list[int] = []
        intruder = functools.partial(outcome, functools.partial(REQUESTS[second], *stage.prepared[:2]),
                                     *stage.prepared[2:], codes)  # fmt: skip
        with intruding(at, intruder, monkeypatch) as seen:
            outcome(functools.partial(REQUESTS[first], *stage.prepared[:2]), *stage.prepared[2:], codes)
        calls = len(seen)
        simulation.settle()
        assert all(code == 200 or 400 <= code < 500 for code in codes), (at, seen, codes)
        if second in ENDINGS:
            assert codes.count(200) == 1, (at, seen, codes)
            assert list(Transfer.scan()) == []
        invariants.check(simulation)
        at += 1


def test_many_accept_at_once(simulation: Simulation) -> None:
    volume, snapshot, transfer, key = prepare(simulation)
    codes: list[int] = []

    def take(number: int) -> None:
        def accept(*_: Any) -> object:
            return transfers.accept(context(project_id=f'taker{number}'), transfer.id, key)

        outcome(accept, volume, snapshot, codes)

    in_parallel(8, take)
    assert sorted(codes) == [200] + [404] * 7
    [taken] = Volume.scan()
    [snapshot] = Snapshot.scan()
    assert taken.project_id == snapshot.project_id != 'project'
    invariants.check(simulation)


def test_offers_go_with_their_volume(simulation: Simulation) -> None:
    """One that is left could never be accepted, and its owner would always see it (Cinder removes it, too)."""
    volume, _, first, _ = prepare(simulation)
    volumes.reset_status(context('admin'), volume.id, 'available', None, None)
    transfers.create(context(), volume.id, name=None, no_snapshots=False, allow_encrypted=False)
    assert first.id in {one.id for one in Transfer.scan()}
    volumes.delete(context('admin'), volume.id, cascade=True, force=True)
    simulation.settle()
    names = [one.id for one in Name.scan() if one.id.startswith('transfer:')]
    assert [*Volume.scan(), *Transfer.scan(), *names] == []
    invariants.check(simulation)
