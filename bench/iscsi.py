"""The iSCSI initiator against a tuned tgtd on loopback: sequential transfers of 1 MiB, eight in flight.

CPU seconds are the initiator's own, kernel time included; a Lambda function pays for them. Wall time has
initiator and target share the machine, and is the best of a few rounds like the rest.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from chalicelib.iscsi import IscsiDevice, open_device
from tests.tgt import Tgtd, sparse_image

MIB = 1024**2
SIZE = 512
ROUNDS = 5


def run() -> list[tuple[str, str]]:
    """Return (measurement, figure) rows."""
    with tempfile.TemporaryDirectory() as folder, Tgtd() as tgtd:
        target = tgtd.add_target(sparse_image(Path(folder) / 'volume.img', SIZE * MIB))
        with open_device(
            target.connection_data(), initiator='iqn.2026-01.org.cinderless:bench', queue_depth=8
        ) as device:
            before = _peak_memory()
            return [
                ('iSCSI write, 1 MiB, queue depth 8, tuned tgt on loopback', _measured(_write, device)),
                ('iSCSI read, 1 MiB, queue depth 8, tuned tgt on loopback', _measured(_read, device)),
                (f'memory that these {2 * ROUNDS * SIZE} MiB took', f'{_peak_memory() - before:.0f} MiB'),
            ]


def _write(device: IscsiDevice) -> None:
    """Out of memory that the caller uses again, so that each transfer is copied once."""
    data = memoryview(bytearray(range(256)) * (MIB // 256))
    device.write_many((index * MIB, data) for index in range(SIZE))


def _read(device: IscsiDevice) -> None:
    for _ in device.read_many((index * MIB, MIB) for index in range(SIZE)):
        pass


def _measured(transfer: Callable[[IscsiDevice], None], device: IscsiDevice) -> str:
    rounds = [_seconds(transfer, device) for _ in range(ROUNDS)]
    cpu, wall = (SIZE / min(seconds) for seconds in zip(*rounds, strict=True))
    return f'{cpu:,.0f} MiB per CPU second, {wall:,.0f} MiB/s'


def _seconds(transfer: Callable[[IscsiDevice], None], device: IscsiDevice) -> tuple[float, float]:
    """(CPU, wall)"""
    cpu, wall = time.process_time(), time.perf_counter()
    transfer(device)
    return time.process_time() - cpu, time.perf_counter() - wall


def _peak_memory() -> float:
    """MiB of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    print('| measured | figure |\n|---|---|')
    for name, figure in run():
        print(f'| {name} | {figure} |')


if __name__ == '__main__':
    main()
