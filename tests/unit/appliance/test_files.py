from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from appliance.errors import Full, Unavailable
from appliance.files import FICLONE, FileStore
from appliance.names import Key
from appliance.store import Medium, Object

MIB = 1024**2
KEY, COPY = Key('fast', 'volume-1'), Key('slow', 'snapshot-1')


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path, ['fast', 'slow'])


def file(store: FileStore, key: Key) -> Path:
    return Path(store.path(key))


def names(store: FileStore, pool: str) -> list[str]:
    """Everything in the pool's folder, half-made things included."""
    return sorted(path.name for path in file(store, Key(pool, 'x')).parent.iterdir())


def test_a_new_volume_is_sparse(store: FileStore) -> None:
    store.create(KEY, 1024 * MIB)
    assert store.size(KEY) == 1024 * MIB
    assert store.objects('fast') == {'volume-1': Object(1024 * MIB, 0)}
    assert store.objects('slow') == {}
    assert file(store, KEY).stat().st_mode & 0o777 == 0o600


def test_a_copy_has_the_data_and_the_holes(store: FileStore) -> None:
    store.create(KEY, 64 * MIB)
    with file(store, KEY).open('r+b') as opened:
        opened.write(b'first')
        opened.seek(32 * MIB)
        opened.write(b'second')
    store.copy(KEY, COPY, 128 * MIB)
    data = file(store, COPY).read_bytes()
    assert (data[:5], data[32 * MIB : 32 * MIB + 6], len(data)) == (b'first', b'second', 128 * MIB)
    assert store.objects('slow')['snapshot-1'].used <= 4 * MIB


def test_a_copy_is_never_smaller_than_its_source(store: FileStore) -> None:
    store.create(KEY, 2 * MIB)
    store.copy(KEY, COPY, MIB)
    assert store.size(COPY) == 2 * MIB


def test_a_copy_replaces_what_had_its_name(store: FileStore) -> None:
    store.create(KEY, MIB)
    store.create(COPY, MIB)
    file(store, COPY).write_bytes(b'old' + bytes(MIB - 3))
    store.copy(KEY, COPY, MIB)
    assert file(store, COPY).read_bytes() == bytes(MIB)


def test_with_reflinks_a_copy_is_one_ioctl(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """And if it fails there is no copy: never a slow, torn one."""
    asked = []

    def refuse(target: int, request: int, source: int) -> None:
        asked.append(request)
        raise OSError(errno.EIO, 'no')

    store.create(KEY, MIB)
    store.copies_attached = True
    monkeypatch.setattr(fcntl, 'ioctl', refuse)
    with pytest.raises(Unavailable):
        store.copy(KEY, COPY, MIB)
    assert asked == [FICLONE]
    assert names(store, 'slow') == []


def test_grow_never_shrinks(store: FileStore) -> None:
    store.create(KEY, 2 * MIB)
    for size in (MIB, 4 * MIB, 4 * MIB, 3 * MIB):
        store.grow(KEY, size)
    assert store.size(KEY) == 4 * MIB


def test_delete_and_rename(store: FileStore) -> None:
    store.create(KEY, MIB)
    store.rename(KEY, 'volume-2')
    assert store.size(KEY) is None
    for _ in range(2):
        store.delete(Key('fast', 'volume-2'))
    assert names(store, 'fast') == []


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT])
def test_no_space_is_full_and_leaves_nothing(store: FileStore, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def no_space(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, 'ftruncate', no_space)
    with pytest.raises(Full, match='fast/volume-1'):
        store.create(KEY, MIB)
    assert names(store, 'fast') == []


def test_recover_removes_what_was_not_finished(store: FileStore) -> None:
    store.create(KEY, MIB)
    for name in ('volume-2.new', 'volume-3.trash'):
        file(store, Key('fast', name)).write_bytes(b'x')
    assert store.objects('fast').keys() == {'volume-1'}
    store.recover()
    assert names(store, 'fast') == ['volume-1']


def test_only_files_with_our_kind_of_name_are_objects(store: FileStore) -> None:
    folder = file(store, KEY).parent
    (folder / 'folder').mkdir()
    (folder / 'disk.img').write_bytes(b'x')
    (folder / 'link').symlink_to('/etc/passwd')
    (folder / 'somebody-s').write_bytes(b'x')
    assert store.objects('fast').keys() == {'somebody-s'}


def test_the_medium_is_the_file_system(store: FileStore, tmp_path: Path) -> None:
    stat, medium = os.statvfs(tmp_path), store.medium()
    assert isinstance(medium, Medium)
    assert medium.total == stat.f_blocks * stat.f_frsize
    assert 0 < medium.free <= medium.total


@pytest.mark.parametrize('number', [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY])
def test_a_file_system_without_reflinks_is_recognized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, 'ioctl', refuse)
        assert FileStore(tmp_path, ['fast']).copies_attached is False
        patch.setattr(fcntl, 'ioctl', lambda *_: 0)
        assert FileStore(tmp_path, ['fast']).copies_attached is True
    assert [path.name for path in tmp_path.iterdir()] == ['fast']
