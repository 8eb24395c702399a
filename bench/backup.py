"""The backup engine on one worker: MiB of volume per CPU second of a whole process, interpreter start and all.

The volume is a file of 1 GiB: half random, a quarter holes, a quarter like a log; a tuned tgtd on loopback serves it,
and the target of restores, over iSCSI. The repository is a folder, with fsync. Every step is a process of its own; its
figure is the best of a few, for other work on the machine only adds. The row also shows the machine's speed at that
time: the milliseconds for 100,000 squares. Limits beside figures are the project's own.
``python -m bench.backup`` prints the figures; with arguments it is one of those processes.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from chalicelib.backup import engine
from chalicelib.backup.files import FileRepository
from chalicelib.backup.image import FileDevice
from chalicelib.backup.keys import RecoveryKeyWrapper
from chalicelib.backup.layout import GIB, MIB, backup_key
from chalicelib.backup.manifests import Manifest
from chalicelib.backup.repository import Data
from chalicelib.device import BlockDevice

if TYPE_CHECKING:
    from tests.tgt import Tgtd

SIZE = 1024
ROUNDS = 4
CHAIN = 20
CHANGED = 2

#: Shards copied side by side, as the service's workers do.
WORKERS = 4

LINEAGE = 'bench'

#: A step on the file itself, instead of a LUN; and the file that is restored to.
FILE, RESTORED = 'file', 'restored'

WRAPPER = RecoveryKeyWrapper.from_private(b'not a secret but thirty-two long')

WORDS = [
    *('volume', 'attach', 'detach', 'snapshot', 'backup', 'restore', 'iscsi', 'target', 'lun', 'portal', 'request'),
    *('error', 'warning', 'info', 'completed', 'failed', 'pending', 'retry', 'queue', 'worker', 'block', 'pack'),
]


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """Cost of one process: CPU and wall seconds, the machine's pace in ms, peak memory in MiB, printed numbers."""

    cpu: float
    wall: float
    pace: float
    memory: float
    numbers: list[int]


class Counted(FileRepository):
    """Counts puts, as S3 charges them."""

    puts = 0

    def put(self, key: str, data: Data, *, if_none_match: bool = False) -> None:
        self.puts += 1
        super().put(key, data, if_none_match=if_none_match)


def run() -> list[tuple[str, str]]:
    """Return (measurement, figure) rows."""
    from tests.tgt import Tgtd  # a step imports what it needs, as the service's workers and the command do

    with tempfile.TemporaryDirectory() as folder, Tgtd() as tgtd:
        return [*_one_gib(Path(folder), tgtd), *_one_tib(Path(folder))]


def _one_gib(folder: Path, tgtd: Tgtd) -> list[tuple[str, str]]:
    _make_image(folder / 'volume')
    lun, target = (_lun(tgtd, folder / name) for name in ('volume', 'target'))
    first = _in_turn(
        full=lambda number: process(folder, 'back_up', f'full-{number}', lun),
        of_file=lambda number: process(folder, 'back_up', f'file-{number}', FILE),
        to_iscsi=lambda _: process(folder, 'restore', 'full-0', target),
        verify=lambda _: process(folder, 'verify', 'full-0'),
    )
    incremental = _chain(folder, lun)
    then = _in_turn(
        restore=lambda _: process(folder, 'restore', 'full-0', FILE),
        last=lambda _: process(folder, 'restore', f'b{CHAIN}', FILE),
    )
    everything = [*incremental, *itertools.chain(*first.values(), *then.values())]
    puts, stored = first['full'][0].numbers
    return [
        ('backup, full, iSCSI to packs (>= 200)', _rate(first['full'])),
        ('backup, full, of a file', _rate(first['of_file'])),
        (f'backup, incremental, {CHANGED} % changed, iSCSI (>= 600)', _rate(incremental)),
        ('restore to iSCSI (>= 400)', _rate(first['to_iscsi'])),
        ('restore to a file (>= 500)', _rate(then['restore'])),
        ('verify (>= 600)', _rate(first['verify'])),
        (
            f'restore of incremental number {CHAIN}, against a full one (<= 1.1)',
            f'{_cpu(then["last"]) / _cpu(then["restore"]):.2f} x the CPU',
        ),
        ('PUTs per GiB, full (<= 40)', f'{puts * 1024 / SIZE:.0f}'),
        ('stored', f'{stored / (SIZE * MIB):.3f} of the volume'),
        ('peak memory of any of these (<= 512 MiB)', f'{max(cost.memory for cost in everything):.0f} MiB'),
    ]


def _in_turn(**steps: Callable[[int], Cost]) -> dict[str, list[Cost]]:
    """Steps take turns, so that a change of the machine's pace does not decide between them."""
    costs: dict[str, list[Cost]] = {name: [] for name in steps}
    for number in range(ROUNDS):
        for name, step in steps.items():
            costs[name].append(step(number))
    return costs


def _lun(tgtd: Tgtd, image: Path) -> str:
    """Return the connection of an image over iSCSI, as JSON; create a missing image, empty."""
    from tests.tgt import sparse_image

    if not image.exists():
        sparse_image(image, SIZE * MIB)
    return json.dumps(tgtd.add_target(image).connection_data())


def _chain(folder: Path, lun: str) -> list[Cost]:
    """Incrementals ``b1`` to ``b20``; before each some tiles of the volume are rewritten."""
    costs, parent = [], 'full-0'
    for number in range(1, CHAIN + 1):
        _change(folder / 'volume', number)
        costs.append(process(folder, 'back_up', f'b{number}', lun, parent))
        parent = f'b{number}'
    return costs


def _one_tib(folder: Path) -> list[tuple[str, str]]:
    """Volumes of 1 GiB and 1 TiB with the same 100 MiB of data in 100 places."""
    small, large = (_sparse(folder, size) for size in (1, 1024))
    costs = _in_turn(
        small_backup=lambda number: process(small, 'back_up', f'sparse-{number}', FILE),
        large_backup=lambda number: process(large, 'back_up', f'sparse-{number}', FILE),
        small_restore=lambda _: process(small, 'restore', 'sparse-0', FILE),
        large_restore=lambda _: process(large, 'restore', 'sparse-0', FILE),
    )
    return [
        (
            f'{step} of 1 TiB with 100 MiB in it, against 1 GiB with the same (<= 2)',
            _against(costs[f'large_{step}'], costs[f'small_{step}']),
        )
        for step in ('backup', 'restore')
    ]


def _against(large: list[Cost], small: list[Cost]) -> str:
    cpu, wall = (min(getattr(cost, name) for cost in large) for name in ('cpu', 'wall'))
    of_cpu, of_wall = (min(getattr(cost, name) for cost in small) for name in ('cpu', 'wall'))
    memory = [min(cost.memory for cost in costs) for costs in (small, large)]
    return (
        f'{wall / of_wall:.2f} x the time ({wall:.1f} s), {cpu / of_cpu:.2f} x the CPU ({cpu:.1f} s), '
        f'{memory[0]:.0f} and {memory[1]:.0f} MiB, {_paces([*large, *small])}'
    )


def _sparse(folder: Path, gib: int) -> Path:
    """A folder with a volume."""
    place = folder / f'sparse-{gib}'
    place.mkdir()
    with FileDevice(place / 'volume', gib * GIB) as device:
        step = gib * GIB // 100 // MIB * MIB
        device.write_many((number * step, memoryview(random.Random(number).randbytes(MIB))) for number in range(100))
    return place


def _rate(costs: Iterable[Cost]) -> str:
    best = min(costs, key=lambda cost: cost.cpu)
    return f'{SIZE / best.cpu:,.0f} MiB per CPU second, at {best.pace:.1f} ms'


def _paces(costs: Iterable[Cost]) -> str:
    paces = [cost.pace for cost in costs]
    return f'at {min(paces):.1f} to {max(paces):.1f} ms'


def _cpu(costs: Iterable[Cost]) -> float:
    return min(cost.cpu for cost in costs)


def process(folder: Path, *arguments: str, module: str = 'bench.backup') -> Cost:
    """Run one step of a module of this package as a process; it prints numbers, and its peak memory in KiB last."""
    command = [sys.executable, '-m', module, str(folder), *arguments]
    pace = _pace()
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    (folder / RESTORED).unlink(missing_ok=True)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, wall, (pace + _pace()) / 2, int(output[-1]) / 1024, [int(number) for number in output[:-1]])


def _pace() -> float:
    """Return the CPU milliseconds of a fixed small task: 7 to 8 on the idle machine of the README, else up to 25."""
    paces = []
    for _ in range(3):
        began = time.process_time()
        sum(number * number for number in range(100_000))
        paces.append(time.process_time() - began)
    return 1000 * min(paces)


def _make_image(path: Path) -> None:
    draw = random.Random(42)
    kinds = ['random'] * (SIZE // 2) + ['hole'] * (SIZE // 4) + ['log'] * (SIZE // 4)
    draw.shuffle(kinds)
    lines = [_log_line(draw) for _ in range(50_000)]
    make: dict[str, Callable[[], bytes]] = {
        'random': lambda: draw.randbytes(MIB),
        'log': lambda: b''.join(draw.choices(lines, k=MIB // 64))[:MIB],
    }
    with FileDevice(path, SIZE * MIB) as device:
        for number, kind in enumerate(kinds):
            if kind != 'hole':
                device.write(number * MIB, make[kind]())


def _log_line(draw: random.Random) -> bytes:
    words = ' '.join(draw.choices(WORDS, k=draw.randrange(6, 14)))
    return (
        f'{draw.uniform(1.7e9, 1.8e9):.3f} req-{draw.getrandbits(64):016x} {words} {draw.randrange(10**5)}\n'.encode()
    )


def _change(path: Path, number: int) -> None:
    draw = random.Random(number)
    with FileDevice(path) as device:
        for tile in draw.sample(range(SIZE), SIZE * CHANGED // 100):
            device.write(tile * MIB, draw.randbytes(MIB))


def back_up(folder: Path, backup_id: str, where: str, parent: str | None = None) -> None:
    """Print the number of puts and the bytes stored."""
    repository = Counted(folder / 'repository')
    size = (folder / 'volume').stat().st_size
    backup = engine.begin_backup(repository, WRAPPER, lineage=LINEAGE, backup_id=backup_id, size=size, parent=parent)

    def copy(shard: engine.Shard) -> None:
        with _source(folder, where) as device:
            engine.backup_shard(device, repository, backup, shard.index)

    with ThreadPoolExecutor(WORKERS) as workers:
        for done in [workers.submit(copy, shard) for shard in engine.plan(size)]:
            done.result()
    manifest = engine.commit_backup(repository, WRAPPER, backup, created_at='', metadata={})
    print(repository.puts, manifest.stored_bytes)


def _source(folder: Path, where: str) -> BlockDevice:
    return FileDevice(folder / 'volume', read_only=True) if where == FILE else _over_iscsi(where)


def _over_iscsi(where: str) -> BlockDevice:
    from chalicelib.iscsi import open_device

    return open_device(json.loads(where), initiator='iqn.2026-01.org.cinderless:bench')


def restore(folder: Path, backup_id: str, where: str) -> None:
    repository = FileRepository(folder / 'repository')
    manifest = _load(repository, backup_id)
    with _target(folder, where, manifest.size) as device:
        for shard in engine.plan(manifest.size):
            engine.restore_shard(device, repository, manifest, shard.index, target_is_zeroed=True)


def _target(folder: Path, where: str, size: int) -> BlockDevice:
    return FileDevice(folder / RESTORED, size) if where == FILE else _over_iscsi(where)


def verify(folder: Path, backup_id: str) -> None:
    repository = FileRepository(folder / 'repository')
    if engine.verify_backup(repository, _load(repository, backup_id)).damaged:
        raise SystemExit(1)


def _load(repository: FileRepository, backup_id: str) -> Manifest:
    return engine.load_backup(repository, WRAPPER, backup_key(LINEAGE, backup_id))


def peak_memory() -> int:
    """KiB since the program was loaded; getrusage would include the parent's, from which it was forked."""
    return int(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])


STEPS: dict[str, Callable[..., None]] = {'back_up': back_up, 'restore': restore, 'verify': verify}


def main(arguments: list[str]) -> None:
    if arguments:
        folder, step, *rest = arguments
        STEPS[step](Path(folder), *rest)
        print(peak_memory())
        return
    for name, figure in run():
        print(f'{name}: {figure}')


if __name__ == '__main__':
    main(sys.argv[1:])
