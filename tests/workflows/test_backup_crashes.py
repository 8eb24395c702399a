"""Kill the process at each call of what moves data (backup, restore, revert, migrate, retype).

The work ends automatically, and every byte is right.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.models import Backup, Volume
from chalicelib.operations import backup_checks, backup_copies, backup_records, backups, moves, reverts, volume_types
from tests.backup_factories import create_backup
from tests.data_backends import Data, Disk
from tests.factories import context, create_snapshot, create_volume
from tests.machine import TaskFailed
from tests.run_statistics import Counting
from tests.simulation import Simulation
from tests.workflows.crashes import Crasher, LostAnswer, Scenario, Stage, outcome

#: Calls of the data path that change nothing.
READS = ('s3 get', 's3 head', 's3 list', ' read', ' allocated')


class DataCrasher(Crasher):
    def around(self, name: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if name.endswith(READS) else super().around(name)


class DataLostAnswer(DataCrasher, LostAnswer):
    """Loses answers of the data path, too."""


class Story:
    """Records and data from before the crash, to compare with those after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.parent: Backup | None = None
        self.target: Volume | None = None

    def begin(self, simulation: Simulation) -> None:
        """A volume with data."""
        self.simulation, self.data = simulation, Data(simulation, self.monkeypatch, keeps=True)
        self.volume = create_volume(context(), 5)
        simulation.settle()
        self.data.of(self.volume).fill(seed=1, count=2)
        self.original = self.copied()

    def copied(self) -> Disk:
        disk = self.data.of(self.volume)
        return disk.copy(disk.size)

    def with_snapshot(self, simulation: Simulation) -> None:
        self.begin(simulation)
        self.snapshot = create_snapshot(context(), self.volume)
        simulation.settle()
        self.data.of(self.volume).fill(seed=2, count=2)

    def before_revert(self, simulation: Simulation) -> None:
        self.with_snapshot(simulation)
        self.newer = self.copied()

    def with_type(self, simulation: Simulation) -> None:
        """A type that only the other backend has."""
        self.begin(simulation)
        specs = {'volume_backend_name': 'fast'}
        volume_types.create(context('admin'), name='fast', description=None, is_public=True, extra_specs=specs)

    def migrate(self, **facts: Any) -> None:
        usual = {'host': 'cinderless@fast', 'cluster': None, 'force_host_copy': False, 'lock_volume': False}
        moves.migrate(context('admin'), self.volume.id, **{**usual, **facts})

    def with_backup(self, simulation: Simulation) -> None:
        """Data, its backup, and other data."""
        self.begin(simulation)
        self.parent = create_backup(context(), self.volume)
        simulation.settle()
        self.data.of(self.volume).fill(seed=3, count=2)

    def failing(self, simulation: Simulation) -> None:
        self.begin(simulation)
        simulation.big.fail('allocated', RuntimeError('a bug'))

    def back_up(self, **facts: Any) -> None:
        create_backup(context(), self.volume, **facts)

    def restore(self, volume_id: str | None) -> None:
        assert self.parent is not None
        _, self.target = backups.restore(context(), self.parent.id, volume_id=volume_id, name=None)

    def cancel(self) -> None:
        """A forced delete in the middle of the copy."""
        backup = create_backup(context(), self.volume)
        self.simulation.deliver()
        execution = list(self.simulation.executions.values())[-1]
        with contextlib.suppress(TaskFailed):
            self.simulation.work('open_backup', execution.payload)
        backups.delete(context('admin'), backup.id, force=True)

    def import_(self) -> None:
        """The record of the backup that is here, under another id."""
        assert self.parent is not None
        record = backup_records.export(context('admin'), self.parent.id)
        facts = json.loads(base64.b64decode(record['backup_url']))
        facts['id'], facts['repository']['bucket'] = self.volume.id, 'elsewhere'
        url = base64.b64encode(json.dumps(facts).encode()).decode()
        backup_records.import_(context('admin'), record['backup_service'], url)

    def check_import(self) -> None:
        """It is there and complete, or was never accepted."""
        assert self.parent is not None
        for backup in Backup.scan():
            assert (backup.status, backup.operation) == ('available', None)
            assert backup.root_hash == self.parent.reload().root_hash

    def check_backup(self) -> None:
        """One that was accepted is complete."""
        made = [backup for backup in Backup.scan() if self.parent is None or backup.id != self.parent.id]
        assert [backup.status for backup in made] in ([], ['available'])
        for backup in made:
            expected = self.original if self.parent is None else self.copied()
            _, target = backups.restore(context(), backup.id, volume_id=None, name=None)
            self.simulation.settle()
            assert self.data.of(target).same(expected)

    def scrub(self) -> None:
        assert self.parent is not None
        backup_checks.scrub(context(), self.parent.id)

    def drill(self) -> None:
        assert self.parent is not None
        backup_checks.drill(context(), self.parent.id)

    def copy(self) -> None:
        assert self.parent is not None
        backup_copies.create(context(), self.parent.id, target='dr', name=None, description=None)

    def check_copied(self) -> None:
        """A copy that was accepted is there, and outlives what it was made of."""
        assert self.parent is not None
        copies = [backup for backup in Backup.scan() if backup.copied_from]
        assert [backup.status for backup in copies] in ([], ['available'])
        backups.delete(context(), self.parent.id)
        self.simulation.settle()
        for backup in copies:
            _, target = backups.restore(context(), backup.id, volume_id=None, name=None)
            self.simulation.settle()
            assert self.data.of(target).same(self.original)

    def check_checked(self) -> None:
        """A check that was accepted has passed, and left nothing."""
        [backup] = Backup.scan()
        assert backup.status == 'available'
        assert [found['result'] for found in (backup.scrub, backup.drill) if found] in ([], ['passed'])
        assert [volume.id for volume in Volume.scan()] == [self.volume.id]

    def check_restore(self) -> None:
        assert [backup.status for backup in Backup.scan()] == ['available']
        if self.target is not None:
            assert self.target.reload().status == 'available'
            assert self.data.of(self.target).same(self.original)

    def check_moved(self) -> None:
        """Wherever it is: every byte, and nothing of a move left."""
        volume = self.volume.reload()
        assert self.data.of(volume).same(self.original)
        assert [one.id for one in Volume.scan()] == [volume.id]

    def check_reverted(self) -> None:
        """A revert that was accepted is done; the snapshot is untouched."""
        assert self.snapshot.reload().status == 'available'
        assert self.data.of(self.volume).same(self.data.of(self.snapshot)) or self.data.of(self.volume).same(self.newer)

    def check_nothing(self) -> None:
        assert [backup.status for backup in Backup.scan()] in ([], ['error'], ['available'])

    def check_rest(self) -> None:
        assert self.volume.reload().status == 'available'
        assert self.data.paths() == []
        assert [backup for backup in Backup.scan() if backup.reading] == []


Step = Callable[[Story], None]

#: name -> (preparation, request, check afterwards).
STORIES: dict[str, tuple[Callable[[Story, Simulation], None], Step, Step]] = {
    'full': (Story.begin, Story.back_up, Story.check_backup),
    'incremental': (Story.with_backup, lambda story: story.back_up(incremental=True), Story.check_backup),
    'of a snapshot': (
        Story.with_snapshot,
        lambda story: story.back_up(snapshot_id=story.snapshot.id),
        Story.check_backup,
    ),
    'failing': (Story.failing, Story.back_up, Story.check_nothing),
    'restore': (Story.with_backup, lambda story: story.restore(story.volume.id), Story.check_restore),
    'restore to new': (Story.with_backup, lambda story: story.restore(None), Story.check_restore),
    'delete': (
        Story.with_backup,
        lambda story: backups.delete(context(), story.parent.id if story.parent else ''),
        Story.check_nothing,
    ),
    'scrub': (Story.with_backup, Story.scrub, Story.check_checked),
    'drill': (Story.with_backup, Story.drill, Story.check_checked),
    'copy': (Story.with_backup, Story.copy, Story.check_copied),
    'migrate': (Story.begin, lambda story: story.migrate(), Story.check_moved),
    'migrate, locked': (Story.begin, lambda story: story.migrate(lock_volume=True), Story.check_moved),
    'retype': (
        Story.with_type,
        lambda story: moves.retype(context(), story.volume.id, 'fast', 'on-demand'),
        Story.check_moved,
    ),
    'retype refused': (
        Story.with_type,
        lambda story: moves.retype(context(), story.volume.id, 'fast', 'never'),
        Story.check_moved,
    ),
    'revert': (
        Story.before_revert,
        lambda story: reverts.revert(context(), story.volume.id, story.snapshot.id),
        Story.check_reverted,
    ),
    'import': (Story.with_backup, Story.import_, Story.check_import),
    'cancel': (Story.begin, Story.cancel, Story.check_nothing),
}


class DataStage(Stage):
    """A stage whose disks and repositories are put back, too."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        prepare, request, self.check = STORIES[name]
        self.story = Story(monkeypatch)
        scenario = Scenario(name, lambda simulation: prepare(self.story, simulation), lambda _, __: request(self.story))
        super().__init__(scenario, monkeypatch)
        self.disks, self.repositories = self.story.data.disks, self.story.data.repositories

    def world_again(self) -> Simulation:
        simulation = super().world_again()
        data = Data(simulation, self.monkeypatch, keeps=True)
        for host, disks in self.disks.items():
            data.disks[host].update({name: disk.copy(disk.size) for name, disk in disks.items()})
        data.repositories = {prefix: found.copy() for prefix, found in self.repositories.items()}
        self.story.simulation, self.story.data, self.story.target = simulation, data, None
        return simulation

    def play(self, *crashers: Crasher, execution_survives: bool = False) -> Simulation:
        simulation = super().play(*crashers, execution_survives=execution_survives)
        self.story.check_rest()
        self.check(self.story)
        return simulation


@pytest.mark.parametrize('execution_survives', [False, True], ids=['all dies', 'worker dies'])
@pytest.mark.parametrize('name', STORIES)
def test_every_crash_point(name: str, execution_survives: bool, tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    stage, trace = DataStage(name, monkeypatch), DataCrasher()
    stage.play(trace, execution_survives=execution_survives)
    assert len(trace.calls) >= 4
    for index in range(len(trace.calls) + 1):
        try:
            stage.play(DataCrasher(index), execution_survives=execution_survives)
        except BaseException as error:
            error.add_note(f'killed before call {index} of {trace.calls}')
            raise


@pytest.mark.parametrize('name', STORIES)
def test_every_answer_that_the_sdk_repeats(
    name: str, tables: None, monkeypatch: pytest.MonkeyPatch, counted: Counting
) -> None:
    stage, trace = DataStage(name, monkeypatch), DataCrasher()
    expected = outcome(stage.play(trace))
    points = [index for index, call in enumerate(trace.calls) if call.startswith('dynamodb')]
    for index in points:
        try:
            assert outcome(stage.play(DataLostAnswer(index))) == expected
        except BaseException as error:
            error.add_note(f'the answer of call {index} of {trace.calls} was lost')
            raise
    counted('points where a repeated answer is lost', len(points))
