"""Unmodified clients wait for the time in Retry-After, and repeat the request."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import openstack.connection
import openstack.exceptions
import pytest
from cinderclient import client, exceptions

from tests.system.clients import region
from tests.system.cloud import Cloud, start


@pytest.fixture(scope='module')
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud in which each project may send one request a second, and four at once."""
    limits = {'PROJECT_RATE_LIMIT': '60', 'PROJECT_BURST_LIMIT': '4'}
    with start(tmp_path_factory.mktemp('limited'), STATE='memory', **limits) as running:
        yield running


def repeat(request: Callable[[], object]) -> None:
    for _ in range(20):
        request()


def test_cinderclient(limited: Cloud) -> None:
    session = region(limited, 'demo').get_session()
    impatient = client.Client('3.71', session=session)
    with pytest.raises(exceptions.OverLimit) as refused:
        repeat(impatient.volumes.list)
    assert refused.value.retry_after >= 1
    assert 'rate-limited' in str(refused.value)
    patient = client.Client('3.71', session=session, retries=5)
    assert [patient.volumes.list() for _ in range(6)] == [[]] * 6
    shown = {(one.verb, one.value) for one in patient.limits.get().rate}
    assert shown == {('GET', 60), ('POST', 60), ('PUT', 60), ('DELETE', 60)}


def test_openstacksdk(limited: Cloud) -> None:
    """It repeats the statuses that are configured; by default 429 and 503 only."""
    config = region(limited, 'alt')
    impatient = openstack.connection.Connection(config=config)
    with pytest.raises(openstack.exceptions.HttpException) as refused:
        repeat(lambda: list(impatient.block_storage.volumes()))
    assert refused.value.status_code == 413
    config = region(limited, 'alt')
    config.config |= {'block_storage_status_code_retries': 5, 'block_storage_retriable_status_codes': [413]}
    patient = openstack.connection.Connection(config=config)
    assert [list(patient.block_storage.volumes()) for _ in range(6)] == [[]] * 6
