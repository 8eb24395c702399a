"""A store whose file system is full: writes report that, and not a broken disk."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.drivers.appliance import ApplianceDriver
from chalicelib.errors import BackendFull, BackendUnavailable, CheckCondition, DeviceFull
from tests.contract.agent import Agent

MIB = 1024**2


@pytest.fixture(scope='module')
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An XFS of its own with 20 MiB left; a volume of 1 GiB is thin there."""
    folder = tmp_path_factory.mktemp('full')
    place, image = folder / 'store', folder / 'image'
    place.mkdir()
    image.touch()
    with image.open('r+b') as file:
        file.truncate(2048 * MIB)
    subprocess.run(['mkfs.xfs', '-q', '-m', 'reflink=1', image], check=True)
    subprocess.run(['mount', '-o', 'loop', image, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(['umount', place], check=True)


@pytest.fixture
def agent(tmp_path: Path, store: Path) -> Iterator[Agent]:
    with Agent(tmp_path, f'dir:{store}') as running:
        yield running
    (store / 'filler').unlink(missing_ok=True)


def fill(store: Path, left: int) -> None:
    free = int(subprocess.run(['stat', '-fc', '%a', store], check=True, capture_output=True, text=True).stdout) * 4096
    subprocess.run(['fallocate', '-l', str(free - left), store / 'filler'], check=True)


def test_a_write_says_that_the_pool_is_full(agent: Agent, store: Path) -> None:
    backend = agent.backend()
    volume = backend.volume()
    with backend.driver.open_volume(volume, 'writer', 'rw') as device:
        fill(store, 20 * MIB)
        with pytest.raises(DeviceFull, match='its pool is full'):
            device.write(0, b'x' * 64 * MIB)
    with pytest.raises(BackendFull):
        backend.driver.create_volume(backend.volume_ref(4))
    (store / 'filler').unlink()
    with backend.driver.open_volume(volume, 'writer', 'rw') as device:
        device.write(0, b'x' * MIB)
        device.flush()
    backend.clean()


def test_a_device_s_own_error_stays_its_own(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the pool has space, or while the agent does not report its capacity."""
    backend = agent.backend()
    volume = backend.volume()

    def away(driver: ApplianceDriver) -> None:
        raise BackendUnavailable(backend='b', reason='away')

    for capacity in (ApplianceDriver._capacity, away):
        with backend.driver.open_volume(volume, 'writer', 'rw') as device:
            monkeypatch.setattr(ApplianceDriver, '_capacity', capacity)
            monkeypatch.setattr(type(device._device), 'write', broken)  # type: ignore[attr-defined]
            with pytest.raises(CheckCondition) as failed:
                device.write(0, bytes(512))
            assert type(failed.value) is CheckCondition
            monkeypatch.undo()
    backend.clean()


def broken(device: object, offset: int, data: bytes) -> None:
    raise CheckCondition(device='d', reason='MEDIUM ERROR')
