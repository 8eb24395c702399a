from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.iscsi import IscsiDevice, open_device
from tests.unit.iscsi.fake_target import Double

INITIATOR = 'iqn.2026-01.test:initiator'


@pytest.fixture
def double() -> Iterator[Double]:
    """A well-behaved target; the test fails if the initiator broke the protocol towards it."""
    with Double() as target:
        yield target
    assert target.violations == []


def connect(target: Double, *, timeout: float = 20.0, queue_depth: int = 4, **more: Any) -> IscsiDevice:
    return open_device(target.connection_data(**more), initiator=INITIATOR, timeout=timeout, queue_depth=queue_depth)


def impatient(device: IscsiDevice, timeout: float = 0.2) -> IscsiDevice:
    """Once it is open: a login under the load of other tests may take longer than a test of silence should."""
    device._session._timeout = timeout
    return device
