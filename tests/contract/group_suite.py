"""Contract of drivers with point-in-time consistent group snapshots: see ``driver_suite``."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from typing import Any

import pytest

from chalicelib.drivers.base import GIB, SnapshotRef, VolumeRef
from chalicelib.errors import ProviderNotFound
from tests.contract.driver_suite import BLOCK, MIB, Backend, Cleaned, Counter


class Joined:
    """Volumes of 1 GiB end to end, as one host writes to all of them."""

    def __init__(self, devices: Sequence[Any]) -> None:
        self._devices = devices

    def write(self, offset: int, data: bytes) -> None:
        self._devices[offset // GIB].write(offset % GIB, data)

    def read(self, offset: int, length: int) -> bytes:
        data: bytes = self._devices[offset // GIB].read(offset % GIB, length)
        return data


class GroupContract(Cleaned):
    """For drivers with ``capabilities.consistent_group_snapshots``."""

    #: Each next write is to another volume, so every two of them are in an order that the snapshots must show.
    places = tuple(
        number % 3 * GIB + place for number, place in enumerate(random.Random(2).sample(range(0, GIB, MIB), 60))
    )

    def volumes(self, backend: Backend) -> list[VolumeRef]:
        return [backend.volume() for _ in range(3)]

    def written(self, backend: Backend) -> list[VolumeRef]:
        volumes = self.volumes(backend)
        for one in volumes:
            backend.write(one, 0, b'a' * BLOCK)
        return volumes

    def snapshots(self, backend: Backend, volumes: Sequence[VolumeRef]) -> list[SnapshotRef]:
        """Refs only."""
        return [backend.snapshot_ref(volume) for volume in volumes]

    def test_snapshots_of_attached_volumes_are_of_one_moment(self, backend: Backend) -> None:
        volumes, taken = self.volumes(backend), []
        with contextlib.ExitStack() as using:
            host = Counter(Joined([using.enter_context(backend.using(one)) for one in volumes]), self.places)
            host.start()
            for _ in range(3):
                host.next_round()
                taken.append(self.snapshots(backend, volumes))
                assert len(backend.driver.create_group_snapshot(taken[-1])) == 3
            host.next_round()
            host.stop()
        for group in taken:
            with contextlib.ExitStack() as opened:
                found = Joined([opened.enter_context(backend.driver.open_snapshot(one, 'reader')) for one in group])
                Counter.check(found.read, self.places)

    def test_repeated_it_is_the_same(self, backend: Backend) -> None:
        volumes = self.written(backend)
        taken = self.snapshots(backend, volumes)
        backend.driver.create_group_snapshot(taken)
        for volume in volumes:
            backend.write(volume, 0, b'b' * BLOCK)
        backend.driver.create_group_snapshot(taken)
        assert [backend.read_snapshot(one, 0, BLOCK) for one in taken] == [b'a' * BLOCK] * len(taken)
        assert sorted(backend.driver.list_objects()) == sorted(one.name for one in (*volumes, *taken))

    def test_one_that_was_cut_off_is_taken_anew(self, backend: Backend) -> None:
        """The existing snapshot has an older point in time."""
        volumes = self.written(backend)
        taken = self.snapshots(backend, volumes)
        backend.driver.create_snapshot(taken[0])
        for volume in volumes:
            backend.write(volume, 0, b'b' * BLOCK)
        backend.driver.create_group_snapshot(taken)
        assert [backend.read_snapshot(one, 0, BLOCK) for one in taken] == [b'b' * BLOCK] * len(taken)
        assert sorted(backend.driver.list_objects()) == sorted(one.name for one in (*volumes, *taken))

    def test_all_or_none(self, backend: Backend) -> None:
        there, gone = backend.volume(), backend.volume_ref()
        with pytest.raises(ProviderNotFound):
            backend.driver.create_group_snapshot(self.snapshots(backend, [there, gone]))
        assert backend.driver.list_objects() == [there.name]
