"""An encrypted volume whose region is lost: QEMU opens, with the key out of the new stack, the bytes of the copy."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.kms.models import kms_backends

from chalicelib import config
from chalicelib.backup import engine
from chalicelib.backup.image import FileDevice
from chalicelib.backup.keys import RecoverableKeyWrapper, RecoveryKeyWrapper, public_half
from chalicelib.backup.layout import backup_key, volume_key_key
from chalicelib.backup.s3 import KmsKeyWrapper, S3Repository
from chalicelib.models import Secret
from chalicelib.operations import keys
from cinderless.program import main
from infra import disaster
from infra.disaster_keys import TABLE, KeyManager
from infra.exports import Item
from infra.stage import Refused

HERE, THERE = 'us-east-1', 'eu-west-1'
PROJECT, LINEAGE, KEY_ID = 'p1', '0b1c', 'fc6a2e60-4ea5-4a2e-8f0e-9a3c4a7b1f10'
MIB = 1 << 20
SIZE = 8 * MIB

#: The key of the volume: its hexadecimal digits are the passphrase, as Nova hands it to LUKS.
PAYLOAD = bytes(range(200, 232))

PLAIN = os.urandom(4 * MIB)


def client(service: str, region: str = THERE) -> Any:
    return boto3.client(service, region)


def qemu(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=120, check=False)


def luks(image: Path) -> str:
    return f'driver=luks,key-secret=key,file.filename={image}'


def passphrase(folder: Path, text: str) -> list[str]:
    (folder / 'passphrase').write_text(text)
    return ['--object', f'secret,id=key,file={folder / "passphrase"}']


@pytest.fixture(scope='module')
def encrypted_volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LUKS volume with known content, as a hypervisor writes it."""
    folder = tmp_path_factory.mktemp('luks')
    image, plain = folder / 'volume', folder / 'plain'
    plain.write_bytes(PLAIN)
    secret = passphrase(folder, PAYLOAD.hex())
    size = ['-o', 'key-secret=key,iter-time=100', str(image), str(len(PLAIN))]
    create = ['create', '-q', '-f', 'luks', *secret, *size]
    # QEMU measures the CPU first, and gives up where others use it: "Unable to get accurate CPU usage".
    assert any(qemu('qemu-img', *create).returncode == 0 for _ in range(20))
    target = [*secret, '-n', '--target-image-opts', '--image-opts', f'driver=raw,file.filename={plain}', luks(image)]
    assert qemu('qemu-img', 'convert', *target).returncode == 0
    with image.open('r+b') as file:
        file.truncate(SIZE)
    return image


def opened(folder: Path, image: Path, text: str) -> bytes | None:
    """The plaintext that QEMU reads from a LUKS volume with a passphrase; None when it does not open."""
    output, secret = folder / 'opened', passphrase(folder, text)
    words = [*secret, '-O', 'raw', '--image-opts', luks(image), str(output)]
    if qemu('qemu-img', 'convert', *words).returncode:
        return None
    return output.read_bytes()[: len(PLAIN)]


def forget(region: str, key: str) -> None:
    """Delete a KMS key at once; moto decrypts with one that is disabled or about to be deleted."""
    del kms_backends[DEFAULT_ACCOUNT_ID][region].keys[key]


class Regions:
    """The lost region's backup and key, the copy in another one, and the new stack there."""

    def __init__(self, folder: Path, volume: Path) -> None:
        self.folder = folder
        keys_of = {region: client('kms', region).create_key()['KeyMetadata'] for region in (HERE, THERE)}
        self.lost_key = keys_of[HERE]['KeyId']
        self.stack_key = client('kms').create_key()['KeyMetadata']['Arn']
        for region, bucket in ((HERE, 'lost'), (THERE, 'copies')):
            place = {} if region == HERE else {'CreateBucketConfiguration': {'LocationConstraint': region}}
            client('s3', region).create_bucket(Bucket=bucket, **place)
        self.copies = S3Repository(client('s3'), 'copies', 'p1/')
        self.wrapper = RecoverableKeyWrapper(
            KmsKeyWrapper(client('kms'), keys_of[THERE]['KeyId']), RecoveryKeyWrapper(public_half(b'r' * 32))
        )
        self.copy(volume)
        client('dynamodb').create_table(
            TableName=f'new-{TABLE}',
            BillingMode='PAY_PER_REQUEST',
            KeySchema=[{'AttributeName': 'project_id', 'KeyType': 'HASH'}, {'AttributeName': 'id', 'KeyType': 'RANGE'}],
            AttributeDefinitions=[{'AttributeName': name, 'AttributeType': 'S'} for name in ('project_id', 'id')],
        )

    def copy(self, image: Path) -> None:
        here = S3Repository(client('s3', HERE), 'lost')
        wrapper = KmsKeyWrapper(client('kms', HERE), self.lost_key)
        begun = engine.begin_backup(here, wrapper, lineage=LINEAGE, backup_id='b1', size=SIZE)
        with FileDevice(image) as device:
            engine.backup_shard(device, here, begun, 0)
        manifest = engine.commit_backup(here, wrapper, begun, created_at='now', metadata={})
        copied = engine.copy_backup(here, self.copies, manifest, wrapper, self.wrapper).manifest
        assert copied
        self.manifest = copied
        self.store(PROJECT, KEY_ID)

    def store(self, project: str, id: str) -> None:
        key = engine.VolumeKey(id, project, 'user', 'aes', 256, PAYLOAD)
        engine.store_volume_key(self.copies, self.manifest, key)

    def lose(self) -> None:
        """The first region answers no more: its key is gone, and its bucket is empty."""
        forget(HERE, self.lost_key)
        s3 = client('s3', HERE)
        for one in s3.list_objects_v2(Bucket='lost')['Contents']:
            s3.delete_object(Bucket='lost', Key=one['Key'])

    def plan(self) -> disaster.Plan:
        location = '{"bucket": "copies", "region": "eu-west-1", "prefix": "p1/"}'
        texts = {'location': location, 'encryption_key_id': KEY_ID, 'root_hash': self.manifest.root_hash}
        texts |= {'project_id': PROJECT, 'id': 'copy', 'manifest_key': backup_key(LINEAGE, 'b1'), 'created_at': 'then'}
        backup: Item = {name: {'S': text} for name, text in texts.items()}
        return disaster.Plan({}, {'backups': [backup]}, [], ['copies'], [backup])

    def manager(self) -> KeyManager:
        return KeyManager('new', THERE, self.stack_key, client)

    def restored(self) -> Path:
        target = self.folder / 'restored'
        with FileDevice(target, SIZE) as device:
            manifest = engine.load_backup(self.copies, self.wrapper, backup_key(LINEAGE, 'b1'))
            engine.restore_shard(device, self.copies, manifest, 0, target_is_zeroed=True)
        return target

    def items(self) -> list[Any]:
        found: list[Any] = client('dynamodb').scan(TableName=f'new-{TABLE}')['Items']
        return found


@pytest.fixture
def regions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encrypted_volume: Path) -> Iterator[Regions]:
    for name, value in (('AWS_ACCESS_KEY_ID', 'a'), ('AWS_SECRET_ACCESS_KEY', 'b')):
        monkeypatch.setenv(name, value)
    with mock_aws():
        found = Regions(tmp_path, encrypted_volume)
        monkeypatch.setattr('chalicelib.aws.client', lambda service, region=THERE: client(service, region))
        monkeypatch.setattr('chalicelib.aws.settings', lambda: settings._replace(kms_key_id=found.stack_key))
        settings = config.settings()
        yield found


def test_the_new_stack_s_key_opens_the_restored_volume(regions: Regions) -> None:
    regions.lose()
    assert disaster.restore_keys(regions.plan(), regions.manager()) == (1, [])
    [item] = regions.items()
    secret = Secret.from_raw_data(item)
    assert (secret.id, secret.project_id, secret.algorithm, int(secret.bit_length)) == (KEY_ID, PROJECT, 'aes', 256)
    volume = regions.restored()
    assert opened(regions.folder, volume, keys.payload(secret).hex()) == PLAIN
    assert opened(regions.folder, volume, bytes(32).hex()) is None, 'another key does not'


def test_the_record_is_as_the_key_manager_writes_it(regions: Regions) -> None:
    disaster.restore_keys(regions.plan(), regions.manager())
    [item] = regions.items()
    written = keys.restored(PROJECT, KEY_ID, 'user', PAYLOAD, 'aes', 256).record
    assert written is not None
    expected = written.serialize()
    assert {name: list(value) for name, value in item.items()} == {
        name: list(value) for name, value in expected.items()
    }
    assert {name for name in item if item[name] != expected[name]} == {'sealed', 'created_at'}


def test_it_is_repeated_and_nothing_is_overwritten(regions: Regions) -> None:
    assert disaster.restore_keys(regions.plan(), regions.manager()) == (1, [])
    before = regions.items()
    assert disaster.restore_keys(regions.plan(), regions.manager()) == (0, [])
    assert regions.items() == before
    other = keys.restored(PROJECT, KEY_ID, 'user', bytes(32), 'aes', 256).record
    assert other is not None
    client('dynamodb').put_item(TableName=f'new-{TABLE}', Item=other.serialize())
    with pytest.raises(Refused, match=f'has another key {KEY_ID}'):
        disaster.restore_keys(regions.plan(), regions.manager())
    assert [item['sealed'] for item in regions.items()] == [other.serialize()['sealed']]


@pytest.mark.parametrize(('project', 'id'), [('p2', KEY_ID), (PROJECT, 'another')])
def test_a_key_that_the_copy_does_not_own_is_left(regions: Regions, project: str, id: str) -> None:
    regions.store(project, id)
    written, [line] = disaster.restore_keys(regions.plan(), regions.manager())
    assert (written, regions.items()) == (0, [])
    assert 'the key of backup copy does not open' in line


def test_a_damaged_key_is_reported_and_the_rest_goes_on(regions: Regions) -> None:
    regions.copies.put(volume_key_key(LINEAGE, 'b1'), b'{}\n{"mac":"%b"}\n' % (b'0' * 64))
    written, [line] = disaster.restore_keys(regions.plan(), regions.manager())
    assert written == 0
    assert 'authentication code' in line


def test_without_the_copies_key_nothing_is_written(regions: Regions) -> None:
    [used] = [one['KeyId'] for one in client('kms').list_keys()['Keys'] if one['KeyArn'] != regions.stack_key]
    forget(THERE, used)
    with pytest.raises(Refused, match='kms:Decrypt with the key of the copies, and repeat'):
        disaster.restore_keys(regions.plan(), regions.manager())
    assert regions.items() == []


def test_the_recovery_key_opens_it_without_any_kms(
    regions: Regions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``cinderless backup`` alone: data and key, straight from the bucket."""
    (tmp_path / 'recovery').write_text((b'r' * 32).hex())
    for one in client('kms').list_keys()['Keys']:
        forget(THERE, one['KeyId'])
    monkeypatch.setenv('AWS_DEFAULT_REGION', THERE)
    place = ['s3://copies/p1', 'b1', '--recovery-key', str(tmp_path / 'recovery')]
    assert main(['backup', 'restore', *place, str(tmp_path / 'image')]) == 0
    assert main(['backup', 'volume-key', *place, str(tmp_path / 'digits')]) == 0
    assert (tmp_path / 'digits').stat().st_mode & 0o777 == 0o600
    assert opened(tmp_path, tmp_path / 'image', (tmp_path / 'digits').read_text()) == PLAIN
    assert main(['backup', 'volume-key', *place, str(tmp_path / 'digits')]) == 1, 'no file is overwritten'


def test_it_is_in_clear_in_no_object(regions: Regions) -> None:
    disaster.restore_keys(regions.plan(), regions.manager())
    stored = [regions.copies.get(info.key).data for info in regions.copies.list('')]
    places = [*stored, repr(regions.items()).encode(), repr(regions.manifest).encode()]
    assert not any(form in place for form in (PAYLOAD, PAYLOAD.hex().encode()) for place in places)
