"""Moving in from Cinder: records of a generated database a second, and restores of backups in Cinder's format.

The database is built by Cinder 29 (.venv-cinder) in SQLite and filled with copies of rows that its API made:
``BENCH_MOVING`` volumes (10,000), a snapshot of every second one, an attachment with a sealed secret of every fifth,
and two pairs of metadata each. ``cinderless migrate run`` is a process of its own; it writes into the DynamoDB Local of
a local cloud. Its peak memory is compared with that of a tenth of the volumes.

Restores are measured in CPU seconds within both processes, without their start: Cinder's POSIX driver to a file, and
``import_cinder restore`` to a file, which also compares every block with its sha256. Half of the data is random, a
quarter zeroes, a quarter like a log; one incremental backup changes a tenth.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from bench.backup import Cost, peak_memory, process
from local.launch import launched

VOLUMES = int(os.environ.get('BENCH_MOVING', '10000'))

#: MiB of the volume that is restored, and repetitions of each restore.
SIZE, ROUNDS = 256, 3

#: Least restores per CPU second against Cinder's, by algorithm.
WANTED = {'none': 1.5, 'zlib': 1.5, 'bz2': 1.0, 'zstd': 1.0}

TABLE = 'old@lvm -> cinderless@xfs-nova#fast\nold@ontap#vol1 -> cinderless@xfs-nova#slow keep-exports\n'

MIB = 1 << 20


def run() -> list[tuple[str, str]]:
    """Return (measurement, figure) rows."""
    with tempfile.TemporaryDirectory(prefix='cinderless-bench-') as name:
        return [*_migration(Path(name)), *_restores(Path(name))]


def _migration(folder: Path) -> list[tuple[str, str]]:
    few, many = (_migrated(folder / str(volumes), volumes) for volumes in (VOLUMES // 10, VOLUMES))
    (first, written), (second, unchanged) = many
    return [
        (
            f'migration of {VOLUMES:,} volumes, {written:,} records, into DynamoDB Local (>= 400 records/s)',
            f'{written / first.wall:,.0f} records/s; {written / first.cpu:,.0f} per CPU second of the program',
        ),
        ('the same again, nothing changed', f'{unchanged / second.wall:,.0f} records/s, {second.wall:.1f} s'),
        (
            f'peak memory with {VOLUMES // 10:,} and {VOLUMES:,} volumes',
            f'{few[0][0].memory:.0f} and {first.memory:.0f} MiB',
        ),
    ]


def _migrated(folder: Path, volumes: int) -> list[tuple[Cost, int]]:
    """Migrate a database of so many volumes twice; return the cost of each, and the records written or unchanged."""
    folder.mkdir()
    generate(folder / 'cinder.sqlite', volumes)
    (folder / 'hosts').write_text(TABLE)
    found = []
    with launched(folder / 'cloud'):
        for wanted in ('new', 'unchanged'):
            cost = process(folder, 'migrate', wanted, module='bench.moving')
            found.append((cost, cost.numbers[0]))
    return found


def generate(path: Path, volumes: int) -> None:
    """Build a database of Cinder with so many further volumes, copies of those that Cinder's API made."""
    from tests.migration import databases

    made = databases.run('build', f'sqlite:///{path}')
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.row_factory = sqlite3.Row
        copies = _Copies(database, made)
        for number in range(volumes):
            copies.add(number)
        database.execute('DELETE FROM volume_attachment WHERE id = ?', (made['left_attachment'],))
        database.execute(
            "UPDATE volumes SET status = 'available' WHERE status IN ('in-use', 'extending')  AND host = 'old@lvm#lvm'"
        )


class _Copies:
    """Adds copies of rows."""

    def __init__(self, database: sqlite3.Connection, made: dict[str, str]) -> None:
        self._database = database
        self._rows = {
            name: dict(database.execute(f'SELECT * FROM {table} WHERE id = ?', (made[id],)).fetchone())
            for name, table, id in (
                ('plain', 'volumes', 'plain'),
                ('attached', 'volumes', 'attached'),
                ('attachment', 'volume_attachment', 'attachment'),
                ('snapshot', 'snapshots', 'snapshot'),
            )
        }

    def add(self, number: int) -> None:
        id, attached = str(uuid.UUID(int=1 << 100 | number)), number % 5 == 0
        self._insert('volumes', self._rows['attached' if attached else 'plain'], id=id, display_name=f'volume {number}')
        for key in ('purpose', 'owner'):
            row = {'volume_id': id, 'key': key, 'value': f'{key} of volume {number}', 'deleted': 0}
            self._insert('volume_metadata', row)
        if attached:
            self._insert('volume_attachment', self._rows['attachment'], id=_other(id, 1), volume_id=id)
        if number % 2:
            self._insert('snapshots', self._rows['snapshot'], id=_other(id, 2), volume_id=id)

    def _insert(self, table: str, row: dict[str, Any], **changed: Any) -> None:
        values = {**row, **changed}
        columns, marks = ', '.join(f'"{name}"' for name in values), ', '.join('?' * len(values))
        self._database.execute(f'INSERT INTO {table} ({columns}) VALUES ({marks})', tuple(values.values()))


def _other(id: str, number: int) -> str:
    return str(uuid.UUID(int=uuid.UUID(id).int | number << 96))


def _restores(folder: Path) -> list[tuple[str, str]]:
    files = _files(folder)
    return [
        (
            f'restore of {SIZE} MiB in the format of Cinder, {algorithm}, {kind}, against Cinder per CPU second '
            f'(>= {wanted:g} x)',
            _compared(folder, algorithm, kind, files[: 2 if kind == 'incremental' else 1]),
        )
        for algorithm, wanted in WANTED.items()
        for kind in ('full', 'incremental')
    ]


def _compared(folder: Path, algorithm: str, kind: str, files: list[Path]) -> str:
    place = folder / f'{algorithm}-{kind}'
    place.mkdir()
    made = _cinder(
        {
            'url': f'sqlite:///{place}/cinder.sqlite',
            'place': str(place),
            'algorithm': algorithm,
            'files': list(map(str, files)),
            'target': str(place / 'restored_by_cinder'),
            'rounds': ROUNDS,
        }
    )
    ours = []
    for _ in range(ROUNDS):
        (place / 'restored_here').unlink(missing_ok=True)
        ours.append(process(place, 'restore', made['ids'][-1], module='bench.moving').numbers[0] / 1e6)
    for name in ('restored_by_cinder', 'restored_here'):
        if (place / name).read_bytes() != files[-1].read_bytes():
            raise RuntimeError(f'{algorithm}, {kind}: {name} differs from the volume')
    mine, cinder = min(ours), min(made['cpu'])
    return f'{cinder / mine:.2f} x ({SIZE / mine:,.0f} and {SIZE / cinder:,.0f} MiB per CPU second)'


def _cinder(request: dict[str, Any]) -> dict[str, Any]:
    from tests.migration import databases
    from tests.system import environments

    command: list[str | Path] = [
        environments.ensure('cinder'),
        '-W',
        'ignore',
        databases.SCRIPT.with_name('cinder_restore.py'),
    ]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f'Cinder could not back up or restore: {done.stderr}')
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _files(folder: Path) -> list[Path]:
    """Return the volume at the times of two backups."""
    draw = random.Random(7)
    kinds = ['random'] * (SIZE // 2) + ['zero'] * (SIZE // 4) + ['log'] * (SIZE // 4)
    draw.shuffle(kinds)
    lines = [
        f'{n} req-{draw.getrandbits(64):016x} volume attached to host {draw.random()}\n'.encode() for n in range(9999)
    ]
    make = {
        'random': lambda: draw.randbytes(MIB),
        'zero': lambda: bytes(MIB),
        'log': lambda: b''.join(draw.choices(lines, k=MIB // 50))[:MIB].ljust(MIB, b'\n'),
    }
    first = [make[kind]() for kind in kinds]
    second = [draw.randbytes(MIB) if number % 10 == 0 else data for number, data in enumerate(first)]
    paths = [folder / 'first', folder / 'second']
    for path, tiles in zip(paths, (first, second), strict=True):
        path.write_bytes(b''.join(tiles))
    return paths


def step(folder: Path, name: str, argument: str) -> None:
    """Migrate and print the records of an outcome; or restore a backup, and print the CPU microseconds."""
    from cinderless import program
    from cinderless.migration import import_command  # noqa: F401 - its start is not measured, nor is Cinder's

    output = io.StringIO()
    if name == 'migrate':
        words = ['migrate', 'run', '--apply', '--json', '--state-dir', str(folder / 'cloud')]
        words += ['--database', f'sqlite:///{folder}/cinder.sqlite', '--hosts', str(folder / 'hosts')]
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
            program.main(words)
        found = json.loads(output.getvalue())['records'].values()
        print(sum(counts.get(argument, 0) for counts in found))
    else:
        began = time.process_time()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
            code = program.main(
                ['backup', 'import-cinder', 'restore', str(folder), argument, str(folder / 'restored_here')]
            )
        if code:
            raise RuntimeError(f'the restore ended with {code}')
        print(int((time.process_time() - began) * 1e6))


if __name__ == '__main__':
    place, *rest = sys.argv[1:]
    step(Path(place), *rest)
    print(peak_memory())
