"""The appliance over plain files on a file system without reflinks: all but copies of what is attached."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chalicelib.errors import VolumeIsBusy
from tests.contract.agent import Agent
from tests.contract.driver_suite import Backend, DriverContract, OpenedContract, RestoreContract
from tests.contract.iscsi_suite import IscsiContract


@pytest.fixture(scope='module')
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """A copy on ext4 or tmpfs has no reflinks; where the temporary folder has them, there is nothing plain to test."""
    folder = tmp_path_factory.mktemp('plain')
    with Agent(folder, f'dir:{folder}/store') as running:
        if running.driver()._request('GET', '/v1/capacity')['copies_attached']:
            pytest.skip('the file system of temporary folders has reflinks')
        yield running


@pytest.fixture
def backend(agent: Agent) -> Backend:
    return agent.backend()


class TestDriver(DriverContract):
    pass


class TestOpened(OpenedContract):
    pass


class TestRestore(RestoreContract):
    pass


class TestPaths(IscsiContract):
    pass


def test_a_copy_that_would_be_torn_is_refused(backend: Backend) -> None:
    volume = backend.volume()
    backend.driver.initialize_connection(volume, {'initiator': 'iqn.2026-01.a:h'}, 'one')
    with pytest.raises(VolumeIsBusy, match='detach'):
        backend.driver.create_cloned_volume(backend.volume_ref(), volume)
    with pytest.raises(VolumeIsBusy, match='detach'):
        backend.snapshot(volume)
    backend.driver.terminate_connection(volume, 'one')
    backend.snapshot(volume)
    backend.clean()
    assert backend.driver.list_objects() == []
