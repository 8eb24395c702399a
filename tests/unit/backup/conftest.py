from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from chalicelib.backup.files import FileRepository
from chalicelib.backup.repository import Repository
from chalicelib.backup.s3 import S3Repository
from tests.unit.backup.fakes import MemoryRepository

#: Keys of a page of S3's lists.
PAGE = 100


@pytest.fixture
def memory() -> MemoryRepository:
    return MemoryRepository()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in (('ACCESS_KEY_ID', 'test'), ('SECRET_ACCESS_KEY', 'test'), ('DEFAULT_REGION', 'us-east-1')):
        monkeypatch.setenv(f'AWS_{name}', value)
    with mock_aws():
        yield


@pytest.fixture
def s3(aws: None) -> Any:
    import boto3

    client = boto3.client('s3')
    client.create_bucket(Bucket='backups')
    put, one_at_a_time = client.put_object, threading.Lock()

    def put_object(**arguments: Any) -> Any:
        """moto looks whether there is an object, and then puts; S3 does both at once."""
        with one_at_a_time:
            return put(**arguments)

    client.put_object = put_object
    client.meta.events.register('provide-client-params.s3.ListObjectsV2', _small_pages)
    return client


def _small_pages(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A page of 1,000 keys is dear to fill."""
    return {'MaxKeys': PAGE, **params}


@pytest.fixture(params=['memory', 'files', 's3', 's3-below-a-prefix'])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    """Every repository there is: the same suite runs on each."""
    if request.param == 'memory':
        return MemoryRepository()
    if request.param == 'files':
        return FileRepository(tmp_path / 'repository')
    prefix = 'some/prefix/' if request.param == 's3-below-a-prefix' else ''
    return S3Repository(request.getfixturevalue('s3'), 'backups', prefix)
