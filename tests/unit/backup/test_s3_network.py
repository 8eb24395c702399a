"""The repository in S3 over a flaky network: the SDK's real retries, and every class of error that it has."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.client import BaseClient

from chalicelib import aws
from chalicelib.backup.s3 import KmsKeyWrapper, S3Repository
from chalicelib.errors import KeyUnavailable, ObjectExists, ObjectMissing, RepositoryError
from local.endpoint import Endpoint
from tests import flaky
from tests.flaky import DONE, NOT_DONE, Flaky
from tests.unit.local.conftest import Clients
from tests.unit.local.conftest import aws as moto
from tests.unreliable import errors_of_botocore

__all__ = ['moto']

KEYS = (f'packs/{number}' for number in itertools.count())

DATA = bytes(range(256)) * 64


@pytest.fixture
def network(request: pytest.FixtureRequest, moto: Clients, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flaky]:
    moto('s3').create_bucket(Bucket='backups')
    monkeypatch.setitem(aws.READ_TIMEOUTS, 's3', flaky.patience(request))
    with flaky.serving(Endpoint(None)) as network, flaky.reached_over_http(network, monkeypatch):
        yield network


@pytest.fixture
def repository(network: Flaky) -> S3Repository:
    return S3Repository(aws.client('s3'), 'backups', 'prefix/')


def put(repository: S3Repository, key: str) -> None:
    repository.put(key, DATA)


def put_once(repository: S3Repository, key: str) -> None:
    """What a repetition finds may be its own: the caller takes either for done."""
    repository.delete([key])
    with contextlib.suppress(ObjectExists):
        repository.put(key, DATA, if_none_match=True)


def get(repository: S3Repository, key: str) -> None:
    assert repository.get(key).data == DATA
    assert repository.get(key, 100, 50).data == DATA[100:150]


def listed(repository: S3Repository, key: str) -> None:
    assert key in [info.key for info in repository.list('packs/')]
    assert repository.head(key).size == len(DATA)


def deleted(repository: S3Repository, key: str) -> None:
    repository.delete([key])
    with pytest.raises(ObjectMissing):
        repository.head(key)
    repository.put(key, DATA)


OPERATIONS: list[Callable[[S3Repository, str], None]] = [put, put_once, get, listed, deleted]


@pytest.mark.parametrize('fault', [*DONE, *NOT_DONE])
@pytest.mark.parametrize('operation', OPERATIONS, ids=lambda operation: operation.__name__)
def test_a_fault_at_any_request_is_waited_out(
    operation: Callable[[S3Repository, str], None], fault: str, network: Flaky, repository: S3Repository
) -> None:
    for before in itertools.count():
        key = next(KEYS)
        repository.put(key, DATA)
        network.faults = ['none'] * before + [fault]
        operation(repository, key)
        if network.faults:
            assert before > 0
            break
        network.faults = []
        assert repository.get(key).data == DATA


@pytest.mark.parametrize('fault', ['closed', 'half', '500 after', 'throttled'])
def test_what_does_not_end_is_an_error_of_the_repository(fault: str, network: Flaky, repository: S3Repository) -> None:
    key = next(KEYS)
    repository.put(key, DATA)
    calls: list[Callable[[], Any]] = [
        lambda: repository.get(key),
        lambda: repository.get(key, 10, 10),
        lambda: list(repository.list('packs/')),
        lambda: repository.delete([key]),
    ]
    if fault != 'half':  # the answers to these have no body
        calls += [lambda: repository.put(key, DATA), lambda: repository.head(key)]
    for call in calls:
        network.faults = [fault] * 100
        with pytest.raises(RepositoryError) as caught:
            call()
        assert not isinstance(caught.value, ObjectMissing | ObjectExists)


def test_every_error_of_the_sdk_is_an_error_of_the_repository(
    repository: S3Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = KmsKeyWrapper(aws.client('kms'), 'key')
    calls: list[tuple[Callable[[], Any], type[Exception]]] = [
        (lambda: repository.put('packs/a', b''), RepositoryError),
        (lambda: repository.get('packs/a'), RepositoryError),
        (lambda: repository.head('packs/a'), RepositoryError),
        (lambda: list(repository.list('packs/')), RepositoryError),
        (lambda: repository.delete(['packs/a']), RepositoryError),
        (lambda: repository.retain('packs/a'), RepositoryError),
        (lambda: wrapper.generate('lineage'), KeyUnavailable),
        (lambda: wrapper.wrap('lineage', b'k' * 32), KeyUnavailable),
        (lambda: wrapper.unwrap('lineage', {'kms': 'AAAA'}), KeyUnavailable),
    ]
    for error in errors_of_botocore():

        def fail(*_: Any, error: Exception = error) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(BaseClient, '_make_api_call', fail)
            for call, expected in calls:
                with pytest.raises(expected):
                    call()
