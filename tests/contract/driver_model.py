"""Any driver against a model that is a dict of bytes: whatever verbs come in whatever order, the data agree.

``check(backend)`` runs it. ``DRIVER_MODEL_EXAMPLES`` sets how many runs (5).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chalicelib.drivers.base import GIB, SnapshotRef, VolumeRef
from chalicelib.errors import VolumeIsBusy
from tests.contract.driver_suite import BLOCK, Backend

#: Places that are written and read, in bytes from the beginning, or from the end if negative.
PLACES = (0, BLOCK, 5 * BLOCK, GIB // 2, -BLOCK)

MAX_SIZE = 4

SETTINGS = settings(
    max_examples=int(os.environ.get('DRIVER_MODEL_EXAMPLES', '5')),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@dataclasses.dataclass
class Contents:
    """``size`` in GiB, and what was written where; the rest is zeroes."""

    size: int
    blocks: dict[int, bytes] = dataclasses.field(default_factory=dict)

    def copy(self, size: int = 0) -> Contents:
        return Contents(max(size, self.size), dict(self.blocks))

    def offset(self, place: int) -> int:
        return place if place >= 0 else self.size * GIB + place


class DriverModel(RuleBasedStateMachine):
    volumes, snapshots = Bundle('volumes'), Bundle('snapshots')

    def __init__(self, backend: Backend, restart: Callable[[], None] | None) -> None:
        super().__init__()
        self.backend = backend
        self.driver = backend.driver
        self._restart = restart or (lambda: None)
        self.restarts_left = 2 if restart else 0
        self.written = 0
        self.expected: dict[str, Contents] = {}

    @initialize(target=volumes)
    def first(self) -> VolumeRef:
        return self.made(1)

    @rule(target=volumes, size=st.integers(1, 2))
    def create(self, size: int) -> VolumeRef:
        return self.made(size)

    def made(self, size: int) -> VolumeRef:
        volume = self.backend.volume_ref(size)
        self.driver.create_volume(volume)
        self.expected[volume.id] = Contents(size)
        return volume

    @rule(volume=volumes, place=st.sampled_from(PLACES))
    def write(self, volume: VolumeRef, place: int) -> None:
        self.written += 1
        contents = self.expected[volume.id]
        data = self.written.to_bytes(4, 'big') * (BLOCK // 4)
        self.backend.write(volume, contents.offset(place), data)
        contents.blocks[contents.offset(place)] = data

    @rule(volume=volumes, more=st.integers(0, 1))
    def extend(self, volume: VolumeRef, more: int) -> None:
        contents = self.expected[volume.id]
        contents.size = min(contents.size + more, MAX_SIZE)
        self.backend.pass_time()
        self.driver.extend_volume(volume, contents.size)

    @rule(target=snapshots, volume=volumes)
    def snapshot(self, volume: VolumeRef) -> SnapshotRef:
        snapshot = self.backend.snapshot_ref(volume)
        self.driver.create_snapshot(snapshot)
        self.expected[snapshot.id] = self.expected[volume.id].copy()
        return snapshot

    @rule(target=volumes, source=volumes, more=st.integers(0, 1))
    def clone(self, source: VolumeRef, more: int) -> VolumeRef:
        size = min(self.expected[source.id].size + more, MAX_SIZE)
        volume = self.backend.volume_ref(size)
        self.driver.create_cloned_volume(volume, source)
        self.expected[volume.id] = self.expected[source.id].copy(size)
        return volume

    @rule(target=volumes, snapshot=snapshots, more=st.integers(0, 1))
    def from_snapshot(self, snapshot: SnapshotRef, more: int) -> VolumeRef:
        size = min(self.expected[snapshot.id].size + more, MAX_SIZE)
        volume = self.backend.volume_ref(size)
        self.driver.create_volume_from_snapshot(volume, snapshot)
        self.expected[volume.id] = self.expected[snapshot.id].copy(size)
        return volume

    @rule(snapshot=snapshots)
    def revert(self, snapshot: SnapshotRef) -> None:
        """Its volume may have grown since, or be gone."""
        now = self.expected.get(snapshot.volume.id)
        if now and self.driver.capabilities.revert:
            self.driver.revert_to_snapshot(snapshot.volume, snapshot)
            self.expected[snapshot.volume.id] = self.expected[snapshot.id].copy(now.size)

    @rule(volume=consumes(volumes))
    def delete(self, volume: VolumeRef) -> None:
        self.driver.delete_volume(volume)
        del self.expected[volume.id]

    @rule(volume=volumes)
    def delete_in_use(self, volume: VolumeRef) -> None:
        with self.backend.using(volume), pytest.raises(VolumeIsBusy):
            self.driver.delete_volume(volume)
        self.driver.terminate_connection(volume, None)

    @rule(snapshot=consumes(snapshots))
    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        self.driver.delete_snapshot(snapshot)
        del self.expected[snapshot.id]

    @precondition(lambda self: self.restarts_left)
    @rule()
    def restart(self) -> None:
        self.restarts_left -= 1
        self._restart()

    @rule(volume=volumes)
    def read(self, volume: VolumeRef) -> None:
        self.compare(volume.id, lambda offset: self.backend.read(volume, offset, BLOCK))

    @rule(snapshot=snapshots)
    def read_snapshot(self, snapshot: SnapshotRef) -> None:
        self.compare(snapshot.id, lambda offset: self.backend.read_snapshot(snapshot, offset, BLOCK))

    def compare(self, id_: str, read: Callable[[int], bytes]) -> None:
        contents = self.expected[id_]
        for offset in {*contents.blocks, *map(contents.offset, PLACES)}:
            assert read(offset) == contents.blocks.get(offset, bytes(BLOCK)), offset

    @invariant()
    def nothing_else_is_there(self) -> None:
        names = {name.partition('-')[2] for name in self.driver.list_objects()}
        assert names == set(self.expected)

    def teardown(self) -> None:
        self.backend.clean()


def check(backend: Backend, restart: Callable[[], None] | None = None) -> None:
    """``restart`` gives the backend a crash, if it can have one."""

    class Bound(DriverModel):
        def __init__(self) -> None:
            super().__init__(backend, restart)

    run_state_machine_as_test(Bound, settings=SETTINGS)
