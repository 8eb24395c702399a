"""Several function instances share the bucket of a project; no token is used twice, and few are lost."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.instances.processes import Process, running, shared_store

#: Requests a minute, and at once; seconds of a flood.
RATE, BURST, SECONDS = 600, 30, 4.0


@pytest.fixture
def instances(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Process]]:
    """Two instances whose clocks agree, as Lambda's do: a bucket is a time."""
    with shared_store(tmp_path_factory.mktemp('store')) as store, running(store, 0, 0) as started:
        for one in started:
            one.call('limit_rate', rate=RATE, burst=BURST)
        yield started


def test_instances_share_a_projects_bucket(instances: list[Process]) -> None:
    project, began = uuid.uuid4().hex, time.monotonic()
    with ThreadPoolExecutor(len(instances)) as threads:
        flooded = list(threads.map(lambda one: one.call('flood', project=project, seconds=SECONDS), instances))
    lasted = time.monotonic() - began
    admitted = [counts.get('200', 0) for counts in flooded]
    assert sum(counts.get('413', 0) for counts in flooded) > 0
    assert BURST <= sum(admitted) <= BURST + lasted * RATE / 60
