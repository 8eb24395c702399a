"""The backup engine on one worker: MiB of volume per CPU second of a whole process, interpreter start and all.

The volume is a file of 1 GiB: half random, a quarter holes, a quarter like a log. The repository is a folder, with
fsync. Every step is a process of its own; its figure is the best of a few, for other work on the machine only adds.
``python -m bench.backup`` prints the figures; with arguments it is one of those processes.
"""

from __future__ import annotations

import dataclasses
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from chalicelib.backup import engine
from chalicelib.backup.files import FileRepository
from chalicelib.backup.image import FileDevice
from chalicelib.backup.keys import RecoveryKeyWrapper
from chalicelib.backup.layout import GIB, MIB, backup_key
from chalicelib.backup.manifests import Manifest
from chalicelib.backup.repository import Data

SIZE = 1024
ROUNDS = 3
CHAIN = 20
CHANGED = 2

LINEAGE = 'bench'
WRAPPER = RecoveryKeyWrapper.from_private(b'not a secret but thirty-two long')

WORDS = [
    *('volume', 'attach', 'detach', 'snapshot', 'backup', 'restore', 'iscsi', 'target', 'lun', 'portal', 'request'),
    *('error', 'warning', 'info', 'completed', 'failed', 'pending', 'retry', 'queue', 'worker', 'block', 'pack'),
]


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """Of one process: CPU seconds, peak memory in MiB, and the numbers it printed."""

    cpu: float
    memory: float
    numbers: list[int]


class Counted(FileRepository):
    """Counts puts, as S3 charges them."""

    puts = 0

    def put(self, key: str, data: Data, *, if_none_match: bool = False) -> None:
        self.puts += 1
        super().put(key, data, if_none_match=if_none_match)


def run() -> list[tuple[str, str]]:
    """(what was measured, figure) rows."""
    with tempfile.TemporaryDirectory() as folder:
        return [*_one_gib(Path(folder)), *_one_tib(Path(folder))]


def _one_gib(folder: Path) -> list[tuple[str, str]]:
    _make_image(folder / 'volume')
    full = [_process(folder, 'back_up', f'full-{number}') for number in range(ROUNDS)]
    restore = [_process(folder, 'restore', 'full-0') for _ in range(ROUNDS)]
    verify = [_process(folder, 'verify', 'full-0') for _ in range(ROUNDS)]
    incremental = _chain(folder)
    last = [_process(folder, 'restore', f'b{CHAIN}') for _ in range(ROUNDS)]
    everything = [*full, *restore, *verify, *incremental, *last]
    puts, stored = full[0].numbers
    return [
        ('backup, full', _rate(full)),
        (f'backup, incremental, {CHANGED} % changed', _rate(incremental)),
        ('restore to a file', _rate(restore)),
        (f'restore of incremental number {CHAIN}, against a full one', f'{_cpu(last) / _cpu(restore):.2f} x the CPU'),
        ('verify (scrub)', _rate(verify)),
        ('PUTs per GiB, full', f'{puts * 1024 / SIZE:.0f}'),
        ('stored', f'{stored / (SIZE * MIB):.3f} of the volume'),
        ('peak memory of any of these', f'{max(cost.memory for cost in everything):.0f} MiB'),
    ]


def _chain(folder: Path) -> list[Cost]:
    """Incrementals ``b1`` to ``b20``; before each some tiles of the volume are rewritten."""
    costs, parent = [], 'full-0'
    for number in range(1, CHAIN + 1):
        _change(folder / 'volume', number)
        costs.append(_process(folder, 'back_up', f'b{number}', parent))
        parent = f'b{number}'
    return costs


def _one_tib(folder: Path) -> list[tuple[str, str]]:
    """1 TiB with 100 MiB of data in 100 places."""
    (folder / 'volume').unlink()
    with FileDevice(folder / 'volume', 1024 * GIB) as device:
        device.write_many(
            (number * 10 * GIB, memoryview(random.Random(number).randbytes(MIB))) for number in range(100)
        )
    backup = _process(folder, 'back_up', 'sparse')
    restore = _process(folder, 'restore', 'sparse')
    puts, _ = backup.numbers
    return [
        ('backup of 1 TiB with 100 MiB in it', f'{backup.cpu:.1f} CPU s, {puts} PUTs, {backup.memory:.0f} MiB'),
        ('restore of it', f'{restore.cpu:.1f} CPU s, {restore.memory:.0f} MiB'),
    ]


def _rate(costs: Iterable[Cost]) -> str:
    return f'{SIZE / _cpu(costs):,.0f} MiB per CPU second'


def _cpu(costs: Iterable[Cost]) -> float:
    return min(cost.cpu for cost in costs)


def _process(folder: Path, *arguments: str) -> Cost:
    command = [sys.executable, '-m', 'bench.backup', str(folder), *arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, int(output[-1]) / 1024, [int(number) for number in output[:-1]])


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


def back_up(folder: Path, backup_id: str, parent: str | None = None) -> None:
    """Print the number of puts and the bytes stored."""
    repository = Counted(folder / 'repository')
    with FileDevice(folder / 'volume', read_only=True) as device:
        backup = engine.begin_backup(
            repository, WRAPPER, lineage=LINEAGE, backup_id=backup_id, size=device.size, parent=parent
        )
        for shard in engine.plan(device.size):
            engine.backup_shard(device, repository, backup, shard.index)
    manifest = engine.commit_backup(repository, WRAPPER, backup, created_at='', metadata={})
    print(repository.puts, manifest.stored_bytes)


def restore(folder: Path, backup_id: str) -> None:
    repository = FileRepository(folder / 'repository')
    manifest = _load(repository, backup_id)
    with tempfile.NamedTemporaryFile(dir=folder) as file, FileDevice(file.name, manifest.size) as device:
        for shard in engine.plan(manifest.size):
            engine.restore_shard(device, repository, manifest, shard.index, target_is_zeroed=True)


def verify(folder: Path, backup_id: str) -> None:
    repository = FileRepository(folder / 'repository')
    if engine.verify_backup(repository, _load(repository, backup_id)).damaged:
        raise SystemExit(1)


def _load(repository: FileRepository, backup_id: str) -> Manifest:
    return engine.load_backup(repository, WRAPPER, backup_key(LINEAGE, backup_id))


def _peak_memory() -> int:
    """KiB since the program was loaded; what getrusage tells includes the parent that it was forked from."""
    return int(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])


def main(arguments: list[str]) -> None:
    if arguments:
        folder, step, *rest = arguments
        {'back_up': back_up, 'restore': restore, 'verify': verify}[step](Path(folder), *rest)
        print(_peak_memory())
        return
    for name, figure in run():
        print(f'{name}: {figure}')


if __name__ == '__main__':
    main(sys.argv[1:])
