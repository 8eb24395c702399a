"""Processes of the cloud that stop for some seconds or are killed, and the whole cloud that is killed and restarted."""

from __future__ import annotations

import collections
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from local import launch
from tests.soak.systems import Systems
from tests.system import crash
from tests.system.cloud import Cloud, alive, spawn, wait_until_ready

#: Seconds between two disturbances, and those for which a process is stopped.
PAUSE, STOPPED = (3.0, 12.0), (1.0, 12.0)

#: Disturbance -> its share. 'stop' is SIGSTOP and later SIGCONT, 'kill' SIGKILL of one process.
KINDS = {
    'stop agent': 4, 'stop tgtd': 4, 'stop engine': 4, 'kill agent': 3, 'kill tgtd': 3, 'kill engine': 3,
    'kill cloud': 2, 'restart cloud': 1,
}  # fmt: skip


class Running:
    """One state folder, and the cloud that serves it now. Its ports stay the same over restarts."""

    def __init__(self, folder: Path, systems: Systems, rate: float, seed: int) -> None:
        self.folder, self.systems, self.log = folder, systems, folder / 'faults.jsonl'
        self._rate, self._seed = rate, seed
        self._ports, self._lives = launch.free_ports(), 0
        self.cloud: Cloud

    def start(self) -> None:
        self._lives += 1
        environment = {
            **self._ports,
            **self.systems.environment(),
            'SOAK_RATE': str(self._rate),
            'SOAK_SEED': f'{self._seed}/{self._lives}',
            'SOAK_LOG': str(self.log),
        }
        self.log.touch()
        command = [sys.executable, '-m', 'tests.soak.server']
        process, state_dir, log = spawn(command, self.folder, **environment)
        self.cloud = Cloud(wait_until_ready(process, state_dir, log), state_dir, process, log)

    def end_faults(self) -> None:
        """Let the functions' calls succeed from now on, and also after a restart."""
        self._rate = 0
        self.cloud.process.send_signal(signal.SIGUSR1)

    def stop(self) -> None:
        if self.cloud.process.poll() is None:
            self.cloud.process.terminate()
            try:
                self.cloud.process.wait(30)
            except subprocess.TimeoutExpired:
                self.cloud.kill()


@contextlib.contextmanager
def running(folder: Path, rate: float, seed: int) -> Iterator[Running]:
    """A cloud with faults and the systems around it, until the context ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with Systems(folder / 'systems') as systems:
        made = Running(folder, systems, rate, seed)
        made.start()
        try:
            yield made
        finally:
            made.stop()


class Disturbances:
    """Disturbs the cloud in a loop. Children die with the thread that started them: run it in the main thread."""

    def __init__(self, target: Running, seed: int) -> None:
        self._target, self._draw = target, random.Random(f'{seed}/disturbances')
        self.counts: collections.Counter[str] = collections.Counter()

    def run(self, until: float, failed: threading.Event) -> None:
        """Disturb until a time of the monotonic clock, or until a tenant failed."""
        while not failed.is_set() and time.monotonic() < until:
            if failed.wait(min(self._draw.uniform(*PAUSE), max(0.0, until - time.monotonic()))):
                return
            (kind,) = self._draw.choices(list(KINDS), list(KINDS.values()))
            self._disturb(kind)
            self.counts[kind] += 1

    def _disturb(self, kind: str) -> None:
        how, victim = kind.split()
        if victim == 'cloud':
            self._target.cloud.kill() if how == 'kill' else self._target.stop()
            self._target.start()
            return
        for pid in crash.pids(self._target.cloud, crash.PARTS[victim])[:1]:
            with contextlib.suppress(ProcessLookupError):
                self._signal(pid, how)

    def _signal(self, pid: int, how: str) -> None:
        if how == 'kill':
            os.kill(pid, signal.SIGKILL)
            return
        os.kill(pid, signal.SIGSTOP)
        time.sleep(self._draw.uniform(*STOPPED))
        if alive(pid):
            os.kill(pid, signal.SIGCONT)
