"""How many calls each verb of the EBS driver costs: docs/drivers.md says it, and no verb costs more than its budget."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import pytest

from docs.generate import FOLDER
from local.ebs import Timing
from tests.ebs import EbsBackend, Region, backend, region, served

__all__ = ['backend', 'region', 'served']

#: The most calls of EC2 that leave an operation within its whole budget of AWS calls, after its own writes of records
#: (2), the queue (1) and the machine (1): 8 for a create, 7 for delete, extend, retype and snapshot, 6 for an attach.
BUDGET = {
    'create_volume': 4,
    'create_volume_from_snapshot': 4,
    'create_cloned_volume': 4,
    'delete_volume': 3,
    'extend_volume': 3,
    'retype': 3,
    'create_snapshot': 3,
    'delete_snapshot': 3,
    'initialize_connection': 4,
    'terminate_connection': 4,
}


def measure(backend: EbsBackend, region: Region) -> dict[str, int]:
    region.fresh(Timing(*[0.0] * 8))
    driver, found = backend.driver, dict[str, int]()

    def count(verb: str, call: Callable[[], object]) -> None:
        region.ebs.calls.clear()
        call()
        found[verb] = len(region.ebs.calls)

    volume = backend.volume_ref()
    count('create_volume', lambda: driver.create_volume(volume))
    volume = dataclasses.replace(volume, **driver.create_volume(volume))
    snapshot = backend.snapshot_ref(volume)
    count('create_snapshot', lambda: driver.create_snapshot(snapshot))
    count('create_volume_from_snapshot', lambda: driver.create_volume_from_snapshot(backend.volume_ref(), snapshot))
    count('create_cloned_volume', lambda: driver.create_cloned_volume(backend.volume_ref(), volume))
    count('extend_volume', lambda: driver.extend_volume(volume, 2))
    faster = dataclasses.replace(volume, size=2, extra_specs={'ebs:throughput': '250'})
    count('retype', lambda: driver.retype(volume, faster))
    path = {'instance_id': region.instance}
    count('initialize_connection', lambda: driver.initialize_connection(volume, path, 'one'))
    count('terminate_connection', lambda: driver.terminate_connection(volume, 'one'))
    count('revert_to_snapshot', lambda: driver.revert_to_snapshot(volume, snapshot))
    count('get_volume_stats', driver.get_volume_stats)
    count('delete_snapshot', lambda: driver.delete_snapshot(snapshot))
    other = backend.volume_ref()
    other = dataclasses.replace(other, **driver.create_volume(other))
    count('delete_volume', lambda: driver.delete_volume(other))
    return found


@pytest.fixture
def measured(backend: EbsBackend, region: Region) -> dict[str, int]:
    found = measure(backend, region)
    for verb, calls in found.items():
        print(f'{verb:30} {calls} of {BUDGET.get(verb, "-")}')
    return found


def test_every_verb_is_within_its_budget(measured: dict[str, int]) -> None:
    assert {verb: calls for verb, calls in measured.items() if calls > BUDGET.get(verb, calls)} == {}
    assert BUDGET.keys() <= measured.keys()


def test_the_document_has_the_figures(measured: dict[str, int]) -> None:
    rows = re.findall(r'^\| (\w+) \| (\d+) \|$', (FOLDER / 'drivers.md').read_text(), re.MULTILINE)
    assert {verb: int(calls) for verb, calls in rows} == measured
