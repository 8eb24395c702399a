"""Parts of the restore tasks that the machines' tests do not see."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.drivers.base import GIB
from chalicelib.models import Backup, Volume
from chalicelib.operations import backups as operations
from chalicelib.tasks import restores
from chalicelib.tasks.work import VolumeWork
from tests.backup_factories import create_backup
from tests.data_backends import Data
from tests.factories import context, create_volume
from tests.simulation import Simulation

KEPT: dict[str, Any] = {
    'volume': {'name': 'database', 'description': 'of the shop', 'bootable': False},
    'metadata': {'rack': '7'},
    'image_metadata': {},
}


def described(target: Volume, **facts: Any) -> dict[str, Any]:
    """What attributes of the volume become."""
    return restores._description(target, Backup('p', 'backup-1', volume_id='v1'), {**KEPT, **facts})


def test_the_volume_itself_gets_its_metadata_back_and_keeps_its_name() -> None:
    found = described(Volume('p', 'v1', name='renamed', metadata={'rack': '9', 'new': 'x'}))
    assert found == {'metadata': {'rack': '7'}, 'volume_image_metadata': {}}


def test_another_volume_says_where_its_data_is_from() -> None:
    assert described(Volume('p', 'v2', name='other'))['metadata'] == {'rack': '7', 'src_backup_id': 'backup-1'}


def test_an_automatic_name_gives_way_to_the_original_one() -> None:
    found = described(Volume('p', 'v2', name='restore_backup_backup-1', description='auto-created'))
    assert (found['name'], found['description']) == ('database', 'of the shop')
    nameless = {'volume': {'name': None, 'description': None, 'bootable': False}}
    assert 'name' not in described(Volume('p', 'v2', name='restore_backup_backup-1'), **nameless)


def test_a_description_that_was_none_is_none_again() -> None:
    found = described(
        Volume('p', 'v2', name='restore_backup_backup-1', description='auto-created'),
        volume={'name': 'database', 'description': None, 'bootable': False},
    )
    assert found['description'] is None


def test_an_image_comes_back_bootable() -> None:
    found = described(
        Volume('p', 'v1'),
        volume={'name': 'n', 'description': None, 'bootable': True},
        image_metadata={'image_id': 'i'},
    )
    assert (found['bootable'], found['volume_image_metadata']) == (True, {'image_id': 'i'})


def test_paths_of_two_restores_of_one_backup_differ() -> None:
    backup_id, requests = str(uuid.uuid4()), ('req-1', 'req-2', 'req-1')
    payloads = ({'id': backup_id, 'request_id': request} for request in requests)
    one, two, again = (VolumeWork(Volume(), restores.VOLUME_ROW, payload).export_id for payload in payloads)
    assert one == again != two


@pytest.fixture
def data(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Data:
    return Data(simulation, monkeypatch)


@pytest.fixture
def payload(simulation: Simulation, data: Data) -> dict[str, Any]:
    """Of a restore that was accepted and has not begun."""
    volume = create_volume(context(), 2)
    simulation.settle()
    data.of(volume).fill(seed=1)
    backup = create_backup(context(), volume)
    simulation.settle()
    operations.restore(context(), backup.id, volume_id=volume.id, name=None)
    simulation.deliver()
    return dict(list(simulation.executions.values())[-1].payload)


def target() -> Volume:
    [volume] = Volume.scan()
    return volume


def test_a_plan_names_the_volume_and_no_secret(simulation: Simulation, payload: dict[str, Any]) -> None:
    plan = simulation.work('open_restore', payload)
    assert plan == {
        'ranges': [{'last': 0, 'progress': {'done': False, 'shard': 0, 'cursor': None}}],
        'volume_id': target().id,
        'volume_project_id': 'project',
    }


def test_a_target_that_shrank_is_refused(simulation: Simulation, data: Data, payload: dict[str, Any]) -> None:
    target().update(actions=[Volume.size.set(1)])
    with pytest.raises(errors.InvalidVolume, match='too small to restore backup of size 2'):
        simulation.work('open_restore', payload)


def test_a_target_that_is_gone_cancels(simulation: Simulation, data: Data, payload: dict[str, Any]) -> None:
    target().delete()
    with pytest.raises(errors.BackupCanceled):
        simulation.work('open_restore', payload)
    simulation.work('close_restore', payload)
    [backup] = Backup.scan()
    assert backup.status == 'available'


def test_a_volume_that_was_written_is_zeroed_though_its_backend_promises_zeroes(
    simulation: Simulation, data: Data, payload: dict[str, Any]
) -> None:
    """Only a volume made for the restore may be taken for empty."""
    disk = data.of(target())
    before = disk.copy(2 * GIB)
    disk.fill(seed=8)
    simulation.settle()
    assert disk.same(before)


@pytest.mark.parametrize('task', ['open_restore', 'restore_range', 'complete_restore'])
def test_a_task_of_a_request_that_lost_the_volume_does_nothing(
    simulation: Simulation, data: Data, payload: dict[str, Any], task: str
) -> None:
    target().update(actions=[Volume.owner.set('another')])
    before = data.of(target()).copy(2 * GIB)
    with pytest.raises(errors.BackupCanceled):
        simulation.work(task, {**payload, 'last': 0, 'progress': {'done': False, 'shard': 0, 'cursor': None}})
    assert data.of(target()).same(before)
