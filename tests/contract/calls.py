"""Backend calls of each operation: counted on every driver, checked against a ceiling, listed in the docs.

docs/driver-calls.json has the counts. ``make docs`` writes it, and the table in docs/reference/drivers.md from it.
The backend completes everything by the first poll, and nothing fails: the minimum.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.drivers.base import Connector, SnapshotRef, VolumeRef
from docs.drivers import CALLS, CEILINGS, DATA
from tests.contract.driver_suite import MIB, Backend

#: Size of a transfer, and transfers to measure for a GiB; both ends of EBS transfer as much at once.
_STEP, _MOVED = MIB // 2, 8

_GIB_OF_STEPS = 2048


class Counter:
    """``calls`` is the record of the backend's fake: a line for each call, which begins with its name."""

    def __init__(self, backend: Backend, connector: Connector, calls: list[str]) -> None:
        self._backend = backend
        self._driver = backend.driver
        self._connector = connector
        self._calls = calls
        self.found: dict[str, int] = {}

    def count(self, operation: str, call: Callable[[], Any]) -> Any:
        self._calls.clear()
        result = call()
        data = sum(one.startswith(DATA) for one in self._calls)
        self.found[operation] = len(self._calls) - data
        if data:
            self.found[f'{operation}, for each GiB of data'] = data * _GIB_OF_STEPS // _MOVED
        return result

    def volume(self) -> VolumeRef:
        ref = self._backend.volume_ref()
        return dataclasses.replace(ref, **self._driver.create_volume(ref))

    def snapshot(self, volume: VolumeRef) -> SnapshotRef:
        return self._backend.snapshot_ref(volume)

    def run(self) -> dict[str, int]:
        driver, volume, frozen = self._driver, self.volume(), None
        self.count('create', lambda: driver.create_volume(self._backend.volume_ref()))
        frozen = self.snapshot(volume)
        frozen = dataclasses.replace(frozen, **self.count('snapshot', lambda: driver.create_snapshot(frozen)))
        made = self._backend.volume_ref
        self.count('create from snapshot', lambda: driver.create_volume_from_snapshot(made(), frozen))
        self.count('clone', lambda: driver.create_cloned_volume(made(), volume))
        self.count('extend', lambda: driver.extend_volume(volume, 2))
        self.count('revert', lambda: driver.revert_to_snapshot(dataclasses.replace(volume, size=2), frozen))
        self.paths()
        self.data()
        group = [self.snapshot(self.volume()), self.snapshot(self.volume())]
        self.count('group snapshot of two', lambda: driver.create_group_snapshot(group))
        self.count('delete snapshot', lambda: driver.delete_snapshot(frozen))
        gone = self.volume()
        self.count('delete', lambda: driver.delete_volume(gone))
        self.count('report', driver.get_volume_stats)
        return self.found

    def paths(self) -> None:
        """Of a host that is new, and of one that has, or had, another volume."""
        driver, first, second = self._driver, self.volume(), self.volume()
        attach = driver.initialize_connection
        self.count('attach to a host for the first time', lambda: attach(first, self._connector, 'one'))
        self.count('attach', lambda: attach(second, self._connector, 'two'))
        self.count('detach', lambda: driver.terminate_connection(second, 'two'))

    def data(self) -> None:
        """What the data of a backup and a restore takes besides its own calls, iSCSI carries."""
        volume = self.volume()
        for number in range(_MOVED):
            self._backend.write(volume, number * 2 * _STEP, b'x' * _STEP)
        self.count('backup', lambda: self._back_up(self.snapshot(volume)))
        self.count('restore', lambda: self._restore(volume))

    def _back_up(self, frozen: SnapshotRef) -> None:
        frozen = dataclasses.replace(frozen, **self._driver.create_snapshot(frozen))
        with self._driver.open_snapshot(frozen, 'backup') as device:
            for offset, length in list(device.allocated(0, device.size)):
                device.read(offset, length)
        self._driver.close_snapshot(frozen, 'backup')
        self._driver.retire_snapshot(frozen)

    def _restore(self, volume: VolumeRef) -> None:
        places = [(number * _STEP, _STEP) for number in range(_MOVED)]
        with self._driver.open_restore(volume, 'restore') as device:
            device.write_many((offset, memoryview(b'y' * length)) for offset, length in places)
            device.flush()
        self._driver.complete_restore(volume, 'restore', lambda: places)


def check(driver: str, backend: Backend, connector: Connector, calls: list[str]) -> None:
    """Check that every operation is within its ceiling, and that the page has the measured counts."""
    try:
        found = Counter(backend, connector, calls).run()
    finally:
        backend.clean()
    for operation, number in found.items():
        print(f'{driver:10} {operation:40} {number:5} of {CEILINGS.get(operation, "-")}')
    assert {operation: number for operation, number in found.items() if number > CEILINGS.get(operation, number)} == {}
    known: Mapping[str, Mapping[str, int]] = json.loads(CALLS.read_text()) if CALLS.exists() else {}
    if os.environ.get('WRITE_CALLS'):
        CALLS.write_text(json.dumps({**known, driver: found}, indent=1, sort_keys=True) + '\n')
    else:
        assert known[driver] == found, 'docs/driver-calls.json is old: run make docs'
