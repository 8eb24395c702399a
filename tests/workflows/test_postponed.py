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
from tests.data_backends import Data
from tests.factories import context, create_group, create_group_snapshot, create_snapshot, create_volume
from tests.simulation import Simulation

RECORDS = (Volume, Snapshot, Backup, Group, GroupSnapshot)


class Work(NamedTuple):
    """``verb`` of the backend fails during the outage; ``status`` is shown meanwhile, ``given_up`` in the end."""

    name: str
    prepare: Callable[[Simulation], Any]
    request: Callable[[Any], object]
    verb: str
    status: str
    given_up: str


def volume(simulation: Simulation) -> Volume:
    made = create_volume(context(), 5)
    simulation.settle()
    return made.reload()


def snapshot(simulation: Simulation) -> Snapshot:
    taken = create_snapshot(context(), volume(simulation))
    simulation.settle()
    return taken.reload()


def running_backup(simulation: Simulation) -> Backup:
    """One whose data cannot be read, and whose temporary snapshot is left."""
    made = create_backup(context(), volume(simulation))
    simulation.big.fail('allocated', RuntimeError('a bug'))
    simulation.big.fail_for_good('delete_snapshot')
    simulation.settle()
    simulation.big.faults.clear()
    return made.reload()


def group(simulation: Simulation) -> Group:
    made = create_group(context())
    simulation.settle()
    create_volume(context(), 5, group_id=made.id)
    simulation.settle()
    return made.reload()


def group_snapshot(simulation: Simulation) -> GroupSnapshot:
    taken = create_group_snapshot(context(), group(simulation))
    simulation.settle()
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
def test_it_is_done_when_the_backend_answers_again(simulation: Simulation, data: Data, work: Work) -> None:
    made = work.prepare(simulation)
    before = len(list(Message.scan()))
    simulation.big.fail_for_good(work.verb)
    work.request(made)
    simulation.settle()
    assert work.status in statuses()
    told = [one.user_message for one in Message.scan()]
    assert len(told) - before == 1
    assert any('repeats the operation until it does' in text for text in told)
    simulation.big.fail_for_good(work.verb)  # once more
    simulation.reconcile()
    simulation.settle()
    assert work.status in statuses()
    assert len(list(Message.scan())) - before == 1
    for _ in range(2):  # a group's end may be seen by the second
        simulation.reconcile()
        simulation.settle()
    assert statuses() <= {'available'}
    simulation.report()
    invariants.check(simulation)
    assert data.paths() == []


@works
def test_it_is_given_up_after_a_day(
    simulation: Simulation, data: Data, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = work.prepare(simulation)
    monkeypatch.setattr(postponing, 'PATIENCE', -1)
    simulation.big.fail_for_good(work.verb)
    work.request(made)
    simulation.settle()
    assert work.given_up in statuses()
    assert work.status not in statuses()
    if work.name != 'delete backup':  # its source stays held, for something temporary may be left there
        invariants.check(simulation)


def test_a_failure_that_is_recorded_twice_postpones_once(simulation: Simulation) -> None:
    made = volume(simulation)
    simulation.big.fail_for_good('delete_volume')
    volumes.delete(context(), made.id)
    [execution] = [
        one
        for one in (simulation.deliver(), *simulation.executions.values())
        if getattr(one, 'status', '') == 'RUNNING'
    ]
    simulation.run_machines()
    again = {**execution.payload, 'error': {'Error': 'BackendUnavailable', 'Cause': ''}}
    assert made.reload().operation['attempt'] == 1
    simulation.work('fail_delete', again)
    assert made.reload().operation['attempt'] == 1


def test_what_a_cascade_left_may_go_with_the_next(simulation: Simulation) -> None:
    taken = snapshot(simulation)
    simulation.big.fail('delete_snapshot', simulation.big.refuses())
    volumes.delete(context(), taken.volume_id, cascade=True)
    simulation.settle()
    assert statuses() == {'error_deleting'}
    volumes.reset_status(context('admin'), taken.volume_id, 'error', None, None)
    volumes.delete(context(), taken.volume_id, cascade=True)
    simulation.settle()
    assert statuses() == set()
    invariants.check(simulation)


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
