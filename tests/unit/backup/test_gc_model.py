"""The collector beside everything else, model-checked.

Backups, deletes and collections run as interleaved steps of one repository call each; they are killed between any two,
repeated, and delivered twice. No backup that stands may ever lose a byte, none that runs may fail because others are
deleted or collected, and nothing may be left when all are deleted.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from chalicelib.backup import engine
from chalicelib.backup.repository import Repository
from chalicelib.errors import BackupCanceled, CinderlessError, InvalidBackup, LeaseLost, ObjectMissing
from tests.unit.backup import flows
from tests.unit.backup.doubles import Killed, MemoryRepository, Wrapped

GEOMETRY = engine.Geometry(block_size=512, shard_size=1024)
BLOCKS = 4

PICK = st.integers(0, 1 << 16)


class Actor:
    """A process: it stops before each of its repository calls until it is told to go on, or dies there."""

    def __init__(self, action: Callable[[Repository], object], repository: Repository) -> None:
        self.finished = False
        self.error: CinderlessError | None = None
        self._killed = False
        self._go = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        threading.Thread(target=self._run, args=(action, Wrapped(repository, self._around)), daemon=True).start()
        self._stopped.acquire()

    def _run(self, action: Callable[[Repository], object], repository: Repository) -> None:
        try:
            action(repository)
        except Killed:
            pass
        except CinderlessError as error:
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
    """An actor and whose work it does; None is the collector's."""

    actor: Actor
    backup_id: str | None
    is_delete: bool = False


@dataclasses.dataclass
class Model:
    """What the database knows of a backup."""

    parent: str | None
    content: bytes
    committed: bool = False
    deleted: bool = False


class CollectorMachine(RuleBasedStateMachine):
    #: Seconds; every call takes one. Only when nobody is at work do years pass.
    grace: ClassVar[float] = 100_000
    #: Whether backups are deleted while they run: a collection within the grace must not take them for long gone.
    cancels: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.token = 0
        self.repository = MemoryRepository(lambda: self.now)
        self.volume = bytearray(b'v' * 512 * BLOCKS)
        self.backups: dict[str, Model] = {}
        self.processes: list[Process] = []

    def start(self, action: Callable[[Repository], object], backup_id: str | None, *, is_delete: bool = False) -> None:
        self.processes.append(Process(Actor(action, self.repository), backup_id, is_delete))
        self.settle()

    def is_at_work(self, backup_id: str) -> bool:
        return any(process.backup_id == backup_id and not process.is_delete for process in self.processes)

    def standing(self) -> list[str]:
        return [backup_id for backup_id, model in self.backups.items() if model.committed and not model.deleted]

    def unfinished(self) -> list[str]:
        return [backup_id for backup_id, model in self.backups.items() if not (model.committed or model.deleted)]

    @rule(block=st.integers(0, BLOCKS - 1), value=st.integers(0, 5))
    def write(self, block: int, value: int) -> None:
        self.volume[block * 512 : (block + 1) * 512] = b'%c' % value * 512

    @initialize(length=st.integers(1, 3))
    def start_with_a_chain(self, length: int) -> None:
        for number in range(length):
            self.write(number, number)
            self.begin(number, True)
            self.years_pass()

    @precondition(lambda self: len(self.backups) < 12)
    @rule(pick=PICK, incremental=st.sampled_from([True, True, True, False]))
    def begin(self, pick: int, incremental: bool) -> None:
        candidates = self.standing()
        parent = candidates[pick % len(candidates)] if candidates and incremental else None
        backup_id = f'b{len(self.backups)}'
        self.backups[backup_id] = Model(parent, bytes(self.volume))
        self.work_on(backup_id)

    @precondition(lambda self: self.unfinished())
    @rule(pick=PICK)
    def deliver_again(self, pick: int) -> None:
        """A retry of one that died, or a second worker beside one that lives."""
        self.work_on(self.unfinished()[pick % len(self.unfinished())])

    def work_on(self, backup_id: str) -> None:
        model = self.backups[backup_id]
        work = lambda repository: flows.back_up(  # noqa: E731
            repository, model.content, backup_id, model.parent, geometry=GEOMETRY
        )
        self.start(work, backup_id)

    @precondition(lambda self: self.backups)
    @rule(pick=PICK)
    def delete(self, pick: int) -> None:
        backup_id = f'b{pick % len(self.backups)}'
        if self.cancels or backup_id in self.standing():
            self.start_delete(backup_id)

    @precondition(lambda self: self.standing())
    @rule(collects=st.booleans())
    def delete_all_that_stand(self, collects: bool) -> None:
        """What runs has lost its parent then."""
        for backup_id in self.standing():
            self.start_delete(backup_id)
            self.run_for(self.processes[-1], 10_000)
        if collects:
            self.collect()
            self.run_for(self.processes[-1], 10_000)
        self.settle()

    def start_delete(self, backup_id: str) -> None:
        self.backups[backup_id].deleted = True
        delete = lambda repository: engine.delete_backup(repository, flows.LINEAGE, backup_id)  # noqa: E731
        self.start(delete, backup_id, is_delete=True)

    @rule()
    def collect(self) -> None:
        """Takes the lease, also from a collector that is still at it."""
        self.token += 1
        machine, token = self, self.token

        class Lease:
            def confirm(self) -> None:
                if machine.token != token:
                    raise LeaseLost(lineage=flows.LINEAGE)

        self.start(
            lambda repository: flows.collect(repository, lease=Lease(), grace=self.grace, clock=lambda: self.now),
            None,
        )

    @precondition(lambda self: self.processes)
    @rule(turns=st.lists(st.tuples(PICK, st.integers(1, 40)), min_size=1, max_size=12))
    def run(self, turns: list[tuple[int, int]]) -> None:
        for pick, calls in turns:
            if self.processes:
                self.run_for(self.processes[pick % len(self.processes)], calls)
                self.settle()

    @precondition(lambda self: self.processes)
    @rule(pick=PICK)
    def finish(self, pick: int) -> None:
        self.run_for(self.processes[pick % len(self.processes)], 10_000)
        self.settle()

    def run_for(self, process: Process, calls: int) -> None:
        for _ in range(calls):
            if not process.actor.finished:
                self.now += 1
                process.actor.step()

    @precondition(lambda self: self.processes)
    @rule(pick=PICK)
    def kill(self, pick: int) -> None:
        process = self.processes.pop(pick % len(self.processes))
        process.actor.kill()

    @rule()
    def years_pass(self) -> None:
        for process in list(self.processes):
            self.run_for(process, 10_000)
        self.settle()
        self.now += 2 * self.grace

    def settle(self) -> None:
        """Take note of who has finished, and how."""
        for process in [process for process in self.processes if process.actor.finished]:
            self.processes.remove(process)
            if process.backup_id is None:
                assert process.actor.error is None or isinstance(process.actor.error, LeaseLost | ObjectMissing)
                assert process.actor.error is None or self.token > 1
                self.check_standing()
            elif not process.is_delete:
                self.take_result(self.backups[process.backup_id], process.actor.error)

    def take_result(self, model: Model, error: CinderlessError | None) -> None:
        if error is None:
            model.committed = True
        elif not model.deleted:
            assert isinstance(error, InvalidBackup), error
            assert model.parent
            assert self.backups[model.parent].deleted
        else:
            assert isinstance(error, BackupCanceled | InvalidBackup | ObjectMissing), error

    def check_standing(self) -> None:
        for backup_id in self.standing():
            assert flows.restored(self.repository, backup_id) == self.backups[backup_id].content

    def teardown(self) -> None:
        """All that runs comes to its end, all that stands is right, and when all is deleted nothing is left."""
        for process in list(self.processes):
            self.run_for(process, 10_000)
        self.settle()
        self.check_standing()
        for backup_id in self.backups:
            engine.delete_backup(self.repository, flows.LINEAGE, backup_id)
        self.now += 2 * self.grace + 1
        flows.collect(self.repository, grace=self.grace, clock=lambda: self.now)
        assert not self.repository.objects


class EagerCollectorMachine(CollectorMachine):
    """Without any grace: that no byte of a standing or running backup is lost does not hang on time."""

    grace = 0.0
    cancels = False


class TestCollector(CollectorMachine.TestCase):
    settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


class TestEagerCollector(EagerCollectorMachine.TestCase):
    settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
