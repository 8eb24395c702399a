"""Two function instances over one store: ``a`` changes things, ``b`` has its caches warm and reads at once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.instances.clients import Client
from tests.instances.processes import Process, running, shared_store

#: Seconds that the second instance's clock is ahead: it must not matter.
APART = 90.0


@pytest.fixture(scope='package')
def instances(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Process]]:
    with shared_store(tmp_path_factory.mktemp('store')) as store, running(store, 0, APART) as started:
        started[1].call('report')
        yield started


@pytest.fixture
def clients(instances: list[Process]) -> tuple[Client, Client]:
    """Both instances as seen from one new project."""
    project = uuid.uuid4().hex
    return Client(instances[0], project), Client(instances[1], project)
