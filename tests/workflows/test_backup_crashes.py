"""Kill the process after each call that changed something, redeliver, reconcile: nothing stays, nothing is lost.

A process that dies between two calls leaves what the first of them left; after a call that only reads that is what was
there before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.models import Backup, Volume
from chalicelib.operations import backups
from tests.backup_factories import create_backup
from tests.disks import Data, Disk
from tests.factories import context, create_snapshot, create_volume
from tests.workflows.crashes import Crasher, Scenario, play
from tests.world import World

#: Calls that change nothing.
READS = ('GetItem', 'Query', 'Scan', 'BatchGetItem', 'DescribeTable', 's3 get', 's3 head', 's3 list', 'Describe')
DEVICE_READS = ('read', 'allocated', 'get_volume_stats')


class Story:
    """One play's surroundings: what was there before the crash, and so must be there after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def begin(self, world: World) -> None:
        self.world, self.data = world, Data(world, self._monkeypatch)
        self.volume = create_volume(context(), 5)
        world.settle()
        self.data.of(self.volume).fill(seed=1, count=2)
        self.original = self.copied()

    def copied(self) -> Disk:
        disk = self.data.of(self.volume)
        return disk.copy(disk.size)

    def back_up(self, **facts: Any) -> Backup:
        backup = create_backup(context(), self.volume, **facts)
        self.world.settle()
        return backup.reload()

    def snapshot(self, world: World) -> None:
        self.begin(world)
        self.taken = create_snapshot(context(), self.volume)
        world.settle()
        self.data.of(self.volume).fill(seed=2, count=2)

    def parent(self, world: World) -> None:
        self.begin(world)
        self.parent_backup = self.back_up()
        self.data.of(self.volume).write(0, b'changed')
        self.original = self.copied()

    def damaged(self, world: World) -> None:
        self.begin(world)
        self.parent_backup = self.back_up()
        self.data.of(self.volume).fill(seed=3, count=2)

    def failing(self, world: World) -> None:
        self.begin(world)
        world.big.fail('allocated', RuntimeError('a bug'))

    def restore(self, volume_id: str | None) -> None:
        _, self.target = backups.restore(context(), self.parent_backup.id, volume_id=volume_id, name=None)

    def cancel(self) -> None:
        """A forced delete in the middle of the copy."""
        backup = create_backup(context(), self.volume)
        self.world.deliver()
        execution = list(self.world.executions.values())[-1]
        self.world.work('open_backup', execution.payload)
        backups.delete(context('admin'), backup.id, force=True)

    def check_backup(self) -> None:
        """The newest backup is as good as if nothing had happened; one that was never accepted is not there."""
        self.check_source()
        found = sorted(Backup.scan(), key=lambda backup: str(backup.created_at))
        assert [one.status for one in found] in ([], ['available'], ['available', 'available'])
        if found and found[-1].parent_id == getattr(getattr(self, 'parent_backup', None), 'id', None):
            _, target = backups.restore(context(), found[-1].id, volume_id=None, name=None)
            self.world.settle()
            assert self.data.of(target).same(self.original)

    def check_restore(self) -> None:
        target = getattr(self, 'target', None)
        if target is not None:
            assert target.reload().status == 'available'
            assert self.data.of(target).same(self.original)
        self.check_source()

    def check_gone(self) -> None:
        self.check_source()
        assert [one.status for one in Backup.scan()] in ([], ['available'], ['error'])

    def check_source(self) -> None:
        assert self.volume.reload().status == 'available'
        assert self.data.paths() == []
        assert [one for one in Volume.scan() if one.reader_count] == []


#: name -> (what is there before, what is asked for, what must be there after).
STORIES: dict[str, tuple[Callable[[Story, World], None], Callable[[Story], Any], Callable[[Story], None]]] = {
    'full': (Story.begin, lambda story: story.back_up(), Story.check_backup),
    'incremental': (Story.parent, lambda story: story.back_up(incremental=True), Story.check_backup),
    'of a snapshot': (Story.snapshot, lambda story: story.back_up(snapshot_id=story.taken.id), Story.check_backup),
    'failing': (Story.failing, lambda story: story.back_up(), Story.check_gone),
    'restore': (Story.damaged, lambda story: story.restore(story.volume.id), Story.check_restore),
    'restore to new': (Story.damaged, lambda story: story.restore(None), Story.check_restore),
    'delete': (Story.parent, lambda story: backups.delete(context(), story.parent_backup.id), Story.check_gone),
    'cancel': (Story.begin, Story.cancel, Story.check_gone),
}


def changes_something(call: str) -> bool:
    return not call.endswith(READS) and call.rpartition(' ')[2] not in DEVICE_READS


@pytest.mark.parametrize('execution_survives', [False, True], ids=['all dies', 'worker dies'])
@pytest.mark.parametrize('name', STORIES)
def test_every_crash_point(
    name: str, execution_survives: bool, tables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, request, check = STORIES[name]
    story = Story(monkeypatch)
    scenario = Scenario(name, lambda world: prepare(story, world), lambda world, _: request(story))
    trace = Crasher()
    play(scenario, trace, monkeypatch, execution_survives=execution_survives)
    check(story)
    points = [index for index, call in enumerate(trace.calls) if changes_something(call)]
    assert len(points) >= 5
    for index in points:
        story = Story(monkeypatch)
        try:
            play(scenario, Crasher(index, 'after'), monkeypatch, execution_survives=execution_survives)
            check(story)
        except BaseException as error:
            error.add_note(f'killed after call {index} of {trace.calls}')
            raise
