"""The day when the service is gone: its backups come back from the bucket alone, and from their copy in another region.

S3 and KMS are moto's; the volume's backend is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from chalicelib import aws, config
from chalicelib.backup.image import FileDevice
from chalicelib.models import Backup
from chalicelib.operations import backup_copies, backups
from chalicelib.tasks import backup_data
from cinderless.program import main
from tests.backup_factories import create_backup
from tests.data_backends import Data, Disk
from tests.factories import context, create_volume
from tests.simulation import Simulation
from tests.small_dynamodb import SmallDynamoDB

#: As they are before a test's doubles take their place.
REAL = {name: getattr(backup_data, name) for name in ('repository', 'key_wrapper', 'key_wrapper_of_copy')}

ELSEWHERE = 'eu-west-1'


@pytest.fixture
def keys(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Region -> its KMS key; a bucket in each."""
    made = {}
    for region, bucket in (('us-east-1', 'backups'), (ELSEWHERE, 'far-backups')):
        made[region] = boto3.client('kms', region_name=region).create_key()['KeyMetadata']['Arn']
        place = {} if region == 'us-east-1' else {'CreateBucketConfiguration': {'LocationConstraint': region}}
        boto3.client('s3', region_name=region).create_bucket(Bucket=bucket, **place)
    monkeypatch.setenv('BACKUP_BUCKET', 'backups')
    monkeypatch.setenv('KMS_KEY_ID', made['us-east-1'])
    config.settings.cache_clear()
    aws.client.cache_clear()
    yield made
    config.settings.cache_clear()
    aws.client.cache_clear()


@pytest.fixture
def data(simulation: Simulation, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Data:
    made = Data(simulation, monkeypatch)
    for name, function in REAL.items():
        monkeypatch.setattr(backup_data, name, function)
    place = backup_copies.Target('far-backups', ELSEWHERE, keys[ELSEWHERE])
    monkeypatch.setattr(backup_copies, 'targets', lambda: {'far': place})
    return made


@pytest.fixture
def chain(simulation: Simulation, data: Data) -> dict[str, Disk]:
    """Backup's id -> what it holds; a full one and an incremental one."""
    volume, held = create_volume(context(), 1), {}
    simulation.settle()
    for seed in (1, 2):
        data.of(volume).fill(seed)
        backup = create_backup(context(), volume, incremental=seed > 1)
        simulation.settle()
        assert backup.reload().status == 'available', backup.reload().fail_reason
        held[backup.id] = data.of(volume).copy(data.of(volume).size)
    return held


def content(path: Path) -> Disk:
    found = Disk(path.stat().st_size)
    with FileDevice(path, read_only=True) as device:
        for offset, length in device.allocated(0, device.size):
            found.write(offset, device.read(offset, length))
    found.tiles = {tile: data for tile, data in found.tiles.items() if data.strip(b'\0')}
    return found


def test_every_backup_comes_back_from_the_bucket_alone(
    tables: SmallDynamoDB, data: Data, chain: dict[str, Disk], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables.clear()
    place = 's3://backups/project/volumebackups'
    assert main(['backup', 'list', place]) == 0
    assert all(id in capsys.readouterr().out for id in [*chain][-1:])
    for id, expected in chain.items():
        assert main(['backup', 'verify', place, id]) == 0
        assert main(['backup', 'restore', place, id, str(tmp_path / id)]) == 0
        assert content(tmp_path / id).same(expected)


def test_a_copy_needs_nothing_of_the_first_region(
    simulation: Simulation,
    tables: SmallDynamoDB,
    data: Data,
    chain: dict[str, Disk],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Made through the API, restored through it, and without it."""
    id, expected = [*chain.items()][-1]
    copy = backup_copies.create(context(), id, target='far', name=None, description=None)
    simulation.settle()
    assert copy.reload().status == 'available', copy.reload().fail_reason
    _lose_region(chain)
    _, target = backups.restore(context(), copy.id, volume_id=None, name=None)
    simulation.settle()
    assert target.reload().status == 'available'
    assert data.of(target).same(expected)
    tables.clear()
    monkeypatch.setenv('AWS_DEFAULT_REGION', ELSEWHERE)
    assert main(['backup', 'restore', 's3://far-backups/project/volumebackups', id, str(tmp_path / 'far')]) == 0
    assert content(tmp_path / 'far').same(expected)


def _lose_region(chain: dict[str, Disk]) -> None:
    """Bucket and key of the first region are gone."""
    s3: Any = boto3.client('s3')
    for page in s3.get_paginator('list_objects_v2').paginate(Bucket='backups'):
        for found in page.get('Contents', ()):
            s3.delete_object(Bucket='backups', Key=found['Key'])
    kms: Any = boto3.client('kms')
    for key in kms.list_keys()['Keys']:
        kms.disable_key(KeyId=key['KeyId'])
    assert {backup.id for backup in Backup.scan()} >= chain.keys()
