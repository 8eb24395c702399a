"""Backups that Cinder 29's own drivers wrote: listed, verified, and imported byte for byte."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from chalicelib.backup.files import FileRepository
from chalicelib.backup.image import FileDevice
from chalicelib.backup.keys import write_recovery_key
from chalicelib.errors import IntegrityError, InvalidBackup, ObjectMissing
from chalicelib.models import Backup
from chalicelib.tasks import backup_data
from cinderless import program
from cinderless.images import Image
from cinderless.migration import chunks, completion, hosts, imports, target, unpacking
from cinderless.migration import run as migration
from cinderless.migration.report import Outcome
from cinderless.migration.source import open_source
from local.endpoint import Endpoint
from local.http import Server
from tests.small_dynamodb import SmallDynamoDB
from tests.system import environments
from tests.unit.local.conftest import Clients
from tests.unit.local.conftest import aws as moto

pytestmark = pytest.mark.xdist_group('cinder_backups')

__all__ = ['moto']

MIB = 1 << 20

#: Not a whole number of Cinder's objects, nor of its hashed blocks.
SIZE = 3 * MIB + 5 * 512

SCRIPT = Path(__file__).with_name('cinder_backups.py')


def versions() -> list[bytes]:
    """The volume at the times of three backups: text, noise and zeroes; then changes; then data that became zeroes."""
    noise = random.Random(1)
    first = bytearray(b'text ' * (MIB // 5 + 1))[:MIB] + noise.randbytes(MIB) + bytes(SIZE - 2 * MIB)
    second = bytearray(first)
    second[100:200], second[2 * MIB : 2 * MIB + 70_000], second[-512:] = b'x' * 100, noise.randbytes(70_000), b'y' * 512
    third = bytearray(second)
    third[MIB + 1000 : MIB + 300_000] = bytes(299_000)
    return [bytes(first), bytes(second), bytes(third)]


VERSIONS = versions()


class Written(NamedTuple):
    """Backups in a folder; ``ids`` in the order of VERSIONS."""

    folder: Path
    ids: list[str]


def _sdk(folder: Path) -> Path:
    """Return a folder with the project's own boto3, which Cinder's S3 driver imports, and nothing else of it."""
    made = folder / 'sdk'
    made.mkdir()
    for name in ('boto3', 'botocore', 's3transfer', 'jmespath'):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        (made / name).symlink_to(Path(spec.origin).parent)
    return made


def write(folder: Path, algorithm: str, *, driver: str = 'posix', place: str = '', endpoint: str = '') -> list[str]:
    files = []
    for number, content in enumerate(VERSIONS):
        path = folder / f'volume-{number}'
        path.write_bytes(content)
        files.append(str(path))
    request = {
        'url': f'sqlite:///{folder}/cinder.sqlite',
        'driver': driver,
        'place': place or str(folder / 'backups'),
        'endpoint': endpoint,
        'algorithm': algorithm,
        'files': files,
    }
    (folder / 'backups').mkdir()
    done = subprocess.run(
        [environments.ensure('cinder'), '-W', 'ignore', SCRIPT],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, 'PYTHONPATH': str(_sdk(folder))},
    )
    assert done.returncode == 0, done.stderr
    ids: list[str] = json.loads(done.stdout)
    return ids


@pytest.fixture(scope='module', params=['zlib', 'bz2', 'zstd', 'none'])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp(request.param)
    return Written(folder / 'backups', write(folder, request.param))


@pytest.fixture(scope='module')
def zlib_ones(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp('damaged')
    return Written(folder / 'backups', write(folder, 'zlib'))


@pytest.fixture
def copied(zlib_ones: Written, tmp_path: Path) -> Written:
    """A copy that a test may damage."""
    import shutil

    shutil.copytree(zlib_ones.folder, tmp_path / 'backups')
    return Written(tmp_path / 'backups', zlib_ones.ids)


def main(*words: str) -> int:
    return program.main(['backup', 'import-cinder', *words])


def known(store: unpacking.Store) -> dict[str, chunks.ChunkedBackup]:
    return {found.id: found for found in chunks.find_backups(store) if isinstance(found, chunks.ChunkedBackup)}


def test_a_chain_reads_byte_for_byte_in_any_piece(written: Written) -> None:
    store = chunks.Folder(written.folder)
    found = known(store)
    assert {one.parent_id for one in found.values()} == {None, *written.ids[:2]}
    pieces = random.Random(2)
    for id, content in zip(written.ids, VERSIONS, strict=True):
        with chunks.ChunkedDevice(store, chunks.chain_of(found[id], found)) as device:
            assert device.size == SIZE
            assert device.read(0, SIZE) == content
            for _ in range(20):
                offset = pieces.randrange(SIZE)
                length = min(pieces.randrange(1, 200_000), SIZE - offset)
                assert device.read(offset, length) == content[offset : offset + length]


def test_imported_backups_restore_byte_for_byte(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recovery_key(tmp_path / 'key')
    target, key = str(tmp_path / 'repository'), ('--recovery-key', str(tmp_path / 'key'))
    assert main('run', str(written.folder), target, *key) == 0
    assert main('run', str(written.folder), target, *key) == 0, 'it may be repeated'
    shown = capsys.readouterr().out
    for id, content in zip(written.ids, VERSIONS, strict=True):
        assert f'{id} imported' in shown
        restored = tmp_path / id
        assert program.main(['backup', 'restore', target, id, *key, str(restored)]) == 0
        assert restored.read_bytes() == content
        assert program.main(['backup', 'verify', target, id, *key]) == 0
    assert program.main(['backup', 'list', target, '--json']) == 0
    listed = json.loads(capsys.readouterr().out.rpartition('blocks checked, 0 damaged\n')[2])
    assert [one['parent'] for one in sorted(listed, key=lambda one: written.ids.index(one['backup']))] == [
        *(None, written.ids[0]),
        written.ids[1],
    ]


def test_one_backup_is_imported_with_its_ancestors(written: Written, tmp_path: Path) -> None:
    write_recovery_key(tmp_path / 'key')
    words = (str(written.folder), str(tmp_path / 'repository'), written.ids[1])
    assert main('run', *words, '--recovery-key', str(tmp_path / 'key')) == 0
    names = [info.key for info in FileRepository(tmp_path / 'repository').list('backups/')]
    assert sorted(name.rpartition('/')[2] for name in names) == sorted(written.ids[:2])


def test_list_and_verify(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    assert main('list', str(written.folder), '--json') == 0
    assert [one['backup'] for one in json.loads(capsys.readouterr().out)] == written.ids
    assert main('verify', str(written.folder)) == 0
    assert capsys.readouterr().out.count(f'{SIZE} bytes are intact') == 3


def test_a_backup_is_restored_to_a_file_or_a_device(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for id, content in zip(written.ids, VERSIONS, strict=True):
        assert main('restore', str(written.folder), id, str(tmp_path / id)) == 0
        assert (tmp_path / id).read_bytes() == content
    assert main('restore', str(written.folder), written.ids[0], str(tmp_path / written.ids[1])) == 1
    assert 'exists' in capsys.readouterr().err
    device = tmp_path / 'device'
    device.write_bytes(b'old' * SIZE)
    with FileDevice(device) as opened:  # a device with other data is zeroed where the backup has zeroes
        found = known(chunks.Folder(written.folder))
        chain = chunks.chain_of(found[written.ids[2]], found)
        imports.restore(chunks.Folder(written.folder), chain, Image(opened, zeroed=False))
    assert device.read_bytes()[:SIZE] == VERSIONS[2]


def test_a_damaged_backup_is_not_restored(copied: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = sorted(copied.folder.rglob('*-00002'))[0]
    name.write_bytes(b'x' + name.read_bytes()[1:])
    codes = [main('restore', str(copied.folder), id, str(tmp_path / id)) for id in copied.ids]
    assert 1 in codes
    assert [(tmp_path / id).exists() for id in copied.ids] == [code == 0 for code in codes]
    assert not list(tmp_path.glob('*.partial'))


def test_each_changed_byte_is_found(copied: Written, capsys: pytest.CaptureFixture[str]) -> None:
    """Some bits of a compressed object do not change its data: then all backups read as before."""
    store = chunks.Folder(copied.folder)
    for path in sorted(copied.folder.rglob(f'*-{"[0-9]" * 5}')):
        content = path.read_bytes()
        for place in (0, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            if main('verify', str(copied.folder)) == 0:
                found = known(store)
                for id, expected in zip(copied.ids, VERSIONS, strict=True):
                    with chunks.ChunkedDevice(store, chunks.chain_of(found[id], found)) as device:
                        assert device.read(0, SIZE) == expected, f'{path} at {place}'
        path.write_bytes(content)
    capsys.readouterr()
    assert main('verify', str(copied.folder)) == 0


def test_a_damaged_backup_keeps_no_other_from_being_imported(
    copied: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recovery_key(tmp_path / 'key')
    [metadata] = copied.folder.rglob(f'*{copied.ids[2]}_metadata')
    facts = json.loads(metadata.read_text())
    name = next(iter(facts['objects'][0]))
    (metadata.parent / name).write_bytes(b'not compressed')
    words = (str(copied.folder), str(tmp_path / 'repository'), '--recovery-key', str(tmp_path / 'key'))
    assert main('run', *words) == 1
    shown = capsys.readouterr()
    assert f'{copied.ids[1]} imported' in shown.out
    assert f'{copied.ids[2]}: ' in shown.err
    assert 'cannot be decompressed' in shown.err
    names = [info.key.rpartition('/')[2] for info in FileRepository(tmp_path / 'repository').list('backups/')]
    assert sorted(names) == sorted(copied.ids[:2])


def test_a_missing_object_ancestor_or_hash_is_named(copied: Written, capsys: pytest.CaptureFixture[str]) -> None:
    [metadata] = copied.folder.rglob(f'*{copied.ids[0]}_metadata')
    hashes = metadata.with_name(metadata.name.replace('_metadata', '_sha256file'))
    hashes.rename(hashes.with_suffix('.gone'))
    assert main('verify', str(copied.folder), copied.ids[0]) == 1
    assert '_sha256file' in capsys.readouterr().err
    metadata.rename(metadata.with_suffix('.gone'))
    assert main('verify', str(copied.folder), copied.ids[1]) == 1
    assert f'its ancestor {copied.ids[0]} is not in this place' in capsys.readouterr().err
    assert main('verify', str(copied.folder), 'unknown') == 2


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'version': '2.0.0'}, "has version '2.0.0'"),
        ({'backup_id': '../../etc'}, 'its ids are not ids'),
        ({'objects': [{'x-1': {'offset': -1, 'length': 5, 'compression': 'none'}}]}, 'offset or length'),
        ({'objects': [{'other-00001': {'offset': 0, 'length': 5, 'compression': 'none'}}]}, 'of another backup'),
        ({'objects': None}, 'no usable'),
        ({'objects': [{'x-1': {'offset': float('inf'), 'length': 5, 'compression': 'none'}}]}, 'no usable'),
        ({'objects': [{'x-1': {'offset': 2**60, 'length': 5, 'compression': 'none'}}]}, 'offset or length'),
    ],
)
def test_metadata_that_makes_no_sense_is_refused(copied: Written, change: dict[str, object], message: str) -> None:
    [metadata] = copied.folder.rglob(f'*{copied.ids[0]}_metadata')
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), **change}))
    errors = [found.message for found in chunks.find_backups(chunks.Folder(copied.folder)) if hasattr(found, 'message')]
    assert len(errors) == 1
    assert message in errors[0]
    assert metadata.name in errors[0]


def test_a_name_that_leaves_the_folder_is_not_read(copied: Written) -> None:
    [metadata] = copied.folder.rglob(f'*{copied.ids[0]}_metadata')
    (copied.folder / 'secret-00001').write_text('x' * 100)
    facts = json.loads(metadata.read_text())
    prefix = next(iter(facts['objects'][0])).rpartition('-')[0]
    facts['objects'][0] = {f'../{prefix}-00001': next(iter(facts['objects'][0].values()))}
    metadata.write_text(json.dumps(facts))
    found = list(chunks.find_backups(chunks.Folder(copied.folder)))
    assert any(isinstance(one, InvalidBackup) for one in found)


def test_an_object_of_another_name_is_not_read(copied: Written, tmp_path: Path) -> None:
    """The first object's name gives the prefix; those after it must not leave it, with their hashes in the metadata."""
    (tmp_path / 'secret-00001').write_bytes(bytes(100))
    [metadata] = copied.folder.rglob(f'*{copied.ids[0]}_metadata')
    facts = json.loads(metadata.read_text())
    facts['objects'].append({f'{tmp_path}/secret-00001': {'offset': SIZE, 'length': 100, 'compression': 'none'}})
    metadata.write_text(json.dumps(facts))
    errors = [found.message for found in chunks.find_backups(chunks.Folder(copied.folder)) if hasattr(found, 'message')]
    assert len(errors) == 1
    assert 'of another backup' in errors[0]


@pytest.mark.parametrize(
    'name', ['{tmp}/secret', '../secret', 'link/secret', 'secret\0', '\ud800', 'pipe', 'x/../../secret', 'l']
)
def test_only_files_of_the_folder_are_read(name: str, tmp_path: Path) -> None:
    folder = tmp_path / 'backups'
    folder.mkdir()
    (tmp_path / 'secret').write_text('x')
    (folder / 'link').symlink_to(tmp_path)
    (folder / 'l').symlink_to(tmp_path / 'secret')
    os.mkfifo(folder / 'pipe')
    with pytest.raises(ObjectMissing):
        chunks.Folder(folder).open(name.format(tmp=tmp_path))


def test_a_small_object_does_not_become_a_large_one(copied: Written) -> None:
    """A decompressed object is read up to the length that its metadata names."""
    import zlib

    store = chunks.Folder(copied.folder)
    found = known(store)[copied.ids[0]]
    (copied.folder / f'{found.container}{found.pieces[0].name}').write_bytes(zlib.compress(bytes(100 * MIB)))
    with pytest.raises(IntegrityError, match='sha256'):
        imports.verify(store, [found])


@pytest.fixture
def endpoint(moto: Clients) -> Iterator[str]:
    """The local cloud's S3 over HTTP, for Cinder's driver, with a bucket."""
    moto('s3').create_bucket(Bucket='volumebackups')
    server = Server(0, Endpoint(None))
    server.start()
    yield f'http://127.0.0.1:{server.port}'
    server.stop()


def test_backups_of_the_s3_driver(endpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = write(tmp_path, 'zlib', driver='s3', place='volumebackups', endpoint=endpoint)
    write_recovery_key(tmp_path / 'key')
    assert main('list', 's3://volumebackups', '--json') == 0
    assert [one['backup'] for one in json.loads(capsys.readouterr().out)] == ids
    key = ('--recovery-key', str(tmp_path / 'key'))
    assert main('run', 's3://volumebackups', str(tmp_path / 'repository'), *key) == 0
    for id, content in zip(ids, VERSIONS, strict=True):
        assert program.main(['backup', 'restore', str(tmp_path / 'repository'), id, *key, str(tmp_path / id)]) == 0
        assert (tmp_path / id).read_bytes() == content


def test_the_record_of_an_imported_backup_becomes_available(
    tables: SmallDynamoDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cinder's database is migrated, its backups are imported, and the service opens them as its own."""
    import boto3

    boto3.client('s3', 'us-east-1').create_bucket(Bucket='imported')
    key = boto3.client('kms', 'us-east-1').create_key()['KeyMetadata']['KeyId']
    ids = write(tmp_path, 'zstd')
    with open_source(f'sqlite:///{tmp_path}/cinder.sqlite') as source:
        migration.migrate(source, hosts.parse(''), apply=True)
    location = completion.place_of('s3://imported/cinder/', 'us-east-1')
    monkeypatch.setattr(target, 'connect', lambda *_: None)
    words = (str(tmp_path / 'backups'), 's3://imported/cinder', '--kms-key', key, '--region', 'us-east-1')
    assert {Backup.find_anywhere(id).status for id in ids} == {'error'}
    assert main('run', *words) == 0
    assert {Backup.find_anywhere(id).status for id in ids} == {'error'}
    assert main('run', *words, '--complete') == 0
    assert main('run', *words, '--complete') == 0, 'it may be repeated'
    for id, content in zip(ids, VERSIONS, strict=True):
        backup = Backup.find_anywhere(id)
        assert (backup.status, backup.fail_reason, backup.location) == ('available', None, location)
        manifest = backup_data.manifest_of(backup)
        assert (manifest.size, manifest.parent) == (len(content), backup.parent_id)
    with open_source(f'sqlite:///{tmp_path}/cinder.sqlite') as source:
        assert migration.migrate(source, hosts.parse(''), apply=True).counts['Backup'] == {Outcome.SAME: 3}
    assert migration.rollback(apply=True).counts['Backup'] == {Outcome.REMOVED: 3}
