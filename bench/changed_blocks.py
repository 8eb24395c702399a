"""An incremental backup over iSCSI of a volume of random data, 1 % of it changed: changed blocks only, and full reads.

An appliance's agent, of its own, serves a volume of 10 GiB from an XFS image (``BENCH_CHANGED_GIB``: another size; it
needs that much space in the temporary folder). Each backup is a process of its own, which opens the same snapshot and
has the same parent; both kinds take turns. The repository keeps manifests and drops packs: random data does not shrink.
``start`` is a process that loads the same modules and opens the backup: the share of the interpreter.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import statistics
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.backup import LINEAGE, WRAPPER, Cost, peak_memory, process
from chalicelib.backup import engine
from chalicelib.backup.files import FileRepository
from chalicelib.backup.layout import GIB, KIB, MIB
from chalicelib.backup.repository import Data
from chalicelib.device import DeviceWrapper, Extent
from chalicelib.drivers.appliance import ApplianceDriver
from chalicelib.drivers.base import SnapshotRef, VolumeRef

SIZE = int(os.environ.get('BENCH_CHANGED_GIB', '10'))
ROUNDS = 5

#: The share of the volume's blocks that is changed, and the size of a block.
CHANGED, BLOCK = 0.01, 512 * KIB

HOST = 'cinderless@appliance#fast'


class Manifests(FileRepository):
    """Drops the packs, which a backup only writes."""

    def put(self, key: str, data: Data, *, if_none_match: bool = False) -> None:
        if not key.startswith('packs/'):
            super().put(key, data, if_none_match=if_none_match)


class Metered(DeviceWrapper):
    """Counts the bytes that are read."""

    bytes_read = 0

    def read_many(self, ranges: Iterable[tuple[int, int]]) -> Iterator[Extent]:
        for offset, data in self._device.read_many(ranges):
            self.bytes_read += len(data)
            yield offset, data


def run() -> list[tuple[str, str]]:
    """Return (measurement, figure) rows."""
    from tests.contract.agent import Agent

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with Agent(folder, f'xfs-image:{folder}/store.img:{6 * SIZE}G', 'fast') as agent:
            known = {'url': f'https://{agent.listen}', 'fingerprint': agent.ready['fingerprint']}
            return _measured(folder, {**known, 'secret': agent.secret})


@dataclasses.dataclass(frozen=True, slots=True)
class Bench:
    """The volume on the agent. ``step`` runs a process on a snapshot; ``older`` has the parent's data."""

    folder: Path
    access: dict[str, Any]
    volume: VolumeRef

    @property
    def driver(self) -> ApplianceDriver:
        return ApplianceDriver('appliance', self.access)

    def snapshot(self) -> SnapshotRef:
        made = SnapshotRef(str(uuid.uuid4()), SIZE, self.volume)
        self.driver.create_snapshot(made)
        return made

    def step(self, name: str, newer: SnapshotRef, older: SnapshotRef | None = None) -> Cost:
        facts = {'access': self.access, 'volume': self.volume.id, 'snapshot': newer.id, 'older': older and older.id}
        return process(self.folder, name, uuid.uuid4().hex, json.dumps(facts), module='bench.changed_blocks')

    def write(self, extents: Iterable[tuple[int, bytes]]) -> None:
        with self.driver.open_volume(self.volume, 'writer', 'rw') as device:
            device.write_many((offset, memoryview(data)) for offset, data in extents)
            device.flush()
        self.driver.close_volume(self.volume, 'writer')


def _measured(folder: Path, access: dict[str, Any]) -> list[tuple[str, str]]:
    bench = Bench(folder, access, VolumeRef(str(uuid.uuid4()), SIZE, 'p', HOST))
    bench.driver.create_volume(bench.volume)
    bench.write((place, os.urandom(8 * MIB)) for place in range(0, SIZE * GIB, 8 * MIB))
    older = bench.snapshot()
    full = bench.step('full', older)
    draw = random.Random(1)
    places = [place * BLOCK for place in draw.sample(range(SIZE * GIB // BLOCK), int(SIZE * GIB * CHANGED / BLOCK))]
    bench.write((place, draw.randbytes(BLOCK)) for place in places)
    newer = bench.snapshot()
    costs: dict[str, list[Cost]] = {name: [] for name in ('start', 'compared', 'changed')}
    for _ in range(ROUNDS):
        for name, found in costs.items():
            found.append(bench.step(name, newer, older))
    bench.write((place, draw.randbytes(4 * KIB)) for place in places)
    scattered = bench.step('changed', bench.snapshot(), newer)
    return [*_rows(costs, full), _row_of_scattered(scattered, len(places))]


def _rows(costs: dict[str, list[Cost]], full: Cost) -> list[tuple[str, str]]:
    start, compared, changed = (statistics.median(one.cpu for one in found) for found in costs.values())
    what = f'incremental of {SIZE} GiB of random data, {CHANGED:.0%} changed in runs of 512 KiB'
    return [
        (
            f'{what}: read over iSCSI (<= 2 %)',
            f'{_read(costs["changed"][0])} ({_read(costs["compared"][0])} by comparing)',
        ),
        (f'{what}: CPU of the process, by comparing', _spread(costs['compared'])),
        (f'{what}: CPU of the process, changed blocks', _spread(costs['changed'])),
        ('CPU of a process that only starts', _spread(costs['start'])),
        ('CPU by comparing against changed blocks (>= 8)', f'{compared / changed:.1f} x'),
        (
            'the same without the start (>= 20)',
            f'{(compared - start) / max(changed - start, 0.001):.0f} x',
        ),
        ('full backup of the same volume, for comparison', f'{full.cpu:.1f} CPU s, {full.wall:.1f} s'),
    ]


def _row_of_scattered(cost: Cost, blocks: int) -> tuple[str, str]:
    return (
        f'4 KiB written in each of {blocks} blocks: read over iSCSI (<= {blocks * BLOCK / MIB:.1f} MiB)',
        f'{cost.numbers[0] / MIB:.1f} MiB',
    )


def _read(cost: Cost) -> str:
    return f'{cost.numbers[0] / (SIZE * GIB):.2%}'


def _spread(costs: list[Cost]) -> str:
    seconds = sorted(cost.cpu for cost in costs)
    paces = [cost.pace for cost in costs]
    return (
        f'{statistics.median(seconds):.2f} s ({seconds[0]:.2f} to {seconds[-1]:.2f}), '
        f'at {min(paces):.1f} to {max(paces):.1f} ms'
    )


def step(folder: Path, name: str, backup_id: str, facts: str) -> None:
    """Print the bytes read. full: the parent of all others; start: nothing is copied; compared: without changes."""
    known = json.loads(facts)
    driver = ApplianceDriver('appliance', known['access'])
    volume = VolumeRef(known['volume'], SIZE, 'p', HOST)
    snapshot = SnapshotRef(known['snapshot'], SIZE, volume)
    repository, size = Manifests(folder / 'repository'), SIZE * GIB
    backup_id, parent = ('parent', None) if name == 'full' else (backup_id, 'parent')
    backup = engine.begin_backup(repository, WRAPPER, lineage=LINEAGE, backup_id=backup_id, size=size, parent=parent)
    changes = driver.changes_since(snapshot, SnapshotRef(known['older'], SIZE, volume)) if name == 'changed' else None
    with driver.open_snapshot(snapshot, backup_id) as opened:
        device = Metered(opened)
        for shard in engine.plan(size) if name != 'start' else []:
            engine.backup_shard(device, repository, backup, shard.index, changes=changes)  # type: ignore[arg-type]
    driver.close_snapshot(snapshot, backup_id)
    if name == 'full':
        engine.commit_backup(repository, WRAPPER, backup, created_at='', metadata={})
    print(device.bytes_read)


if __name__ == '__main__':
    if sys.argv[1:]:
        place, *rest = sys.argv[1:]
        step(Path(place), *rest)
        print(peak_memory())
    else:
        for measured, figure in run():
            print(f'{measured}: {figure}')
