"""A copy that was accepted first, and whose workflow starts last, has its source's data and size from before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.models import Backup, Snapshot, Volume
from chalicelib.operations import backups, images, managing, reverts, volumes
from tests import invariants
from tests.backup_factories import create_backup
from tests.data_backends import Data
from tests.factories import context, create_snapshot, create_volume
from tests.fake_glance import FakeGlance
from tests.simulation import Simulation

COPIES: dict[str, Callable[[Volume], Volume | Snapshot]] = {
    'clone': lambda volume: create_volume(context(), None, source_volid=volume.id),
    'snapshot': lambda volume: create_snapshot(context(), volume),
}

CHANGES: dict[str, Callable[[Volume, Backup, str], Any]] = {
    'extend': lambda volume, backup, image: volumes.extend(context(), volume.id, int(volume.size) + 3),
    'restore': lambda volume, backup, image: backups.restore(context(), backup.id, volume_id=volume.id, name=None),
    'reimage': lambda volume, backup, image: images.reimage(context(), volume.id, image, reserved=False),
}


@pytest.fixture
def backup(simulation: Simulation, data: Data, volume: Volume) -> Backup:
    """Of data that the volume has no longer."""
    made = create_backup(context(), volume)
    simulation.settle()
    data.of(volume).fill(seed=3)
    return made.reload()


def keep_back(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deliver what is queued when another workflow waits for the first time."""
    late, simulation.queue = simulation.queue, []

    def wait(seconds: float) -> None:
        if late:
            known = set(simulation.executions)
            simulation.queue += late
            late.clear()
            simulation.deliver()
            for arn in simulation.executions.keys() - known:
                simulation.executions[arn].run()

    monkeypatch.setattr(simulation, 'wait', wait)


@pytest.mark.parametrize('change', CHANGES)
@pytest.mark.parametrize('copy', COPIES)
def test_a_change_waits_for_the_copies_that_were_accepted_before(
    simulation: Simulation, data: Data, volume: Volume, backup: Backup, glance: FakeGlance,
    monkeypatch: pytest.MonkeyPatch, copy: str, change: str,
) -> None:  # fmt: skip
    disk = data.of(volume)
    before = disk.copy(disk.size)
    made = COPIES[copy](volume)
    keep_back(simulation, monkeypatch)
    CHANGES[change](volume.reload(), backup, glance.add(b'image' * 100))
    simulation.settle()
    assert (made.reload().status, data.of(made).size) == ('available', before.size)
    assert data.of(made).same(before)
    after = volume.reload()
    assert after.status == 'available'
    assert (int(after.size) > int(made.size if isinstance(made, Volume) else made.volume_size)) == (change == 'extend')
    assert data.of(volume).same(before) == (change == 'extend')
    invariants.check(simulation)


@pytest.mark.parametrize('change', CHANGES)
def test_a_change_does_not_wait_for_a_snapshot_that_exists(
    simulation: Simulation, data: Data, volume: Volume, backup: Backup, glance: FakeGlance,
    monkeypatch: pytest.MonkeyPatch, change: str,
) -> None:  # fmt: skip
    """It is only brought under management, which may have been lost and need the reconciler."""
    CHANGES[change](volume.reload(), backup, glance.add(b'image' * 100))
    managing.manage_snapshot(
        context('admin'), volume.id, ref={'source-name': 'old'}, name=None, description=None, metadata={}
    )
    simulation.queue.pop()
    monkeypatch.setattr(simulation, 'wait', lambda _: pytest.fail('the change waits'))
    simulation.settle()
    assert volume.reload().status == 'available'


def test_a_revert_waits_for_an_older_snapshot(
    simulation: Simulation, data: Data, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = create_snapshot(context(), volume)
    late, simulation.queue = simulation.queue, []
    latest = create_snapshot(context(), volume)
    simulation.settle()
    data.of(volume).fill(seed=3)
    before = data.of(volume).copy(data.of(volume).size)
    simulation.queue += late
    keep_back(simulation, monkeypatch)
    reverts.revert(context(), volume.id, latest.id)
    simulation.settle()
    assert (older.reload().status, volume.reload().status) == ('available', 'available')
    assert data.of(older).same(before)
    assert data.of(volume).same(data.of(latest))
    invariants.check(simulation)


def test_a_backup_that_runs_is_not_waited_for(
    simulation: Simulation, data: Data, volume: Volume, backup: Backup
) -> None:
    """It reads a snapshot of its own."""
    volume.update(actions=[Volume.reader_count.set(1)])
    volumes.extend(context(), volume.id, int(volume.size) + 3)
    simulation.settle()
    assert (volume.reload().status, simulation.seconds) == ('available', 0)
