"""What S3 may answer, and what becomes of it. That the repository keeps its contract is in test_repository."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from botocore.response import StreamingBody

from chalicelib.backup import s3
from chalicelib.backup.s3 import S3Repository
from chalicelib.errors import BackupError, ObjectExists, ObjectMissing, RepositoryError


class Client:
    """Answers with what it is given, one after another; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self._answers: Iterator[Any] = iter(answers)
        self.requests: list[dict[str, Any]] = []

    def _answer(self, **arguments: Any) -> Any:
        self.requests.append(arguments)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    put_object = get_object = head_object = delete_objects = _answer


class BrokenBody:
    def read(self) -> bytes:
        raise ReadTimeoutError(endpoint_url='https://s3')


def refusal(code: str) -> ClientError:
    return ClientError({'Error': {'Code': code, 'Message': 'as S3 words it'}}, 'Operation')


def body(data: bytes) -> dict[str, Any]:
    return {'Body': StreamingBody(io.BytesIO(data), len(data))}


def repository(*answers: Any) -> tuple[S3Repository, Client]:
    client = Client(*answers)
    return S3Repository(client, 'bucket', 'prefix/'), client


@pytest.mark.parametrize(
    ('code', 'error'),
    [
        ('PreconditionFailed', ObjectExists),
        ('NoSuchKey', ObjectMissing),
        ('404', ObjectMissing),
        ('AccessDenied', RepositoryError),
        ('NoSuchBucket', RepositoryError),
    ],
)
def test_codes_are_translated(code: str, error: type[Exception]) -> None:
    for name, arguments in (('put', ('packs/a', b'')), ('get', ('packs/a',)), ('head', ('packs/a',))):
        store, _ = repository(refusal(code))
        with pytest.raises(RepositoryError) as caught:
            getattr(store, name)(*arguments)
        assert type(caught.value) is error
        assert 'packs/a' in str(caught.value)


def test_a_connection_that_fails_is_the_repository_s_failure() -> None:
    store, _ = repository(EndpointConnectionError(endpoint_url='https://s3'))
    with pytest.raises(RepositoryError, match='Could not connect'):
        store.head('packs/a')


def test_puts_are_checked_and_conditional() -> None:
    store, client = repository({}, {})
    store.put('shards/a', b'1', if_none_match=True)
    store.put('packs/a', memoryview(b'2'))
    common = {'Bucket': 'bucket', 'ChecksumAlgorithm': 'CRC32'}
    assert client.requests == [
        common | {'Key': 'prefix/shards/a', 'Body': b'1', 'IfNoneMatch': '*'},
        common | {'Key': 'prefix/packs/a', 'Body': b'2'},
    ]


def test_conflicting_puts_are_tried_again() -> None:
    conflict = refusal('ConditionalRequestConflict')
    store, client = repository(conflict, conflict, {})
    store.put('shards/a', b'1', if_none_match=True)
    assert len(client.requests) == 3
    store, client = repository(*[conflict] * 9)
    with pytest.raises(RepositoryError, match='ConditionalRequestConflict'):
        store.put('shards/a', b'1', if_none_match=True)
    assert len(client.requests) == 4
    store, _ = repository(conflict, refusal('PreconditionFailed'))
    with pytest.raises(ObjectExists):
        store.put('shards/a', b'1', if_none_match=True)


def test_a_body_that_breaks_off_is_read_again() -> None:
    store, client = repository({'Body': BrokenBody()}, body(b'whole'))
    assert store.get('packs/a').data == b'whole'
    assert len(client.requests) == 2
    store, client = repository(*[{'Body': BrokenBody()}] * 9)
    with pytest.raises(RepositoryError, match='Read timeout'):
        store.get('packs/a')
    assert len(client.requests) == 4


def test_ranges_tell_the_whole_size() -> None:
    store, client = repository(body(b'2345') | {'ContentRange': 'bytes 2-5/1000'})
    assert store.get('packs/a', 2, 4) == (b'2345', 1000)
    assert client.requests[0]['Range'] == 'bytes=2-5'


def test_what_could_not_be_deleted_is_told() -> None:
    failure = {'Key': 'prefix/packs/b', 'Code': 'AccessDenied', 'Message': 'no'}
    store, _ = repository({'Errors': [failure]})
    with pytest.raises(RepositoryError, match=r'packs/b: AccessDenied: no'):
        store.delete(['packs/a', 'packs/b'])


def test_deletes_go_by_the_thousand() -> None:
    store, client = repository({}, {}, {})
    store.delete([f'packs/{number}' for number in range(2001)])
    assert [len(request['Delete']['Objects']) for request in client.requests] == [1000, 1000, 1]


@pytest.mark.parametrize(
    ('url', 'key'),
    [('s3://backups', 'a'), ('s3://backups/', 'a'), ('s3://backups/x/y', 'x/y/a'), ('s3://backups/x/', 'x/a')],
)
def test_a_url_names_bucket_and_prefix(s3_client: Any, url: str, key: str) -> None:
    s3.repository_at(url).put('a', b'data')
    assert [entry['Key'] for entry in s3_client.list_objects_v2(Bucket='backups')['Contents']] == [key]


@pytest.fixture
def s3_client(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue('s3')


def test_without_a_region_aws_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('AWS_DEFAULT_REGION', 'AWS_REGION', 'AWS_PROFILE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('AWS_CONFIG_FILE', '/nonexistent')
    with pytest.raises(BackupError, match='KMS cannot be reached: You must specify a region'):
        s3.key_wrapper()


def test_the_storage_class_is_for_packs() -> None:
    client = Client({}, {})
    store = S3Repository(client, 'bucket', 'prefix/', 'STANDARD_IA')
    store.put('packs/l/00000/b/x-0000', b'blocks')
    store.put('shards/l/00000/b', b'listing', if_none_match=True)
    assert [request.get('StorageClass') for request in client.requests] == ['STANDARD_IA', None]
