"""Calls to AWS off the usual path, which the roles must allow too (docs/explanation/security.md, "Permissions")."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from chalicelib import config, errors
from chalicelib.models import Backup, BackupSchedule, Group, Message, Secret, Volume, base
from chalicelib.operations import (
    backup_schedules,
    keys,
    moves,
    qos_specs,
    type_encryption,
    volume_creation,
    volume_types,
    volumes,
)
from chalicelib.rules import workflows
from chalicelib.tasks import reconcile, schedules
from tests.backup_factories import create_backup
from tests.data_backends import Data
from tests.factories import context, create_volume, stored_volume
from tests.simulation import Simulation

LONG_AGO = '2026-01-01T00:00:00.000000'


@pytest.fixture
def key(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A KMS key in moto."""
    import boto3

    monkeypatch.setenv('KMS_KEY_ID', boto3.client('kms').create_key()['KeyMetadata']['KeyId'])
    config.settings.cache_clear()
    yield
    config.settings.cache_clear()


def made_type(name: str) -> str:
    return str(volume_types.create(context('admin'), name=name, description=None, is_public=True, extra_specs={}).id)


def encrypting(name: str) -> None:
    """Make a volume type whose volumes are locked."""
    facts = {'provider': 'luks', 'cipher': 'aes-xts-plain64', 'key_size': 256}
    type_encryption.create(context('admin'), made_type(name), facts)


def test_a_volume_is_tried_beside_another(simulation: Simulation) -> None:
    """The API runs the scheduler itself, also for the volumes that a hint names."""
    there = create_volume(context(), 1)
    simulation.settle()
    wanted = {'size': 1, 'name': None, 'description': None, 'availability_zone': None, 'volume_type': None}
    facts = {'metadata': {}, 'snapshot_id': None, 'source_volid': None, 'multiattach': False}
    shown = volume_creation.dry_run(context('admin'), **wanted, **facts, scheduler_hints={'same_host': [there.id]})
    assert [candidate['host'] for candidate in shown['candidates']] == [there.reload().host]


def test_a_target_that_was_never_placed_is_removed_by_the_reconciler(simulation: Simulation) -> None:
    """Its volume's move has ended without it."""
    volume = create_volume(context(), 1)
    simulation.settle()
    target = stored_volume(
        base.GLOBAL,
        id=moves.target_id(volume.id, 'req-gone'),
        status=workflows.VOLUME['receive'].running,
        owner='req-gone',
        in_flight='1',
        deadline=LONG_AGO,
        operation={'action': 'receive', 'volume_project_id': volume.project_id, 'volume_id': volume.id},
        host=None,
        consumes_quota=False,
    )
    reconcile.run({})
    with pytest.raises(errors.VolumeNotFound):
        target.reload()
    assert volume.reload().status == 'available'


def test_a_group_whose_volumes_were_never_made_is_failed_by_the_reconciler(simulation: Simulation) -> None:
    group = Group(
        'project',
        str(uuid.uuid4()),
        created_at=base.now(),
        user_id='u',
        group_type_id=str(uuid.uuid4()),
        status=workflows.GROUP['create_from_src'].running,
        owner='req-gone',
        in_flight='1',
        deadline=LONG_AGO,
        operation={'action': 'create_from_src', 'members': 1},
    )
    group.save()
    reconcile.run({})
    assert group.reload().status == 'error'
    assert [message.resource_uuid for message in Message.scan()] == [group.id]


def test_an_encrypted_volume_is_backed_up_by_its_schedule(simulation: Simulation, data: Data, key: None) -> None:
    """The schedule's own function stores the volume's key again, for the backup."""
    encrypting('LUKS')
    volume = create_volume(context(), 1, volume_type='LUKS')
    simulation.settle()
    schedule = backup_schedules.create(context(), volume_id=volume.id, cron='0 * * * *')
    schedule.update(actions=[BackupSchedule.next_run_at.set(LONG_AGO)])
    schedules.run()
    simulation.settle()
    [backup] = Backup.scan()
    assert (backup.status, schedule.reload().last_error) == ('available', None)
    ours, its = (Secret.find('project', str(one.encryption_key_id)) for one in (volume.reload(), backup))
    assert ours.id != its.id
    assert keys.payload(ours) == keys.payload(its)


def test_a_backup_that_is_gone_is_looked_for_everywhere(simulation: Simulation, data: Data) -> None:
    """A volume may be made from another project's backup; one that is nowhere fails it."""
    source = create_volume(context(), 1)
    simulation.settle()
    backup = create_backup(context(), source)
    simulation.settle()
    volume = create_volume(context(), 1, backup_id=backup.id)
    backup.reload().delete()
    simulation.settle()
    assert volume.reload().status == 'error'


def test_limits_of_a_type_are_known_where_backups_are_read_and_written(simulation: Simulation, data: Data) -> None:
    """Drivers receive them with the volume, in either worker."""
    made_type('limited')
    specs = qos_specs.create(context('admin'), name='slow', consumer='back-end', specs={'total_iops_sec': '100'})
    qos_specs.associate(context('admin'), specs.id, volume_types.find(context('admin'), 'limited').id)
    volume = create_volume(context(), 1, volume_type='limited')
    simulation.settle()
    backup = create_backup(context(), volume)
    simulation.settle()
    assert backup.reload().status == 'available'


def test_an_administrator_of_the_cloud_sees_no_key_of_another_project(simulation: Simulation, key: None) -> None:
    encrypting('LUKS')
    volume = create_volume(context(project_id='other'), 1, volume_type='LUKS')
    with pytest.raises(errors.SecretNotFound):
        keys.get(context('admin'), str(volume.encryption_key_id))
    assert keys.get(context('admin', project_id='other'), str(volume.encryption_key_id)).project_id == 'other'


def test_the_key_of_a_volume_that_was_never_placed_goes_with_it(simulation: Simulation, key: None) -> None:
    encrypting('LUKS')
    volume = create_volume(context(), 1000, volume_type='LUKS')
    simulation.settle()
    assert volume.reload().status == 'error'
    volumes.delete(context(), volume.id)
    assert list(Secret.scan()) == []
    assert list(Volume.scan()) == []
