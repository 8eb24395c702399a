"""The service on the emulator, one for all tests of this folder: deployed first, removed last."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulator.aws import Emulator, resolving
from tests.emulator.service import Service, storage_host

#: Set by ``make emulator``: run everything.
ALL = os.environ.get('EMULATOR') == 'all'

collect_ignore_glob = [] if ALL else ['test_[!q]*.py']

#: Seconds for one test; the first one deploys.
TIMEOUT = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(TIMEOUT))


@pytest.fixture(scope='package')
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with Emulator(tmp_path_factory.mktemp('emulator')) as running, resolving(), pytest.MonkeyPatch.context() as patch:
        patch.setenv('REQUESTS_CA_BUNDLE', str(running.certificate))
        yield running


@pytest.fixture(scope='package')
def cloud(aws: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The deployed service, with the storage host and the pools reported."""
    folder: Path = tmp_path_factory.mktemp('service')
    with storage_host(folder / 'agent') as agent:
        service = Service(aws, agent, folder)
        service.put_secret()
        try:
            service.deploy()
            service.invoke('report_pools')
            yield service
        finally:
            service.tidy()
