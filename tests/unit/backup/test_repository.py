"""What every repository promises; runs on each of them."""

from __future__ import annotations

import threading
import time

import pytest

from chalicelib.backup.repository import Repository, exists
from chalicelib.errors import ObjectExists, ObjectMissing, RepositoryError
from tests.unit.backup import flows
from tests.unit.backup.conftest import PAGE
from tests.unit.backup.fakes import MemoryDevice, image

KEYS = [
    'backups/b/1',
    'packs/a/00000/x-0001',
    'packs/a/00000/x-0002',
    'packs/a/00001/y',
    'packs/a-b/00000/z',
    'packs/b/0',
]


def keys(repository: Repository, prefix: str, start_after: str = '') -> list[str]:
    return [info.key for info in repository.list(prefix, start_after)]


def test_an_object_reads_as_it_was_put(repository: Repository) -> None:
    for data in (b'', b'x', b'some bytes', bytearray(b'array'), memoryview(b'a view')[2:]):
        repository.put('packs/a', data)
        assert repository.get('packs/a') == (bytes(data), len(data))


def test_the_buffer_is_the_callers_again_after_a_put(repository: Repository) -> None:
    buffer = bytearray(b'first')
    repository.put('packs/a', memoryview(buffer))
    buffer[:] = b'other'
    assert repository.get('packs/a').data == b'first'


@pytest.mark.parametrize(
    ('start', 'length', 'expected'),
    [
        (0, 4, b'0123'),
        (3, 4, b'3456'),
        (6, None, b'6789'),
        (8, 10, b'89'),
        (9, 1, b'9'),
        (10, 5, b''),
        (99, None, b''),
        (2, 0, b''),
    ],
)
def test_a_range_ends_where_the_object_ends(repository: Repository, start: int, length: int, expected: bytes) -> None:
    repository.put('packs/a', b'0123456789')
    assert repository.get('packs/a', start, length) == (expected, 10)


def test_what_is_not_there_is_missing(repository: Repository) -> None:
    for call in (repository.get, repository.head):
        with pytest.raises(ObjectMissing, match='packs/none'):
            call('packs/none')
    with pytest.raises(ObjectMissing):
        repository.get('packs/none', 5, 5)
    assert not exists(repository, 'packs/none')


def test_put_replaces_unless_told_not_to(repository: Repository) -> None:
    repository.put('shards/a', b'one', if_none_match=True)
    with pytest.raises(ObjectExists, match='shards/a'):
        repository.put('shards/a', b'two', if_none_match=True)
    assert repository.get('shards/a').data == b'one'
    repository.put('shards/a', b'three')
    assert repository.get('shards/a').data == b'three'


def test_of_many_conditional_puts_one_wins(repository: Repository) -> None:
    barrier = threading.Barrier(8)
    won: list[int] = []

    def put(number: int) -> None:
        barrier.wait()
        try:
            repository.put('shards/a', b'%d' % number, if_none_match=True)
        except ObjectExists:
            return
        won.append(number)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [b'%d' % number for number in won] == [repository.get('shards/a').data]


def test_head_tells_size_and_time(repository: Repository) -> None:
    repository.put('packs/a', b'12345')
    info = repository.head('packs/a')
    assert (info.key, info.size) == ('packs/a', 5)
    assert info.modified == 0 or abs(info.modified - time.time()) < 60


def test_list_is_ascending_and_by_prefix(repository: Repository) -> None:
    for key in reversed(KEYS):
        repository.put(key, key.encode())
    assert keys(repository, '') == sorted(KEYS)
    assert keys(repository, 'packs/a/') == KEYS[1:4]
    assert keys(repository, 'packs/a') == sorted(key for key in KEYS if key.startswith('packs/a'))
    assert keys(repository, 'packs/a/00000/x-') == KEYS[1:3]
    assert keys(repository, 'shards/') == []
    assert all(info.size == len(info.key) for info in repository.list(''))


@pytest.mark.parametrize('after', ['packs/a/00000/x-0001', 'packs/a/00000/~', 'packs/a/00000', 'packs/a/0', 'a', 'z'])
def test_list_starts_after_a_key(repository: Repository, after: str) -> None:
    for key in KEYS:
        repository.put(key, b'')
    assert keys(repository, 'packs/', after) == sorted(k for k in KEYS if k.startswith('packs/') and k > after)


def test_delete_takes_what_is_there_and_what_is_not(repository: Repository) -> None:
    for key in KEYS:
        repository.put(key, b'')
    repository.delete([*KEYS[:3], 'packs/none'])
    repository.delete([])
    assert keys(repository, '') == sorted(KEYS[3:])


def test_more_than_one_page(repository: Repository) -> None:
    many = [f'packs/a/{number:05d}' for number in range(PAGE + 1)]
    for key in many:
        repository.put(key, b'')
    assert keys(repository, 'packs/a/') == many
    repository.delete(many)
    assert keys(repository, '') == []


def test_a_chain_lives_in_it(repository: Repository) -> None:
    """The engine end to end: what one repository can, all can."""
    first, second = image(300 * 512, 1), image(400 * 512, 2)
    flows.back_up(repository, first, 'one')
    flows.back_up(repository, second, 'two', 'one')
    assert flows.restored(repository, 'one') == first
    flows.engine.delete_backup(repository, flows.LINEAGE, 'one')
    flows.collect(repository, clock=lambda: time.time() + 60)
    assert flows.restored(repository, 'two') == second
    device = MemoryDevice(second)
    flows.engine.delete_backup(repository, flows.LINEAGE, 'two')
    flows.collect(repository, clock=lambda: time.time() + 60)
    assert keys(repository, '') == []
    assert device.data == second


def test_a_file_repository_refuses_what_is_no_key(tmp_path: object) -> None:
    from chalicelib.backup.files import FileRepository

    repository = FileRepository(str(tmp_path))
    for key in ('../outside', '/etc/passwd', 'a//b', 'a/', '.staging/a', ''):
        with pytest.raises(RepositoryError):
            repository.put(key, b'')
