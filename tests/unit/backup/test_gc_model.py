"""The collector beside everything else, model-checked.

Backups, deletes and collections run as interleaved steps of one repository call each; they are killed between any two,
repeated, and delivered twice. No available backup may ever lose a byte, none that runs may fail because others are
deleted or collected, and nothing may be left when all are deleted. A seed replays a run.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from chalicelib.backup import engine
from chalicelib.backup.layout import backup_key
from chalicelib.backup.repository import Repository
from chalicelib.errors import BackupCanceled, InvalidBackup, LeaseLost, ObjectMissing
from tests.run_statistics import Counting
from tests.unit.backup import flows
from tests.unit.backup.fakes import Killed, MemoryRepository, Wrapped

#: Two shards of three blocks, each block in a pack of its own.
GEOMETRY = engine.Geometry(block_size=512, shard_size=3 * 512)
LIMITS = dataclasses.replace(flows.LIMITS, pack_size=1)
BLOCKS = 6

#: Calls that bring any process to its end.
ALL = 10_000


class Actor:
    """A process: it stops before each of its repository calls until it may continue, or dies there."""

    def __init__(self, action: Callable[[Repository], object], repository: Repository) -> None:
        self.finished = False
        self.error: Exception | None = None
        self._killed = False
        self._go = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        threading.Thread(target=self._run, args=(action, Wrapped(repository, self._around)), daemon=True).start()
        self._stopped.acquire()

    def _run(self, action: Callable[[Repository], object], repository: Repository) -> None:
        try:
            action(repository)
        except Killed:
            self.error = None
        except Exception as error:
            self.error = error
        finally:
            self.finished = True
            self._stopped.release()

    def _around(self, method: str, call: Callable[[], Any]) -> Any:
        self._stopped.release()
        self._go.acquire()
        if self._killed:
            raise Killed
        return call()

    def step(self) -> None:
        self._go.release()
        self._stopped.acquire()

    def kill(self) -> None:
        self._killed = True
        while not self.finished:
            self.step()


@dataclasses.dataclass
class Process:
    """An actor, and which backup it works on, if any, and how it may end."""

    actor: Actor
    backup_id: str | None
    kind: str


@dataclasses.dataclass
class Model:
    """What the database knows of a backup."""

    parent: str | None
    content: bytes
    committed: bool = False
    deleted: bool = False


class Lease:
    """Held until the simulation grants another."""

    def __init__(self, simulation: Simulation) -> None:
        simulation.granted += 1
        self._simulation = simulation
        self._token = simulation.granted

    def confirm(self) -> None:
        if self._simulation.granted != self._token:
            raise LeaseLost(lineage=flows.LINEAGE)


class Simulation:
    """``grace`` in seconds: every call takes one, and only when no process is at work do years pass.

    ``cancels``: backups are deleted while they run, too. Without grace they are not: then a collection takes them for
    long gone while they still write, which only the grace distinguishes.
    """

    #: How often each action comes.
    WEIGHTS: ClassVar = {
        'run': 60,
        'begin': 8,
        'orphan': 6,
        'collect': 7,
        'delete': 7,
        'write': 5,
        'kill': 4,
        'redeliver': 4,
        'years': 1,
    }

    def __init__(self, seed: int, grace: float, cancels: bool) -> None:
        self.granted = 0
        self._draw = random.Random(seed)
        self._grace = grace
        self._cancels = cancels
        self._now = 0.0
        self.repository = MemoryRepository(lambda: self._now)
        self._volume = bytearray(b''.join(b'%d' % block * 512 for block in range(BLOCKS)))
        self._backups: dict[str, Model] = {}
        self._processes: list[Process] = []

    def play(self, steps: int) -> None:
        """So many random actions; then all that runs ends, every backup is checked and deleted, and nothing is left."""
        COUNTS['runs'] += 1
        for name in self._draw.choices(list(self.WEIGHTS), list(self.WEIGHTS.values()), k=steps):
            getattr(self, name)()
            self._settle()
        self.years()
        self._check_standing()
        for backup_id in self._backups:
            engine.delete_backup(self.repository, flows.LINEAGE, backup_id)
        self._now += 2 * self._grace + 1
        flows.collect(self.repository, grace=self._grace, clock=lambda: self._now)
        assert not self.repository.objects

    def abandon(self) -> None:
        for process in self._processes:
            process.actor.kill()

    def run(self) -> None:
        if self._processes:
            self._run(self._draw.choice(self._processes), self._draw.choice([1, 2, 5, 20, 80]))

    def write(self) -> None:
        block = self._draw.randrange(BLOCKS)
        self._volume[block * 512 : (block + 1) * 512] = bytes([self._draw.randrange(256)]) * 512

    def begin(self, parent_chance: float = 0.7) -> None:
        standing = self._standing()
        parent = self._draw.choice(standing) if standing and self._draw.random() < parent_chance else None
        backup_id = f'b{len(self._backups)}'
        self._backups[backup_id] = Model(parent, bytes(self._volume))
        self._work_on(backup_id)

    def orphan(self) -> None:
        """A child begins and gets on, and its parent is deleted: all between two calls of the other processes."""
        running = {process.backup_id for process in self._processes if process.kind == 'backup'}
        self.begin(parent_chance=1.0)
        child = self._processes[-1]
        self._run(child, self._draw.randrange(30))
        parent = self._backups[child.backup_id or ''].parent
        if parent and (self._cancels or parent not in running):
            self._delete(parent)
            self._run(self._processes[-1], ALL)

    def redeliver(self) -> None:
        """A retry of one that died, or a second worker beside one that lives."""
        unfinished = [name for name, model in self._backups.items() if not (model.committed or model.deleted)]
        if unfinished:
            self._work_on(self._draw.choice(unfinished))

    def _work_on(self, backup_id: str) -> None:
        model = self._backups[backup_id]
        work = functools.partial(
            flows.back_up,
            data=model.content,
            backup_id=backup_id,
            parent=model.parent,
            geometry=GEOMETRY,
            limits=LIMITS,
        )
        self._start(work, backup_id, 'backup')

    def delete(self) -> None:
        """Half of the time the parent of a backup that runs."""
        running = {process.backup_id for process in self._processes if process.kind == 'backup'}
        choice = [name for name in self._backups if self._cancels or (name in self._standing() and name not in running)]
        parents = [name for name in choice if name in {self._backups[child or ''].parent for child in running}]
        if parents and self._draw.random() < 0.5:
            choice = parents
        if choice:
            self._delete(self._draw.choice(choice))

    def _delete(self, backup_id: str) -> None:
        self._backups[backup_id].deleted = True
        work = functools.partial(engine.delete_backup, lineage=flows.LINEAGE, backup_id=backup_id)
        self._start(work, backup_id, 'delete')

    def collect(self) -> None:
        """Takes the lease, also from a collector that is still at it."""
        work = functools.partial(flows.collect, lease=Lease(self), grace=self._grace, clock=lambda: self._now)
        self._start(work, None, 'collect')

    def kill(self) -> None:
        if self._processes:
            COUNTS['processes killed'] += 1
            self._processes.pop(self._draw.randrange(len(self._processes))).actor.kill()

    def years(self) -> None:
        for process in self._processes:
            self._run(process, ALL)
        self._settle()
        self._now += 2 * self._grace

    def _start(self, action: Callable[[Repository], object], backup_id: str | None, kind: str) -> None:
        self._processes.append(Process(Actor(action, self.repository), backup_id, kind))

    def _run(self, process: Process, calls: int) -> None:
        for _ in range(calls):
            if process.actor.finished:
                return
            self._now += 1
            COUNTS['calls'] += 1
            process.actor.step()

    def _standing(self) -> list[str]:
        return [name for name, model in self._backups.items() if model.committed and not model.deleted]

    def _settle(self) -> None:
        """Take note of who has finished, and check how."""
        for process in [process for process in self._processes if process.actor.finished]:
            self._processes.remove(process)
            if process.kind == 'backup':
                self._take_result(process.backup_id or '', process.actor.error)
            elif process.kind == 'collect' and process.actor.error is None:
                self._check_standing()
            elif process.kind == 'collect':
                assert isinstance(process.actor.error, LeaseLost), process.actor.error
            else:
                assert process.actor.error is None

    def _take_result(self, backup_id: str, error: Exception | None) -> None:
        model = self._backups[backup_id]
        if error is None:
            model.committed = True
        elif not self._grace and (model.committed or backup_key(flows.LINEAGE, backup_id) in self.repository.objects):
            return  # a second worker, so late that the intent it would share is collected already
        elif model.deleted:
            assert isinstance(error, BackupCanceled | InvalidBackup | ObjectMissing), error
        else:
            assert isinstance(error, InvalidBackup), error
            assert model.parent
            assert self._backups[model.parent].deleted

    def _check_standing(self) -> None:
        for backup_id in self._standing():
            COUNTS['restores compared'] += 1
            assert flows.restored(self.repository, backup_id) == self._backups[backup_id].content


COUNTS: collections.Counter[str] = collections.Counter()


@pytest.fixture(autouse=True)
def counts(counted: Counting) -> Iterator[None]:
    COUNTS.clear()
    yield
    for name, number in COUNTS.items():
        counted(f'interleavings of backups, deletes and collectors: {name}', number)


@pytest.mark.parametrize(('grace', 'cancels'), [(100_000.0, True), (0.0, False)], ids=['with grace', 'without grace'])
@given(seed=st.integers(0, 1 << 32))
@example(seed=353)  # a second worker fails between the first one's commit and its end
@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_no_backup_is_harmed(grace: float, cancels: bool, seed: int) -> None:
    simulation = Simulation(seed, grace, cancels)
    try:
        simulation.play(120)
    finally:
        simulation.abandon()
