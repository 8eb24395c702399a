"""``cinderless backup``: what an operator has left when the service is gone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from chalicelib.backup import engine
from chalicelib.backup.files import FileRepository
from chalicelib.backup.keys import read_recovery_key, write_recovery_key
from chalicelib.backup.layout import MIB, backup_key
from chalicelib.backup.s3 import KmsKeyWrapper, S3Repository
from cinderless import program
from tests.unit.backup import flows
from tests.unit.backup.fakes import MemoryDevice, image

DATA = image(2 * MIB, 1)


def main(words: list[str]) -> int:
    return program.main(['backup', *words])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a chain of two, and beside it the recovery key."""
    write_recovery_key(tmp_path / 'key')
    monkeypatch.setattr(flows, 'WRAPPER', read_recovery_key(tmp_path / 'key'))
    repository = FileRepository(tmp_path / 'repository')
    flows.back_up(repository, DATA, 'one')
    flows.back_up(repository, DATA[:-512] + b'x' * 512, 'two', 'one')
    return tmp_path / 'repository'


def options(folder: Path) -> list[str]:
    return ['--recovery-key', str(folder.parent / 'key')]


def test_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['list', str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ['BACKUP', 'one', 'two']
    assert lines[2].split() == ['two', flows.LINEAGE, '0.00195312', '2026-11-22T00:00:00Z', 'one']


@pytest.mark.parametrize('other', ['{"format": "cinderless-backup-1"}\n{}', None])
def test_list_goes_on_beside_damage_and_later_formats(
    folder: Path, capsys: pytest.CaptureFixture[str], other: str | None
) -> None:
    manifest = folder / backup_key(flows.LINEAGE, 'one')
    manifest.write_text(other or manifest.read_text().replace('cinderless-backup-1', 'cinderless-backup-2'))
    assert main(['list', str(folder)]) == 1
    output = capsys.readouterr()
    assert 'two' in output.out
    assert f'backups/{flows.LINEAGE}/one' in output.err


def test_restore(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / 'volume.img'
    assert main(['restore', str(folder), 'one', str(target), *options(folder)]) == 0
    assert target.read_bytes() == DATA
    assert '100 %' in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ['key', 'repository', 'volume.img']


def test_restore_writes_over_no_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / 'volume.img'
    target.write_text('precious')
    assert main(['restore', str(folder), 'one', str(target), *options(folder)]) == 1
    assert target.read_text() == 'precious'
    assert 'volume.img' in capsys.readouterr().err
    assert not (tmp_path / 'volume.img.partial').exists()


def test_a_failed_restore_leaves_no_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = next((folder / 'packs' / flows.LINEAGE / '00003' / 'one').iterdir())
    pack.unlink()
    assert main(['restore', str(folder), 'one', str(tmp_path / 'volume.img'), *options(folder)]) == 1
    assert pack.name in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ['key', 'repository']


def test_a_repository_is_only_read(folder: Path, tmp_path: Path) -> None:
    """So it may be on a disk that is mounted read-only, and belong to another user."""
    shutil.rmtree(folder / '.staging')
    before = sorted(folder.rglob('*'))
    for command in (['list'], ['verify', 'two'], ['restore', 'two', str(tmp_path / 'volume.img')]):
        name, *more = command
        assert main([name, str(folder), *more, *(options(folder) if more else ())]) == 0
    assert sorted(folder.rglob('*')) == before


def test_an_interrupt_leaves_no_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr('os.pwrite', interrupted)
    assert main(['restore', str(folder), 'one', str(tmp_path / 'volume.img'), *options(folder)]) == 130
    assert capsys.readouterr().err.endswith('interrupted\n')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['key', 'repository']


def test_verify(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['verify', str(folder), 'two', *options(folder)]) == 0
    assert capsys.readouterr().out == '512 blocks checked, 0 damaged\n'
    pack = next((folder / 'packs' / flows.LINEAGE / '00003' / 'one').iterdir())
    pack.write_bytes(pack.read_bytes()[:-1])
    assert main(['verify', str(folder), 'two', *options(folder)]) == 1
    output = capsys.readouterr().out
    assert pack.name in output
    assert ' 0 damaged' not in output


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['verify', '{folder}', 'none', '--recovery-key', '{key}'], 'backup none is not in this repository'),
        (['verify', '{folder}', 'one', '--recovery-key', '{folder}/none'], 'is not a recovery key'),
        (['verify', '{folder}', 'one', '--recovery-key', '{other}'], 'the recovery key is a different one'),
        (['list', '{folder}/none'], 'neither a folder nor s3://bucket/prefix'),
        (
            ['restore', '{folder}', 'one', '{folder}/none/x', '--recovery-key', '{key}'],
            'No such file or directory',
        ),
        (['restore', '{folder}', 'one', '{folder}', '--recovery-key', '{key}'], 'exists: name a new file'),
        (['verify', '{folder}', 'one', '--recovery-key', '{key}', '--root-hash', 'ab'], 'its root hash is not that'),
        (['keygen', '{key}'], 'File exists'),
    ],
)
def test_failures_say_what_is_wrong(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    other = folder.parent / 'other'
    write_recovery_key(other)
    assert main([text.format(folder=folder, key=folder.parent / 'key', other=other) for text in arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['restore'], "Missing argument 'REPOSITORY' (cinderless backup restore --help)"),
        (['verify', '.', 'one', '--sample', '0'], '0 is not in the range 1<=x<=100'),
        (['copy', '.', 'one', '..'], 'give --kms-key or --target-recovery-key, not both'),
    ],
)
def test_wrong_usage_is_status_2(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_keygen_prints_the_public_half(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['keygen', str(tmp_path / 'key')]) == 0
    public = capsys.readouterr().out.strip()
    assert len(bytes.fromhex(public)) == 32
    assert public not in (tmp_path / 'key').read_text()


def test_from_a_bucket_with_kms(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import boto3

    kms = boto3.client('kms')
    monkeypatch.setattr(flows, 'WRAPPER', KmsKeyWrapper(kms, kms.create_key()['KeyMetadata']['KeyId']))
    flows.back_up(S3Repository(s3, 'backups', 'cinder/'), MemoryDevice(DATA[: MIB // 4]), 'one')
    assert main(['list', 's3://backups/cinder']) == 0
    assert main(['verify', 's3://backups/cinder', 'one']) == 0
    assert main(['restore', 's3://backups/cinder', 'one', str(tmp_path / 'volume.img')]) == 0
    assert (tmp_path / 'volume.img').read_bytes() == DATA[: MIB // 4]
    assert main(['list', 's3://none']) == 1
    assert 'NoSuchBucket' in capsys.readouterr().err


def test_a_copy_carries_the_key_of_an_encrypted_volume(folder: Path, tmp_path: Path) -> None:
    source, key = FileRepository(folder), engine.VolumeKey('k', 'p', 'u', 'aes', 256, b'v' * 32)
    engine.store_volume_key(source, flows.load(source, 'one'), key)
    (tmp_path / 'other').mkdir()
    there = ['--target-recovery-key', str(tmp_path / 'key')]
    assert main(['copy', str(folder), 'one', str(tmp_path / 'other'), *options(folder), *there]) == 0
    assert main(['volume-key', str(tmp_path / 'other'), 'one', *options(folder), str(tmp_path / 'digits')]) == 0
    assert (tmp_path / 'digits').read_text() == (b'v' * 32).hex()


def test_copy(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the key that it was wrapped to opens the copy."""
    write_recovery_key(tmp_path / 'other-key')
    other, target = tmp_path / 'other', tmp_path / 'volume.img'
    other.mkdir()
    there = ['--target-recovery-key', str(tmp_path / 'other-key')]
    assert main(['copy', str(folder), 'one', str(other), *options(folder), *there]) == 0
    assert 'one copied to' in capsys.readouterr().out
    assert main(['restore', str(other), 'one', str(target), *options(folder)]) == 1
    assert main(['restore', str(other), 'one', str(target), '--recovery-key', str(tmp_path / 'other-key')]) == 0
    assert target.read_bytes() == DATA
