"""A backend that stays away for longer than all retries: what may be repeated is done when it answers again.

No administrator is needed for that, and no status claims more than is known. After a day the work is given up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from chalicelib import errors
from chalicelib.models import Backup, Group, GroupSnapshot, Message, Snapshot, Volume
from chalicelib.operations import (
    backups,
    group_snapshots,
    groups,
    managing,
    reverts,
    snapshots,
    volumes,
)
from chalicelib.tasks import postponing
from tests import invariants
from tests.backup_factories import create_backup
from tests.disks import Data
from tests.factories import context, create_group, create_group_snapshot, create_snapshot, create_volume
from tests.world import World

RECORDS = (Volume, Snapshot, Backup, Group, GroupSnapshot)


class Work(NamedTuple):
    """``verb`` of the backend fails during the outage; ``status`` is shown meanwhile, ``given_up`` in the end."""

    name: str
    prepare: Callable[[World], Any]
    request: Callable[[Any], object]
    verb: str
    status: str
    given_up: str


def volume(world: World) -> Volume:
    made = create_volume(context(), 5)
    world.settle()
    return made.reload()


def snapshot(world: World) -> Snapshot:
    taken = create_snapshot(context(), volume(world))
    world.settle()
    return taken.reload()


def running_backup(world: World) -> Backup:
    """One whose data cannot be read, and whose temporary snapshot is left."""
    made = create_backup(context(), volume(world))
    world.big.fail('allocated', RuntimeError('a bug'))
    world.big.fail_for_good('delete_snapshot')
    world.settle()
    world.big.faults.clear()
    return made.reload()


def group(world: World) -> Group:
    made = create_group(context())
    world.settle()
    create_volume(context(), 5, group_id=made.id)
    world.settle()
    return made.reload()


def group_snapshot(world: World) -> GroupSnapshot:
    taken = create_group_snapshot(context(), group(world))
    world.settle()
    return taken.reload()


WORK = [
    Work(
        'delete', volume, lambda one: volumes.delete(context(), one.id), 'delete_volume', 'deleting', 'error_deleting'
    ),
    Work(
        'cascade',
        snapshot,
        lambda one: volumes.delete(context(), one.volume_id, cascade=True),
        'delete_snapshot',
        'deleting',
        'error_deleting',
    ),
    Work(
        'delete snapshot',
        snapshot,
        lambda one: snapshots.delete(context(), one.id),
        'delete_snapshot',
        'deleting',
        'error_deleting',
    ),
    Work(
        'delete backup',
        running_backup,
        lambda one: backups.delete(context(), one.id),
        'delete_snapshot',
        'deleting',
        'error_deleting',
    ),
    Work(
        'delete group',
        group,
        lambda one: groups.delete(context(), one.id, delete_volumes=True),
        'delete_volume',
        'deleting',
        'error',
    ),
    Work(
        'delete group snapshot',
        group_snapshot,
        lambda one: group_snapshots.delete(context(), one.id),
        'delete_snapshot',
        'deleting',
        'error_deleting',
    ),
    Work(
        'unmanage',
        volume,
        lambda one: managing.unmanage_volume(context('admin'), one.id),
        'unmanage',
        'unmanaging',
        'error_unmanaging',
    ),
    Work(
        'extend',
        volume,
        lambda one: volumes.extend(context(), one.id, 8),
        'extend_volume',
        'extending',
        'available',
    ),
    Work(
        'revert',
        snapshot,
        lambda one: reverts.revert(context(), one.volume_id, one.id),
        'open_volume',
        'reverting',
        'available',
    ),
]

works = pytest.mark.parametrize('work', WORK, ids=lambda work: work.name)


def statuses() -> set[str]:
    return {record.status for kind in RECORDS for record in kind.scan()}


@works
def test_it_is_done_when_the_backend_answers_again(world: World, data: Data, work: Work) -> None:
    made = work.prepare(world)
    before = len(list(Message.scan()))
    world.big.fail_for_good(work.verb)
    work.request(made)
    world.settle()
    assert work.status in statuses()
    told = [one.user_message for one in Message.scan()]
    assert len(told) - before == 1
    assert any('repeats the operation until it does' in text for text in told)
    world.big.fail_for_good(work.verb)  # once more
    world.reconcile()
    world.settle()
    assert work.status in statuses()
    assert len(list(Message.scan())) - before == 1
    for _ in range(2):  # a group's end may be seen by the second
        world.reconcile()
        world.settle()
    assert statuses() <= {'available'}
    world.report()
    invariants.check(world)
    assert data.paths() == []


@works
def test_it_is_given_up_after_a_day(world: World, data: Data, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    made = work.prepare(world)
    monkeypatch.setattr(postponing, 'PATIENCE', -1)
    world.big.fail_for_good(work.verb)
    work.request(made)
    world.settle()
    assert work.given_up in statuses()
    assert work.status not in statuses()
    if work.name != 'delete backup':  # its source stays held, for something temporary may be left there
        invariants.check(world)


def test_a_failure_that_is_recorded_twice_postpones_once(world: World) -> None:
    made = volume(world)
    world.big.fail_for_good('delete_volume')
    volumes.delete(context(), made.id)
    [execution] = [
        one for one in (world.deliver(), *world.executions.values()) if getattr(one, 'status', '') == 'RUNNING'
    ]
    world.run_machines()
    again = {**execution.payload, 'error': {'Error': 'BackendUnavailable', 'Cause': ''}}
    assert made.reload().operation['attempt'] == 1
    world.work('fail_delete', again)
    assert made.reload().operation['attempt'] == 1


def test_what_a_cascade_left_may_go_with_the_next(world: World) -> None:
    taken = snapshot(world)
    world.big.fail('delete_snapshot', world.big.refuses())
    volumes.delete(context(), taken.volume_id, cascade=True)
    world.settle()
    assert statuses() == {'error_deleting'}
    volumes.reset_status(context('admin'), taken.volume_id, 'error', None, None)
    volumes.delete(context(), taken.volume_id, cascade=True)
    world.settle()
    assert statuses() == set()
    invariants.check(world)


@pytest.mark.parametrize(
    ('error', 'passes'),
    [
        ('BackendUnavailable', True),
        ('NotReady', True),
        ('RepositoryError', True),
        ('Lambda.TooManyRequestsException', True),
        ('States.Timeout', True),
        ('ObjectMissing', False),
        ('DriverError', False),
        ('VolumeIsBusy', False),
        ('RuntimeError', False),
        ('FAILED', False),
        ('', False),
    ],
)
def test_what_passes(error: str, passes: bool) -> None:
    assert postponing.is_passing(error) is passes
    assert passes or not issubclass(getattr(errors, error, Exception), errors.BackendUnavailable)
