"""Backups that change hands: exported, imported where their record was lost, or into another deployment."""

from __future__ import annotations

import base64
import dataclasses
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import config, errors
from chalicelib.models import Backup, Volume
from chalicelib.operations import backup_records, backup_reservations, backups
from tests.backup_factories import create_backup
from tests.data_backends import Data
from tests.factories import context
from tests.invariants import check
from tests.simulation import Simulation

ADMIN = context('admin')


@pytest.fixture
def data(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Data:
    known = config.settings()._replace(backup_bucket='own-bucket')
    for module in (backups, backup_reservations):
        monkeypatch.setattr(module, 'settings', lambda: known)
    return Data(simulation, monkeypatch)


def exported(simulation: Simulation, volume: Volume, **facts: Any) -> tuple[Backup, dict[str, str]]:
    backup = create_backup(context(), volume, **facts)
    simulation.settle()
    return backup.reload(), backup_records.export(ADMIN, backup.id)


def forget_record(backup: Backup) -> None:
    """The tables are lost; the bucket is not."""
    backup.delete()
    from chalicelib.models import Quota

    for quota in Quota.scan():
        if quota.id == 'quota':
            quota.update(actions=[Quota.usage['backups'].set(0), Quota.usage['backup_gigabytes'].set(0)])


def imported(simulation: Simulation, record: dict[str, str]) -> Backup:
    caller = dataclasses.replace(ADMIN, request_id=f'req-{uuid.uuid4()}')
    backup = backup_records.import_(caller, record['backup_service'], record['backup_url'])
    assert (backup.status, backup.name, backup.volume_id) == ('creating', None, backup_records.NO_VOLUME)
    simulation.settle()
    return backup.reload()


def changed(record: dict[str, str], change: Callable[[dict[str, Any]], Any]) -> dict[str, str]:
    facts = json.loads(base64.b64decode(record['backup_url']))
    change(facts)
    return {**record, 'backup_url': base64.b64encode(json.dumps(facts).encode()).decode()}


def test_a_lost_record_is_imported_and_restored(simulation: Simulation, data: Data, volume: Volume) -> None:
    backup, record = exported(simulation, volume, name='precious', description='d', metadata={'k': 'v'})
    forget_record(backup)
    again = imported(simulation, record)
    assert (again.id, again.status, again.project_id) == (backup.id, 'available', ADMIN.project_id)
    for name in ('name', 'description', 'metadata', 'size', 'object_count', 'stored_bytes', 'root_hash', 'container'):
        assert getattr(again, name) == getattr(backup, name), name
    _, target = backups.restore(ADMIN, again.id, volume_id=None, name=None)
    simulation.settle()
    assert data.of(target).same(data.of(volume))
    check(simulation)


def test_a_record_holds_no_key_and_names_the_place(simulation: Simulation, data: Data, volume: Volume) -> None:
    backup, record = exported(simulation, volume)
    facts = json.loads(base64.b64decode(record['backup_url']))
    assert record['backup_service'] == 'cinder.backup.drivers.cinderless.S3BackupDriver'
    assert facts['repository'] == {
        'bucket': 'own-bucket',
        'region': 'us-east-1',
        'prefix': f'{backup.project_id}/volumebackups/',
        'lineage': volume.id,
        'manifest_key': backup.manifest_key,
        'root_hash': backup.root_hash,
    }
    assert not any('key' in name for name in facts if name != 'encryption_key_id')


def test_an_incremental_one_alone_is_enough(simulation: Simulation, data: Data, volume: Volume) -> None:
    full, _ = exported(simulation, volume)
    data.of(volume).write(0, b'changed' * 1000)
    child, record = exported(simulation, volume, incremental=True)
    for one in (full, child):
        forget_record(one)
    again = imported(simulation, in_another_bucket(record))
    assert (again.status, again.parent_id) == ('available', full.id)
    _, target = backups.restore(ADMIN, again.id, volume_id=None, name=None)
    simulation.settle()
    assert data.of(target).same(data.of(volume))


def in_another_bucket(record: dict[str, str]) -> dict[str, str]:
    """The double of the repository looks at the folder only."""
    return changed(record, lambda facts: facts['repository'].update(bucket='elsewhere', region='eu-west-1'))


def test_removing_an_import_leaves_another_deployment_s_data(
    simulation: Simulation, data: Data, volume: Volume
) -> None:
    backup, record = exported(simulation, volume)
    forget_record(backup)
    again = imported(simulation, in_another_bucket(record))
    before = data.objects()
    backups.delete(ADMIN, again.id)
    simulation.settle()
    assert list(Backup.scan()) == []
    assert data.objects() == before
    check(simulation)


def test_removing_a_second_record_of_a_backup_leaves_it_its_data(
    simulation: Simulation, data: Data, volume: Volume
) -> None:
    backup, record = exported(simulation, volume)
    second = imported(simulation, changed(record, lambda facts: facts.update(id=str(uuid.uuid4()))))
    assert second.status == 'available'
    before = data.objects()
    backups.delete(ADMIN, second.id)
    simulation.settle()
    assert data.objects() == before
    _, target = backups.restore(ADMIN, backup.id, volume_id=None, name=None)
    simulation.settle()
    assert data.of(target).same(data.of(volume))


def test_an_import_of_another_bucket_is_no_parent(simulation: Simulation, data: Data, volume: Volume) -> None:
    backup, record = exported(simulation, volume)
    forget_record(backup)
    assert imported(simulation, in_another_bucket(record)).lineage == volume.id
    with pytest.raises(errors.InvalidBackup, match='No backups available'):
        create_backup(ADMIN, volume, incremental=True)


WRONG_DATA: dict[str, Callable[[dict[str, Any]], Any]] = {
    'another hash': lambda facts: facts['repository'].update(root_hash='0' * 64),
    'another size': lambda facts: facts.update(size=4),
    'nothing there': lambda facts: facts['repository'].update(prefix='unknown/'),
    'another backup': lambda facts: facts['repository'].update(manifest_key='backups/l/b'),
}


@pytest.mark.parametrize('change', WRONG_DATA.values(), ids=WRONG_DATA)
def test_a_record_that_does_not_fit_the_data_ends_in_error_and_harms_nothing(
    simulation: Simulation, data: Data, volume: Volume, change: Callable[[dict[str, Any]], Any]
) -> None:
    backup, record = exported(simulation, volume)
    forget_record(backup)
    before = data.objects()
    again = imported(simulation, changed(record, change))
    assert again.status == 'error'
    assert again.fail_reason
    backups.delete(ADMIN, again.id)
    simulation.settle()
    assert data.objects() == before
    check(simulation)
    assert imported(simulation, record).status == 'available'


def test_another_service_s_record_says_so(simulation: Simulation, data: Data, volume: Volume) -> None:
    backup, record = exported(simulation, volume)
    forget_record(backup)
    again = imported(simulation, {**record, 'backup_service': 'cinder.backup.drivers.swift'})
    assert again.status == 'error'
    assert 'Request service cinder.backup.drivers.swift' in again.fail_reason


def test_what_is_here_is_not_imported_again(simulation: Simulation, data: Data, volume: Volume) -> None:
    _, record = exported(simulation, volume)
    with pytest.raises(errors.InvalidBackup, match='already exists in database'):
        backup_records.import_(ADMIN, record['backup_service'], record['backup_url'])
    check(simulation)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (lambda facts: facts.pop('id'), 'missing an id'),
        (lambda facts: facts.update(id='../x'), 'no usable id'),
        (lambda facts: facts.update(version=2), 'no usable version'),
        (lambda facts: facts.update(size=0), 'no usable size'),
        (lambda facts: facts.update(size=True), 'no usable size'),
        (lambda facts: facts.update(metadata=[]), 'no usable metadata'),
        (lambda facts: facts.pop('repository'), 'repository.bucket, repository.region'),
        (lambda facts: facts['repository'].update(bucket='a b'), 'no usable repository.bucket'),
        (lambda facts: facts['repository'].update(prefix='no slash'), 'no usable repository.prefix'),
        (lambda facts: facts['repository'].update(manifest_key='packs/x/y'), 'no usable repository.manifest_key'),
        (lambda facts: facts['repository'].update(root_hash=None), 'no usable repository.root_hash'),
    ],
)
def test_what_is_no_record_is_refused(
    simulation: Simulation, data: Data, volume: Volume, change: Callable[[dict[str, Any]], Any], reason: str
) -> None:
    _, record = exported(simulation, volume)
    with pytest.raises(errors.InvalidInput, match=reason):
        backup_records.decode(changed(record, change)['backup_url'])


@pytest.mark.parametrize(
    'text',
    [
        '',
        'eyJ9',
        'bm8=',
        *(base64.b64encode(data).decode() for data in (b'[' * 50_000, b'{"id": "\\ud800"}', b'{"id": "\xed\xa0\x80"}')),
    ],
    ids=['', 'half', 'no', 'nested too deep', 'half a surrogate pair', 'the bytes of half a pair'],
)
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidInput):
        backup_records.decode(text)


def test_only_what_is_available_is_exported(simulation: Simulation, data: Data, volume: Volume) -> None:
    backup = create_backup(context(), volume)
    with pytest.raises(errors.InvalidBackup, match='must be available and not creating'):
        backup_records.export(ADMIN, backup.id)
