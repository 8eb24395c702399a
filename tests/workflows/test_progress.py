"""What a client sees of a copy that is under way."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.drivers.base import GIB
from chalicelib.models import Backup, Volume, base
from chalicelib.operations import backups, progress
from chalicelib.rules import workflows
from chalicelib.tasks.backup_data import ProgressReporter
from tests.backup_factories import create_backup, stored_backup
from tests.data_backends import Data
from tests.factories import context
from tests.simulation import Simulation


@pytest.fixture
def data(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Data:
    monkeypatch.setattr(progress, 'INTERVAL', 0.0)
    return Data(simulation, monkeypatch)


@pytest.fixture
def volume(make_volume: Callable[[int], Volume]) -> Volume:
    return make_volume(9)


def watched(simulation: Simulation, verb: str, record: Any) -> list[dict[str, int | None] | None]:
    """What is shown before each call of a verb."""
    seen: list[dict[str, int | None] | None] = []

    def around(name: str) -> contextlib.AbstractContextManager[None]:
        if name == verb:
            seen.append(progress.shown(record.reload()))
        return contextlib.nullcontext()

    simulation.around = around
    simulation.settle()
    return seen


def done(seen: list[Any]) -> list[int]:
    return [one['bytes_done'] for one in seen]


def test_a_backup_tells_how_far_it_is(simulation: Simulation, data: Data, volume: Volume) -> None:
    backup = create_backup(context(), volume)
    assert progress.shown(backup) == {
        'bytes_done': 0, 'bytes_total': 9 * GIB, 'bytes_per_second': 0, 'seconds_left': None
    }  # fmt: skip
    seen = watched(simulation, 'cinderless@big read', backup)
    assert {one['bytes_total'] for one in seen if one} == {9 * GIB}
    assert done(seen) == sorted(done(seen))
    assert done(seen)[0] == 0
    assert done(seen)[-1] > 8 * GIB
    assert progress.shown(backup.reload()) is None


def test_a_volume_being_restored_tells_how_far_it_is(simulation: Simulation, data: Data, volume: Volume) -> None:
    backup = create_backup(context(), volume)
    simulation.settle()
    _, target = backups.restore(context(), backup.id, volume_id=volume.id, name=None)
    seen = watched(simulation, 'cinderless@big write', target)
    assert {one['bytes_total'] for one in seen if one} == {9 * GIB}
    assert done(seen) == sorted(done(seen))
    assert 8 * GIB < done(seen)[-1] < 9 * GIB
    assert progress.shown(target.reload()) is None


def test_a_range_is_told_at_most_every_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [100.0]
    monkeypatch.setattr(time, 'monotonic', lambda: moment[0])
    told: list[int] = []
    one = ProgressReporter(2, 1000, told.append)
    for now in (100.0, 129.9, 130.0, 131.0, 159.9, 160.0):
        moment[0] = now
        one.of_shard(3)(int(now))
    assert told == [1130, 1160]


def test_a_record_is_written_once_an_interval_whoever_tells(
    simulation: Simulation, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chalicelib.rules import workflows

    monkeypatch.setattr(progress, 'INTERVAL', 30.0)
    moment, held = [1000.0], base.owned_by(Backup, workflows.BACKUP['create'], 'mine')
    monkeypatch.setattr(time, 'time', lambda: moment[0])
    backup = stored_backup(volume, status='creating', owner='mine', progress=progress.begun(9))
    stored = []
    for second in range(1000, 1100, 5):
        moment[0] = float(second)
        for worker in range(8):
            progress.note(backup, held, f'range_{worker}', second * 10 + worker)
        found = backup.reload().progress.attribute_values
        stored.append(tuple(sorted((name, found[name]) for name in found if name.startswith('range_'))))
    assert len(set(stored)) - 1 == 3
    assert stored[5] == () != stored[6]


@pytest.mark.parametrize(
    ('counts', 'elapsed', 'expected'),
    [
        ({}, 10, (0, 0, None)),
        ({'range_0': 300, 'range_1': 200}, 10, (500, 50, 10)),
        ({'range_0': 999}, 0, (999, 999, 1)),
        ({'range_0': 5000}, 1, (1000, 1000, 0)),
    ],
)
def test_rate_and_time_left(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch, counts: dict[str, int], elapsed: int, expected: Any
) -> None:
    monkeypatch.setattr(time, 'time', lambda: 1000.0 + elapsed)
    backup = Backup('p', 'b', status='creating', progress={'total': 1000, 'started': 1000, **counts})
    shown = progress.shown(backup)
    assert shown is not None
    assert (shown['bytes_done'], shown['bytes_per_second'], shown['seconds_left']) == expected
    assert shown['bytes_total'] == 1000


def test_whoever_lost_the_record_tells_nothing(simulation: Simulation, data: Data, volume: Volume) -> None:
    backup = stored_backup(volume, status='deleting', owner='other', progress={'total': 1, 'started': 1})

    progress.note(backup, base.owned_by(Backup, workflows.BACKUP['create'], 'mine'), 'range_0', 7)
    assert 'range_0' not in backup.reload().progress.attribute_values
