"""The appliance over plain files on a file system without reflinks: all but copies of what is attached."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from chalicelib.errors import VolumeIsBusy
from tests.contract.agent import Agent
from tests.contract.driver_suite import Backend
from tests.contract.iscsi_backends import TestDriver, TestOpened, TestPaths, TestRestore

__all__ = ['TestDriver', 'TestOpened', 'TestPaths', 'TestRestore']


@pytest.fixture(scope='module')
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """On a tmpfs of its own, which never has reflinks, whatever the temporary folder is on."""
    folder = tmp_path_factory.mktemp('plain')
    (folder / 'store').mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=16G', 'plain', folder / 'store'], check=True)
    try:
        with Agent(folder, f'dir:{folder}/store') as running:
            yield running
    finally:
        subprocess.run(['umount', folder / 'store'], check=True)


@pytest.fixture
def backend(agent: Agent) -> Backend:
    return agent.backend()


def test_there_is_nothing_that_copies_at_once(agent: Agent) -> None:
    told = agent.driver()._request('GET', '/v1/capacity')
    assert (told['copies_attached'], told['copies_groups']) == (False, False)


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


def test_nothing_is_compared_or_kept(backend: Backend) -> None:
    volume = backend.volume()
    snapshots = [backend.snapshot(volume) for _ in range(2)]
    listed = backend.driver.changes_since(snapshots[1], snapshots[0])
    assert listed is not None
    assert listed(0, 1024**3) is None
    assert backend.driver.changes_of_restore(volume, 'restore', snapshots[0]) is None
    backend.driver.retire_snapshot(snapshots[1])
    assert [one.name for one in backend.driver.inventory()] == sorted([snapshots[0].name, volume.name])
    backend.clean()
