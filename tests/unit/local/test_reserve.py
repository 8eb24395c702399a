"""The reserve of the disk: what begins work, and the file that gives way."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local import reserve
from local.http import Request
from local.reserve import MIB, Reserve, begins_work


def request(method: str, path: str, body: Any = None) -> Request:
    return Request(method, path, '', [], json.dumps(body).encode() if body is not None else b'', '127.0.0.1')


@pytest.mark.parametrize(
    ('method', 'path', 'body'),
    [
        ('POST', '/v3/p/volumes', {'volume': {}}),
        ('PUT', '/v3/p/volumes/v', {'volume': {}}),
        ('POST', '/v3/p/volumes/v/action', {'os-extend': {'new_size': 2}}),
        ('POST', '/v3/p/volumes/v/action', {'os-force_delete': {}, 'os-extend': {}}),
        ('POST', '/v3/p/volumes/v/action', ['os-force_delete']),
        ('POST', '/v3/p/volumes/os-force_delete', {}),
        ('POST', '/identity/v3/users/u/application_credentials', {}),
    ],
)
def test_requests_that_store_more_begin_work(method: str, path: str, body: Any) -> None:
    assert begins_work(request(method, path, body))


@pytest.mark.parametrize(
    ('method', 'path', 'body'),
    [
        ('GET', '/v3/p/volumes', None),
        ('DELETE', '/v3/p/backups/b', None),
        ('POST', '/identity/v3/auth/tokens', {'auth': {}}),
        ('POST', '/v3/p/volumes/v/action', {'os-force_delete': {}}),
        ('POST', '/v3/p/groups/g/action', {'delete': {'delete-volumes': True}}),
        ('POST', '/v3/p/volumes/v/action', {'os-terminate_connection': {'connector': {}}}),
    ],
)
def test_reads_deletions_and_log_ins_do_not(method: str, path: str, body: Any) -> None:
    assert not begins_work(request(method, path, body))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 MiB."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=160m', 'tmpfs', folder], check=True)
    yield folder
    subprocess.run(['umount', '--lazy', folder], check=True)


def fill(disk: Path, leave: int) -> None:
    size = reserve.free_bytes(disk) - leave
    subprocess.run(['fallocate', '-l', str(size), disk / f'filler{size}'], check=True)


def write(table: str) -> bytes:
    return json.dumps({'TableName': f'cinderless-{table}'}).encode()


def transaction(*parts: tuple[str, str]) -> bytes:
    return json.dumps(
        {'TransactItems': [{part: {'TableName': f'cinderless-{table}'}} for part, table in parts]}
    ).encode()


def test_the_file_gives_way_to_the_tables_and_returns(disk: Path) -> None:
    kept = Reserve(disk)

    def admits() -> bool:
        return kept.admits('PutItem', write('volumes'))

    assert (kept.is_low(), admits()) == (False, True)
    assert (disk / reserve.NAME).stat().st_blocks * 512 == reserve.HELD
    fill(disk, leave=20 * MIB)
    assert (kept.is_low(), admits()) == (True, True)
    assert (disk / reserve.NAME).exists()
    fill(disk, leave=MIB)
    assert (kept.is_low(), admits()) == (True, True)
    assert not (disk / reserve.NAME).exists()
    fill(disk, leave=MIB)
    assert not admits()
    for filler in disk.glob('filler*'):
        filler.unlink()
    assert not kept.is_low()
    assert (disk / reserve.NAME).exists()


#: A write and whether the last MiB but one of a disk are for it.
WRITES = {
    'log-in': ('UpdateItem', write('revocations'), True),
    'revocation': ('PutItem', write('revocations'), True),
    'deletion': ('DeleteItem', write('volumes'), True),
    'deletion with its quota': (
        'TransactWriteItems',
        transaction(('Delete', 'volumes'), ('Update', 'quotas'), ('ConditionCheck', 'services')),
        True,
    ),
    'deletions': (
        'BatchWriteItem',
        json.dumps({'RequestItems': {'cinderless-volumes': [{'DeleteRequest': {}}]}}).encode(),
        True,
    ),
    'new item': ('PutItem', write('messages'), False),
    'new volume': ('TransactWriteItems', transaction(('Put', 'volumes'), ('Update', 'quotas')), False),
    'new items': (
        'BatchWriteItem',
        json.dumps({'RequestItems': {'t': [{'DeleteRequest': {}}, {'PutRequest': {}}]}}).encode(),
        False,
    ),
    'large update': ('UpdateItem', json.dumps({'TableName': 't', 'x': 'x' * reserve.SMALL}).encode(), False),
    'new table': ('CreateTable', write('volumes'), False),
    'no transaction': ('TransactWriteItems', b'{"TransactItems": []}', False),
    'not JSON': ('PutItem', b'{', False),
    'not an object': ('PutItem', b'[]', False),
}


@pytest.mark.parametrize(('operation', 'body', 'admitted'), WRITES.values(), ids=WRITES)
def test_the_last_space_is_for_writes_that_free_or_secure(
    disk: Path, operation: str, body: bytes, admitted: bool
) -> None:
    kept = Reserve(disk)
    fill(disk, leave=2 * MIB)
    assert kept.admits(operation, body) == admitted
    fill(disk, leave=MIB // 2)
    assert not kept.admits(operation, body)
