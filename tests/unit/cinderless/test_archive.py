"""The archive of a state: holes, damage, and folders that an import must not touch. GNU tar reads it, too."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from cinderless import archive, program, sparse
from cinderless.errors import REFUSED, Failure
from local.settings import Refused
from local.state import IMPORTING, LOCK, MARKER, VERSION, StateFolder

MIB = 1 << 20

#: File -> {offset: bytes}, and its size.
HOLES = {
    'appliance/store.img': ({0: b'a' * 70_000, 900 * MIB: b'b', 1000 * MIB: b'c' * MIB}, 3 << 30),
    'appliance/empty.img': ({}, 5 * MIB),
    'appliance/end.img': ({4 * MIB: b'e' * MIB}, 5 * MIB),
    'appliance/full.img': ({0: os.urandom(3 * MIB)}, 3 * MIB),
    'appliance/nothing': ({}, 0),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A stopped state with sparse files, empty folders and databases."""
    state = tmp_path / 'state'
    for name in ('aws/objects', 'dynamodb', 'appliance/journal/slow', 'appliance/mount', 'logs'):
        (state / name).mkdir(parents=True)
    for name in ('aws/documents.db', 'dynamodb/shared-local-instance.db'):
        with sqlite3.connect(state / name) as database:
            database.execute('create table t (x)')
    for name, (data, size) in HOLES.items():
        with (state / name).open('wb') as file:
            file.truncate(size)
            for offset, text in data.items():
                file.seek(offset)
                file.write(text)
    (state / 'appliance' / 'secret').write_text('secret')
    (state / 'appliance' / 'control_port').write_text('1024')
    (state / 'aws' / 'objects' / 'one').write_bytes(b'one')
    (state / 'logs' / 'functions.jsonl').write_text('{}\n')
    parts = ['aws/documents.db', 'appliance/secret', 'appliance/store.img']
    (state / MARKER).write_text(json.dumps({'version': VERSION, 'durable': True, 'parts': parts}))
    return state


def exported(folder: Path) -> bytes:
    stream = io.BytesIO()
    with archive.source(folder) as source:
        archive.write(source, stream, lambda done: None)
    return stream.getvalue()


def imported(data: bytes, folder: Path) -> dict[str, Any]:
    return archive.read(io.BytesIO(data), folder, lambda total: lambda done: None)


def is_same(one: Path, other: Path) -> bool:
    """Compare the bytes of every range that has data in either file, and the space that both take."""
    with one.open('rb') as first, other.open('rb') as second:
        ranges = {*sparse.extents(first), *sparse.extents(second)}
        same = all(os.pread(first.fileno(), size, at) == os.pread(second.fileno(), size, at) for at, size in ranges)
    spared = abs(one.stat().st_blocks - other.stat().st_blocks) * 512 <= MIB
    return same and spared and one.stat().st_size == other.stat().st_size


def test_a_state_is_the_same_after_export_and_import(folder: Path, tmp_path: Path) -> None:
    head = imported(exported(folder), tmp_path / 'other')
    assert head['state'] == VERSION
    for name in HOLES:
        assert is_same(folder / name, tmp_path / 'other' / name), name
    assert (tmp_path / 'other' / 'aws' / 'objects' / 'one').read_bytes() == b'one'
    assert (tmp_path / 'other' / 'appliance' / 'journal' / 'slow').is_dir()
    assert not (tmp_path / 'other' / 'appliance' / 'control_port').exists(), 'of the tgtd of another machine'
    assert (tmp_path / 'other').stat().st_mode & 0o777 == 0o700
    StateFolder(tmp_path / 'other').check()


def test_gnu_tar_reads_it_with_its_holes(folder: Path, tmp_path: Path) -> None:
    plain = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(exported(folder))).read()
    (tmp_path / 'there').mkdir()
    subprocess.run(['tar', '-xf', '-', '-C', str(tmp_path / 'there')], input=plain, check=True)
    for name in HOLES:
        assert is_same(folder / name, tmp_path / 'there' / name), name


@pytest.mark.parametrize('name', HOLES)
def test_a_copy_keeps_holes(name: str, folder: Path, tmp_path: Path) -> None:
    sparse.copy(folder / name, tmp_path / 'copy')
    assert is_same(folder / name, tmp_path / 'copy')


def test_a_copy_reports_its_data(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system shares no blocks. Holes are not counted."""
    monkeypatch.setattr(sparse.fcntl, 'ioctl', _refuse_to_share)
    monkeypatch.setattr(sparse, 'PART', 4096)
    for name in HOLES:
        copied: list[int] = []
        sparse.copy(folder / name, tmp_path / 'copy', copied.append)
        assert sum(copied) == sparse.data_size(folder / name)
        (tmp_path / 'copy').unlink()


def _refuse_to_share(*_: object) -> None:
    raise OSError(sparse.NO_CLONE[0], 'no shared blocks')


@pytest.mark.parametrize('at', [0.3, 0.9, 0.999])
def test_an_archive_that_is_cut_off_leaves_no_state(at: float, folder: Path, tmp_path: Path) -> None:
    data = exported(folder)
    with pytest.raises(Failure, match=r'damaged|cut off'):
        imported(data[: int(len(data) * at)], tmp_path / 'other')
    assert {path.name for path in (tmp_path / 'other').iterdir()} == {LOCK}
    imported(data, tmp_path / 'other')


@pytest.mark.parametrize('at', [0.1, 0.5, 0.9])
def test_an_archive_with_a_wrong_bit_is_refused(at: float, folder: Path, tmp_path: Path) -> None:
    data = bytearray(exported(folder))
    data[int(len(data) * at)] ^= 1
    with pytest.raises(Failure, match='damaged'):
        imported(bytes(data), tmp_path / 'other')
    assert not (tmp_path / 'other' / MARKER).exists()


def made(*members: tuple[tarfile.TarInfo, bytes], **head: Any) -> bytes:
    """An archive with other members."""
    stream = io.BytesIO()
    facts = {'format': archive.FORMAT, 'state': VERSION, 'parts': [], 'created': 'now', 'data': 1, **head}
    with tarfile.open(fileobj=stream, mode='w') as tar:
        for info, data in ((tarfile.TarInfo(archive.HEAD), json.dumps(facts).encode()), *members):
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return zstandard.ZstdCompressor().compress(stream.getvalue())


def holed(table: bytes, size: str) -> tuple[tarfile.TarInfo, bytes]:
    """A member with holes, in PAX format 1.0."""
    info = tarfile.TarInfo('aws/GNUSparseFile.0/x')
    names = {'major': '1', 'minor': '0', 'name': 'aws/x', 'realsize': size}
    info.pax_headers = {f'GNU.sparse.{name}': value for name, value in names.items()}
    return info, table.ljust(512, b'\0') + bytes(512)


def folders() -> list[tuple[tarfile.TarInfo, bytes]]:
    found = [tarfile.TarInfo(name) for name in (*archive.NEEDED, 'aws/documents.db')]
    for info in found:
        info.type = tarfile.DIRTYPE
    return [(info, b'') for info in found]


def link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        (b'', 'not the archive|damaged'),
        (b'#!/bin/sh', 'damaged'),
        (made(), 'cut off'),
        (made(state=VERSION + 1), 'state version'),
        (made(format=2), 'format 2'),
        (made((tarfile.TarInfo('../evil'), b'x')), 'not part of a state: ../evil'),
        (made((tarfile.TarInfo('aws/../../evil'), b'x')), 'evil'),
        (made((tarfile.TarInfo('/etc/evil'), b'x')), 'not part of a state'),
        (made((link('aws/link', '/etc'), b'')), 'not part of a state'),
        (made((tarfile.TarInfo(archive.END), b'')), 'lacks aws'),
        (made(data='many'), 'cinderless-state.json is not readable'),
        (made(data=float('inf')), 'cinderless-state.json is not readable'),
        (made(parts=None), 'cinderless-state.json is not readable'),
        (made(*folders(), (tarfile.TarInfo(archive.END), b'')), 'lacks aws/documents.db'),
        (made(holed(b'1\n0\n512\n', str(2**70))), 'damaged'),
        (made(holed(b'one\n0\n512\n', '512')), 'damaged'),
    ],
)
def test_what_is_not_a_state_is_refused(data: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=words):
        imported(data, tmp_path / 'other')
    assert not (tmp_path / 'other' / MARKER).exists()
    assert not (tmp_path / 'evil').exists()


def test_a_folder_that_is_not_empty_is_left_alone(folder: Path, tmp_path: Path) -> None:
    data = exported(folder)
    for name, content in (('thesis', 'chapter'), ('marked', MARKER), ('interrupted and marked', IMPORTING)):
        (tmp_path / name).mkdir()
        (tmp_path / name / content).write_text('precious')
        if content == IMPORTING:
            (tmp_path / name / MARKER).touch()
        with pytest.raises(Failure, match='is not empty') as error:
            imported(data, tmp_path / name)
        assert error.value.code == REFUSED
        assert (tmp_path / name / content).read_text() == 'precious'


def test_an_import_that_was_killed_is_not_started_and_is_repeated(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / 'other'
    for left in ('aws', f'{IMPORTING}/dynamodb'):
        (other / left).mkdir(parents=True)
    with pytest.raises(Refused, match='an import was interrupted'):
        StateFolder(other).check()
    imported(exported(folder), other)
    StateFolder(other).check()
    assert not (other / IMPORTING).exists()


def test_an_export_replaces_no_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'mine').write_text('precious')
    assert program.main(['state', 'export', str(tmp_path / 'mine'), '--state-dir', str(folder)]) == REFUSED
    assert (tmp_path / 'mine').read_text() == 'precious'
    assert 'exists' in capsys.readouterr().err


def test_an_export_that_fails_leaves_no_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(archive, 'write', full)
    assert program.main(['state', 'export', str(tmp_path / 'new'), '--state-dir', str(folder)]) == 1
    assert 'No space left' in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['state']
