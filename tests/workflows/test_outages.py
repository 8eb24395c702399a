"""A backend is away for a minute, from each call that an operation makes of it: that costs time, and never a status.

The outage begins before the call is done, or after it, so that only its answer is lost. A report is made while the
backend is away, as the schedule makes it, and none once it is back. Seconds pass while executions wait between retries.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from chalicelib import errors
from chalicelib.models import Backup, Group, GroupSnapshot, Message, Snapshot, Volume
from chalicelib.operations import (
    backups,
    group_snapshots,
    groups,
    managing,
    moves,
    reverts,
    snapshots,
    volume_types,
    volumes,
)
from chalicelib.tasks import report_pools
from infra import retries
from tests import invariants
from tests.backup_factories import create_backup
from tests.data_backends import Data
from tests.factories import context, create_group, create_group_snapshot, create_snapshot, create_volume
from tests.fake_driver import Object
from tests.fake_glance import FakeGlance
from tests.run_statistics import Counting
from tests.simulation import BIG, Simulation, forget

#: What calls of the backup repository begin with.
REPOSITORY = 's3'


class Outage:
    """Takes the backend (or the repository) of the n-th call away for ``retries.OUTAGE`` seconds.

    ``calls`` are those of the operation.
    """

    def __init__(self, simulation: Simulation, index: int | None, *, lost: bool) -> None:
        self.simulation, self.index, self.lost = simulation, index, lost
        self.calls: list[str] = []
        self.host, self.until = '', 0.0

    @contextlib.contextmanager
    def around(self, name: str) -> Iterator[None]:
        host = name.partition(' ')[0]
        if host not in {*self.simulation.backends, REPOSITORY} or 'get_volume_stats' in name:
            self._refuse(host)
            yield
            return
        begins = len(self.calls) == self.index
        self.calls.append(name)
        if begins and not self.lost:
            self._begin(host)
        self._refuse(host)
        yield
        if begins and self.lost:
            self._begin(host)
            raise self._away(host)

    def _begin(self, host: str) -> None:
        self.host, self.until = host, self.simulation.seconds + retries.OUTAGE
        self.simulation.report()

    def _refuse(self, host: str) -> None:
        if host and host == self.host and self.simulation.seconds < self.until:
            raise self._away(host)

    def _away(self, host: str) -> errors.CinderlessError:
        if host == REPOSITORY:
            return errors.RepositoryError(key='a key', reason='no answer')
        return self.simulation.backends[host].unavailable()

    def passed(self, seconds: float) -> None:
        """The schedule's next report comes minutes later: work that waits for the backend renews it."""
        self.simulation.seconds += seconds


class Story:
    """What operations need: a volume with data, its snapshot, its backup and a group, each created on first use."""

    def __init__(self, simulation: Simulation, data: Data, glance: FakeGlance) -> None:
        self.simulation, self.data, self.glance = simulation, data, glance

    def volume(self) -> Volume:
        made = create_volume(context(), 5)
        self.simulation.settle()
        self.data.of(made).fill(seed=1, count=1)
        return made.reload()

    def snapshot(self) -> Snapshot:
        taken = create_snapshot(context(), self.volume())
        self.simulation.settle()
        return taken.reload()

    def backup(self) -> Backup:
        made = create_backup(context(), self.volume())
        self.simulation.settle()
        return made.reload()

    def group(self) -> Group:
        made = create_group(context())
        self.simulation.settle()
        for _ in range(2):
            create_volume(context(), 5, group_id=made.id)
        self.simulation.settle()
        return made.reload()

    def group_snapshot(self) -> GroupSnapshot:
        taken = create_group_snapshot(context(), self.group())
        self.simulation.settle()
        return taken.reload()

    def typed(self) -> Volume:
        """A volume, and a type that only the other backend has."""
        specs = {'volume_backend_name': 'fast'}
        volume_types.create(context('admin'), name='fast', description=None, is_public=True, extra_specs=specs)
        return self.volume()

    def foreign_volume(self) -> None:
        self.simulation.big.objects['theirs'] = Object('pool', 3)
        self.simulation.report()

    def foreign_snapshot(self) -> Volume:
        self.simulation.big.objects['their-snapshot-1'] = Object('pool', 4, 'elsewhere')
        return self.volume()


class Operation(NamedTuple):
    """``prepare`` runs undisturbed; ``request`` is what meets the outage."""

    name: str
    prepare: Callable[[Story], Any]
    request: Callable[[Story, Any], object]


def _migrate(volume: Volume) -> None:
    moves.migrate(
        context('admin'), volume.id, host='cinderless@fast', cluster=None, force_host_copy=False, lock_volume=False
    )


def _manage() -> None:
    facts: dict[str, Any] = {'name': None, 'description': None, 'volume_type': None, 'metadata': {}, 'bootable': False}
    where: dict[str, Any] = {'host': BIG, 'cluster': None, 'availability_zone': None}
    managing.manage_volume(context('admin'), ref={'source-name': 'theirs'}, **facts, **where)


def _manage_snapshot(volume: Volume) -> None:
    facts: dict[str, Any] = {'name': None, 'description': None, 'metadata': {}}
    managing.manage_snapshot(context('admin'), volume.id, ref={'source-name': 'their-snapshot-1'}, **facts)


def _from_image(story: Story) -> object:
    return create_volume(context(), 1, image_id=story.glance.add(b'image' * 4096))


OPERATIONS = [
    Operation('create', lambda _: None, lambda _, __: create_volume(context(), 5)),
    Operation('create from snapshot', Story.snapshot, lambda _, one: create_volume(context(), 5, snapshot_id=one.id)),
    Operation('clone', Story.volume, lambda _, one: create_volume(context(), 5, source_volid=one.id)),
    Operation('create from image', lambda _: None, lambda story, _: _from_image(story)),
    Operation(
        'restore new', Story.backup, lambda _, one: backups.restore(context(), one.id, volume_id=None, name=None)
    ),
    Operation(
        'restore in place',
        Story.backup,
        lambda _, one: backups.restore(context(), one.id, volume_id=one.volume_id, name=None),
    ),
    Operation('extend', Story.volume, lambda _, one: volumes.extend(context(), one.id, 8)),
    Operation('snapshot', Story.volume, lambda _, one: create_snapshot(context(), one)),
    Operation('delete snapshot', Story.snapshot, lambda _, one: snapshots.delete(context(), one.id)),
    Operation('revert', Story.snapshot, lambda _, one: reverts.revert(context(), one.volume_id, one.id)),
    Operation('delete', Story.volume, lambda _, one: volumes.delete(context(), one.id)),
    Operation('cascade', Story.snapshot, lambda _, one: volumes.delete(context(), one.volume_id, cascade=True)),
    Operation('backup', Story.volume, lambda _, one: create_backup(context(), one)),
    Operation('delete backup', Story.backup, lambda _, one: backups.delete(context(), one.id)),
    Operation('migrate', Story.volume, lambda _, one: _migrate(one)),
    Operation('retype', Story.typed, lambda _, one: moves.retype(context(), one.id, 'fast', 'on-demand')),
    Operation('create group', lambda _: None, lambda _, __: create_group(context())),
    Operation('group snapshot', Story.group, lambda _, one: create_group_snapshot(context(), one)),
    Operation('delete group snapshot', Story.group_snapshot, lambda _, one: group_snapshots.delete(context(), one.id)),
    Operation('delete group', Story.group, lambda _, one: groups.delete(context(), one.id, delete_volumes=True)),
    Operation('manage', Story.foreign_volume, lambda _, __: _manage()),
    Operation('manage snapshot', Story.foreign_snapshot, lambda _, one: _manage_snapshot(one)),
    Operation('unmanage', Story.volume, lambda _, one: managing.unmanage_volume(context('admin'), one.id)),
]


#: Operations that need another backend.
MOVES = ('migrate', 'retype')


def play(operation: Operation, story: Story, index: int | None, *, lost: bool) -> list[str]:
    """Run the operation with the outage at a call; the calls it made. Nothing may have failed in the end."""
    simulation = story.simulation
    made = operation.prepare(story)
    outage = Outage(simulation, index, lost=lost)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulation, 'around', outage.around)
        patch.setattr(simulation, 'wait', outage.passed)
        operation.request(story, made)
        simulation.settle()
    assert [
        one.status
        for kind in (Volume, Snapshot, Backup, Group, GroupSnapshot)
        for one in kind.scan()
        if 'error' in one.status
    ] == []
    assert [one.user_message for one in Message.scan()] == []
    simulation.report()
    invariants.check(simulation)
    assert story.data.paths() == []
    return outage.calls


class Mode(NamedTuple):
    """``lost``: the first call is done, and its answer lost. ``alone``: no other backend can do the work."""

    lost: bool = False
    alone: bool = False


MODES = {'refused': Mode(), 'answer lost': Mode(lost=True), 'alone': Mode(alone=True)}
CASES = [(one, mode) for one in OPERATIONS for mode in MODES if not (MODES[mode].alone and one.name in MOVES)]


@pytest.mark.parametrize(('operation', 'mode'), CASES, ids=lambda value: getattr(value, 'name', value))
def test_an_outage_at_each_call_costs_time_and_no_status(
    operation: Operation, mode: str, make_story: Callable[[bool], Story], counted: Counting
) -> None:
    lost, alone = MODES[mode]
    calls = play(operation, make_story(alone), None, lost=lost)
    assert calls or operation.name == 'create group'
    for index in range(len(calls)):
        try:
            play(operation, make_story(alone), index, lost=lost)
        except BaseException as error:
            error.add_note(f'outage at call {index} of {calls}')
            raise
    counted(f'outages of a minute survived ({mode})', len(calls))


@pytest.mark.parametrize('request_', [OPERATIONS[0], OPERATIONS[16]], ids=lambda operation: operation.name)
def test_what_only_a_backend_that_is_down_can_do_waits_for_it(
    request_: Operation, make_story: Callable[[bool], Story]
) -> None:
    """Its last report failed before the request came."""
    story = make_story(True)
    made = request_.prepare(story)
    outage = Outage(story.simulation, 0, lost=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(story.simulation, 'around', outage.around)
        patch.setattr(story.simulation, 'wait', outage.passed)
        outage._begin('cinderless@big')
        request_.request(story, made)
        story.simulation.settle()
    assert story.simulation.seconds >= retries.OUTAGE
    assert {one.status for kind in (Volume, Group) for one in kind.scan()} == {'available'}


@pytest.fixture
def make_story(glance: FakeGlance, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], Story]]:
    """A story in empty tables, whenever called."""
    from moto import mock_aws

    from chalicelib.models import TABLES
    from tests import small_dynamodb

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock_aws())

        def make(alone: bool) -> Story:
            stack.enter_context(small_dynamodb.serving(small_dynamodb.empty(TABLES)))
            forget()
            simulation = Simulation()
            if alone:
                del simulation.backends['cinderless@fast']
            simulation.install(monkeypatch)
            monkeypatch.setattr(report_pools, 'AGAIN', 0)  # the records' clock is fixed while executions wait
            simulation.report()
            return Story(simulation, Data(simulation, monkeypatch), glance)

        yield make
    forget()
