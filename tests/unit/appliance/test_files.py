from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.errors import Full, Unavailable
from appliance.files import FileStore
from appliance.names import Key
from appliance.store import Medium, Object
from tests.block_devices import file_system, fill

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


def test_with_reflinks_a_copy_is_one_ioctl(tmp_path: Path) -> None:
    """And if it fails there is no copy: never a slow, torn one. tmpfs rejects FICLONE with EOPNOTSUPP."""
    with file_system('tmpfs', tmp_path / 'store', 8 * MIB) as folder:
        store = FileStore(folder, ['fast', 'slow'])
        assert not store.copies_attached
        store.create(KEY, MIB)
        store.copies_attached = True
        with pytest.raises(Unavailable, match='not supported'):
            store.copy(KEY, COPY, MIB)
        assert names(store, 'slow') == []
        store.close()


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


def test_a_copy_without_space_is_full_and_leaves_nothing(tmp_path: Path) -> None:
    with file_system('tmpfs', tmp_path / 'store', 8 * MIB) as folder:
        store = FileStore(folder, ['fast', 'slow'])
        store.create(KEY, 2 * MIB)
        file(store, KEY).write_bytes(b'x' * 2 * MIB)
        fill(folder)
        with pytest.raises(Full, match='slow/'):
            store.copy(KEY, COPY, 2 * MIB)
        assert names(store, 'slow') == []
        assert file(store, KEY).read_bytes() == b'x' * 2 * MIB
        store.close()


def test_an_object_that_the_file_system_cannot_hold_is_full_and_leaves_nothing(tmp_path: Path) -> None:
    """A file of ext4 has 16 TiB at most (EFBIG)."""
    with file_system('ext4', tmp_path / 'store', 32 * MIB) as folder:
        store = FileStore(folder, ['fast', 'slow'])
        with pytest.raises(Full, match='fast/volume-1'):
            store.create(KEY, 17 * 1024**4)
        assert names(store, 'fast') == []
        store.close()


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
    (folder / 'foreign').write_bytes(b'x')
    assert store.objects('fast').keys() == {'foreign'}


def test_the_medium_is_the_file_system(store: FileStore, tmp_path: Path) -> None:
    stat, medium = os.statvfs(tmp_path), store.medium()
    assert isinstance(medium, Medium)
    assert medium.total == stat.f_blocks * stat.f_frsize
    assert 0 < medium.free <= medium.total


@pytest.mark.parametrize(('kind', 'reflinks'), [('xfs', True), ('ext4', False), ('tmpfs', False), ('ramfs', False)])
def test_a_file_system_with_reflinks_is_recognized(tmp_path: Path, kind: str, reflinks: bool) -> None:
    with file_system(kind, tmp_path / 'store', 32 * MIB) as folder:
        assert FileStore(folder, ['fast']).copies_attached is reflinks
        assert [path.name for path in folder.iterdir() if path.name != 'lost+found'] == ['fast']


def test_a_file_system_that_fails_is_not_taken_for_one_without_reflinks(tmp_path: Path) -> None:
    with file_system('tmpfs', tmp_path / 'store', 8 * MIB) as folder:
        fill(folder)
        with pytest.raises(OSError, match='No space left'):
            FileStore(folder, ['fast'])
