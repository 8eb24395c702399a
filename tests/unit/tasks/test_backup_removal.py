"""What is left of a removed backup, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import errors
from chalicelib.backup import engine
from chalicelib.backup.gc import GRACE
from chalicelib.models import Backup, Volume
from chalicelib.models.lease import Lease
from chalicelib.operations import backups as operations
from chalicelib.tasks import backup_removal
from tests.backup_factories import create_backup
from tests.data_backends import Data
from tests.factories import context, create_volume
from tests.machine import Execution
from tests.simulation import Simulation


@pytest.fixture
def data(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Data:
    return Data(simulation, monkeypatch)


@pytest.fixture
def volume(simulation: Simulation, data: Data) -> Volume:
    made = create_volume(context(), 9)
    simulation.settle()
    data.of(made).fill(seed=1)
    return made


def backed_up(simulation: Simulation, volume: Volume, **facts: Any) -> Backup:
    backup = create_backup(context(), volume, **facts)
    simulation.settle()
    return backup.reload()


def remove(simulation: Simulation, backup: Backup) -> Execution:
    operations.delete(context(), backup.id)
    [execution] = simulation.settle()
    return execution


def test_its_data_goes_once_nobody_can_refer_to_it(simulation: Simulation, data: Data, volume: Volume) -> None:
    """Objects in memory are as old as time itself, so what is swept is what no backup refers to."""
    full = backed_up(simulation, volume)
    data.of(volume).write(0, b'changed')
    child = backed_up(simulation, volume, incremental=True)
    remove(simulation, full)
    assert any(key.startswith('packs/') and full.id in key for key in data.objects())
    remove(simulation, child)
    assert data.objects() == []


def test_the_execution_sleeps_for_longer_than_the_grace_time(
    simulation: Simulation, data: Data, volume: Volume
) -> None:
    backup = backed_up(simulation, volume)
    operations.delete(context(), backup.id)
    simulation.deliver()
    payload = list(simulation.executions.values())[-1].payload
    left = simulation.work('delete_manifest', payload)
    assert left == {
        'seconds': int(GRACE) + backup_removal.WAIT_MARGIN,
        'lineage': volume.id,
        'container': 'volumebackups',
        'location': None,
    }


def test_a_large_lineage_is_swept_in_several_calls(
    simulation: Simulation, data: Data, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect, cursors = engine.collect, []

    def short(*arguments: Any, **options: Any) -> engine.Collected:
        cursors.append(options['cursor'])
        return collect(*arguments, **{**options, 'seconds_left': lambda: 0.0})

    monkeypatch.setattr(engine, 'collect', short)
    execution = remove(simulation, backed_up(simulation, volume))
    assert execution.path.count('CollectBackup') == len(cursors) == 3
    assert (cursors[0], execution.status) == (None, 'SUCCEEDED')
    assert data.objects() == []


def test_a_collection_that_another_is_at_is_waited_for(
    simulation: Simulation, data: Data, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = backed_up(simulation, volume)
    lease = Lease.acquire(f'collect:{volume.id}', 60)
    run, tries = simulation.work, []

    def work(task: str, payload: Any) -> Any:
        if task == 'collect_backup':
            tries.append(task)
            if len(tries) == 3:
                lease.release()
        return run(task, payload)

    operations.delete(context(), backup.id)
    monkeypatch.setattr(simulation, 'work', work)
    [execution] = simulation.settle()
    assert (len(tries), execution.path[-1], data.objects()) == (3, 'Collected', [])


def test_the_lease_is_given_back(simulation: Simulation, data: Data, volume: Volume) -> None:
    remove(simulation, backed_up(simulation, volume))
    Lease.acquire(f'collect:{volume.id}', 60).confirm()


def test_a_collection_that_fails_does_not_bring_the_backup_back(
    simulation: Simulation, data: Data, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise errors.IntegrityError(key='shards/x', reason='it is gone')

    monkeypatch.setattr(engine, 'collect', fail)
    execution = remove(simulation, backed_up(simulation, volume))
    assert (execution.path[-1], execution.status) == ('Uncollected', 'FAILED')
    assert list(Backup.scan()) == []
    simulation.reconcile()
    assert simulation.queue == []
    Lease.acquire(f'collect:{volume.id}', 60).confirm()


def test_a_record_that_is_gone_already_is_no_error(simulation: Simulation, data: Data, volume: Volume) -> None:
    backup = backed_up(simulation, volume)
    operations.delete(context(), backup.id)
    simulation.deliver()
    payload = list(simulation.executions.values())[-1].payload
    for _ in range(2):
        simulation.work('delete_backup', payload)
    with pytest.raises(errors.BackupCanceled):
        simulation.work('delete_manifest', payload)
    with pytest.raises(errors.BackupCanceled):
        simulation.work('fail_delete_backup', payload)


def test_what_a_failed_backup_began_goes_with_it(simulation: Simulation, data: Data, volume: Volume) -> None:
    """Its intent and the packs that it wrote belong to no backup; the failure itself removed nothing that is young."""
    simulation.big.fail('read', RuntimeError('a bug'))
    backup = backed_up(simulation, volume)
    assert backup.status == 'error'
    assert any(key.startswith('running/') for key in data.objects())
    remove(simulation, backup)
    assert data.objects() == []
